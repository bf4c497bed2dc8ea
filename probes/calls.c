/* System calls, one by one: who, which, with what arguments, what came of it, how long.
 *
 * A call is sent when it returns, with its arguments as they were at its entry. What arguments refer to is
 * sent beside it, by a table that user space fills; most of it is read at the entry. Memory that is not there
 * then (the tracepoint must not fault) is read when the call returns: the kernel has fetched it meanwhile.
 *
 * Cost: about 350 ns for a call without such arguments; 200 more for a descriptor, 300 and what copying takes
 * for a text. 112 bytes for each possible thread.
 *
 * Parameters beside those of kintro.h: those of record.h.
 */
#include "kintro.h"
#include "calls.h"
#include "files.h"
#include "capture.h"

static inline void introduce(struct task_struct *task, u32 tid, u32 old_tid, u64 now_ns)
{
    struct thread_event event = {.ts_ns = now_ns, .tid = tid, .old_tid = old_tid};
    READ(event.pid, task, tgid);
    READ(event.start_time_ns, task, start_time);
    bpf_probe_read_kernel_str(event.comm, sizeof(event.comm), task->comm);
    counted(thread_ring.ringbuf_output(&event, sizeof(event), 0), thread_sent);
}

static inline void read_arguments(struct thread_record *record, struct pt_regs *regs)
{
    bpf_probe_read_kernel(record->registers, sizeof(record->registers), &regs->FIRST_REGISTER);
#ifdef HAVE_PT_REGS_R10
    if (record->flags & COMPAT_CALL) { /* bx cx dx si di bp, of 32 bits each */
        u64 bx = 0, bp = 0, *saved = record->registers;
        u32 cx = saved[4], dx = saved[5], si = saved[6], di = saved[7];
        READ(bx, regs, bx);
        READ(bp, regs, bp);
        saved[ARG0] = (u32)bx;
        saved[ARG1] = cx;
        saved[ARG2] = dx;
        saved[ARG3] = si;
        saved[ARG4] = di;
        saved[ARG5] = (u32)bp;
    }
#endif
}

static inline void send(struct thread_record *record, u32 tid, u64 ended_ns, s64 ret, u32 flags)
{
    struct call_event *event = call_ring.ringbuf_reserve(sizeof(*event));
    if (!event) {
        count(call_lost);
        return;
    }
    event->ended_ns = ended_ns;
    event->ts_ns = record->ts_ns;
    event->ret = ret;
    event->arg0 = record->registers[ARG0];
    event->arg1 = record->registers[ARG1];
    event->arg2 = record->registers[ARG2];
    event->arg3 = record->registers[ARG3];
    event->arg4 = record->registers[ARG4];
    event->arg5 = record->registers[ARG5];
    event->file0 = record->files[0];
    event->file1 = record->files[1];
    event->tid = tid;
    event->pid = record->pid;
    event->number = record->number;
    event->nr = record->nr;
    event->flags = flags | (record->flags & COMPAT_CALL ? COMPAT : 0);
    call_ring.ringbuf_submit(event, 0);
    count(call_sent);
}

int tp_sys_enter(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = CURRENT();
    u32 tid = LOAD(task, pid);
    struct thread_record *record = record_of(tid);
    struct spec *spec;

    if (!record) {
        if (wanted())
            count(threads_lost);
        return 0;
    }
    if (record->flags & OPEN)
        count(overtaken);
    record->flags = (record->flags & ~(OPEN | COMPAT_CALL | MOVING)) | ENTERED;
    record->nr = ctx->args[1];
    if (is_compat(task))
        record->flags |= COMPAT_CALL;
    spec = spec_of(record);
    if (spec && spec->flags & MOVES)
        record->flags |= MOVING;
    if (!spec || !(spec->flags & TRACED) || !counts(record)) {
        record->flags |= SKIPPED;
        return 0;
    }
    read_arguments(record, (struct pt_regs *)ctx->args[0]);
    record->files[0] = record->files[1] = 0;
    record->missing = record->unknown = 0;
    record->number++;
    record->flags = (record->flags & ~SKIPPED) | OPEN;
    if (!(record->flags & HELD))
        count(entered);
    record->ts_ns = bpf_ktime_get_ns();
    if (!(record->flags & INTRODUCED)) {
        record->flags |= INTRODUCED;
        record->pid = bpf_get_current_pid_tgid() >> 32;
        introduce((struct task_struct *)bpf_get_current_task(), tid, 0, record->ts_ns);
    }
    if (spec->flags & AT_ENTRY && !(record->flags & HELD))
        tails.call(ctx, 0);
    return 0;
}

/* An exit without an entry. */
static inline void only_left(struct bpf_raw_tracepoint_args *ctx, struct thread_record *record, u32 tid,
                             struct limits *limit, u64 now_ns)
{
    struct pt_regs *regs = (struct pt_regs *)ctx->args[0];
    u16 flags = record->flags;
    struct spec *spec;

    record->flags &= ~(SKIPPED | NEWBORN);
    if (!all_attached())
        return;
    record->flags |= ENTERED;
    if (flags & (SKIPPED | HELD | NEWBORN) || !counts(record))
        return;
    if (flags & ENTERED) {
        count(refused);
        return;
    }
    if (!all_found_room())
        return;
    record->nr = number_at_exit(regs);
    if (is_compat(CURRENT()))
        record->flags |= COMPAT_CALL;
    spec = spec_of(record);
    if (!spec || !(spec->flags & TRACED))
        return;
    read_arguments(record, regs);
    first_argument_at_exit(record->registers, regs);
    record->ts_ns = 0;
    record->pid = bpf_get_current_pid_tgid() >> 32;
    record->flags |= INTRODUCED;
    introduce((struct task_struct *)bpf_get_current_task(), tid, 0, now_ns);
    if (has_failed(spec, ctx->args[1]))
        count(errors);
    else if (limit->failed)
        return;
    count(early);
    send(record, tid, now_ns, ctx->args[1], EARLY);
}

int tp_sys_exit(struct bpf_raw_tracepoint_args *ctx)
{
    u64 now_ns = bpf_ktime_get_ns();
    u32 tid = LOAD(CURRENT(), pid), zero = 0;
    struct thread_record *record = threads.lookup(&tid);
    struct limits *limit = limits.lookup(&zero);
    s64 ret = ctx->args[1];
    struct spec *spec;
    bool failed;

    if (!record) /* a call that began before tracing did: the first that is seen of its thread */
        record = record_of(tid);
    if (!record || !limit)
        return 0;
    if (record->flags & MOVING) {
        u64 *moved = moves.lookup(&zero);
        if (moved)
            __sync_fetch_and_add(moved, 1);
    }
    if (!(record->flags & OPEN)) {
        only_left(ctx, record, tid, limit, now_ns);
        return 0;
    }
    record->flags &= ~OPEN;
    if (record->flags & HELD)
        return 0;
    spec = spec_of(record);
    if (!spec)
        return 0;
    failed = has_failed(spec, ret);
    if ((limit->failed && !failed) || now_ns - record->ts_ns < limit->slower_ns) {
        count(passed_over);
        return 0;
    }
    if (failed)
        count(errors);
    else if (spec->flags & RESULT_FD)
        look_up(record, 1, ret);
    send(record, tid, now_ns, ret, 0);
    record->ts_ns = now_ns;
    if (record->missing || (spec->flags & AT_EXIT && !failed))
        tails.call(ctx, 1);
    if (record->unknown)
        tails.call(ctx, 3);
    return 0;
}

int tp_task_newtask(struct bpf_raw_tracepoint_args *ctx)
{
    count(tasks_created);
    newborn(ctx);
    return 0;
}

/* prctl(PR_SET_NAME) and the like; the name is set after this. */
int tp_task_rename(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[0];
    struct thread_event event = {.ts_ns = bpf_ktime_get_ns()};
    struct thread_record *record;

    READ(event.tid, task, pid);
    record = threads.lookup(&event.tid);
    if (!record || !(record->flags & INTRODUCED))
        return 0;
    READ(event.pid, task, tgid);
    READ(event.start_time_ns, task, start_time);
    bpf_probe_read_kernel_str(event.comm, sizeof(event.comm), (void *)ctx->args[1]);
    counted(thread_ring.ringbuf_output(&event, sizeof(event), 0), thread_sent);
    return 0;
}

int tp_sched_process_exec(struct bpf_raw_tracepoint_args *ctx)
{
    u32 tid = bpf_get_current_pid_tgid(), old_tid = ctx->args[1];
    struct thread_record *record = of_exec(ctx, tid);

    if (!record)
        return 0;
    if (record->flags & HELD) {
        record->flags &= ~HELD;
        record->number = 1;
        if (record->flags & OPEN)
            count(entered);
        record->missing = 0xff;
    }
    if (!(record->flags & OPEN))
        return 0;
    record->flags |= INTRODUCED;
    record->pid = bpf_get_current_pid_tgid() >> 32;
    introduce((struct task_struct *)bpf_get_current_task(), tid, tid == old_tid ? 0 : old_tid,
              bpf_ktime_get_ns());
    if (record->missing)
        send_new_program(ctx, record);
    return 0;
}

int tp_sched_process_exit(struct bpf_raw_tracepoint_args *ctx)
{
    struct thread_record *record = of_exit(ctx);
    u32 tid = bpf_get_current_pid_tgid();

    if (!record)
        return 0;
    if (record->flags & OPEN && !(record->flags & HELD)) {
        count(died);
        send(record, tid, bpf_ktime_get_ns(), 0, UNFINISHED);
    }
    drop_record(tid, record);
    return 0;
}
