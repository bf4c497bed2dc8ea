/* What all probes share: rings with a loss counter beside them, and the filters.
 *
 * A probe is compiled with these parameters, all of them numbers given as cflags:
 *   CPUS              possible CPUs of this machine
 *   FILTER_TARGETS    only processes in the map `targets`, which user space fills;
 *   FOLLOW            and, with it, every process that one of them creates
 *   FILTER_UID        only tasks of that real user id
 *   FILTER_COMM_LOW, FILTER_COMM_HIGH   only tasks of that comm, its 16 bytes as two little-endian words
 *   FILTER_CGROUP, FILTER_CGROUP_LEVEL  only tasks in that cgroup (v2 id and depth) or one below it
 *   FILTER_PIDNS      only tasks in the pid namespace of that inode number or one below it
 *
 * Cost: a filter that is not asked for is not compiled in.
 */
#pragma once
#include <linux/types.h>
#include <kernel_structs.h>

/* Copies a member of a kernel object; 0 if the address cannot be read. The size is checked when compiling. */
#define READ(var, ptr, member)                                                                               \
    ({                                                                                                       \
        _Static_assert(sizeof(var) == sizeof((ptr)->member), "width of " #member);                           \
        bpf_probe_read_kernel(&(var), sizeof(var), &(ptr)->member);                                          \
    })

/* ---- counters: one row for each CPU, mapped by user space ---- */

#define COUNTERS 32 /* for each CPU: 256 bytes, so that no two CPUs share a cache line */
#define COUNTER(name, slot) enum { name = slot }

BPF_F_TABLE("array", u32, u64, counters, CPUS *COUNTERS, BPF_F_MMAPABLE);

static inline void count_many(u32 slot, u64 number)
{
    u32 index = bpf_get_smp_processor_id() * COUNTERS + slot;
    u64 *value = counters.lookup(&index);
    if (value)
        __sync_fetch_and_add(value, number);
}

static inline void count(u32 slot)
{
    count_many(slot, 1);
}

/* ---- rings: events of `struct <kind>_event`; sent and lost are counted in slots 2n and 2n + 1 ---- */

#define RING(kind, n, mib)                                                                                   \
    BPF_RINGBUF_OUTPUT(kind##_ring, (mib << 20) / PAGE_SIZE);                                                \
    enum { kind##_sent = 2 * (n), kind##_lost = 2 * (n) + 1 }

/* To be given what ringbuf_output returned: counted(fork_ring.ringbuf_output(...), fork_sent). */
static inline void counted(long error, u32 sent)
{
    count(error ? sent + 1 : sent);
}

#define PF_EXITING 0x00000004 /* include/linux/sched.h */

/* ---- filters: each looks at the current task ---- */

#ifdef FILTER_TARGETS
BPF_HASH(targets, u32, u64, 65536);                          /* by tgid */
BPF_F_TABLE("array", u32, u64, scanning, 1, BPF_F_MMAPABLE); /* 1 while user space looks for descendants */
COUNTER(targets_lost, 31);                                   /* processes that found no place in `targets` */

static inline void add_target(u32 tgid)
{
    u64 one = 1;
    if (targets.update(&tgid, &one))
        count(targets_lost);
}

/* Descendants that were there before tracing are found by user space, which takes a moment. Until then a
 * task is looked for among the ancestors too, so that none slips through by forking or exiting meanwhile. */
static inline bool descends_from_target(struct task_struct *task, u32 tgid)
{
    u32 zero = 0, ancestor = 0;
    u64 *now = scanning.lookup(&zero);
    if (!now || !*now)
        return false;
    for (int depth = 0; depth < 64; depth++) {
        READ(task, task, real_parent);
        READ(ancestor, task, tgid);
        if (ancestor <= 1)
            return false;
        if (targets.lookup(&ancestor)) {
            add_target(tgid);
            return true;
        }
    }
    return false;
}
#endif

#ifdef FILTER_PIDNS
static inline bool in_pid_namespace(struct task_struct *task, u32 wanted)
{
    struct pid *pid = NULL;
    struct pid_namespace *ns = NULL;
    u32 level = 0, inum = 0;
    READ(pid, task, thread_pid);
    READ(level, pid, level);
    for (u32 i = 0; i <= 32 && i <= level; i++) { /* MAX_PID_NS_LEVEL, include/linux/pid_namespace.h */
        READ(ns, pid, numbers[i].ns);
        READ(inum, ns, ns.inum);
        if (inum == wanted)
            return true;
    }
    return false;
}
#endif

/* Whether the current task is one of those picked, or none were. */
static inline bool is_target(void)
{
#ifdef FILTER_TARGETS
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    if (!targets.lookup(&tgid)) {
#ifdef FOLLOW
        if (!descends_from_target((struct task_struct *)bpf_get_current_task(), tgid))
#endif
            return false;
    }
#endif
    return true;
}

/* Whether the current task passes those filters that look at it alone. */
static inline bool passes(void)
{
#ifdef FILTER_UID
    if ((u32)bpf_get_current_uid_gid() != FILTER_UID)
        return false;
#endif
#ifdef FILTER_COMM_LOW
    u64 comm[2] = {};
    bpf_get_current_comm(&comm, sizeof(comm));
    if (comm[0] != FILTER_COMM_LOW || comm[1] != FILTER_COMM_HIGH)
        return false;
#endif
#ifdef FILTER_CGROUP
    if (bpf_get_current_ancestor_cgroup_id(FILTER_CGROUP_LEVEL) != FILTER_CGROUP)
        return false;
#endif
#ifdef FILTER_PIDNS
    if (!in_pid_namespace((struct task_struct *)bpf_get_current_task(), FILTER_PIDNS))
        return false;
#endif
    return true;
}

/* Whether the current task passes all filters that were asked for. */
static inline bool wanted(void)
{
    return is_target() && passes();
}

/* At sched_process_exit: whether no thread of the process lives any more. Kernels before 6.16 do not say:
 * there the count of live threads is 0 for two threads that leave at the same moment. */
static inline bool none_lives(struct bpf_raw_tracepoint_args *ctx, struct task_struct *task)
{
#if SCHED_PROCESS_EXIT_ARGS >= 2
    return (u8)ctx->args[1];
#else
    struct signal_struct *signal = NULL;
    s32 live = 0;
    READ(signal, task, signal);
    bpf_probe_read_kernel(&live, sizeof(live), &signal->live);
    return !live;
#endif
}

/* To be called for every new process, before the other filters: a target's descendants are followed through
 * those that do not pass them. */
static inline void follow_fork(u32 child_tgid)
{
#if defined(FILTER_TARGETS) && defined(FOLLOW)
    if (is_target())
        add_target(child_tgid);
#endif
}

/* To be called for the children of a wanted task that exits: while user space still looks for descendants,
 * their way to the target is lost with it, so they are marked now. */
static inline void adopt_target(struct task_struct *child, u32 child_tgid)
{
#if defined(FILTER_TARGETS) && defined(FOLLOW)
    u32 zero = 0, flags = 0;
    u64 *now = scanning.lookup(&zero);
    READ(flags, child, flags);
    if (now && *now && !(flags & PF_EXITING))
        add_target(child_tgid);
#endif
}

#define ADOPTED_MAX 256 /* of a task that ends while user space looks for descendants */

/* To be called when a task exits, for all its children. */
static inline void adopt_children(struct task_struct *task)
{
#if defined(FILTER_TARGETS) && defined(FOLLOW)
    struct list_head *end = &task->children, *node = NULL;
    u32 zero = 0;
    u64 *now = scanning.lookup(&zero);

    if (!now || !*now || !is_target())
        return;
    READ(node, task, children.next);
    for (int i = 0; i < ADOPTED_MAX && node && node != end; i++) {
        struct task_struct *child =
            (struct task_struct *)((char *)node - __builtin_offsetof(struct task_struct, sibling));
        u32 tgid = 0;
        READ(tgid, child, tgid);
        adopt_target(child, tgid);
        READ(node, node, next);
    }
#endif
}

/* To be called when a process has ended, before anything can return: its pid may soon be another's. */
static inline void forget_process(u32 tgid)
{
#ifdef FILTER_TARGETS
    targets.delete(&tgid);
#endif
}
