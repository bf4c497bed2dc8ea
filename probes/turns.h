/* How a turn of a task on a CPU begins and ends, for switches.c. */

static inline void add_pairs(u32 slot, u32 next_slot, u32 voluntary, u32 involuntary)
{
    u64 key = (u64)slot << 32 | next_slot;
    struct pair_counts fresh = {}, *counts = pairs.lookup(&key);

    if (!counts) {
        pairs.insert(&key, &fresh);
        counts = pairs.lookup(&key);
    }
    if (counts) {
        counts->voluntary += voluntary;
        counts->involuntary += involuntary;
    } else {
        count_many(pairs_lost, voluntary + involuntary);
    }
}

static inline void count_pair(struct task_record *record, u32 slot, u32 next_slot, bool voluntary)
{
    if (record->next_slot != next_slot) {
        if (record->next_slot)
            add_pairs(slot, record->next_slot, record->next_voluntary, record->next_involuntary);
        record->next_slot = next_slot;
        record->next_voluntary = record->next_involuntary = 0;
    }
    if (voluntary)
        record->next_voluntary++;
    else
        record->next_involuntary++;
}

/* Adds up the turn that ends. */
static inline void add_turn(struct task_record *record, u32 cpu, u64 now_ns)
{
    u64 slice_ns = now_ns - record->in_ns, waited_ns = record->waited_ns, slept_ns = record->slept_ns;
    u32 flags = record->flags;

    record->on_cpu_ns += slice_ns;
    if (!(flags & CUT)) {
        add_to(record->slices, slice_ns);
        if (slice_ns > record->slice_max_ns)
            record->slice_max_ns = slice_ns;
    }
    record->runnable_ns += waited_ns;
    record->blocked_ns += slept_ns;
    if (flags & WAITED) {
        add_to(record->waits, waited_ns);
        if (waited_ns > record->wait_max_ns)
            record->wait_max_ns = waited_ns;
    }
    if (flags & SLEPT) {
        u32 index = cpu * BUCKETS + bucket_of(slept_ns);
        u64 *sleep = sleeps.lookup(&index);
        if (sleep)
            *sleep += 1;
    }
    if (record->cpu && record->cpu != cpu + 1)
        record->migrations++;
}

/* What the kernel has counted of a task, with the switch under way. */
struct told {
    u64 nvcsw;
    u64 nivcsw;
    u64 runtime_ns;
};

/* The task leaves the CPU. `shown`: whether it passes the filters. */
static inline void leave(struct task_record *record, struct told *told, bool shown, u32 cpu, u32 slot,
                         u32 next_slot, u32 state, u64 now_ns)
{
    u64 switches = told->nvcsw + told->nivcsw;
    bool voluntary = told->nvcsw != record->nvcsw;

    if (shown) {
        record->switches++;
        record->used_ns += told->runtime_ns - record->runtime_ns;
        record->voluntary += voluntary;
        record->unseen += (u32)(switches - record->told) - 1;
        add_turn(record, cpu, now_ns);
        record->flags |= WANTED | SHOWN;
    } else {
        record->flags &= ~WANTED;
    }
    if (next_slot)
        count_pair(record, slot, next_slot, voluntary);
    record->here = 0;
    record->flags &= ~(ASLEEP | CUT | WAITED | SLEPT);
    if (state)
        record->flags |= ASLEEP;
    record->waited_ns = record->slept_ns = 0;
    record->nvcsw = told->nvcsw;
    record->told = switches;
    record->runtime_ns = told->runtime_ns;
    record->cpu = cpu + 1;
    record->out_ns = now_ns;
    if (state & TASK_DEAD) {
        record->flags |= DEAD;
        drop_slot(record->tid, slot);
        if (record->flags & LEAVING)
            count(freed);
    }
}

/* A task that is not where it was seen to go: it has left there, which the tracepoint did not tell. Returns
 * when, by the time that the kernel has counted for it, but not before `least_ns` and not after `now_ns`. */
static inline u64 leave_untold(struct task_record *record, struct task_struct *task, u32 slot, u32 next_slot,
                               u64 least_ns, u64 now_ns)
{
    struct told told = {record->nvcsw + 1, record->told - record->nvcsw, record->runtime_ns};
    u64 left_ns = record->in_ns;
    u32 pid = 0, state = 0;

    READ(pid, task, pid);
    if (pid == record->tid) { /* else it has ended long since, and the address is another's by now */
        READ(told.nvcsw, task, nvcsw);
        READ(told.nivcsw, task, nivcsw);
        READ(told.runtime_ns, task, se.sum_exec_runtime);
        state = present_state(task) & TASK_DEAD;
    }
    left_ns += told.runtime_ns - record->runtime_ns;
    if (left_ns < least_ns)
        left_ns = least_ns;
    if (left_ns > now_ns || !record->tid) /* an idle task's time is not counted */
        left_ns = now_ns;
    leave(record, &told, record->flags & WANTED, record->here - 1, slot, next_slot,
          state | (told.nvcsw != record->nvcsw), left_ns);
    return left_ns;
}

/* Since when a task that is off the CPU could have run, as far as that was told. Who wakes a task that is
 * about to sleep does so before it is seen to leave its CPU; it has then waited from there on. */
static inline u64 ready_ns(struct task_record *record)
{
    if (record->flags & ASLEEP && record->woken_ns > record->out_ns)
        return record->woken_ns;
    return record->out_ns;
}

/* A task gets the CPU: its wait is over. The end of its sleep may not have been told: the kernel does not run
 * a program of this probe on top of itself, which is where an interrupt wakes somebody while a task wakes
 * itself. The run queue tells then, else that time counts as slept. */
static inline void enter(struct task_record *record, struct task_struct *task, u32 cpu, u64 now_ns)
{
    u64 out_ns = record->out_ns, since_ns = ready_ns(record);
    u32 flags = record->flags, seen = WAITED;

    if (since_ns == out_ns && (flags & CUT || (flags & ASLEEP && record->woken_ns < record->in_ns))) {
        seen = 0;
        if (flags & ASLEEP)
            count(unwoken);
        since_ns = queued_ns(task, now_ns);
        if (since_ns > out_ns)
            seen = WAITED;
        else
            since_ns = since_ns || (!TELLS_QUEUED && !(flags & ASLEEP)) ? out_ns : now_ns;
    }
    if (since_ns > out_ns && seen && !(flags & CUT))
        seen |= SLEPT;
    record->flags = (flags & ~CUT) | seen;
    record->slept_ns = since_ns - out_ns;
    record->waited_ns = now_ns - since_ns;
    record->in_ns = now_ns;
    record->here = cpu + 1;
}

static inline void take_cpu(struct cpu_state *here, struct task_struct *task, u32 slot, u32 cpu, u64 now_ns)
{
    struct task_record *record = tasks.lookup(&slot);

    here->task = (u64)task;
    here->slot = slot;
    here->in_ns = now_ns;
    if (!record || !slot) {
        READ(here->tid, task, pid);
        return;
    }
    here->tid = record->tid;
    if (!here->tid) {
        record->in_ns = now_ns;
        record->here = cpu + 1;
        return;
    }
    if (record->here) {
        u32 there = record->here - 1;
        struct cpu_state *other = cpus.lookup(&there);
        u64 nvcsw = record->nvcsw, left_ns = leave_untold(record, task, slot, 0, 0, now_ns);
        if (other) {
            other->left_ns = left_ns;
            other->left_voluntary = record->nvcsw != nvcsw;
        }
    }
    enter(record, task, cpu, now_ns);
}

static inline void send_waking(struct cpu_state *here, u32 cpu, u32 slot, struct task_record *record)
{
#ifdef TIMELINE
    struct waking_event event = {record->woken_ns, slot, here->slot, cpu,
                                 record->cpu ? record->cpu - 1 : cpu};
    counted(waking_ring.ringbuf_output(&event, sizeof(event), 0), waking_sent);
#endif
}

static inline void count_switch(struct cpu_state *here, u32 cpu, u32 next_slot, u32 state, u64 now_ns)
{
#ifdef TIMELINE
    struct turn_event event = {now_ns, here->in_ns, here->slot, next_slot, cpu, state};
    counted(turn_ring.ringbuf_output(&event, sizeof(event), 0), turn_sent);
#endif
    if (here->tid)
        here->busy_ns += now_ns - here->in_ns;
    else
        here->idle_ns += now_ns - here->in_ns;
    here->switches++;
}

/* When the current task got the CPU, which was not told, by the time that the kernel has counted for it, but
 * not before `least_ns`. */
static inline u64 came_ns(struct cpu_state *here, struct task_struct *current, u32 slot, u64 least_ns,
                          u64 now_ns)
{
    struct task_record *record = tasks.lookup(&slot);
    u64 ran_ns = LOAD_AS(u64, current, se.sum_exec_runtime);

    if (!slot || !record)
        return now_ns;
    ran_ns -= record->runtime_ns;
    if (least_ns < here->in_ns)
        least_ns = here->in_ns;
    return ran_ns < now_ns - least_ns ? now_ns - ran_ns : least_ns;
}

/* Whether the current task is not the one that was seen to come, or has been elsewhere since. */
static inline bool is_another(struct cpu_state *here, struct task_struct *current, u32 cpu)
{
    u32 slot = here->slot;
    struct task_record *record = tasks.lookup(&slot);
    return here->task != (u64)current || (slot && record && record->here != cpu + 1);
}

/* The current task is not the one that was seen to come: there was a switch that the tracepoint did not tell
 * of. When it was is known from the time that the kernel has counted for the other. If there were several,
 * those in between are counted for the CPU alone, and their time as idle. `under_way`: 1 in the middle of a
 * switch. */
static inline void make_up(struct cpu_state *here, struct task_struct *typed, struct task_struct *address,
                           u32 cpu, u64 begin_ns, u64 now_ns, u32 under_way)
{
    struct task_struct *gone = (struct task_struct *)here->task;
    u32 slot = here->slot, next_slot = slot_for(here, address, cpu, CUT, begin_ns);
    struct task_record *record = tasks.lookup(&slot), *next = tasks.lookup(&next_slot);
    u64 left_ns = here->in_ns, kernel = kernel_switches(address), number = 1, least_ns = 0;

    if (kernel && here->censuses)
        number = kernel - under_way - here->kernel_first - here->switches;
    if (number - 1 > 1000)
        number = 1;
    count_many(untold, number);
    if (next_slot && next && next->tid && !next->here)
        least_ns = ready_ns(next);
    if (!here->tid)
        now_ns = came_ns(here, typed, next_slot, least_ns, now_ns);
    if (slot && record && record->here == cpu + 1) {
        left_ns = leave_untold(record, gone, slot, next_slot, number > 1 ? 0 : least_ns, now_ns);
    } else if (here->left_ns > left_ns) {
        left_ns = here->left_ns;
        if (slot && next_slot)
            add_pairs(slot, next_slot, here->left_voluntary, !here->left_voluntary);
    }
    if (least_ns < left_ns)
        least_ns = left_ns;
    if (number > 1 && here->tid && next && next->tid)
        least_ns = came_ns(here, typed, next_slot, least_ns, now_ns);
    if (number > 1 && left_ns < least_ns) { /* who was there in between is not known */
        number--;
        count_switch(here, cpu, 1 + cpu, UNTOLD, left_ns);
        here->in_ns = left_ns;
        here->slot = 1 + cpu;
        here->tid = 0;
    }
    left_ns = least_ns;
    here->switches += number - 1;
    count_switch(here, cpu, next_slot, UNTOLD, left_ns);
    take_cpu(here, address, next_slot, cpu, left_ns);
}
