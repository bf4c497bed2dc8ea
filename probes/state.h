/* The state in which the current task leaves its CPU; 0: it would go on. */
static inline u32 state_of(struct bpf_raw_tracepoint_args *ctx, struct task_struct *prev)
{
    if (ctx->args[0]) /* preempted, whatever its state is */
        return 0;
#if SCHED_SWITCH_ARGS >= 4
    return ctx->args[3];
#elif defined(HAVE_TASK_STRUCT___STATE)
    return LOAD(prev, __state);
#else
    return LOAD_AS(u64, prev, state);
#endif
}
