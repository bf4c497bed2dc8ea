/* A task's end, told at its last context switch. Included at the end of lifecycle.c: programs are attached in
 * the reverse of their order, so that whoever is seen to begin to exit is seen to end. */
#define THREADS_MAX 64               /* threads of an ended process that the kernel has not released yet */
#define SIGNAL_GROUP_EXIT 0x00000004 /* include/linux/sched/signal.h */

static inline void add_task(struct exit_event *event, struct task_struct *task)
{
    u64 utime, stime, runtime, nvcsw, nivcsw, min_flt, maj_flt;
    READ(utime, task, utime);
    READ(stime, task, stime);
    READ(runtime, task, se.sum_exec_runtime);
    READ(nvcsw, task, nvcsw);
    READ(nivcsw, task, nivcsw);
    READ(min_flt, task, min_flt);
    READ(maj_flt, task, maj_flt);
    event->utime_ns += utime;
    event->stime_ns += stime;
    event->runtime_ns += runtime;
    event->voluntary_switches += nvcsw;
    event->involuntary_switches += nivcsw;
    event->minor_faults += min_flt;
    event->major_faults += maj_flt;
}

/* What the process used: its released threads' part is in signal_struct, the others' in their own
 * task_struct. The kernel moves it from here to there under stats_lock (__exit_signal, kernel/exit.c), so
 * an unchanged, even sequence number says that nothing was read twice or not at all. */
static inline void add_process(struct exit_event *event, struct signal_struct *signal)
{
    for (int attempt = 0; attempt < 3; attempt++) {
        u32 before = 0, after = 0;
        struct list_head *head = &signal->thread_head, *node = NULL;
        bpf_probe_read_kernel(&before, sizeof(before), &signal->stats_lock);
        READ(event->utime_ns, signal, utime);
        READ(event->stime_ns, signal, stime);
        READ(event->runtime_ns, signal, sum_sched_runtime);
        READ(event->voluntary_switches, signal, nvcsw);
        READ(event->involuntary_switches, signal, nivcsw);
        READ(event->minor_faults, signal, min_flt);
        READ(event->major_faults, signal, maj_flt);
        READ(node, signal, thread_head.next);
        for (int i = 0; i < THREADS_MAX && node && node != head; i++) {
            add_task(event, LIST_ENTRY(node, struct task_struct, thread_node));
            READ(node, node, next);
        }
        bpf_probe_read_kernel(&after, sizeof(after), &signal->stats_lock);
        if (before == after && !(before & 1))
            return;
    }
}

static inline void send_exit(struct task_struct *task, bool process)
{
    struct signal_struct *signal = NULL;
    struct exit_event event = {};

    event.ts_ns = bpf_ktime_get_ns();
    event.process = process;
    READ(event.pid, task, tgid);
    READ(event.tid, task, pid);
    bpf_probe_read_kernel_str(event.comm, sizeof(event.comm), task->comm);
    event.ppid = parent_tgid(task);
    if (process) {
        u32 flags = 0;
        event.start_time_ns = process_start(task);
        /* The status that wait_task_zombie (kernel/exit.c) hands to the parent. */
        READ(signal, task, signal);
        READ(flags, signal, flags);
        if (flags & SIGNAL_GROUP_EXIT) {
            READ(event.wait_status, signal, group_exit_code);
        } else {
            struct task_struct *leader = NULL;
            READ(leader, task, group_leader);
            READ(event.wait_status, leader, exit_code);
        }
        add_process(&event, signal);
        count(exits);
    } else {
        READ(event.start_time_ns, task, start_time);
        READ(event.wait_status, task, exit_code);
        add_task(&event, task);
    }
    counted(exit_ring.ringbuf_output(&event, sizeof(event), 0), exit_sent);
}

int tp_sched_switch(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[1];
    struct dying *state;
    s32 exit_state = 0;
    u32 tid = 0, tgid = 0;

    READ(exit_state, task, exit_state);
    if (!exit_state)
        return 0;
    READ(tid, task, pid);
    READ(tgid, task, tgid);
    state = dying.lookup(&tid);
    if (!state)
        return 0;
    if (state->parent)
        send_reaper(task, state);
#ifdef THREADS
    send_exit(task, state->process);
#else
    if (state->process)
        send_exit(task, true);
#endif
    if (state->process)
        forget_process(tgid); /* user space may have found it in /proc meanwhile and added it again */
    dying.delete(&tid);
    count(left);
    return 0;
}
