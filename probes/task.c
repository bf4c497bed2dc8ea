/* Reads the kernel's records of one task as a table says, which user space makes from the kernel's BTF.
 *
 * The only members named here are those on the way from a pid to its task_struct. Each read of the table
 * copies some bytes from an address that an earlier read copied, plus an offset: the first such address is
 * that of the task. All is done in one run, inside of one RCU read section: the task that was found is not
 * freed meanwhile. A thread of kintro asks for a run, and its next system call does it: kernels from 5.8 on
 * have no other way in common, without kprobes, to run a program when one wants to.
 *
 * Cost: 5 µs for a run of 170 reads. While it is attached, 100 ns for each system call of the whole system.
 */
#include "kintro.h"

#define READS 256
#define ROOM_MASK 0x3fff /* of a place and of a size */
#define PARENTS 8

struct request {
    u64 asker;  /* tgid and tid of the thread, as bpf_get_current_pid_tgid has them */
    u64 number; /* of the request; 0: none */
    u64 done;   /* number of the last one that was served */
    u64 found;  /* whether there is such a task */
    u64 tid;    /* in the asker's pid namespace; 0: the idle task */
};

struct read {
    u32 from; /* where in `copied` the address is */
    u32 offset;
    u32 to; /* where in `copied` it goes */
    u32 bytes;
    s32 error; /* 0, or why it could not be read */
    u32 _;
};

struct room {
    u8 bytes[2 * (ROOM_MASK + 1)]; /* the first 8: the address of the task */
};

BPF_F_TABLE("array", u32, struct request, request, 1, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct read, reads, READS, BPF_F_MMAPABLE); /* up to the first of no bytes */
BPF_F_TABLE("array", u32, struct room, copied, 1, BPF_F_MMAPABLE);

/* What find_task_by_pid_ns does: an XArray leads from the number to the pid (lib/xarray.c, xas_load). */
static inline struct task_struct *task_of(struct pid_namespace *ns, u32 number)
{
    struct xa_node *node;
    struct pid *pid;
    void *entry = NULL;
    u8 shift = 0;

    READ(entry, ns, idr.idr_rt.xa_head);
    for (u32 depth = 0; depth < 8 && ((u64)entry & 3) == 2 && (u64)entry > 4096; depth++) {
        node = entry - 2; /* xa_to_node */
        u64 slots = sizeof(node->slots) / sizeof(node->slots[0]);
        READ(shift, node, shift);
        u64 slot = (u64)number >> (shift & 63);
        if (slot >= slots && !depth)
            return NULL; /* more than the tree can hold */
        bpf_probe_read_kernel(&entry, sizeof(entry), &node->slots[slot & (slots - 1)]);
    }
    if (!entry || (u64)entry & 3)
        return NULL;
    pid = entry;
    entry = NULL;
    READ(entry, pid, tasks[0].first); /* PIDTYPE_PID */
    return entry ? entry - __builtin_offsetof(struct task_struct, pid_links) : NULL;
}

/* The idle task: from the first process upwards, that which is its own parent. */
static inline struct task_struct *idle(struct pid_namespace *ns)
{
    struct task_struct *task = NULL, *parent = NULL;

    READ(task, ns, child_reaper);
    for (u32 i = 0; i < PARENTS && task; i++) {
        READ(parent, task, real_parent);
        if (parent == task)
            return task;
        task = parent;
    }
    return NULL;
}

static inline struct pid_namespace *own_namespace(void)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    struct pid_namespace *ns = NULL;
    struct pid *pid = NULL;
    u32 level = 0;

    READ(pid, task, thread_pid);
    READ(level, pid, level);
    READ(ns, pid, numbers[level & 63].ns);
    return ns;
}

int tp_sys_enter(struct bpf_raw_tracepoint_args *ctx)
{
    u32 zero = 0;
    struct request *asked = request.lookup(&zero);
    struct room *room = copied.lookup(&zero);

    if (!asked || asked->asker != bpf_get_current_pid_tgid() || asked->done == asked->number || !room)
        return 0;
    struct pid_namespace *ns = own_namespace();
    struct task_struct *task = asked->tid ? task_of(ns, asked->tid) : idle(ns);
    *(struct task_struct **)room->bytes = task;
    for (u32 i = 0; i < READS && task; i++) {
        u32 index = i;
        struct read *read = reads.lookup(&index);
        if (!read || !read->bytes)
            break;
        u32 from = read->from, to = read->to, bytes = read->bytes;
        asm volatile("%0 &= 16376" : "+r"(from)); /* ROOM_MASK, and aligned */
        asm volatile("%0 &= 16383" : "+r"(to));
        asm volatile("%0 &= 16383" : "+r"(bytes));
        void *address = *(void **)(room->bytes + from);
        read->error = bpf_probe_read_kernel(room->bytes + to, bytes, address + read->offset);
    }
    asked->found = task != NULL;
    asked->done = asked->number;
    return 0;
}
