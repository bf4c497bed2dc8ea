/* Fetches the memory that the arguments of a call refer to. */

static inline struct text_scratch *text_place(void)
{
    u32 cpu = bpf_get_smp_processor_id();
    return text_scratch.lookup(&cpu);
}

static inline void send_text(struct text_scratch *scratch, struct thread_record *record, u32 argument,
                             u64 size, bool cut)
{
    scratch->event.ts_ns = record->ts_ns;
    scratch->event.tid = bpf_get_current_pid_tgid();
    scratch->event.number = record->number;
    scratch->event.argument = argument;
    scratch->event.cut = cut;
    asm volatile("%0 &= 8191" : "+r"(size));
    counted(text_ring.ringbuf_output(scratch, sizeof(scratch->event) + size, 0), text_sent);
}

/* Reads a text with its NUL; how long it is with that, or an error. Kernels before 6.2 say 0 of an empty one.
 */
static inline long read_text(char *to, void *address)
{
    long copied = bpf_probe_read_user_str(to, STRING_MAX, address);
    if (copied == 0) {
        *to = 0;
        return 1;
    }
    return copied;
}

static inline bool is_read_at_entry(u8 kind)
{
    return kind == STRING || kind == BYTES_IN || kind == FIXED_IN || kind == SIZED_IN;
}

static inline bool is_read_at_exit(u8 kind)
{
    return kind == BYTES_OUT || kind == FIXED_OUT || kind == BYTES_AT || kind == SIZED_OUT;
}

/* How many times its unit there is of an argument. */
static inline u64 number_of(struct thread_record *record, struct argument *argument, s64 ret)
{
    u64 number = argument->which < ARGUMENTS ? argument_of(record, argument->which) : ret;
    return number > 0xffff ? 0xffff : number;
}

/* Fetches an argument's memory and sends it. False if it could not be read. */
static inline bool fetch(struct text_scratch *scratch, struct thread_record *record,
                         struct argument *argument, u32 place, s64 ret, u64 text_bytes)
{
    void *address = (void *)argument_of(record, place);
    u64 size = argument->size, most = BYTES_MAX;
    u32 told_bytes = 0;
    long copied;

    if (!address)
        return true;
    if (argument->kind == STRING) {
        copied = read_text(scratch->data, address);
        if (copied < 0)
            return false;
        send_text(scratch, record, place, copied, copied == STRING_MAX);
        return true;
    }
    if (argument->kind == BYTES_IN || argument->kind == BYTES_OUT) {
        if (size == 1)
            most = text_bytes;
        size *= number_of(record, argument, ret);
        if (argument->which == RESULT) { /* recv with MSG_TRUNC returns more than it had room for */
            u64 room = argument_of(record, place + 1) * argument->size;
            if (size > room)
                size = room;
        }
    } else if (argument->kind == SIZED_IN || argument->kind == SIZED_OUT) {
        most = size;
        size = number_of(record, argument, ret);
    } else if (argument->kind == BYTES_AT) {
        if (bpf_probe_read_user(&told_bytes, sizeof(told_bytes),
                                (void *)argument_of(record, argument->which)))
            return true;
        most = size;
        size = told_bytes;
    }
    bool cut = size > most;
    if (cut)
        size = most;
    asm volatile("%0 &= 4095" : "+r"(size));
    if (bpf_probe_read_user(scratch->data, size, address))
        return false;
    send_text(scratch, record, place, size, cut);
    return true;
}

/* At a call's entry. */
int tail_0(struct bpf_raw_tracepoint_args *ctx)
{
    struct text_scratch *scratch = text_place();
    u32 tid = bpf_get_current_pid_tgid(), zero = 0;
    struct thread_record *record = threads.lookup(&tid);
    struct limits *limit = limits.lookup(&zero);
    struct spec *spec;

    if (!record || !scratch || !limit)
        return 0;
    spec = spec_of(record);
    if (!spec)
        return 0;
    for (u32 place = 0; place < ARGUMENTS; place++) {
        struct argument *argument = &spec->arguments[place];
        if (argument->kind == FD) {
            look_up(record, argument->which, argument_of(record, place));
        } else if (is_read_at_entry(argument->kind)) {
            if (!fetch(scratch, record, argument, place, 0, limit->text_bytes))
                record->missing |= 1 << place;
        }
    }
    if (spec->flags & LISTS)
        tails.call(ctx, 2);
    if (record->unknown)
        tails.call(ctx, 3);
    record->ts_ns = bpf_ktime_get_ns();
    return 0;
}

/* At its exit: what the call has written, and what was not there before. */
int tail_1(struct bpf_raw_tracepoint_args *ctx)
{
    struct text_scratch *scratch = text_place();
    u32 tid = bpf_get_current_pid_tgid(), zero = 0;
    struct thread_record *record = threads.lookup(&tid);
    struct limits *limit = limits.lookup(&zero);
    s64 ret = ctx->args[1];
    struct spec *spec;

    if (!record || !scratch || !limit)
        return 0;
    spec = spec_of(record);
    if (!spec)
        return 0;
    for (u32 place = 0; place < ARGUMENTS; place++) {
        struct argument *argument = &spec->arguments[place];
        u8 kind = argument->kind;
        bool late = is_read_at_entry(kind) && record->missing & 1 << place;
        if ((is_read_at_exit(kind) && !has_failed(spec, ret)) || late)
            fetch(scratch, record, argument, place, ret, limit->text_bytes);
    }
    if (spec->flags & LISTS && record->missing & 1 << (spec->list & 7))
        tails.call(ctx, 2);
    if (record->unknown)
        tails.call(ctx, 3);
    return 0;
}

/* The texts of an argument list, one behind the other. */
int tail_2(struct bpf_raw_tracepoint_args *ctx)
{
    struct text_scratch *scratch = text_place();
    u32 tid = bpf_get_current_pid_tgid(), place;
    struct thread_record *record = threads.lookup(&tid);
    bool ended = false, read = true;
    struct spec *spec;
    void *list;
    u64 at = 0;

    if (!record || !scratch)
        return 0;
    spec = spec_of(record);
    if (!spec)
        return 0;
    place = spec->list & 7;
    list = (void *)argument_of(record, place);
    for (u32 i = 0; i < STRINGS_MAX && at < STRING_MAX; i++) {
        u64 text = 0;
        long copied;
        read = bpf_probe_read_user(&text, sizeof(text), list + i * 8) == 0;
        ended = read && !text;
        if (!read || ended)
            break;
        asm volatile("%0 &= 4095" : "+r"(at));
        copied = read_text(scratch->data + at, (void *)text);
        read = copied > 0;
        if (!read)
            break;
        at += copied;
    }
    if (!read)
        record->missing |= 1 << place;
    else
        send_text(scratch, record, place, at, !ended);
    if (record->unknown)
        tails.call(ctx, 3);
    record->ts_ns = bpf_ktime_get_ns();
    return 0;
}

/* What a successful exec was given and could not be read at its entry. A script's arguments are those that
 * its interpreter is given. */
static inline void send_new_program(struct bpf_raw_tracepoint_args *ctx, struct thread_record *record)
{
    struct task_struct *task = (struct task_struct *)ctx->args[0];
    struct linux_binprm *binprm = (struct linux_binprm *)ctx->args[2];
    struct text_scratch *scratch = text_place();
    struct spec *spec = spec_of(record);
    struct mm_struct *mm = NULL;
    u64 start = 0, end = 0, size;
    void *name = NULL;
    long copied;

    if (!scratch || !spec)
        return;
    for (u32 place = 0; place < 3; place++) {
        if (!(record->missing & 1 << place))
            continue;
        if (spec->arguments[place].kind == STRING) {
            READ(name, binprm, filename);
            copied = bpf_probe_read_kernel_str(scratch->data, STRING_MAX, name);
            if (copied > 0)
                send_text(scratch, record, place, copied, copied == STRING_MAX);
        } else if (spec->arguments[place].kind == STRINGS) {
            READ(mm, task, mm);
            READ(start, mm, arg_start);
            READ(end, mm, arg_end);
            size = end - start < STRING_MAX ? end - start : STRING_MAX - 1;
            asm volatile("%0 &= 4095" : "+r"(size));
            if (bpf_probe_read_user(scratch->data, size, (void *)start) == 0)
                send_text(scratch, record, place, size, end - start >= STRING_MAX);
        }
    }
    record->missing = 0;
}
