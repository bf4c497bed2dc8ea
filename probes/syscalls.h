/* What syscalls.c keeps: a record for each thread, results for each call and CPU, outcomes, ended processes.
 */

#define SLOTS 512         /* what results are kept by: a number below OTHER_SLOT, or one of these */
#define OTHER_SLOT 510    /* all numbers from here on */
#define COMPAT_SLOT 511   /* 32-bit calls, whose numbers mean something else */
#define UNFINISHED 0xffff /* in place of an error: a call that the thread did not live to see end */

struct thread_record {
    u64 stamp_ns; /* its last entry or exit; 0: not known */
    u64 user_ns;
    u64 kernel_ns;
    u64 calls; /* entries */
    u64 process_start_ns;
    u64 runtime_ns; /* the kernel's own counts when it was first seen; times in units of 2^16 ns */
    u32 utime;
    u32 stime;
    u32 tgid;
    u16 slot; /* of the call under way, plus 1; 0: none */
    u16 flags;
};

#include "record.h"

struct process_key {
    u64 start_ns;
    u32 tgid;
    u32 zero;
};

struct process_sums {
    u64 calls;
    u64 user_ns;
    u64 kernel_ns;
    u64 runtime_ns;
    u64 utime; /* in units of 2^16 ns */
    u64 stime;
    char comm[16];
};

struct result {
    u64 total_ns;
    u64 min_ns;
    u64 max_ns;
    u64 reserved;
    u64 buckets[BUCKETS];
};

struct result_key {
    u64 start_ns; /* of the process; 0 unless BY_PROCESS */
    u32 tgid;
    u16 slot;
    u16 place; /* of a result its CPU, of an outcome its error */
};

COUNTER(tasks_created, 16);
COUNTER(early, 17);        /* exits of calls that had begun before tracing did */
COUNTER(refused, 18);      /* exits without an entry: seccomp, ptrace or a dispatcher answered */
COUNTER(overtaken, 19);    /* entries while a call was under way: its exit was missed */
COUNTER(threads_lost, 20); /* entries of threads that found no room for a record */
COUNTER(results_lost, 21);
COUNTER(outcomes_lost, 22);
COUNTER(processes_lost, 23);
COUNTER(left, 24);    /* threads that ended, */
COUNTER(freed, 25);   /* and those of them whose CPU time is final */
COUNTER(level_0, 26); /* threads by the privilege level that was saved at the first entry seen of them */
COUNTER(level_1, 27);
COUNTER(level_2, 28);
COUNTER(level_3, 29);

BPF_F_TABLE("array", u32, u64, begun, 1, BPF_F_MMAPABLE); /* when the trace began, CLOCK_MONOTONIC */
#ifdef BY_PROCESS
BPF_F_TABLE("hash", struct result_key, struct result, results, 131072, BPF_F_NO_PREALLOC);
BPF_ARRAY(empty, struct result, 1);
#else
BPF_F_TABLE("array", u32, struct result, results, CPUS *SLOTS, BPF_F_MMAPABLE);
#endif
BPF_HASH(outcomes, struct result_key, u64, 65536); /* errors and unfinished calls */
BPF_HASH(ended, struct process_key, struct process_sums, 65536);

/* A thread that has ended, with its CPU time until then: the kernel adds to it until the last switch. */
struct leaving {
    struct process_key key;
    u64 runtime_ns;
    u32 utime;
    u32 stime;
};
BPF_HASH(leaving, u64, struct leaving, 65536); /* by address of the task */

static inline u32 coarse(u64 ns)
{
    return ns >> 16;
}

static inline struct result_key key_of(struct thread_record *record, u16 slot, u16 place)
{
    struct result_key key = {.slot = slot, .place = place};
#ifdef BY_PROCESS
    key.start_ns = record->process_start_ns;
    key.tgid = record->tgid;
#endif
    return key;
}

static inline struct result *result_of(struct thread_record *record, u16 slot)
{
    u32 cpu = bpf_get_smp_processor_id();
#ifdef BY_PROCESS
    struct result_key key = key_of(record, slot, cpu);
    struct result *result = results.lookup(&key), *nothing;
    u32 zero = 0;
    if (result)
        return result;
    nothing = empty.lookup(&zero);
    if (!nothing)
        return NULL;
    results.insert(&key, nothing);
    return results.lookup(&key);
#else
    u32 index = cpu * SLOTS + slot;
    return results.lookup(&index);
#endif
}

static inline void count_outcome(struct thread_record *record, u16 slot, u16 outcome)
{
    struct result_key key = key_of(record, slot, outcome);
    u64 zero = 0, *number = outcomes.lookup(&key);
    if (!number) {
        outcomes.insert(&key, &zero);
        number = outcomes.lookup(&key);
    }
    if (number)
        __sync_fetch_and_add(number, 1);
    else
        count(outcomes_lost);
}
