/* Inter-process communication, call by call: who, through which channel, how many bytes, how long asleep in
 * it, whom it woke; and signals, from where they are generated to where they arrive.
 *
 * A call on a channel is sent when it returns. What its descriptors refer to is looked up in the kernel when
 * it begins; calls on regular files and the like are left out there.
 *
 * Cost: about 100 ns for a call that is none of these, 800 for one that is (script/bench ipc_traced). 144
 * bytes for each possible thread.
 *
 * Parameters beside those of kintro.h: those of record.h.
 */
#include "kintro.h"
#include "traffic.h"
#include "files.h"
#include "sockets.h"
#include "mappings.h"
#include "channels.h"
#include "signals.h"

static inline void send(struct thread_record *record, struct end *end, u32 tid, u64 ended_ns, s64 ret,
                        u64 bytes, u32 messages, u16 flags)
{
    struct operation_event *event = operation_ring.ringbuf_reserve(sizeof(*event));
    if (!event) {
        count(operation_lost);
        return;
    }
    event->ended_ns = ended_ns;
    event->ts_ns = flags & EARLY ? 0 : record->ts_ns;
    event->ret = ret;
    event->size_bytes = bytes;
    event->blocked_ns = record->blocked_ns;
    event->channel = end->channel;
    event->other = end->other;
    event->dev = end->dev;
    event->tid = tid;
    event->pid = record->pid;
    event->fd = end->fd;
    event->nr = record->nr;
    event->messages = messages;
    event->wakes = record->wakes;
    event->flags = end->flags | flags;
    event->kind = end->kind;
    event->direction = end->direction;
    bpf_get_current_comm(event->comm, sizeof(event->comm));
    operation_ring.ringbuf_submit(event, 0);
    count(operation_sent);
}

/* What a call moved; of messages in a vector that was added up before. */
static inline u64 bytes_of(struct thread_record *record, s64 ret, u32 *messages)
{
    if (ret < 0 || record->bytes_in == NOTHING)
        return 0;
    if (record->bytes_in == RETURNED) {
        *messages = ret > 0;
        return ret;
    }
    *messages = record->bytes_in == IN_VECTOR ? ret : 1;
    return record->size;
}

static inline void send_all(struct thread_record *record, u32 tid, u64 ended_ns, s64 ret, u16 flags)
{
    u32 moved = 0;
    u64 bytes = flags & UNFINISHED ? 0 : bytes_of(record, ret, &moved);

    for (u32 i = 0; i < 2; i++) {
        struct end *end = end_of(record, i);
        u32 messages = moved;
        if (!end->kind)
            continue;
        if (end->flags & DATAGRAMS && record->bytes_in == RETURNED && ret == 0 && !(flags & UNFINISHED))
            messages = 1;
        if (end->flags & PEEKED)
            messages = 0;
        send(record, end, tid, ended_ns, ret, end->flags & PEEKED ? 0 : bytes, messages, flags);
    }
}

static inline u32 ends_of(struct thread_record *record)
{
    return !!end_of(record, 0)->kind + !!end_of(record, 1)->kind;
}

static inline void begin(struct thread_record *record)
{
    record->blocked_ns = record->since_ns = 0;
    record->wakes = 0;
    record->unknown = 0;
    record->taken = 0;
    record->pid = bpf_get_current_pid_tgid() >> 32;
}

int tp_sys_enter(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = CURRENT();
    u32 tid = LOAD(task, pid), nr = ctx->args[1];
    struct spec *spec = specs.lookup(&nr);
    struct thread_record *record = record_of(tid);
    u64 registers[8];

    if (!record) {
        if (wanted())
            count(threads_lost);
        return 0;
    }
    if (record->flags & OPEN)
        count_many(overtaken, ends_of(record));
    record->flags = (record->flags & ~(OPEN | TAKES)) | ENTERED | SKIPPED;
    if (is_compat(task)) {
        if (!(record->flags & HELD) && counts(record))
            count(compat);
        return 0;
    }
    if (!spec || !spec->works_on || !counts(record))
        return 0;
    bpf_probe_read_kernel(registers, sizeof(registers), &((struct pt_regs *)ctx->args[0])->FIRST_REGISTER);
    begin(record);
    record->nr = nr;
    record->ts_ns = bpf_ktime_get_ns();
    find_ends(record, spec, registers);
    if (!ends_of(record))
        return 0;
    record->flags = (record->flags & ~SKIPPED) | OPEN;
    if (record->flags & HELD)
        return 0;
    count_many(entered, ends_of(record));
    if (record->unknown)
        tails.call(ctx, 3);
    return 0;
}

/* Whether nothing came of a call on a futex: nobody waited, nobody was woken. */
static inline bool is_idle(struct thread_record *record, s64 ret)
{
    if (end_of(record, 0)->kind != FUTEX)
        return false;
    if (end_of(record, 0)->direction == WAIT)
        return !record->blocked_ns;
    return !record->wakes && ret <= 0;
}

static inline void finish(struct bpf_raw_tracepoint_args *ctx, struct thread_record *record, u32 tid,
                          u64 now_ns, u16 flags)
{
    s64 ret = ctx->args[1];

    if (record->bytes_in == IN_VECTOR && ret > 0) {
        record->ended_ns = now_ns;
        record->ending = flags;
        tails.call(ctx, 1);
    }
    send_all(record, tid, now_ns, ret, flags);
}

/* The lengths of several messages, added up. */
int tail_1(struct bpf_raw_tracepoint_args *ctx)
{
    u32 tid = bpf_get_current_pid_tgid(), length, number = ctx->args[1];
    struct thread_record *record = threads.lookup(&tid);
    u64 bytes = 0;

    if (!record)
        return 0;
    for (u32 i = 0; i < VECTOR_MAX; i++) {
        asm volatile("" : "+r"(number)); /* else clang counts down from it, and the verifier sees no end */
        if (i >= number)
            break;
        length = 0;
        bpf_probe_read_user(&length, sizeof(length),
                            (void *)record->vector + i * MMSGHDR_BYTES + MMSGHDR_LENGTH_AT);
        bytes += length;
    }
    record->size = bytes;
    tails.call(ctx, 4);
    return 0;
}

/* And sent: apart from the loop, all of whose ends the verifier follows. */
int tail_4(struct bpf_raw_tracepoint_args *ctx)
{
    u32 tid = bpf_get_current_pid_tgid();
    struct thread_record *record = threads.lookup(&tid);

    if (record)
        send_all(record, tid, record->ended_ns, ctx->args[1], record->ending);
    return 0;
}

/* An exit without an entry: the call began before the trace. */
int tail_0(struct bpf_raw_tracepoint_args *ctx)
{
    struct pt_regs *regs = (struct pt_regs *)ctx->args[0];
    u64 now_ns = bpf_ktime_get_ns();
    u32 tid = bpf_get_current_pid_tgid();
    struct thread_record *record = threads.lookup(&tid);
    struct spec *spec;
    u64 registers[8];

    if (!record)
        return 0;
    record->nr = number_at_exit(regs);
    spec = specs.lookup(&record->nr);
    if (!spec || !spec->works_on)
        return 0;
    bpf_probe_read_kernel(registers, sizeof(registers), &regs->FIRST_REGISTER);
    first_argument_at_exit(registers, regs);
    begin(record);
    record->ts_ns = now_ns;
    find_ends(record, spec, registers);
    if (record->flags & TAKES)
        tails.call(ctx, 2);
    count_many(early, ends_of(record));
    finish(ctx, record, tid, now_ns, EARLY);
    if (record->unknown)
        tails.call(ctx, 3);
    return 0;
}

int tp_sys_exit(struct bpf_raw_tracepoint_args *ctx)
{
    u64 now_ns = bpf_ktime_get_ns();
    u32 tid = LOAD(CURRENT(), pid);
    struct thread_record *record = record_of(tid);
    s64 ret = ctx->args[1];

    if (!record)
        return 0;
    if (!(record->flags & OPEN)) {
        u16 flags = record->flags;
        record->flags &= ~(SKIPPED | NEWBORN);
        if (!all_attached())
            return 0;
        record->flags |= ENTERED;
        if (flags & HELD)
            return 0;
        if (flags & TAKES)
            tails.call(ctx, 2);
        else if (!(flags & (SKIPPED | NEWBORN | ENTERED)) && all_found_room() && !is_compat(CURRENT()) &&
                 counts(record))
            tails.call(ctx, 0);
        return 0;
    }
    record->flags &= ~OPEN;
    if (record->flags & HELD)
        return 0;
    if (is_idle(record, ret))
        count(passed_over);
    else
        finish(ctx, record, tid, now_ns, 0);
    return 0;
}

int tp_task_newtask(struct bpf_raw_tracepoint_args *ctx)
{
    count(tasks_created);
    newborn(ctx);
    return 0;
}

int tp_sched_process_exec(struct bpf_raw_tracepoint_args *ctx)
{
    struct thread_record *record = of_exec(ctx, bpf_get_current_pid_tgid());

    if (record)
        record->flags &= ~HELD;
    return 0;
}

int tp_sched_process_exit(struct bpf_raw_tracepoint_args *ctx)
{
    struct thread_record *record = of_exit(ctx);
    u32 tid = bpf_get_current_pid_tgid();

    if (!record)
        return 0;
    if (record->flags & OPEN && !(record->flags & HELD)) {
        count_many(died, ends_of(record));
        send_all(record, tid, bpf_ktime_get_ns(), 0, UNFINISHED);
    }
    drop_record(tid, record);
    return 0;
}

#include "wakes.h"
