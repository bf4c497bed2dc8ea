/* The names of the open files that a call's descriptors refer to: told once, and again when they change.
 *
 * Whoever includes this has a ring `file`, a map `tails`, and a thread_record with `ts_ns`, `files`,
 * `unknown`.
 */
#define NSFS_MAGIC 0x6e736673 /* include/uapi/linux/magic.h */

/* The struct file of a descriptor; the record is told of it, and whether user space has to be. */
static inline void look_up(struct thread_record *record, u32 place, s32 fd)
{
    struct inode *inode = NULL;
    struct dentry *dentry;
    struct known now = {}, *before;
    struct path path = {};
    u32 zero = 0;
    u64 file = file_at(fd), *moved = moves.lookup(&zero), *number = files_told.lookup(&zero);

    if (!file)
        return;
    READ(path, (struct file *)file, f_path);
    READ(inode, (struct file *)file, f_inode);
    dentry = path.dentry;
    now.moves = moved ? *moved : 0;
    now.mount = (u64)path.mnt;
    now.dentry = (u64)dentry;
    READ(now.parent, dentry, d_parent);
    READ(now.name, dentry, d_name.hash_len);
    if (!(u32)now.name) { /* without a hash, as that of an eventfd */
        u64 begin[2] = {};
        void *name = NULL;
        READ(name, dentry, d_name.name);
        bpf_probe_read_kernel(begin, sizeof(begin), name);
        now.name ^= begin[0] ^ begin[1] << 1;
    }
    READ(now.unhashed, dentry, d_hash.pprev);
    now.unhashed = !now.unhashed;
    READ(now.inode, inode, i_ino);
    before = told.lookup(&file);
    if (before && before->mount == now.mount && before->dentry == now.dentry &&
        before->parent == now.parent && before->name == now.name && before->unhashed == now.unhashed &&
        before->inode == now.inode && before->moves == now.moves) {
        record->files[place & 1] = before->told_as;
        return;
    }
    now.told_as = file >> ALIGNED_BITS << TOLD_BITS;
    if (number) {
        __sync_fetch_and_add(number, 1); /* its result is not to be had before Linux 5.12 */
        now.told_as |= *number & ((1 << TOLD_BITS) - 1);
    }
    record->files[place & 1] = now.told_as;
    told.update(&file, &now);
    record->unknown |= 1 << (place & 1);
}

static inline u64 address_of(u64 told_as)
{
    return told_as >> TOLD_BITS << ALIGNED_BITS | (bpf_get_current_task() & 0xffffULL << 48);
}

static inline void output_file(struct file_scratch *scratch, u64 size)
{
    u64 address = address_of(scratch->event.file);
    long error = file_ring.ringbuf_output(scratch, size, 0);
    if (error) /* for the next call to try again */
        told.delete(&address);
    counted(error, file_sent);
}

/* Of a namespace the kernel makes the name when asked: fs/nsfs.c. */
static inline void send_namespace(struct file_scratch *scratch, struct inode *inode)
{
    const struct proc_ns_operations *operations = NULL;
    struct ns_common *ns = NULL;
    void *name = NULL;
    long copied;

    READ(ns, inode, i_private);
    READ(operations, ns, ops);
    READ(name, operations, name);
    copied = bpf_probe_read_kernel_str(scratch->data, 256, name);
    u64 size = sizeof(scratch->event) + (copied > 0 ? copied : 0);
    asm volatile("%0 &= 511" : "+r"(size));
    scratch->event.cut = 0;
    output_file(scratch, size);
}

static inline void send_file(struct thread_record *record, u64 told_as)
{
    u32 cpu = bpf_get_smp_processor_id();
    struct file_scratch *scratch = file_scratch.lookup(&cpu);
    struct file *file = (struct file *)address_of(told_as);
    struct dentry *dentry, *parent = NULL, *root = NULL;
    struct mount *mount, *above = NULL;
    struct super_block *block = NULL;
    struct inode *inode = NULL;
    struct path path = {};
    void *name = NULL;
    u64 at = 0;
    u32 depth;
    long error;

    if (!scratch)
        return;
    scratch->event.ts_ns = record->ts_ns;
    scratch->event.file = told_as;
    READ(inode, file, f_inode);
    READ(scratch->event.inode, inode, i_ino);
    u16 mode = 0;
    READ(mode, inode, i_mode);
    scratch->event.mode = mode;
    READ(block, inode, i_sb);
    READ(scratch->event.magic, block, s_magic);
    READ(path, file, f_path);
    dentry = path.dentry;
    mount = (struct mount *)((char *)path.mnt - __builtin_offsetof(struct mount, mnt));
    READ(name, dentry, d_hash.pprev);
    READ(parent, dentry, d_parent);
    READ(root, mount, mnt.mnt_root);
    scratch->event.deleted = !name && (parent != dentry || root != dentry); /* a memfd too */
    if (scratch->event.magic == NSFS_MAGIC)
        return send_namespace(scratch, inode);
    for (depth = 0; depth < DEPTH_MAX && at < STRING_MAX; depth++) {
        READ(parent, dentry, d_parent);
        READ(root, mount, mnt.mnt_root);
        bool top = dentry == root || dentry == parent;
        if (!top || (!depth && dentry == parent)) { /* a socket is in no tree, and has a name */
            long copied;
            READ(name, dentry, d_name.name);
            asm volatile("%0 &= 4095" : "+r"(at));
            copied = bpf_probe_read_kernel_str(scratch->data + at, 256, name); /* NAME_MAX + 1 */
            if (copied > 0)
                at += copied;
        }
        if (top) {
            READ(above, mount, mnt_parent);
            if (above == mount)
                break;
            READ(parent, mount, mnt_mountpoint);
            mount = above;
        }
        dentry = parent;
    }
    scratch->event.cut = depth == DEPTH_MAX || at >= STRING_MAX;
    at += sizeof(scratch->event);
    asm volatile("%0 &= 8191" : "+r"(at));
    output_file(scratch, at);
}

/* The files that have to be told. */
int tail_3(struct bpf_raw_tracepoint_args *ctx)
{
    u32 tid = bpf_get_current_pid_tgid(), place;
    struct thread_record *record = threads.lookup(&tid);

    if (!record || !record->unknown)
        return 0;
    place = !(record->unknown & 1);
    send_file(record, record->files[place]);
    record->unknown &= ~(1 << place);
    if (record->unknown)
        tails.call(ctx, 3);
    record->ts_ns = bpf_ktime_get_ns();
    return 0;
}
