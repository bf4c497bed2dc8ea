/* Signals on their way. A generation is told if the sender passes the filters or the receiver is one of the
 * processes picked; where only a receiver can tell whether it passes, all are told and user space picks. */

#define SIGKILL 9
#define SI_KERNEL 0x80               /* include/uapi/asm-generic/siginfo.h */
#define SEND_SIG_PRIV 1              /* include/linux/sched/signal.h: from the kernel */
#define SIGNAL_GROUP_EXIT 0x00000004 /* include/linux/sched/signal.h */
#define SIGINFO_BYTES 128            /* sizeof(struct signalfd_siginfo) */

static inline s32 code_of(u64 info)
{
    s32 code = 0;
    if (info == SEND_SIG_PRIV)
        return SI_KERNEL;
    if (info)
        READ(code, (struct kernel_siginfo *)info, si_code);
    return code;
}

static inline bool is_held(void)
{
    u32 tid = bpf_get_current_pid_tgid();
    struct thread_record *record = threads.lookup(&tid);
    return record && record->flags & HELD;
}

int tp_signal_generate(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[2];
    struct generated_event event = {.ts_ns = bpf_ktime_get_ns()};
    u64 ids = bpf_get_current_pid_tgid(), comm[2] = {}, key;
    bool told;

    READ(event.pid, task, tgid);
    READ(event.tid, task, pid);
    event.number = ctx->args[0];
    told = wanted() && !is_held();
#ifdef FILTER_TARGETS
    told = told || targets.lookup(&event.pid);
    if (!told)
        return 0;
#endif
    if (told)
        event.flags = WANTED;
    event.code = code_of(ctx->args[1]);
    event.result = ctx->args[4];
    if (ctx->args[3])
        event.flags |= TO_PROCESS;
    event.from_pid = ids >> 32;
    event.from_tid = ids;
    bpf_get_current_comm(event.comm, sizeof(event.comm));
    bpf_probe_read_kernel_str(comm, sizeof(comm), task->comm);
    event.comm_low = comm[0];
    event.comm_high = comm[1];
    key = (u64)event.pid << 32 | (u32)event.number;
    if (told)
        awaited.update(&key, &event.ts_ns);
    counted(generated_ring.ringbuf_output(&event, sizeof(event), 0), generated_sent);
    return 0;
}

static inline void arrived(s32 number, s32 code, u64 handler, u32 flags, u64 now_ns)
{
    struct delivered_event event = {.ts_ns = now_ns, .handler = handler, .number = number, .code = code};
    u64 ids = bpf_get_current_pid_tgid(), key = ids >> 32 << 32 | (u32)number;

    if (wanted() && !is_held())
        flags |= WANTED;
    else if (!awaited.lookup(&key))
        return;
    event.flags = flags;
    event.pid = ids >> 32;
    event.tid = ids;
    bpf_get_current_comm(event.comm, sizeof(event.comm));
    counted(delivered_ring.ringbuf_output(&event, sizeof(event), 0), delivered_sent);
}

int tp_signal_deliver(struct bpf_raw_tracepoint_args *ctx)
{
    struct k_sigaction *action = (struct k_sigaction *)ctx->args[2];
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    struct signal_struct *signal = NULL;
    s32 number = ctx->args[0], status = 0;
    u32 flags = 0;
    u64 handler = 0;

    bpf_probe_read_kernel(&handler, sizeof(handler), &action->sa.sa_handler);
    if (number == SIGKILL) { /* for whatever ends the process: complete_signal, kernel/signal.c */
        READ(signal, task, signal);
        READ(flags, signal, flags);
        if (flags & SIGNAL_GROUP_EXIT) {
            READ(status, signal, group_exit_code);
            number = status & 0x7f;
            if (number) /* else exit_group(2) */
                arrived(number, 0, 0, FATAL, bpf_ktime_get_ns());
            return 0;
        }
    }
    arrived(number, code_of(ctx->args[1]), handler, 0, bpf_ktime_get_ns());
    return 0;
}

/* What sigwaitinfo(2) or a read of a signalfd took: one signal in each run of this, up to the 33 tail calls
 * that the kernel allows. A loop would take the verifier longer than all the rest. */
int tail_2(struct bpf_raw_tracepoint_args *ctx)
{
    u32 tid = bpf_get_current_pid_tgid(), place;
    struct thread_record *record = threads.lookup(&tid);
    s64 ret = ctx->args[1];
    s32 number = ret;

    if (!record)
        return 0;
    record->flags &= ~TAKES;
    place = record->taken++;
    if (ret <= 0)
        return 0;
    if (record->bytes_in != NOTHING) {
        if (place >= (u32)ret / SIGINFO_BYTES)
            return 0;
        number = 0;
        bpf_probe_read_user(&number, sizeof(number), (void *)record->vector + (u64)place * SIGINFO_BYTES);
    } else if (place) {
        return 0;
    }
    arrived(number, 0, 0, TAKEN, bpf_ktime_get_ns());
    tails.call(ctx, 2);
    return 0;
}
