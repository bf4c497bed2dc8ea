/* Who takes the children of a task that exits. */
#define CHILDREN_MAX 256 /* children walked before the next tail call; the kernel allows 33 of those */

/* Walks the children of the task that exits, which still are its own at this tracepoint. */
int tail_0(struct bpf_raw_tracepoint_args *ctx)
{
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    u64 current = bpf_get_current_task();
    struct dying *state = dying.lookup(&current);
    if (!state)
        return 0;
    struct list_head *node = state->next, *end = state->end;
    struct orphan_event event = {};
    u64 walked = 0, failed = 0;

    event.ts_ns = bpf_ktime_get_ns();
    event.parent_pid = tgid;
    event.parent_tid = state->tid;
    event.parent_start_time_ns = state->start_time_ns;
    for (int i = 0; i < CHILDREN_MAX && node && node != end; i++) {
        struct task_struct *child = LIST_ENTRY(node, struct task_struct, sibling);
        READ(event.pid, child, tgid);
        READ(event.tid, child, pid);
        READ(event.start_time_ns, child, start_time);
        __builtin_memset(event.comm, 0, sizeof(event.comm));
        bpf_probe_read_kernel_str(event.comm, sizeof(event.comm), child->comm);
        READ(event.exit_state, child, exit_state);
        adopt_target(child, event.pid);
        state->witness[i % WITNESSES] = child;
        state->witness_start[i % WITNESSES] = event.start_time_ns;
        /* Negative for failure. Counted without a branch: each doubles what the verifier has to look at. */
        failed += (u64)orphan_ring.ringbuf_output(&event, sizeof(event), 0) >> 63;
        walked++;
        READ(node, node, next);
    }
    count_many(orphan_sent, walked - failed);
    count_many(orphan_lost, failed);
    if (!node || node == end)
        return 0;
    struct list_head *next = NULL;
    READ(next, node, next);
    if (next == node) /* it was reaped meanwhile and is in no list any more: begin again */
        READ(node, end, next);
    state->next = node;
    tails.call(ctx, 0);
    count(orphans_lost);
    return 0;
}

/* exit_notify (kernel/exit.c) has handed the children on. All of them went to one and the same task, so one
 * of them is enough to learn to whom. */
static inline void send_reaper(struct task_struct *father, struct dying *state)
{
    struct task_struct *parent = NULL;
    struct reaper_event event = {};

    event.ts_ns = bpf_ktime_get_ns();
    READ(event.parent_pid, father, tgid);
    event.parent_tid = state->tid;
    event.parent_start_time_ns = state->start_time_ns;
    for (int i = 0; i <= WITNESSES; i++) {
        struct task_struct *child = state->witness[i];
        u64 start = 0;
        READ(parent, child, real_parent);
        READ(start, child, start_time); /* read last: a task_struct used anew has another */
        if (!child || start != state->witness_start[i])
            continue;
        if (parent == father) {
            event.outcome = REAPER_NONE;
            continue;
        }
        event.outcome = REAPER_FOUND;
        READ(event.new_ppid, parent, tgid);
        READ(event.new_tid, parent, pid);
        event.new_start_time_ns = process_start(parent);
        event.new_ns_pid = own_pid(parent, &event.new_ns_level);
        break;
    }
    counted(reaper_ring.ringbuf_output(&event, sizeof(event), 0), reaper_sent);
}
