/* A record for each thread, found by its id: `struct thread_record`, which the probe that includes this has
 * defined, with a member `flags` among whose bits are those below.
 *
 * Parameters: THREADS, how many may have a record; TID_INDEX, they lie in an array: every tid is below
 * THREADS.
 */
#include "current.h"

enum {
    ENTERED = 1,  /* an entry of it has been seen */
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
#endif

static inline struct thread_record *record_of(u32 tid)
{
#ifdef TID_INDEX
    return threads.lookup(&tid);
#else
    struct thread_record *record = threads.lookup(&tid), fresh = {};
    if (record)
        return record;
    threads.insert(&tid, &fresh);
    return threads.lookup(&tid);
#endif
}

static inline void drop_record(u32 tid, struct thread_record *record)
{
#ifdef TID_INDEX
    __builtin_memset(record, 0, sizeof(*record));
#else
    threads.delete(&tid);
#endif
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
