/* What calls.c sends, keeps, and is told. */

#define SLOTS 1024      /* what is told of each call, by its number */
#define OTHER_SLOT 511  /* all numbers from here on */
#define COMPAT_SLOT 512 /* 32-bit calls, whose numbers mean something else, from here on */
#define ARGUMENTS 6
#define STRING_MAX 4096 /* PATH_MAX; bytes of one argument */
#define BYTES_MAX 512   /* of one that is not text */
#define STRINGS_MAX 128 /* texts of an argv */
#define DEPTH_MAX 40    /* names in a path, and mounts */

/* What is fetched for an argument, as in observers/syscall_signatures.py. */
enum {
    NOTHING,
    FD,
    STRING,
    STRINGS,
    BYTES_IN,
    BYTES_OUT,
    FIXED_IN,
    FIXED_OUT,
    BYTES_AT,
    SIZED_IN,
    SIZED_OUT,
};
#define RESULT 6 /* in place of an argument's number: what the call returned */

struct argument {
    u8 kind;
    u8 which; /* the argument that has the length; of a descriptor, how many are before it */
    u16 size;
};

enum {
    TRACED = 1,
    AT_ENTRY = 2, /* some argument is fetched then, */
    AT_EXIT = 4,  /* or then; */
    LISTS = 8,    /* one of them is of the kind STRINGS */
    RESULT_FD = 16,
    NO_ERRORS = 32, /* what rt_sigreturn returns is a register of the program that was interrupted */
    MOVES = 64,     /* it gives other paths to files that are open: rename, mount and the like */
};

struct spec {
    u16 flags;
    u16 list; /* the argument of the kind STRINGS */
    struct argument arguments[ARGUMENTS];
};
BPF_ARRAY(specs, struct spec, SLOTS);

struct limits {
    u64 text_bytes; /* of BYTES_… with a size of 1 */
    u64 failed;     /* only calls that fail */
    u64 slower_ns;  /* only those that take as long, or never return */
};
BPF_ARRAY(limits, struct limits, 1);

enum { UNFINISHED = 1, EARLY = 2, COMPAT = 4 };

struct call_event {
    u64 ended_ns; /* if it did not: when that was certain */
    u64 ts_ns;    /* of its entry; 0 if that was before the trace */
    s64 ret;
    u64 arg0;
    u64 arg1;
    u64 arg2;
    u64 arg3;
    u64 arg4;
    u64 arg5;
    u64 file0; /* of the first descriptor among the arguments: `file` of its file_event; 0: none */
    u64 file1; /* of the second, or of the one that was returned */
    u32 tid;
    u32 pid;
    u32 number; /* which of its thread's calls */
    s32 nr;     /* -1 where a tracer lets it do nothing */
    u32 flags;
};

/* Memory that an argument refers to. */
struct text_event {
    u64 ts_ns;
    u32 tid;
    u32 number;
    u32 argument;
    u32 cut; /* there was more */
    char data[];
};

/* Of the address of a struct file the upper 16 bits are those of all of the kernel's own memory, the lower 6
 * are 0: include/linux/slab.h, SLAB_HWCACHE_ALIGN. In their place is the number of the telling. */
#define ALIGNED_BITS 6
#define TOLD_BITS 22

/* An open file that has not been told yet, or has another name now. Its path: names from the last to the
 * first, each with a NUL behind it. */
struct file_event {
    u64 ts_ns;
    u64 file; /* by TOLD_BITS the address of its struct file, and a number that is another each time */
    u64 inode;
    u64 magic; /* of its file system: linux/magic.h */
    u32 mode;
    u16 deleted;
    u16 cut;
    char data[];
};

/* A thread that makes its first call, or has another name now. */
struct thread_event {
    u64 ts_ns;
    u64 start_time_ns;
    u32 tid;
    u32 pid;
    u32 old_tid; /* not 0: the id it had when it began this exec */
    char comm[16];
};

RING(thread, 0, 1);
RING(file, 1, 4);
RING(text, 2, 16);
RING(call, 3, 32);
COUNTER(tasks_created, 16);
COUNTER(early, 17);        /* sent, and had begun before tracing did */
COUNTER(refused, 18);      /* exits without an entry: seccomp, ptrace or a dispatcher answered */
COUNTER(overtaken, 19);    /* entries while a call was under way: its exit was missed */
COUNTER(threads_lost, 20); /* entries of threads that found no room for a record */
COUNTER(entered, 21);
COUNTER(passed_over, 22); /* calls that did not fail or were too quick */
COUNTER(errors, 23);      /* of those sent */
COUNTER(died, 24);        /* sent without a result, as their thread ended in them */

struct thread_record {
    u64 ts_ns;
    u64 registers[8];
    u64 files[2];
    u32 pid;
    u32 number; /* calls so far */
    u32 nr;
    u16 flags;
    u8 missing; /* bits of arguments that could not be read at the entry */
    u8 unknown; /* bits of files that have to be told */
};

#include "record.h"

enum {
    OPEN = 32,       /* a call is under way */
    INTRODUCED = 64, /* its thread event has been sent */
    COMPAT_CALL = 128,
    MOVING = 256, /* the call under way is one that MOVES */
};

/* By what a file's name is known to have changed. */
struct known {
    u64 mount;
    u64 dentry;
    u64 parent;
    u64 name;
    u64 inode;
    u64 unhashed;
    u64 moves;
    u64 told_as; /* `file` of the event */
};
BPF_ARRAY(files_told, u64, 1);
/* Calls of all processes that have moved folders or mounts: files below have other paths. */
BPF_ARRAY(moves, u64, 1);
BPF_TABLE("lru_hash", u64, struct known, told, 16384); /* by address of the struct file */

struct text_scratch {
    struct text_event event;
    char data[2 * STRING_MAX];
};
struct file_scratch {
    struct file_event event;
    char data[2 * STRING_MAX];
};
BPF_ARRAY(text_scratch, struct text_scratch, CPUS);
BPF_ARRAY(file_scratch, struct file_scratch, CPUS);
BPF_PROG_ARRAY(tails, 4);

/* Where the arguments are in `registers`, which are saved as they lie in pt_regs. */
#ifdef HAVE_PT_REGS_R10 /* x86-64: r10 r9 r8 ax cx dx si di */
#define FIRST_REGISTER r10
enum { ARG0 = 7, ARG1 = 6, ARG2 = 5, ARG3 = 0, ARG4 = 2, ARG5 = 1 };
#else /* arm64: x0 to x7 */
#define FIRST_REGISTER regs
enum { ARG0, ARG1, ARG2, ARG3, ARG4, ARG5 };
#endif

static inline u64 argument_of(struct thread_record *record, u32 place)
{
    u32 packed = ARG0 | ARG1 << 4 | ARG2 << 8 | ARG3 << 12 | ARG4 << 16 | ARG5 << 20;
    return record->registers[packed >> (place & 7) * 4 & 7];
}

static inline struct spec *spec_of(struct thread_record *record)
{
    u32 slot = record->nr < OTHER_SLOT ? record->nr : OTHER_SLOT;
    if (record->flags & COMPAT_CALL)
        slot += COMPAT_SLOT;
    return specs.lookup(&slot);
}

static inline bool has_failed(struct spec *spec, s64 ret)
{
    return !(spec->flags & NO_ERRORS) && ret < 0 && ret >= -4095; /* MAX_ERRNO, include/linux/err.h */
}
