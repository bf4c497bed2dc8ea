/* Which channels a call of traffic.c works on. */

/* include/uapi/linux/magic.h, ipc/mqueue.c, stat.h */
#define PIPEFS_MAGIC 0x50495045
#define SOCKFS_MAGIC 0x534F434B
#define ANON_INODE_FS_MAGIC 0x09041934
#define MQUEUE_MAGIC 0x19800202
#define S_IFMT 0170000
#define S_IFIFO 0010000
#define FMODE_WRITE 0x2       /* include/linux/fs.h */
#define PF_KTHREAD 0x00200000 /* include/linux/sched.h */

/* include/uapi/linux/futex.h */
#define FUTEX_PRIVATE_FLAG 128 /* FUTEX2_PRIVATE too */
#define FUTEX_CMD_MASK 127
#define FUTEX_WAITS (1 << 0 | 1 << 6 | 1 << 9 | 1 << 11 | 1 << 13)
#define FUTEX_WAKES (1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 10 | 1 << 12)

enum { TAKES = 64 }; /* of a thread's record: the call under way may take signals */

static inline bool is_named(struct file *file, const char *begin, char last)
{
    struct path path = {};
    void *name = NULL;
    char found[10] = {};

    READ(path, file, f_path);
    READ(name, path.dentry, d_name.name);
    bpf_probe_read_kernel(found, sizeof(found), name);
    return *(u64 *)found == *(u64 *)begin && found[8] == last;
}

/* What is not shared between processes, or has no messages, has no kind. */
static inline void find_file(struct thread_record *record, struct end *end, u32 place, struct spec *spec,
                             u64 *registers)
{
    struct file *file = (struct file *)file_at(end->fd);
    struct super_block *block = NULL;
    struct inode *inode = NULL;
    struct eventfd_ctx *counter = NULL;
    u64 magic = 0;
    u32 mode_of_file = 0;
    s32 id = 0;
    u16 mode = 0;

    if (!file)
        return;
    READ(inode, file, f_inode);
    READ(mode, inode, i_mode);
    READ(block, inode, i_sb);
    READ(magic, block, s_magic);
    READ(end->channel, inode, i_ino);
    READ(end->dev, block, s_dev);
    if (spec->from == spec->to) { /* vmsplice: by the end of the pipe that it is */
        READ(mode_of_file, file, f_mode);
        end->direction = mode_of_file & FMODE_WRITE ? SEND : RECEIVE;
    }
    if (magic == SOCKFS_MAGIC) {
        find_socket(record, end, file, spec, registers);
    } else if (magic == ANON_INODE_FS_MAGIC) {
        if (is_named(file, "[eventfd", ']')) {
            end->kind = EVENTFD;
            bpf_probe_read_kernel(&counter, sizeof(counter), &file->private_data);
            READ(id, counter, id);
            end->channel = id;
        } else if (end->direction == RECEIVE && is_named(file, "[signalf", 'd')) {
            record->flags |= TAKES;
        }
    } else if ((mode & S_IFMT) == S_IFIFO) {
        end->kind = magic == PIPEFS_MAGIC ? PIPE : FIFO;
    } else if (magic == MQUEUE_MAGIC && spec->kind == MQUEUE) {
        end->kind = MQUEUE;
        end->flags |= DATAGRAMS;
    }
    if (end->kind == FIFO || end->kind == MQUEUE) {
        look_up(record, place, end->fd);
        end->other = record->files[place & 1];
    }
}

static inline u32 ipc_namespace(void)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    struct ipc_namespace *space = NULL;
    struct nsproxy *spaces = NULL;
    u32 inode = 0;

    READ(spaces, task, nsproxy);
    READ(space, spaces, ipc_ns);
    READ(inode, space, ns.inum);
    return inode;
}

static inline void find_segment(struct end *end, u64 address)
{
    struct vm_area_struct *mapping = mapping_at(address);
    struct inode *inode = NULL;
    struct file *file = NULL;

    if (!mapping)
        return;
    READ(file, mapping, vm_file);
    if (!file)
        return;
    READ(inode, file, f_inode);
    READ(end->channel, inode, i_ino); /* newseg, ipc/shm.c: the segment's id */
    end->dev = ipc_namespace();
    end->kind = SYSV_SHM;
}

/* A futex in shared memory is known by file and offset, another by address. */
static inline void find_futex(struct end *end, u64 address, u32 operation)
{
    struct vm_area_struct *mapping;
    struct super_block *block = NULL;
    struct inode *inode = NULL;
    struct file *file = NULL;
    u64 flags = 0, begin = 0, page = 0;

    end->kind = FUTEX;
    end->channel = address;
    if (operation & FUTEX_PRIVATE_FLAG)
        return;
    mapping = mapping_at(address);
    if (!mapping)
        return;
    READ(flags, mapping, vm_flags);
    READ(file, mapping, vm_file);
    if (!(flags & VM_SHARED) || !file)
        return;
    READ(inode, file, f_inode);
    READ(end->channel, inode, i_ino);
    READ(block, inode, i_sb);
    READ(end->dev, block, s_dev);
    READ(begin, mapping, vm_start);
    READ(page, mapping, vm_pgoff);
    end->other = address - begin + page * PAGE_SIZE;
    end->flags = SHARED;
}

static inline void find_ends(struct thread_record *record, struct spec *spec, u64 *registers)
{
    struct end *first = end_of(record, 0);

    __builtin_memset(record->ends, 0, sizeof(record->ends));
    record->bytes_in = spec->bytes_in;
    record->vector = registers[ARG1];
    record->size = registers[ARG2];
    first->fd = -1;
    first->direction = spec->to ? SEND : spec->from ? RECEIVE : NEITHER;
    if (spec->works_on == ON_SYSV) {
        first->kind = spec->kind;
        first->channel = (u32)registers[ARG0];
        first->dev = ipc_namespace();
        if (spec->bytes_in != NOTHING)
            first->flags = DATAGRAMS;
        if (spec->flags && argument_in(registers, spec->flags - 1) >> spec->peek & 1)
            first->flags |= PEEKED;
    } else if (spec->works_on == ON_SEGMENT) {
        find_segment(first, registers[ARG0]);
    } else if (spec->works_on == ON_FUTEX) {
        u32 operation = argument_in(registers, spec->flags - 1), bit = 1;
        first->direction = spec->peek;
        if (!spec->peek) {
            bit <<= operation & FUTEX_CMD_MASK & 31;
            first->direction = FUTEX_WAITS & bit ? WAIT : FUTEX_WAKES & bit ? WAKE : NEITHER;
        }
        if (first->direction != NEITHER)
            find_futex(first, registers[ARG0], operation);
    } else if (spec->works_on == ON_SIGNALS) {
        record->flags |= TAKES;
    } else {
#pragma unroll /* as in mappings.h */
        for (u32 i = 0; i < 2; i++) {
            struct end *end = end_of(record, i);
            u32 place = i ? spec->to : spec->from;
            if (!place || (i && spec->from == spec->to))
                continue;
            end->fd = argument_in(registers, place - 1);
            end->direction = spec->bytes_in == NOTHING ? NEITHER : i ? SEND : RECEIVE;
            if (spec->flags && argument_in(registers, spec->flags - 1) >> spec->peek & 1)
                end->flags = PEEKED;
            find_file(record, end, i, spec, registers);
        }
    }
}
