/* Context switches: who ran, for how long, who waited, why, for what and for whom.
 *
 * Everything is added up in the kernel; nothing is sent. A switch ends a turn of one task and begins
 * another's; a turn is added up when it ends, with the wait before it, as then the task is the current one
 * and the filters can look at it. Whether a switch was voluntary the kernel has said by then, in the task's
 * own counts
 * (__schedule, kernel/sched/core.c): since Linux 6.14 the tracepoint's arguments alone do not tell it of a
 * task that a signal kept from sleeping.
 *
 * A census is taken on each CPU when tracing begins and when it ends: who is there, and how many switches the
 * kernel has counted. It runs in an interrupt, so that no switch is made for it.
 *
 * Cost: see bench/switches.py. 1.2 KiB for each task that may be told apart.
 *
 * Parameters beside those of kintro.h:
 *   TASKS         tasks that may have a record
 *   TIDS          tids that can be told apart at a time
 *   TID_INDEX     every tid is below TIDS
 */
#include "kintro.h"
#include "current.h"
#include "buckets.h"
#include "switches.h"
#include "tasks.h"

static inline void count_pair(struct task_record *record, u32 slot, u32 next_slot, bool voluntary)
{
    if (record->next_slot != next_slot) {
        if (record->next_slot) {
            u64 key = (u64)slot << 32 | record->next_slot;
            struct pair_counts fresh = {}, *counts = pairs.lookup(&key);
            if (!counts) {
                pairs.insert(&key, &fresh);
                counts = pairs.lookup(&key);
            }
            if (counts) {
                counts->voluntary += record->next_voluntary;
                counts->involuntary += record->next_involuntary;
            } else {
                count_many(pairs_lost, record->next_voluntary + record->next_involuntary);
            }
        }
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
    count_pair(record, slot, next_slot, voluntary);
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
        count(freed);
    }
}

/* A task gets the CPU: its wait is over. Who wakes a task that is about to sleep does so before it is seen to
 * leave its CPU; it has then waited from there on. */
static inline void enter(struct task_record *record, u64 now_ns)
{
    u64 out_ns = record->out_ns, woken_ns = record->woken_ns;
    u32 flags = record->flags;

    record->in_ns = now_ns;
    if (flags & ASLEEP && woken_ns > out_ns) {
        record->slept_ns = woken_ns - out_ns;
        record->waited_ns = now_ns > woken_ns ? now_ns - woken_ns : 0;
        record->flags = (flags & ~CUT) | WAITED | (flags & CUT ? 0 : SLEPT);
    } else {
        record->slept_ns = 0;
        record->waited_ns = now_ns - out_ns;
        record->flags = (flags & ~CUT) | (flags & CUT ? 0 : WAITED);
    }
}

static inline void take_cpu(struct cpu_state *here, struct task_struct *task, u64 ids, u32 slot, u64 now_ns)
{
    struct task_record *record = tasks.lookup(&slot);

    here->task = (u64)task;
    here->tid = ids;
    here->slot = slot;
    here->in_ns = now_ns;
    if (!record || !slot)
        return;
    if (ids)
        enter(record, now_ns);
    else
        record->in_ns = now_ns;
}

static inline void count_switch(struct cpu_state *here, u64 now_ns)
{
    if (here->tid)
        here->busy_ns += now_ns - here->in_ns;
    else
        here->idle_ns += now_ns - here->in_ns;
    here->switches++;
}

/* The current task is not the one that was seen to come: there was a switch that the tracepoint did not tell
 * of. When it was is known from the time that the kernel has counted for the other. If there were several,
 * those in between are counted for the CPU alone. */
static inline void make_up(struct cpu_state *here, struct task_struct *current, u64 ids, u32 cpu,
                           u64 begin_ns, u64 now_ns)
{
    struct task_struct *gone = (struct task_struct *)here->task;
    u32 slot = here->slot, next_slot = ids ? slot_of((u32)ids) : 1 + cpu;
    struct task_record *record = tasks.lookup(&slot);
    struct told told = {};
    u64 left_ns = here->in_ns, kernel = kernel_switches(current), number = 1;

    if (kernel && here->censuses)
        number = kernel - 1 - here->kernel_first - here->switches; /* but for the one under way */
    if (number - 1 > 1000)
        number = 1;
    here->switches += number - 1;
    count_many(untold, number);
    if (!next_slot)
        next_slot = add_task(here, current, ids, CUT, begin_ns);
    if (slot && record) {
        READ(told.nvcsw, gone, nvcsw);
        READ(told.nivcsw, gone, nivcsw);
        READ(told.runtime_ns, gone, se.sum_exec_runtime);
        if (here->tid)
            left_ns += told.runtime_ns - record->runtime_ns;
        else
            left_ns = now_ns;
        if (left_ns > now_ns)
            left_ns = now_ns;
        leave(record, &told, record->flags & WANTED, cpu, slot, next_slot, told.nvcsw != record->nvcsw,
              left_ns);
    }
    count_switch(here, left_ns);
    take_cpu(here, current, ids, next_slot, left_ns);
}

int tp_sched_switch(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *prev = CURRENT(), *next = (struct task_struct *)ctx->args[2];
    u32 cpu = bpf_get_smp_processor_id(), state = state_of(ctx, prev), tid = LOAD(prev, pid), slot, next_slot;
    struct cpu_state *here = cpus.lookup(&cpu);
    struct task_record *record;
    u64 begin_ns = begin(), now_ns, ids = 0;

    if (!begin_ns || !here)
        return 0;
    now_ns = bpf_ktime_get_ns();
    if (!here->in_ns)
        settle(here, prev, cpu, begin_ns, 1, state != 0);
    if (here->tid != tid)
        make_up(here, prev, (u64)LOAD(prev, tgid) << 32 | tid, cpu, begin_ns, now_ns);
    bpf_probe_read_kernel(&ids, sizeof(ids), &next->pid);
    next_slot = ids ? slot_of((u32)ids) : 1 + cpu;
    if (!next_slot)
        next_slot = add_task(here, next, ids, CUT, begin_ns);
    slot = here->slot;
    record = tasks.lookup(&slot);
    if (slot && record) {
        struct told told = {LOAD_AS(u64, prev, nvcsw), LOAD_AS(u64, prev, nivcsw),
                            LOAD_AS(u64, prev, se.sum_exec_runtime)};
        leave(record, &told, counts(record), cpu, slot, next_slot, state, now_ns);
    }
    count_switch(here, now_ns);
    take_cpu(here, next, ids, next_slot, now_ns);
    return 0;
}

/* In the waker's context: the current task's, or an interrupt's on top of it. */
int tp_sched_waking(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[0];
    u32 cpu = bpf_get_smp_processor_id(), slot;
    struct cpu_state *here = cpus.lookup(&cpu);
    struct task_record *record;
    u64 begin_ns = begin(), ids = 0;

    /* Who wakes itself is there already, and interrupts may be on. */
    if (!begin_ns || !here || (u64)task == bpf_get_current_task())
        return 0;
    bpf_probe_read_kernel(&ids, sizeof(ids), &task->pid);
    slot = slot_of((u32)ids);
    if (!slot)
        slot = add_task(here, task, ids, CUT | ASLEEP, begin_ns);
    record = tasks.lookup(&slot);
    if (!slot || !record)
        return 0;
    record->woken_ns = bpf_ktime_get_ns();
    if (record->waker_slot != here->slot) {
        count_wakes(record, slot);
        record->waker_slot = here->slot;
        record->wakes = 0;
    }
    record->wakes++;
    return 0;
}

int tp_sched_wakeup_new(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[0];
    u32 cpu = bpf_get_smp_processor_id();
    struct cpu_state *here = cpus.lookup(&cpu);
    u64 ids = 0;

    if (!begin() || !here)
        return 0;
    bpf_probe_read_kernel(&ids, sizeof(ids), &task->pid);
    add_task(here, task, ids, 0, bpf_ktime_get_ns());
    return 0;
}

#include "lives.h"
