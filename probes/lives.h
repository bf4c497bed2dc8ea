/* How the tasks of switches.c begin, take another's place, and end; and the census. Included at its end:
 * programs are attached in the reverse of their order, and switches are to be seen last. */

int tp_task_newtask(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *child = (struct task_struct *)ctx->args[0];
    u32 tid = 0, tgid = 0;

    count(tasks_created);
    READ(tid, child, pid);
    READ(tgid, child, tgid);
    if (tid == tgid)
        follow_fork(tgid);
    return 0;
}

/* A thread that is not its process's first takes the first one's id with an exec. */
int tp_sched_process_exec(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = CURRENT();
    u32 cpu = bpf_get_smp_processor_id(), tid = LOAD(task, pid), old_tid = ctx->args[1], zero = 0, slot;
    struct cpu_state *here = cpus.lookup(&cpu);
    struct task_record *record;
    u64 *waiting = held.lookup(&zero);

    if (!begin() || !here)
        return 0;
    slot = here->slot;
    record = tasks.lookup(&slot);
    if (!slot || !record || here->tid != old_tid)
        return 0;
    bpf_get_current_comm(record->comm, sizeof(record->comm));
    if (tid != old_tid) {
        drop_slot(old_tid, slot);
        slots.update(&tid, &slot);
        record->tid = here->tid = tid;
    }
    if (waiting && *waiting == tid) {
        *waiting = 0;
        record->nvcsw = LOAD_AS(u64, task, nvcsw);
        record->told = record->nvcsw + LOAD_AS(u64, task, nivcsw);
        record->in_ns = bpf_ktime_get_ns();
        record->switches = record->voluntary = record->unseen = record->migrations = 0;
        record->on_cpu_ns = record->used_ns = record->blocked_ns = record->runnable_ns = 0;
        record->runtime_ns = LOAD_AS(u64, task, se.sum_exec_runtime);
        record->slept_ns = record->waited_ns = record->wait_max_ns = record->slice_max_ns = 0;
        record->flags = (record->flags & ~(WAITED | SLEPT)) | CUT;
        record->next_slot = record->waker_slot = record->wakes = 0;
        __builtin_memset(record->waits, 0, sizeof(record->waits));
        __builtin_memset(record->slices, 0, sizeof(record->slices));
    }
    return 0;
}

int tp_sched_process_exit(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[0];
    u32 cpu = bpf_get_smp_processor_id(), tgid = bpf_get_current_pid_tgid() >> 32, slot;
    struct cpu_state *here = cpus.lookup(&cpu);
    struct task_record *record;

    adopt_children(task);
    if (begin() && here) {
        slot = here->slot;
        record = tasks.lookup(&slot);
        if (slot && record && record->tid == LOAD(CURRENT(), pid)) {
            bpf_get_current_comm(record->comm, sizeof(record->comm));
#ifdef FILTER_TARGETS
            if (targets.lookup(&tgid)) /* not for long any more */
                record->flags |= PICKED;
#endif
            record->flags |= LEAVING;
            count(left);
        }
    }
    if (none_lives(ctx, task))
        forget_process(tgid);
    return 0;
}

/* Run by user space on each CPU, in an interrupt. */
int run_census(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *typed = CURRENT(), *task = (struct task_struct *)bpf_get_current_task();
    u32 cpu = bpf_get_smp_processor_id(), slot;
    struct cpu_state *here = cpus.lookup(&cpu);
    struct task_record *record;
    u64 begin_ns = begin();

    if (!begin_ns || !here)
        return 0;
    if (!here->in_ns)
        settle(here, typed, task, cpu, begin_ns, 0, 0);
    if (is_another(here, task, cpu))
        make_up(here, typed, task, cpu, begin_ns, bpf_ktime_get_ns(), 0);
    here->kernel_last = kernel_switches(task);
    if (here->kernel_last)
        here->kernel_last -= here->switches;
    if (!here->censuses)
        here->kernel_first = here->kernel_last;
    here->censuses++;
    slot = here->slot;
    record = tasks.lookup(&slot);
    if (slot && record && counts(record))
        record->flags |= WANTED | SHOWN;
    return 0;
}
