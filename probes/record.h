/* A record for each thread, found by its id: `struct thread_record`, which the probe that includes this has
 * defined, with a member `flags` among whose bits are those below.
 *
 * Parameters: THREADS, how many may have a record; TID_INDEX, they lie in an array: every tid is below
 * THREADS.
 */
#include "current.h"

enum {
    ENTERED = 1,  /* an entry of it has been seen, or an exit while entries are seen */
    SKIPPED = 2,  /* the call under way is of no interest */
    HELD = 4,     /* nothing counts until its next exec: kintro's own preparations for a command */
    PICKED = 8,   /* it is of a process that was picked */
    NEWBORN = 16, /* it has not yet left the call that created it, which was its parent's */
};

#define TS_COMPAT 0x0002     /* arch/x86/include/asm/thread_info.h */
#define TIF_32BIT (1u << 22) /* arch/arm64/include/asm/thread_info.h */

#ifdef TID_INDEX
BPF_F_TABLE("array", u32, struct thread_record, threads, THREADS, BPF_F_MMAPABLE);
#else
BPF_HASH(threads, u32, struct thread_record, THREADS);
BPF_ARRAY(blank, struct thread_record, 1); /* stays 0: on the stack it takes a third of all there is */
BPF_ARRAY(crowded, u64, 1);                /* 1 from when a thread found no room */
#endif
BPF_F_TABLE("array", u32, u64, attached, 1, BPF_F_MMAPABLE); /* 1 while all programs are */

static inline struct thread_record *record_of(u32 tid)
{
#ifdef TID_INDEX
    return threads.lookup(&tid);
#else
    struct thread_record *record = threads.lookup(&tid), *fresh;
    u64 one = 1;
    u32 zero = 0;
    if (record)
        return record;
    fresh = blank.lookup(&zero);
    if (!fresh)
        return NULL;
    threads.insert(&tid, fresh);
    record = threads.lookup(&tid);
    if (!record)
        crowded.update(&zero, &one);
    return record;
#endif
}

/* Whether every thread has found room so far. Else an entry that was not seen may have been in the trace. */
static inline bool all_found_room(void)
{
#ifdef TID_INDEX
    return true;
#else
    u32 zero = 0;
    u64 *now = crowded.lookup(&zero);
    return now && !*now;
#endif
}

/* Whether all programs are attached. As tracing begins and as it ends, exits are seen and entries are not. */
static inline bool all_attached(void)
{
    u32 zero = 0;
    u64 *now = attached.lookup(&zero);
    return now && *now;
}

static inline void drop_record(u32 tid, struct thread_record *record)
{
#ifdef TID_INDEX
    __builtin_memset(record, 0, sizeof(*record));
#else
    threads.delete(&tid);
#endif
}

/* At task_newtask: an empty record for the new thread. */
static inline struct thread_record *newborn(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *child = (struct task_struct *)ctx->args[0];
    struct thread_record *record;
    u32 tid = 0, tgid = 0;

    READ(tid, child, pid);
    READ(tgid, child, tgid);
    if (tid == tgid)
        follow_fork(tgid);
    record = record_of(tid);
    if (!record)
        return NULL;
    __builtin_memset(record, 0, sizeof(*record)); /* of the last one with this id, should its end be missed */
    record->flags = NEWBORN;
    return record;
}

/* At sched_process_exec: the thread's record. One that is not its process's first takes the first one's id,
 * in the middle of the call. */
static inline struct thread_record *of_exec(struct bpf_raw_tracepoint_args *ctx, u32 tid)
{
    u32 old_tid = ctx->args[1];
    struct thread_record *record = record_of(tid), *old;

    if (!record || tid == old_tid)
        return record;
    old = record_of(old_tid);
    if (old) {
        *record = *old;
        drop_record(old_tid, old);
    }
    return record;
}

/* Of the thread that exits; NULL if it has none. */
static inline struct thread_record *of_exit(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[0];
    u64 ids = bpf_get_current_pid_tgid();
    u32 tid = ids;
    struct thread_record *record = threads.lookup(&tid);

    adopt_children(task);
    if (none_lives(ctx, task))
        forget_process(ids >> 32);
    return record;
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

/* Whether the call under way is one of 32 bits, whose numbers and registers are others. */
static inline bool is_compat(struct task_struct *task)
{
#ifdef HAVE_THREAD_INFO_STATUS
    return LOAD(task, thread_info.status) & TS_COMPAT;
#elif defined HAVE_PT_REGS_PSTATE && defined HAVE_THREAD_INFO_FLAGS
    return LOAD(task, thread_info.flags) & TIF_32BIT;
#else
    return false;
#endif
}
