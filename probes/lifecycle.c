/* Process life: every task created, every program started, every task that ends, every child handed on.
 *
 * Cost: about a microsecond for each fork, exec and exit; for each context switch one read of the task
 * that leaves the CPU, because only a dead task's last switch comes after the kernel chose who takes its
 * children. Rings are sized for a burst of 30 000 forks that nobody reads.
 *
 * Parameters beside those of kintro.h: THREADS, to send threads' forks and exits too.
 */
#include "kintro.h"
#include "lifecycle.h"

#define ARGV_MAX 32768    /* bytes of argv kept */
#define FILENAME_MAX 4096 /* PATH_MAX */

#define CLONE_THREAD 0x00010000 /* include/uapi/linux/sched.h */

struct exec_scratch {
    struct exec_event event;
    char data[FILENAME_MAX + ARGV_MAX];
};
BPF_ARRAY(exec_scratch, struct exec_scratch, CPUS);

#define LIST_ENTRY(node, type, member) ((type *)((char *)(node) - __builtin_offsetof(type, member)))

static inline u64 process_start(struct task_struct *task)
{
    struct task_struct *leader = NULL;
    u64 start = 0;
    READ(leader, task, group_leader);
    READ(start, leader, start_time);
    return start;
}

/* The pid in the task's own, innermost namespace; *level is 0 for the initial one. */
static inline u32 own_pid(struct task_struct *task, u32 *level)
{
    struct pid *pid = NULL;
    s32 nr = 0;
    READ(pid, task, thread_pid);
    READ(*level, pid, level);
    READ(nr, pid, numbers[*level].nr);
    return nr;
}

static inline u32 parent_tgid(struct task_struct *task)
{
    struct task_struct *parent = NULL;
    u32 tgid = 0;
    READ(parent, task, real_parent);
    READ(tgid, parent, tgid);
    return tgid;
}

/* task_newtask fires once for each increment of the kernel's own total_forks (kernel/fork.c), also for the
 * threads of io_uring and vhost, which sched_process_fork does not report. */
int tp_task_newtask(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *child = (struct task_struct *)ctx->args[0];
    u64 clone_flags = ctx->args[1];
    bool thread = clone_flags & CLONE_THREAD;
    struct task_struct *parent = NULL;
    struct fork_event event = {};
    u64 creator;
    u32 level = 0;

    count(tasks_created);
    READ(event.pid, child, tgid);
    if (!thread)
        follow_fork(event.pid);
    if (!wanted())
        return 0;
    count(thread ? threads : forks);
#ifndef THREADS
    if (thread)
        return 0;
#endif
    creator = bpf_get_current_pid_tgid();
    event.ts_ns = bpf_ktime_get_ns();
    event.clone_flags = clone_flags;
    event.creator_pid = creator >> 32;
    event.creator_tid = creator;
    READ(event.tid, child, pid);
    READ(event.start_time_ns, child, start_time);
    READ(event.task_flags, child, flags);
    bpf_probe_read_kernel_str(event.comm, sizeof(event.comm), child->comm);
    READ(parent, child, real_parent);
    READ(event.ppid, parent, tgid);
    event.process_start_time_ns = process_start(child);
    event.parent_start_time_ns = process_start(parent);
    event.ns_pid = own_pid(child, &level);
    counted(fork_ring.ringbuf_output(&event, sizeof(event), 0), fork_sent);
    return 0;
}

int tp_sched_process_exec(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[0];
    struct linux_binprm *binprm = (struct linux_binprm *)ctx->args[2];
    struct mm_struct *mm = NULL;
    void *filename = NULL;
    u64 start = 0, end = 0, size;
    u32 cpu = bpf_get_smp_processor_id();
    struct exec_scratch *scratch;
    struct exec_event *event;
    long copied;

    if (!wanted())
        return 0;
    scratch = exec_scratch.lookup(&cpu);
    if (!scratch)
        return 0;
    event = &scratch->event;
    event->ts_ns = bpf_ktime_get_ns();
    event->start_time_ns = process_start(task);
    READ(event->pid, task, tgid);
    READ(event->tid, task, pid);
    event->ppid = parent_tgid(task);
    event->uid = bpf_get_current_uid_gid();
    /* Older kernels (6.1) fill nothing behind the NUL, and the scratch still holds the last exec. */
    __builtin_memset(event->comm, 0, sizeof(event->comm));
    bpf_get_current_comm(&event->comm, sizeof(event->comm));

    READ(filename, binprm, filename);
    copied = bpf_probe_read_kernel_str(scratch->data, FILENAME_MAX, filename);
    u64 name_bytes = copied > 0 ? copied : 0;
    /* The masks are for the verifier, which forgets a bound that clang checked on a copy. */
    asm volatile("%0 &= 8191" : "+r"(name_bytes));
    if (name_bytes > FILENAME_MAX)
        name_bytes = FILENAME_MAX;
    event->filename_bytes = name_bytes;

    READ(mm, task, mm);
    READ(start, mm, arg_start);
    READ(end, mm, arg_end);
    event->argv_whole_bytes = end - start;
    size = end - start < ARGV_MAX ? end - start : ARGV_MAX;
    asm volatile("%0 &= 65535" : "+r"(size));
    if (size > ARGV_MAX)
        size = ARGV_MAX;
    event->argv_read = bpf_probe_read_user(scratch->data + name_bytes, size, (void *)start) == 0;
    event->argv_bytes = size;

    size += name_bytes + sizeof(*event);
    asm volatile("%0 &= 65535" : "+r"(size));
    if (size > sizeof(*scratch))
        size = sizeof(*scratch);
    counted(exec_ring.ringbuf_output(scratch, size, 0), exec_sent);
    return 0;
}

#if SCHED_PROCESS_EXIT_ARGS < 2
BPF_TABLE("lru_hash", u64, u8, ended, 65536); /* processes that ended, by start time and pid */
#endif

/* Whether the last thread leaves. Where none_lives says so for two of them, the first to come here is taken.
 */
static inline bool last_thread(struct bpf_raw_tracepoint_args *ctx, struct task_struct *task)
{
    bool last = none_lives(ctx, task);
#if SCHED_PROCESS_EXIT_ARGS < 2
    u32 tgid = 0;
    u8 one = 1;
    if (!last)
        return false;
    READ(tgid, task, tgid);
    u64 key = process_start(task) << 22 | tgid;
    last = ended.insert(&key, &one) == 0;
#endif
    return last;
}

/* A task begins to exit. It is reported when it has left its CPU for the last time: then its figures are
 * final, and its children have been handed on. */
int tp_sched_process_exit(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[0], *eldest;
    struct dying state = {};
    u32 tgid = bpf_get_current_pid_tgid() >> 32, level = 0;
    u64 key = (u64)task;
    bool pass = wanted(), process = last_thread(ctx, task);

    if (process)
        forget_process(tgid);
    if (!pass)
        return 0;
    if (process) {
        struct signal_struct *signal = NULL;
        u8 one = 1;
        READ(signal, task, signal);
        u64 group = (u64)signal;
        count(ending.update(&group, &one) ? exits_lost : leaving);
    }
    state.tid = bpf_get_current_pid_tgid();
    state.end = &task->children;
    READ(state.next, task, children.next);
    /* A pid namespace ends with its init: children are killed, not handed on. */
    state.parent = state.next != state.end && !(process && own_pid(task, &level) == 1);
#ifndef THREADS
    if (!state.parent)
        return 0;
#endif
    if (state.parent) {
        eldest = LIST_ENTRY(state.next, struct task_struct, sibling);
        state.witness[WITNESSES] = eldest;
        READ(state.witness_start[WITNESSES], eldest, start_time);
    }
    state.start_time_ns = process_start(task);
    if (dying.update(&key, &state)) {
        count(exits_lost);
        return 0;
    }
    count(leaving);
    if (state.parent) {
        tails.call(ctx, 0);
        count(orphans_lost);
    }
    return 0;
}

#include "orphans.h"
#include "exit.h"
