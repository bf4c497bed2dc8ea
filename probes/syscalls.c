/* System calls: how many of which, how long, with which errors; time in the kernel and outside of it.
 *
 * Everything is added up in the kernel; nothing is sent. Each thread has a record of its own for as long as
 * it lives: when it last entered or left the kernel, and the call under way, told by its number at the entry,
 * as execve and rt_sigreturn change the registers. Results are kept for each CPU, so that no two write to
 * one.
 *
 * Cost: 240 ns for a call, of which two looks at the clock and the tracepoints themselves take 200 and more
 * (bench/syscalls.py); BY_PROCESS 80 more. 64 bytes for each possible thread, 530 KiB for each CPU.
 *
 * Parameters beside those of kintro.h:
 *   THREADS       threads that may have a record
 *   TID_INDEX     their records are found by tid: every tid is below THREADS
 *   BY_PROCESS    results for each process
 */
#include "kintro.h"
#include "buckets.h"
#include "syscalls.h"

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

/* From which privilege level it enters: of x86 the ring in the saved code segment, of arm64 the exception
 * level in the saved processor state. */
static inline void count_level(struct pt_regs *regs)
{
#ifdef HAVE_PT_REGS_CS
    u16 cs = 0;
    bpf_probe_read_kernel(&cs, sizeof(cs), &regs->cs);
    count(level_0 + (cs & 3));
#endif
#ifdef HAVE_PT_REGS_PSTATE
    u64 pstate = 0;
    READ(pstate, regs, pstate);
    count(level_0 + (pstate >> 2 & 3));
#endif
}

/* When a thread was last seen, before its first entry or exit: when tracing began. */
static inline u64 begin_ns(void)
{
    u32 zero = 0;
    u64 *begin = begun.lookup(&zero);
    return begin ? *begin : 0;
}

static inline u16 slot_of(struct task_struct *task, u64 number)
{
    if (is_compat(task))
        return COMPAT_SLOT;
    return number < OTHER_SLOT ? number : OTHER_SLOT;
}

int tp_sys_enter(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = CURRENT();
    u32 tid = LOAD(task, pid);
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
    if (!record->calls)
        count_level((struct pt_regs *)ctx->args[0]);
    record->slot = slot_of(task, ctx->args[1]) + 1;
    record->calls++;
    now_ns = bpf_ktime_get_ns();
    if (record->stamp_ns)
        record->user_ns += now_ns - record->stamp_ns;
    else if (!(record->flags & ENTERED) && all_found_room())
        record->user_ns += now_ns - begin_ns();
    record->flags |= ENTERED;
    record->stamp_ns = now_ns;
    return 0;
}

/* An exit without an entry. */
static inline void only_left(struct thread_record *record, u64 now_ns)
{
    u16 flags = record->flags;
    bool begun_before = all_found_room(), within = all_attached();

    record->flags &= ~(SKIPPED | NEWBORN);
    if (flags & SKIPPED || !counts(record))
        return;
    if (within && !(flags & (HELD | NEWBORN)) && (flags & ENTERED || begun_before))
        count(flags & ENTERED ? refused : early);
    if (flags & ENTERED)
        return;
    if (!record->tgid)
        identify(record);
    if (within)
        record->flags |= ENTERED;
    if (record->stamp_ns)
        record->kernel_ns += now_ns - record->stamp_ns;
    else if (begun_before)
        record->kernel_ns += now_ns - begin_ns();
    record->stamp_ns = now_ns;
}

int tp_sys_exit(struct bpf_raw_tracepoint_args *ctx)
{
    u64 now_ns = bpf_ktime_get_ns(), taken_ns;
    u32 tid = LOAD(CURRENT(), pid);
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
    u64 bucket = bucket_of(taken_ns);
    /* BUCKETS - 1, for the verifier: clang knows the bound and drops a mask in C, Linux 6.1 does not know it.
     */
    asm volatile("%0 &= 127" : "+r"(bucket));
    result->buckets[bucket]++;
    if (taken_ns > result->max_ns)
        result->max_ns = taken_ns;
    if (!result->min_ns || taken_ns < result->min_ns)
        result->min_ns = taken_ns;
    return 0;
}

#include "threads.h"
