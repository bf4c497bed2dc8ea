/* The names of the open files that a call's descriptors refer to: told once, and again when they change. */

/* The struct file of a descriptor; the record is told of it, and whether user space has to be. */
static inline void look_up(struct thread_record *record, u32 place, s32 fd)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    struct files_struct *files = NULL;
    struct fdtable *table = NULL;
    struct inode *inode = NULL;
    struct dentry *dentry;
    struct known now = {}, *before;
    struct path path = {};
    void *slots = NULL;
    u32 size = 0;
    u64 file = 0;

    READ(files, task, files);
    READ(table, files, fdt);
    READ(size, table, max_fds);
    if ((u32)fd >= size)
        return;
    READ(slots, table, fd);
    bpf_probe_read_kernel(&file, sizeof(file), slots + (u64)(u32)fd * 8);
    if (!file)
        return;
    READ(path, (struct file *)file, f_path);
    READ(inode, (struct file *)file, f_inode);
    dentry = path.dentry;
    now.dentry = (u64)dentry;
    READ(now.parent, dentry, d_parent);
    READ(now.name, dentry, d_name.hash_len);
    READ(now.unhashed, dentry, d_hash.pprev);
    now.unhashed = !now.unhashed;
    READ(now.inode, inode, i_ino);
    record->files[place & 1] = file;
    before = told.lookup(&file);
    if (before && before->dentry == now.dentry && before->parent == now.parent && before->name == now.name &&
        before->unhashed == now.unhashed && before->inode == now.inode)
        return;
    told.update(&file, &now);
    record->unknown |= 1 << (place & 1);
}

static inline void send_file(struct thread_record *record, u64 address)
{
    u32 cpu = bpf_get_smp_processor_id();
    struct file_scratch *scratch = file_scratch.lookup(&cpu);
    struct file *file = (struct file *)address;
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
    scratch->event.file = address;
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
    scratch->event.deleted = !name;
    for (depth = 0; depth < DEPTH_MAX && at < STRING_MAX; depth++) {
        READ(parent, dentry, d_parent);
        READ(root, mount, mnt.mnt_root);
        bool top = dentry == root || dentry == parent;
        if (!top || !depth) { /* what has no place in a tree, such as a socket, has a name all the same */
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
    error = file_ring.ringbuf_output(scratch, at, 0);
    counted(error, file_sent);
    if (error)
        told.delete(&address);
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
