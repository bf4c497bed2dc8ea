/* System calls: how many of which, how long, with which errors; time in the kernel and outside of it.
 *
 * Everything is added up in the kernel; nothing is sent. Each thread has a record of its own for as long as
 * it lives: when it last entered or left the kernel, and the call under way, told by its number at the entry,
 * as execve and rt_sigreturn change the registers. Results are kept for each CPU, so that no two write to
 * one.
 *
 * Cost: see bench/syscalls.py. 64 bytes for each possible thread, 530 KiB for each CPU.
 *
 * Parameters beside those of kintro.h:
 *   THREADS       threads that may have a record
 *   TID_INDEX     their records are found by tid: every tid is below THREADS
 *   BY_PROCESS    results for each process
 */
#include "kintro.h"
#include "syscalls.h"

static inline u32 bucket_of(u64 ns)
{
    u64 rest = ns >> FIRST_EXPONENT;
    u32 exponent = 0;
    if (!rest)
        return 0;
    if (rest >> 32)
        return BUCKETS - 1;
    if (rest >> 16) {
        rest >>= 16;
        exponent += 16;
    }
    if (rest >> 8) {
        rest >>= 8;
        exponent += 8;
    }
    if (rest >> 4) {
        rest >>= 4;
        exponent += 4;
    }
    if (rest >> 2) {
        rest >>= 2;
        exponent += 2;
    }
    exponent += rest >> 1;
    return exponent * 4 + (ns >> (exponent + FIRST_EXPONENT - 2) & 3);
}

/* The first that is seen of a thread that counts. */
static inline void identify(struct thread_record *record)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task(), *leader = NULL;
    u64 utime_ns = 0, stime_ns = 0;
    record->tgid = bpf_get_current_pid_tgid() >> 32;
    READ(leader, task, group_leader);
    READ(record->process_start_ns, leader, start_time);
    READ(record->runtime_ns, task, se.sum_exec_runtime);
    READ(utime_ns, task, utime);
    READ(stime_ns, task, stime);
    record->utime = coarse(utime_ns);
    record->stime = coarse(stime_ns);
}

/* When a thread was last seen, before its first entry or exit: when tracing began. */
static inline u64 begin_ns(void)
{
    u32 zero = 0;
    u64 *begin = begun.lookup(&zero);
    return begin ? *begin : 0;
}

static inline bool counts(struct thread_record *record)
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

static inline u16 slot_of(u64 number)
{
#ifdef HAVE_THREAD_INFO_STATUS
    if (CURRENT(thread_info.status) & TS_COMPAT)
        return COMPAT_SLOT;
#endif
    return number < OTHER_SLOT ? number : OTHER_SLOT;
}

int tp_sys_enter(struct bpf_raw_tracepoint_args *ctx)
{
    u32 tid = CURRENT(pid);
    struct thread_record *record = record_of(tid);
    u64 now_ns;

    if (!record) {
        if (wanted())
            count(threads_lost);
        return 0;
    }
    if (!counts(record)) {
        record->flags |= ENTERED | SKIPPED;
        record->stamp_ns = 0;
        return 0;
    }
    if (record->slot)
        count(overtaken);
    if (!record->tgid)
        identify(record);
    record->slot = slot_of(ctx->args[1]) + 1;
    record->calls++;
    now_ns = bpf_ktime_get_ns();
    if (record->stamp_ns)
        record->user_ns += now_ns - record->stamp_ns;
    else if (!(record->flags & ENTERED))
        record->user_ns += now_ns - begin_ns();
    record->flags |= ENTERED;
    record->stamp_ns = now_ns;
    return 0;
}

/* An exit without an entry. */
static inline void only_left(struct thread_record *record, u64 now_ns)
{
    u16 flags = record->flags;

    record->flags &= ~(SKIPPED | NEWBORN);
    if (flags & SKIPPED || !counts(record))
        return;
    if (!(flags & (HELD | NEWBORN)))
        count(flags & ENTERED ? refused : early);
    if (flags & ENTERED)
        return;
    if (!record->tgid)
        identify(record);
    record->kernel_ns += now_ns - (record->stamp_ns ? record->stamp_ns : begin_ns());
    record->stamp_ns = now_ns;
}

int tp_sys_exit(struct bpf_raw_tracepoint_args *ctx)
{
    u64 now_ns = bpf_ktime_get_ns(), taken_ns;
    u32 tid = CURRENT(pid);
    struct thread_record *record = record_of(tid);
    struct result *result;
    s64 returned = ctx->args[1];
    u16 slot;

    if (!record)
        return 0;
    if (!record->slot) {
        only_left(record, now_ns);
        return 0;
    }
    slot = record->slot - 1;
    taken_ns = now_ns - record->stamp_ns;
    record->slot = 0;
    record->stamp_ns = now_ns;
    record->kernel_ns += taken_ns;
    if (record->flags & HELD)
        return 0;
    if (returned < 0 && returned >= -4095) /* MAX_ERRNO, include/linux/err.h */
        count_outcome(record, slot, -returned);
    result = result_of(record, slot);
    if (!result) {
        count(results_lost);
        return 0;
    }
    result->total_ns += taken_ns;
    result->buckets[bucket_of(taken_ns) & (BUCKETS - 1)]++;
    if (taken_ns > result->max_ns)
        result->max_ns = taken_ns;
    if (!result->min_ns || taken_ns < result->min_ns)
        result->min_ns = taken_ns;
    return 0;
}

int tp_task_newtask(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *child = (struct task_struct *)ctx->args[0];
    struct thread_record *record;
    u32 tid = 0, tgid = 0;

    count(tasks_created);
    READ(tid, child, pid);
    READ(tgid, child, tgid);
    if (tid == tgid)
        follow_fork(tgid);
    record = record_of(tid);
    if (!record)
        return 0;
    __builtin_memset(record, 0, sizeof(*record)); /* of the last one with this id, should its end be missed */
    record->flags = NEWBORN;
    record->stamp_ns = bpf_ktime_get_ns();
    return 0;
}

/* A thread that is not its process's first takes the first one's id with an exec, in the middle of the call.
 */
int tp_sched_process_exec(struct bpf_raw_tracepoint_args *ctx)
{
    u32 tid = bpf_get_current_pid_tgid(), old_tid = ctx->args[1];
    struct thread_record *record = record_of(tid), *old;

    if (!record)
        return 0;
    if (tid != old_tid) {
        old = record_of(old_tid);
        if (old) {
            *record = *old;
            drop_record(old_tid, old);
        }
    }
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
}

static inline bool last_thread(struct bpf_raw_tracepoint_args *ctx, struct task_struct *task)
{
#if SCHED_PROCESS_EXIT_ARGS >= 2
    return (u8)ctx->args[1];
#else
    struct signal_struct *signal = NULL;
    s32 live = 0;
    READ(signal, task, signal);
    bpf_probe_read_kernel(&live, sizeof(live), &signal->live);
    return !live;
#endif
}

int tp_sched_process_exit(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[0];
    u64 ids = bpf_get_current_pid_tgid();
    u32 tid = ids;
    struct thread_record *record = threads.lookup(&tid);

    if (last_thread(ctx, task))
        forget_process(ids >> 32);
    if (!record)
        return 0;
    if (record->tgid && !(record->flags & HELD))
        leave(record, task);
    drop_record(tid, record);
    return 0;
}
