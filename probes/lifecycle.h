/* What lifecycle.c sends and counts, and what it keeps of a task that exits while it has children. */

#define WITNESSES 4 /* children looked at to learn who took them: the last ones, and the eldest */

struct fork_event {
    u64 ts_ns;
    u64 start_time_ns;
    u64 process_start_time_ns;
    u64 parent_start_time_ns;
    u64 clone_flags;
    u32 pid;
    u32 tid;
    u32 ppid;
    u32 creator_pid;
    u32 creator_tid;
    u32 ns_pid;
    u32 task_flags;
    char comm[16];
};

struct exec_event {
    u64 ts_ns;
    u64 start_time_ns;
    u32 pid;
    u32 tid;
    u32 ppid;
    u32 uid;
    u32 filename_bytes; /* of `data`, from its start; with the final NUL */
    u32 argv_bytes;     /* of `data`, behind the filename; each argument with its NUL */
    u32 argv_whole_bytes;
    u32 argv_read; /* 0 if the new image could not be read */
    char comm[16];
    char data[];
};

struct exit_event {
    u64 ts_ns;
    u64 start_time_ns;
    u64 utime_ns;
    u64 stime_ns;
    u64 runtime_ns;
    u64 told_utime_ns; /* what was told of these two before: they never go back */
    u64 told_stime_ns;
    u64 voluntary_switches;
    u64 involuntary_switches;
    u64 minor_faults;
    u64 major_faults;
    u32 pid;
    u32 tid;
    u32 ppid;
    u32 process;
    u32 wait_status;
    u32 exit_state; /* EXIT_ZOMBIE, or EXIT_DEAD once it has been reaped */
    char comm[16];
};

/* A child of a task that exits; who takes it is told by the reaper event of the same parent. */
struct orphan_event {
    u64 ts_ns;
    u64 start_time_ns;
    u64 parent_start_time_ns;
    u32 pid;
    u32 tid;
    u32 parent_pid;
    u32 parent_tid;
    u32 exit_state; /* not 0 if it had ended before */
    char comm[16];
};

struct reaper_event {
    u64 ts_ns;
    u64 parent_start_time_ns;
    u64 new_start_time_ns;
    u32 parent_pid;
    u32 parent_tid;
    u32 outcome;
    u32 new_ppid;
    u32 new_tid;
    u32 new_ns_pid;
    u32 new_ns_level;
};

enum { REAPER_UNKNOWN, REAPER_FOUND, REAPER_NONE };

RING(fork, 0, 4);
RING(exec, 1, 8);
RING(exit, 2, 4);
RING(orphan, 3, 2);
RING(reaper, 4, 1);
COUNTER(tasks_created, 16); /* all of the system, before any filter */
COUNTER(forks, 17);         /* wanted ones: processes, */
COUNTER(threads, 18);       /* threads, */
COUNTER(exits, 19);         /* and processes that ended */
COUNTER(leaving, 20);       /* wanted tasks that began to exit, */
COUNTER(left, 21);          /* and those of them that have left */
COUNTER(exits_lost, 22);
COUNTER(orphans_lost, 23);

/* A task on its way out. Its ids are those of before: a thread that execs takes its leader's. */
struct dying {
    u32 tid;
    u32 parent; /* it leaves children */
    u64 start_time_ns;
    struct list_head *next; /* where the walk over its children goes on */
    struct list_head *end;
    struct task_struct *witness[WITNESSES + 1];
    u64 witness_start[WITNESSES + 1];
};
BPF_HASH(dying, u64, struct dying, 16384); /* by address of the task */
BPF_HASH(ending, u64, u8, 16384); /* processes all of whose threads exit, by address of the signals */
BPF_PROG_ARRAY(tails, 1);
