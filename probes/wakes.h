/* Who sleeps in a call of traffic.c, and who wakes whom in one. Included at its end: programs are attached in
 * the reverse of their order, and calls are to be seen last. */

/* Whom a timer wakes meanwhile, nobody's call has woken. */
static inline void in_timer(u32 change)
{
    u32 cpu = bpf_get_smp_processor_id(), *now = timers.lookup(&cpu);
    if (now && *now + change != ~0U) /* its entry may have been before the trace */
        *now += change;
}

int tp_hrtimer_expire_entry(struct bpf_raw_tracepoint_args *ctx)
{
    in_timer(1);
    return 0;
}

int tp_hrtimer_expire_exit(struct bpf_raw_tracepoint_args *ctx)
{
    in_timer(-1);
    return 0;
}

int tp_timer_expire_entry(struct bpf_raw_tracepoint_args *ctx)
{
    in_timer(1);
    return 0;
}

int tp_timer_expire_exit(struct bpf_raw_tracepoint_args *ctx)
{
    in_timer(-1);
    return 0;
}

static inline void wakes_up(struct thread_record *record, u64 now_ns)
{
    u64 since_ns = record->since_ns;
    if (since_ns) {
        record->since_ns = 0;
        record->blocked_ns += now_ns - since_ns;
    }
}

int tp_sched_waking(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[0];
    u32 tid = 0, flags = 0, own = LOAD(CURRENT(), pid), cpu = bpf_get_smp_processor_id();
    u32 *in_timers = timers.lookup(&cpu);
    struct thread_record *record;

    READ(tid, task, pid);
    record = threads.lookup(&tid);
    if (record && record->flags & OPEN)
        wakes_up(record, bpf_ktime_get_ns());
    record = threads.lookup(&own);
    if (record && record->flags & OPEN && tid != own && in_timers && !*in_timers) {
        READ(flags, task, flags);
        if (!(flags & PF_KTHREAD))
            record->wakes++;
    }
    return 0;
}

/* Asleep until it is woken; or, should the waker not be seen, until it runs again. */
int tp_sched_switch(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *prev = CURRENT(), *next = (struct task_struct *)ctx->args[2];
    u32 tid = LOAD(prev, pid);
    struct thread_record *record = threads.lookup(&tid);

    if (record && record->flags & OPEN && state_of(ctx, prev))
        record->since_ns = bpf_ktime_get_ns();
    tid = 0;
    READ(tid, next, pid);
    record = threads.lookup(&tid);
    if (record && record->flags & OPEN)
        wakes_up(record, bpf_ktime_get_ns());
    return 0;
}
