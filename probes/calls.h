/* What calls.c sends, keeps, and is told. */

#include "open_files.h"

#define SLOTS 1024      /* what is told of each call, by its number */
#define OTHER_SLOT 511  /* all numbers from here on */
#define COMPAT_SLOT 512 /* 32-bit calls, whose numbers mean something else, from here on */
#define ARGUMENTS 6
#define BYTES_MAX 512   /* of one that is not text */
#define STRINGS_MAX 128 /* texts of an argv */

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
#include "registers.h"

enum {
    OPEN = 32,       /* a call is under way */
    INTRODUCED = 64, /* its thread event has been sent */
    COMPAT_CALL = 128,
    MOVING = 256, /* the call under way is one that MOVES */
};

struct text_scratch {
    struct text_event event;
    char data[2 * STRING_MAX];
};
BPF_ARRAY(text_scratch, struct text_scratch, CPUS);
BPF_PROG_ARRAY(tails, 4);

static inline u64 argument_of(struct thread_record *record, u32 place)
{
    return argument_in(record->registers, place);
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
