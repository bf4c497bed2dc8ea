/* Context switches: who ran, for how long, who waited, why, for what and for whom.
 *
 * Everything is added up in the kernel; nothing is sent but for a timeline. A switch ends a turn of one task
 * and begins another's; a turn is added up when it ends, with the wait before it, as then the task is the
 * current one and the filters can look at it. Whether a switch was voluntary the kernel has said by then, in
 * the task's own counts
 * (__schedule, kernel/sched/core.c): since Linux 6.16 the tracepoint's arguments alone do not tell it of a
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
 *   TIMELINE      each turn on a CPU and each wake-up is sent, of all tasks
 */
#include "kintro.h"
#include "current.h"
#include "buckets.h"
#include "switches.h"
#include "state.h"
#include "tasks.h"
#include "turns.h"

int tp_sched_switch(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *typed = CURRENT(), *prev = (struct task_struct *)ctx->args[1];
    struct task_struct *next = (struct task_struct *)ctx->args[2];
    u32 cpu = bpf_get_smp_processor_id(), state = state_of(ctx, typed), slot, next_slot;
    struct cpu_state *here = cpus.lookup(&cpu);
    struct task_record *record;
    u64 begin_ns = begin(), now_ns;

    if (!begin_ns || !here)
        return 0;
    now_ns = bpf_ktime_get_ns();
    if (!here->in_ns)
        settle(here, typed, prev, cpu, begin_ns, 1, state != 0);
    if (is_another(here, prev, cpu))
        make_up(here, typed, prev, cpu, begin_ns, now_ns, 1);
    next_slot = slot_for(here, next, cpu, CUT, begin_ns);
    slot = here->slot;
    record = tasks.lookup(&slot);
    if (slot && record) {
        struct told told = {LOAD_AS(u64, typed, nvcsw), LOAD_AS(u64, typed, nivcsw),
                            LOAD_AS(u64, typed, se.sum_exec_runtime)};
        leave(record, &told, counts(record), cpu, slot, next_slot, state, now_ns);
    }
    count_switch(here, cpu, next_slot, ctx->args[0] ? PREEMPTED : state, now_ns);
    take_cpu(here, next, next_slot, cpu, now_ns);
    return 0;
}

/* In the waker's context: the current task's, or an interrupt's on top of it. */
int tp_sched_waking(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[0];
    u32 cpu = bpf_get_smp_processor_id(), slot;
    struct cpu_state *here = cpus.lookup(&cpu);
    struct task_record *record;
    u64 begin_ns = begin();

    /* Who wakes itself is there already, and interrupts may be on. */
    if (!begin_ns || !here || here->task == (u64)task)
        return 0;
    slot = slot_for(here, task, cpu, CUT | ASLEEP, begin_ns);
    record = tasks.lookup(&slot);
    if (!slot || !record)
        return 0;
    record->woken_ns = bpf_ktime_get_ns();
    send_waking(here, cpu, slot, record);
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
