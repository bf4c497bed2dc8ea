/* What switches.c keeps: a record for each task, a state for each CPU, who made way for whom, who woke whom.
 *
 * A task's record is written by whoever holds the task: its CPU when it gets and when it leaves it, and its
 * waker, which has its pi_lock (try_to_wake_up, kernel/sched/core.c). None of these is ever written by two.
 */

#define CHUNK 32       /* records that a CPU takes into its own hands at a time */
#define CHUNK_TRIES 64 /* chunks that may be found taken */
#define KNOWN 64       /* tasks that each CPU remembers, by their address */

enum {
    USED = 1,
    ASLEEP = 2,    /* it left its CPU to wait for something, and is not runnable before it is woken */
    CUT = 4,       /* what it does now it has done since before tracing began */
    WAITED = 8,    /* before this turn it waited for a CPU, all of it seen */
    SLEPT = 16,    /* before that it slept, all of it seen */
    WANTED = 32,   /* it passed the filters when it last left its CPU */
    SHOWN = 64,    /* it has ever */
    PICKED = 128,  /* it is of a process that was picked */
    LEAVING = 256, /* it has begun to exit */
    DEAD = 512,    /* it has left a CPU for the last time */
};

struct task_record {
    u64 in_ns;     /* when it last got a CPU, */
    u64 out_ns;    /* left one, */
    u64 woken_ns;  /* and was woken */
    u64 on_cpu_ns; /* until it last left a CPU, as all that is counted */
    u64 blocked_ns;
    u64 runnable_ns; /* but not running */
    u64 used_ns;     /* as on_cpu_ns, by the kernel's own count */
    u64 switches;
    u64 voluntary;
    u64 nvcsw;      /* the kernel's own count at its last switch, */
    u64 told;       /* and that of all its switches */
    u64 runtime_ns; /* the kernel's own count of its time on CPUs, the same */
    u64 slept_ns;   /* before the turn under way */
    u64 waited_ns;  /* the same */
    u64 wait_max_ns;
    u64 slice_max_ns;
    u64 start_ns;
    u32 tid;
    u32 tgid;
    u32 flags;
    u32 cpu; /* its last one, plus 1; 0: not known */
    u32 migrations;
    u32 unseen;         /* switches that the kernel counted and we did not */
    u32 next_slot;      /* who came after it the last time, */
    u32 next_voluntary; /* and how often without a break: not in `pairs` yet */
    u32 next_involuntary;
    u32 waker_slot; /* who woke it the last time, */
    u32 wakes;      /* and how often without a break: not in `wakers` yet */
    u32 here;       /* the CPU it is on, plus 1; 0: none */
    char comm[16];
    u32 waits[BUCKETS];
    u32 slices[BUCKETS];
};

struct cpu_state {
    u64 in_ns; /* since when the task has it; 0: nothing seen yet */
    u64 switches;
    u64 busy_ns;
    u64 idle_ns;
    u64 kernel_first; /* the kernel's count of its switches less ours: at the first census, */
    u64 kernel_last;  /* and at the last */
    u64 task;         /* its address */
    u32 slot;         /* 0: it has none */
    u32 censuses;
    u32 chunk; /* the next that may be free */
    u32 next_slot;
    u32 end_slot;
    u32 tid;
    u64 left_ns; /* when the task left, where another CPU has found that out */
    u32 left_voluntary;
    char reserved[36]; /* so that no two CPUs share a cache line */
};

/* Where a CPU has found a task's record the last time: to read its tid takes 45 ns. */
struct known_task {
    u64 task;
    u32 slot;
    u32 reserved;
};

struct pair_counts {
    u64 voluntary;
    u64 involuntary;
};

#define PREEMPTED 0x80000000 /* in place of a state */
#define UNTOLD 0x40000000    /* the same: nobody told when it left, or why */

/* A turn of a task on a CPU. */
struct turn_event {
    u64 ended_ns;
    u64 ts_ns; /* when it began */
    u32 slot;
    u32 next_slot; /* who came after it; 0: unknown */
    u32 cpu;
    u32 state; /* in which it left, TASK_… of include/linux/sched.h */
};

/* A task is about to be woken. */
struct waking_event {
    u64 ts_ns;
    u32 slot;
    u32 waker_slot; /* who ran there then */
    u32 cpu;        /* the waker's */
    u32 target_cpu; /* where it was the last time */
};

#ifdef TIMELINE
RING(turn, 0, 16);
RING(waking, 1, 8);
#endif
COUNTER(tasks_created, 16);
COUNTER(tasks_lost, 17); /* turns and wake-ups of tasks that found no room for a record */
COUNTER(pairs_lost, 18);
COUNTER(wakers_lost, 19);
COUNTER(untold, 20);  /* switches that the tracepoint did not tell of */
COUNTER(left, 21);    /* threads that began to exit, */
COUNTER(freed, 22);   /* and those of them that have left their CPU for the last time */
COUNTER(unwoken, 23); /* turns after a sleep whose end was not told */

BPF_F_TABLE("array", u32, u64, begun, 1, BPF_F_MMAPABLE); /* CLOCK_MONOTONIC; 0: nothing is counted */
BPF_F_TABLE("array", u32, u64, held, 1, BPF_F_MMAPABLE);  /* a tid that counts from its next exec on */
BPF_F_TABLE("array", u32, struct cpu_state, cpus, CPUS, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, u64, sleeps, CPUS *BUCKETS, BPF_F_MMAPABLE);
/* By slot. 0 is nobody's; then those of the CPUs' idle tasks. None is used twice. */
BPF_F_TABLE("array", u32, struct task_record, tasks, TASKS, BPF_F_MMAPABLE);
BPF_ARRAY(known, struct known_task, CPUS *KNOWN);
BPF_HASH(claims, u32, u32, TASKS / CHUNK); /* chunks of `tasks` that are taken */
#ifdef TID_INDEX
BPF_ARRAY(slots, u32, TIDS); /* by tid */
#else
BPF_HASH(slots, u32, u32, TIDS);
#endif
BPF_HASH(pairs, u64, struct pair_counts, 65536); /* by slots: who left << 32 | who came */
BPF_HASH(wakers, u64, u64, 65536);               /* by slots: who was woken << 32 | who woke */
