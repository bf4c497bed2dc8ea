/* How the tasks of switches.c come by their records, and what is asked of them. */

#define TASK_DEAD 0x00000080 /* include/linux/sched.h */

/* Where nobody is filtered out all are shown, also those that never leave a CPU. */
#if defined(FILTER_TARGETS) || defined(FILTER_UID) || defined(FILTER_COMM_LOW) || defined(FILTER_CGROUP) ||  \
    defined(FILTER_PIDNS)
#define NEW USED
#else
#define NEW (USED | WANTED | SHOWN)
#endif

/* When tracing began; 0 before and after. */
static inline u64 begin(void)
{
    u32 zero = 0;
    u64 *begin_ns = begun.lookup(&zero);
    return begin_ns ? *begin_ns : 0;
}

/* A task's state, TASK_… of include/linux/sched.h, by way of its address. */
static inline u32 present_state(struct task_struct *task)
{
    u32 state = 0;
#if defined(HAVE_TASK_STRUCT___STATE)
    READ(state, task, __state);
#else
    u64 wide = 0;
    READ(wide, task, state);
    state = wide;
#endif
    return state;
}

/* The run queue in which a task is; NULL if the kernel does not tell. */
static inline struct rq *rq_of(struct task_struct *task)
{
    struct rq *rq = NULL;
#if defined(HAVE_SCHED_ENTITY_CFS_RQ) && defined(HAVE_CFS_RQ_RQ)
    struct cfs_rq *cfs_rq = NULL;
    READ(cfs_rq, task, se.cfs_rq);
    READ(rq, cfs_rq, rq);
#endif
    return rq;
}

/* The kernel's own count of this CPU's switches, by way of the current task; 0 if it does not tell. */
static inline u64 kernel_switches(struct task_struct *task)
{
    struct rq *rq = rq_of(task);
    u64 switches = 0;
    if (rq)
        READ(switches, rq, nr_switches);
    return switches;
}

#if defined(HAVE_SCHED_INFO_LAST_QUEUED) && defined(HAVE_RQ_CLOCK)
#define TELLS_QUEUED 1
#else
#define TELLS_QUEUED 0
#endif

/* When a task that is about to get the CPU was put into its run queue, the last time; 0 if the kernel does
 * not tell, or it has the CPU. That is noted by the run queue's clock, which the switch under way has set. */
static inline u64 queued_ns(struct task_struct *task, u64 now_ns)
{
    u64 queued = 0, clock = 0;
#if TELLS_QUEUED
    struct rq *rq = rq_of(task);
    READ(queued, task, sched_info.last_queued);
    if (rq)
        READ(clock, rq, clock);
#endif
    return queued && clock >= queued ? now_ns - (clock - queued) : 0;
}

static inline u32 slot_of(u32 tid)
{
    u32 *slot = slots.lookup(&tid);
    return slot ? *slot : 0;
}

static inline void drop_slot(u32 tid, u32 slot)
{
    u32 zero = 0;
    if (slot_of(tid) != slot)
        return; /* the tid is another's by now */
#ifdef TID_INDEX
    slots.update(&tid, &zero);
#else
    slots.delete(&tid);
#endif
}

/* To be called with interrupts off. 0: there is none left. */
static inline u32 fresh_slot(struct cpu_state *here)
{
    u32 mine = 1;
    if (here->next_slot == here->end_slot) {
        u32 chunk = 0;
        for (int i = 0; i < CHUNK_TRIES; i++) {
            chunk = here->chunk + (CPUS + CHUNK) / CHUNK;
            if (chunk >= TASKS / CHUNK)
                return 0;
            here->chunk++;
            if (claims.insert(&chunk, &mine) == 0)
                break;
            chunk = 0;
        }
        if (!chunk)
            return 0;
        here->next_slot = chunk * CHUNK;
        here->end_slot = here->next_slot + CHUNK;
    }
    return here->next_slot++;
}

/* A record for a task that was off the CPU since then, or since it began. Returns its slot, 0 if there is
 * none. */
static inline u32 add_task(struct cpu_state *here, struct task_struct *task, u64 ids, u32 flags, u64 since_ns)
{
    u32 slot = fresh_slot(here), tid = ids;
    struct task_record *record = tasks.lookup(&slot);
    u64 nivcsw = 0;

    if (!slot || !record || slots.update(&tid, &slot)) {
        count(tasks_lost);
        return 0;
    }
    READ(record->nvcsw, task, nvcsw);
    READ(nivcsw, task, nivcsw);
    READ(record->runtime_ns, task, se.sum_exec_runtime);
    READ(record->start_ns, task, start_time);
    bpf_probe_read_kernel_str(record->comm, sizeof(record->comm), task->comm);
    record->told = record->nvcsw + nivcsw;
    record->in_ns = record->out_ns = record->start_ns > since_ns ? record->start_ns : since_ns;
    record->tid = tid;
    record->tgid = ids >> 32;
    record->flags = NEW | flags;
    return slot;
}

/* A task's slot; it is given a record if it has none. `flags`: what it has been since tracing began. */
static inline u32 slot_for(struct cpu_state *here, struct task_struct *task, u32 cpu, u32 flags, u64 begin_ns)
{
    u64 address = (u64)task, ids = 0;
    u32 index = cpu * KNOWN + ((address >> 6 ^ address >> 12) & (KNOWN - 1)), slot;
    struct known_task *remembered = known.lookup(&index);
    struct task_record *record;

    if (!remembered)
        return 0;
    if (remembered->task == address) {
        slot = remembered->slot;
        record = tasks.lookup(&slot);
        if (record && !(record->flags & DEAD)) /* else the address may be another's by now */
            return slot;
    }
    bpf_probe_read_kernel(&ids, sizeof(ids), &task->pid);
    slot = ids ? slot_of((u32)ids) : 1 + cpu;
    if (!slot)
        slot = add_task(here, task, ids, flags, begin_ns);
    remembered->task = slot ? address : 0;
    remembered->slot = slot;
    return slot;
}

/* The first that is seen on a CPU: the current task has been there since tracing began. `switches`: how many
 * it has made meanwhile, that is now, by the kernel's count; whether that was voluntary.
 * `typed`: it as the verifier knows it; with `address` one may reckon. */
static inline void settle(struct cpu_state *here, struct task_struct *typed, struct task_struct *address,
                          u32 cpu, u64 begin_ns, u32 switches, u32 voluntary)
{
    u32 slot = slot_for(here, address, cpu, CUT, begin_ns);
    struct task_record *record = tasks.lookup(&slot);

    here->task = (u64)address;
    here->tid = LOAD(typed, pid);
    here->slot = slot;
    here->in_ns = begin_ns;
    if (!slot || !record)
        return;
    record->cpu = record->here = cpu + 1;
    record->in_ns = begin_ns;
    record->flags = NEW | CUT;
    record->nvcsw = LOAD_AS(u64, typed, nvcsw);
    record->told = record->nvcsw + LOAD_AS(u64, typed, nivcsw) - switches;
    record->nvcsw -= voluntary;
}

/* Whether the current task, whose record it is, passes the filters. */
static inline bool counts(struct task_record *record)
{
#ifdef FILTER_TARGETS
    if (!(record->flags & PICKED)) {
        if (!is_target())
            return false;
        record->flags |= PICKED;
    }
#endif
    return passes();
}

static inline void add_to(u32 *buckets, u64 ns)
{
    u64 bucket = bucket_of(ns);
    asm volatile("%0 &= 127" : "+r"(bucket)); /* BUCKETS - 1, for the verifier of Linux 6.1 */
    buckets[bucket]++;
}

static inline void count_wakes(struct task_record *record, u32 slot)
{
    u64 key = (u64)slot << 32 | record->waker_slot, zero = 0, *number;

    if (!record->wakes)
        return;
    number = wakers.lookup(&key);
    if (!number) {
        wakers.insert(&key, &zero);
        number = wakers.lookup(&key);
    }
    if (number)
        *number += record->wakes;
    else
        count_many(wakers_lost, record->wakes);
}
