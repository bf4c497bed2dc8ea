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

/* `process`: all of the process; else the one thread, by the id it had. */
static inline void send_exit(struct task_struct *task, bool process, u32 tid)
{
    struct signal_struct *signal = NULL;
    struct task_struct *leader = NULL;
    struct exit_event event = {};

    event.ts_ns = bpf_ktime_get_ns();
    event.process = process;
    event.tid = tid;
    READ(event.pid, task, tgid);
    bpf_probe_read_kernel_str(event.comm, sizeof(event.comm), task->comm);
    READ(leader, task, group_leader);
    event.ppid = parent_tgid(leader); /* a released thread's own is no longer kept up to date */
    if (process) {
        u32 flags = 0;
        READ(event.start_time_ns, leader, start_time);
        READ(event.exit_state, leader, exit_state);
        /* The status that wait_task_zombie (kernel/exit.c) hands to the parent. */
        READ(signal, task, signal);
        READ(flags, signal, flags);
        if (flags & SIGNAL_GROUP_EXIT)
            READ(event.wait_status, signal, group_exit_code);
        else
            READ(event.wait_status, leader, exit_code);
#ifdef HAVE_SIGNAL_STRUCT_PREV_CPUTIME
        READ(event.told_utime_ns, signal, prev_cputime.utime);
        READ(event.told_stime_ns, signal, prev_cputime.stime);
#endif
        add_process(&event, signal);
        count(exits);
    } else {
        READ(event.start_time_ns, task, start_time);
        READ(event.exit_state, task, exit_state);
        READ(event.wait_status, task, exit_code);
        add_task(&event, task);
    }
    counted(exit_ring.ringbuf_output(&event, sizeof(event), 0), exit_sent);
}

/* Whether all threads of the process have left with this one: others than its leader are released by then,
 * and the leader is a zombie, or reaped. */
static inline bool last_to_leave(struct task_struct *task)
{
    struct signal_struct *signal = NULL;
    struct task_struct *leader = NULL;
    s32 threads = 0, leader_state = 0;

    READ(signal, task, signal);
    u64 key = (u64)signal;
    if (!ending.lookup(&key))
        return false;
    READ(threads, signal, nr_threads);
    READ(leader, task, group_leader);
    READ(leader_state, leader, exit_state);
    return threads <= 1 && leader_state && ending.delete(&key) == 0;
}

int tp_sched_switch(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[1];
    u64 key = (u64)task;
    struct dying *state;
    s32 exit_state = 0;
    u32 tid = 0, tgid = 0;

    READ(exit_state, task, exit_state);
    if (!exit_state)
        return 0;
    READ(tid, task, pid);
    READ(tgid, task, tgid);
    state = dying.lookup(&key);
    if (state) {
        tid = state->tid;
        if (state->parent)
            send_reaper(task, state);
    }
    bool process = last_to_leave(task);
    if (process) {
        send_exit(task, true, tid);
        forget_process(tgid); /* user space may have found it in /proc meanwhile and added it again */
        count(left);
    }
    /* Looked up again, so that the verifier need not go twice through what is above. */
    state = dying.lookup(&key);
    if (state) {
#ifdef THREADS
        if (!process)
            send_exit(task, false, tid);
#endif
        dying.delete(&key);
        count(left);
    }
    return 0;
}
