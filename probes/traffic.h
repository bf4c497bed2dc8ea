/* What traffic.c sends, keeps, and is told. */

#include "open_files.h"

#define CALLS 512     /* what is told of each call, by its number */
#define SUN_PATH_AT 2 /* offset in struct sockaddr_un, include/uapi/linux/un.h */
#define SOCKADDR_MAX 110
#define VECTOR_MAX 1024  /* UIO_MAXIOV, include/uapi/linux/uio.h: messages of one call */
#define MMSGHDR_BYTES 64 /* sizeof(struct mmsghdr), include/linux/socket.h: a message, how long it was */
#define MMSGHDR_LENGTH_AT 56

/* What a call works on. */
enum {
    NO_CALL,
    ON_DESCRIPTORS,
    ON_SYSV,    /* an id of System V */
    ON_SEGMENT, /* an address in System V's shared memory */
    ON_FUTEX,
    ON_SIGNALS, /* it takes a signal that waits */
};

/* Where the number of bytes is that it moved. */
enum {
    NOTHING,
    RETURNED,
    ARGUMENT_2, /* if it returns 0 */
    IN_VECTOR,  /* of each message in a struct mmsghdr */
};

struct spec {
    u8 works_on;
    u8 bytes_in;
    u8 from;  /* 1 + the argument that it receives from; 0: none */
    u8 to;    /* 1 + the one that it sends to */
    u8 flags; /* 1 + the argument with MSG_… or the like, */
    u8 peek;  /* of which this bit, by its number, leaves the message where it is; 0: none does */
    u8 kind;  /* of a channel of System V */
    u8 names; /* how it tells whom it sends to: */
};
BPF_ARRAY(specs, struct spec, CALLS);

enum {
    NOBODY,
    ADDRESS, /* by arguments 4 and 5, */
    HEADER,  /* or in the struct msghdr that argument 1 refers to */
};

enum { PIPE = 1, FIFO, UNIX, TCP, UDP, SOCKET, MQUEUE, SYSV_MSG, SYSV_SEM, SYSV_SHM, EVENTFD, FUTEX };

/* Which way: what a call is for, whatever comes of it. */
enum { NEITHER, SEND, RECEIVE, WAIT, WAKE };

enum {
    UNFINISHED = 1,
    EARLY = 2,      /* it began before the trace */
    PAIRED = 4,     /* `other` is the other end of a UNIX socket, and nobody else's */
    ADDRESSED = 8,  /* `other` is the number of an address_event */
    SHARED = 16,    /* a futex by file and offset */
    DATAGRAMS = 32, /* an empty message is one too */
    PEEKED = 64,
    TOWARDS = 128, /* a UNIX socket's `other` is where its datagrams go */
};

/* What a call did on one channel. */
struct operation_event {
    u64 ended_ns; /* if it did not: when that was certain */
    u64 ts_ns;    /* of its entry; 0 if that was before the trace */
    s64 ret;
    u64 size_bytes; /* moved */
    u64 blocked_ns; /* asleep */
    u64 channel;    /* inode; id of System V or of an eventfd; address of a futex */
    u64 other;      /* see PAIRED, ADDRESSED, SHARED; of a FIFO or queue `file` of a file_event */
    u32 dev;        /* of the file system; of System V the ipc namespace */
    u32 tid;
    u32 pid;
    s32 fd;
    s32 nr;
    u32 messages;
    u32 wakes; /* tasks woken meanwhile by the caller */
    u16 flags;
    u8 kind;
    u8 direction;
    char comm[16];
};

/* A socket that was not known yet, or has other addresses now. */
struct socket_event {
    u64 ts_ns;
    u64 inode;
    u64 other; /* of a UNIX socket: inode of its peer */
    u32 net;   /* its network namespace */
    u16 family;
    u16 type;
    u16 protocol;
    u16 local_port;
    u16 remote_port;
    char data[]; /* UNIX: sun_path; else local and remote address, 16 bytes each */
};

/* Where a datagram is sent to. */
struct address_event {
    u64 ts_ns;
    u64 number;
    char data[]; /* network namespace, 4 bytes; protocol, 4 bytes; struct sockaddr */
};

/* A signal that is sent. */
struct generated_event {
    u64 ts_ns;
    u64 comm_low; /* of the receiver: 16 bytes as two words */
    u64 comm_high;
    u32 from_pid; /* in whose context it was generated */
    u32 from_tid;
    u32 pid;
    u32 tid;
    s32 number;
    s32 code;   /* si_code */
    s32 result; /* TRACE_SIGNAL_…, include/trace/events/signal.h */
    u32 flags;
    char comm[16]; /* of the sender */
};

/* One that arrives. */
struct delivered_event {
    u64 ts_ns;
    u64 handler; /* sa_handler: 0 the default action, 1 ignore */
    u32 pid;
    u32 tid;
    s32 number;
    s32 code;
    u32 flags;
    char comm[16];
};

enum {
    TO_PROCESS = 1, /* else to one thread */
    WANTED = 2,     /* the sender, or the receiver, passes the filters */
    TAKEN = 4,      /* by sigwaitinfo(2) and the like */
    FATAL = 8,      /* it ends the process: each of its threads is told SIGKILL */
};

RING(file, 0, 1);
RING(socket, 1, 1);
RING(address, 2, 1);
RING(generated, 3, 4);
RING(delivered, 4, 4);
RING(operation, 5, 32);
COUNTER(tasks_created, 16);
COUNTER(entered, 17);      /* operations that began */
COUNTER(early, 18);        /* sent, and had begun before tracing did */
COUNTER(overtaken, 19);    /* entries while a call was under way: its exit was missed */
COUNTER(threads_lost, 20); /* entries of threads that found no room for a record */
COUNTER(passed_over, 21);  /* operations on a futex that neither waited nor woke */
COUNTER(died, 22);         /* sent without a result, as their thread ended in them */
COUNTER(compat, 23);       /* calls of 32 bits: not told */

/* One channel of the call under way: 32 bytes. */
struct end {
    u64 channel;
    u64 other;
    u32 dev;
    s32 fd;
    u16 flags;
    u8 kind; /* 0: there is none */
    u8 direction;
};

struct thread_record {
    u64 ts_ns;
    u64 since_ns; /* asleep in the call since then; 0: it is not */
    u64 blocked_ns;
    u64 files[2];
    u64 size;   /* argument 2 */
    u64 vector; /* argument 1 */
    u64 ended_ns;
    u64 ends[8]; /* two of struct end */
    u32 pid;
    u32 wakes;
    u32 nr;
    u32 taken; /* signals told so far of those that the call took */
    u16 flags;
    u8 unknown; /* bits of files that have to be told */
    u8 bytes_in;
    u8 ending; /* flags of the event to be sent */
};

#include "record.h"
#include "registers.h"
#include "state.h"

enum { OPEN = 32 }; /* an operation is under way */

static inline struct end *end_of(struct thread_record *record, u32 which)
{
    return (struct end *)&record->ends[(which & 1) * 4];
}

struct address {
    u64 words[15];
};
BPF_TABLE("lru_hash", struct address, u64, addresses, 4096);
BPF_TABLE("lru_hash", u64, u64, sockets, 16384); /* by inode: what was told of it, as a hash */
/* Of signals that a wanted task has sent: by receiver's pid and number. */
BPF_TABLE("lru_hash", u64, u64, awaited, 8192);

struct socket_scratch {
    struct socket_event event;
    char data[128];
};
struct address_scratch {
    struct address_event event;
    struct address address;
};
BPF_ARRAY(socket_scratch, struct socket_scratch, CPUS);
BPF_ARRAY(address_scratch, struct address_scratch, CPUS);
BPF_ARRAY(timers, u32, CPUS); /* handlers of timers that run on each CPU */
BPF_PROG_ARRAY(tails, 5);
