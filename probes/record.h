/* A record for each thread, found by its id: `struct thread_record`, which the probe that includes this has
 * defined, with a member `flags` among whose bits are those below.
 *
 * Parameters: THREADS, how many may have a record; TID_INDEX, they lie in an array: every tid is below
 * THREADS.
 */
enum {
    ENTERED = 1,  /* an entry or an exit of it has been seen */
    SKIPPED = 2,  /* the call under way is of no interest */
    HELD = 4,     /* nothing counts until its next exec: kintro's own preparations for a command */
    PICKED = 8,   /* it is of a process that was picked */
    NEWBORN = 16, /* it has not yet left the call that created it, which was its parent's */
};

#define TS_COMPAT 0x0002 /* arch/x86/include/asm/thread_info.h */

#ifdef TID_INDEX
BPF_F_TABLE("array", u32, struct thread_record, threads, THREADS, BPF_F_MMAPABLE);
#else
BPF_HASH(threads, u32, struct thread_record, THREADS);
#endif

/* The current task, and a u32 of it. Where the verifier knows the task's type that is a plain load, else a
 * call; bcc would make the load a call too, hence the assembly. */
#ifdef HAVE_BPF_GET_CURRENT_TASK_BTF
#define CURRENT() bpf_get_current_task_btf()
#define LOAD(task, member)                                                                                   \
    ({                                                                                                       \
        u32 loaded;                                                                                          \
        asm volatile("%0 = *(u32 *)(%1 + %2)"                                                                \
                     : "=r"(loaded)                                                                          \
                     : "r"(task), "i"(__builtin_offsetof(struct task_struct, member)));                      \
        loaded;                                                                                              \
    })
#else
#define CURRENT() ((struct task_struct *)bpf_get_current_task())
#define LOAD(task, member)                                                                                   \
    ({                                                                                                       \
        u32 loaded = 0;                                                                                      \
        bpf_probe_read_kernel(&loaded, sizeof(loaded), &(task)->member);                                     \
        loaded;                                                                                              \
    })
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

/* Whether the call under way is one of 32 bits, whose numbers and registers are others. x86-64 only. */
static inline bool is_compat(struct task_struct *task)
{
#ifdef HAVE_THREAD_INFO_STATUS
    return LOAD(task, thread_info.status) & TS_COMPAT;
#else
    return false;
#endif
}

#define CHILDREN_MAX 256 /* of a task that ends while user space looks for descendants */

static inline void adopt_children(struct task_struct *task)
{
#if defined(FILTER_TARGETS) && defined(FOLLOW)
    struct list_head *end = &task->children, *node = NULL;
    u32 zero = 0;
    u64 *now = scanning.lookup(&zero);

    if (!now || !*now || !is_target())
        return;
    READ(node, task, children.next);
    for (int i = 0; i < CHILDREN_MAX && node && node != end; i++) {
        struct task_struct *child =
            (struct task_struct *)((char *)node - __builtin_offsetof(struct task_struct, sibling));
        u32 tgid = 0;
        READ(tgid, child, tgid);
        adopt_target(child, tgid);
        READ(node, node, next);
    }
#endif
}
