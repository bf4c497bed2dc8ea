/* How the threads of syscalls.c begin, take another's place, and end. Included at its end: programs are
 * attached in the reverse of their order, and calls are to be seen last. */

int tp_task_newtask(struct bpf_raw_tracepoint_args *ctx)
{
    struct thread_record *record = newborn(ctx);

    count(tasks_created);
    if (record)
        record->stamp_ns = bpf_ktime_get_ns();
    return 0;
}

int tp_sched_process_exec(struct bpf_raw_tracepoint_args *ctx)
{
    struct thread_record *record = of_exec(ctx, bpf_get_current_pid_tgid());

    if (!record)
        return 0;
    if (record->flags & HELD) {
        record->flags &= ~HELD;
        record->calls = record->slot != 0;
        record->user_ns = record->kernel_ns = 0;
        identify(record);
    }
    return 0;
}

/* What a thread leaves behind is added to its process's. */
static inline void leave(struct thread_record *record, struct task_struct *task)
{
    struct process_key key = {.start_ns = record->process_start_ns, .tgid = record->tgid};
    struct process_sums fresh = {}, *sums;
    struct task_struct *leader = NULL;
    u64 now_ns = bpf_ktime_get_ns(), runtime_ns = 0, utime_ns = 0, stime_ns = 0;

    if (record->slot) {
        record->kernel_ns += now_ns - record->stamp_ns;
        count_outcome(record, record->slot - 1, UNFINISHED);
    } else if (record->stamp_ns) {
        record->user_ns += now_ns - record->stamp_ns;
    }
    sums = ended.lookup(&key);
    if (!sums) {
        ended.insert(&key, &fresh);
        sums = ended.lookup(&key);
    }
    if (!sums) {
        count(processes_lost);
        return;
    }
    READ(runtime_ns, task, se.sum_exec_runtime);
    READ(utime_ns, task, utime);
    READ(stime_ns, task, stime);
    READ(leader, task, group_leader);
    __sync_fetch_and_add(&sums->calls, record->calls);
    __sync_fetch_and_add(&sums->user_ns, record->user_ns);
    __sync_fetch_and_add(&sums->kernel_ns, record->kernel_ns);
    __sync_fetch_and_add(&sums->runtime_ns, runtime_ns - record->runtime_ns);
    __sync_fetch_and_add(&sums->utime, (u32)(coarse(utime_ns) - record->utime));
    __sync_fetch_and_add(&sums->stime, (u32)(coarse(stime_ns) - record->stime));
    bpf_probe_read_kernel_str(sums->comm, sizeof(sums->comm), leader->comm);
    struct leaving rest = {key, runtime_ns, coarse(utime_ns), coarse(stime_ns)};
    u64 address = (u64)task;
    if (leaving.update(&address, &rest) == 0)
        count(left);
}

int tp_sched_process_free(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[0];
    u64 address = (u64)task, runtime_ns = 0, utime_ns = 0, stime_ns = 0;
    struct leaving *before = leaving.lookup(&address);
    struct process_sums *sums;

    if (!before)
        return 0;
    sums = ended.lookup(&before->key);
    if (sums) {
        READ(runtime_ns, task, se.sum_exec_runtime);
        READ(utime_ns, task, utime);
        READ(stime_ns, task, stime);
        __sync_fetch_and_add(&sums->runtime_ns, runtime_ns - before->runtime_ns);
        __sync_fetch_and_add(&sums->utime, (u32)(coarse(utime_ns) - before->utime));
        __sync_fetch_and_add(&sums->stime, (u32)(coarse(stime_ns) - before->stime));
    }
    leaving.delete(&address);
    count(freed);
    return 0;
}

int tp_sched_process_exit(struct bpf_raw_tracepoint_args *ctx)
{
    struct thread_record *record = of_exit(ctx);
    u32 tid = bpf_get_current_pid_tgid();

    if (!record)
        return 0;
    if (record->tgid && !(record->flags & HELD))
        leave(record, (struct task_struct *)ctx->args[0]);
    drop_record(tid, record);
    return 0;
}
