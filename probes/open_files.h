/* What is told of an open file, what is remembered of it, and where it is. */

/* Of the address of a struct file the upper 16 bits are those of all of the kernel's own memory, the lower 6
 * are 0: include/linux/slab.h, SLAB_HWCACHE_ALIGN. In their place is the number of the telling. */
#define ALIGNED_BITS 6
#define TOLD_BITS 22

#define STRING_MAX 4096 /* PATH_MAX; bytes of one argument */
#define DEPTH_MAX 40    /* names in a path, and mounts */

/* An open file that has not been told yet, or has another name now. Its path: names from the last to the
 * first, each with a NUL behind it. */
struct file_event {
    u64 ts_ns;
    u64 file; /* by TOLD_BITS the address of its struct file, and a number that is another each time */
    u64 inode;
    u64 magic; /* of its file system: linux/magic.h */
    u32 mode;
    u16 deleted;
    u16 cut;
    char data[];
};

/* By what a file's name is known to have changed. */
struct known {
    u64 mount;
    u64 dentry;
    u64 parent;
    u64 name;
    u64 inode;
    u64 unhashed;
    u64 moves;
    u64 told_as; /* `file` of the event */
};
BPF_ARRAY(files_told, u64, 1);
/* Calls of all processes that have moved folders or mounts: files below have other paths. */
BPF_ARRAY(moves, u64, 1);
BPF_TABLE("lru_hash", u64, struct known, told, 16384); /* by address of the struct file */

struct file_scratch {
    struct file_event event;
    char data[2 * STRING_MAX];
};
BPF_ARRAY(file_scratch, struct file_scratch, CPUS);

/* The struct file of a descriptor of the current task: its address, 0 for none. */
static inline u64 file_at(s32 fd)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    struct files_struct *files = NULL;
    struct fdtable *table = NULL;
    void *slots = NULL;
    u64 file = 0;
    u32 size = 0;

    READ(files, task, files);
    READ(table, files, fdt);
    READ(size, table, max_fds);
    if ((u32)fd >= size)
        return 0;
    READ(slots, table, fd);
    bpf_probe_read_kernel(&file, sizeof(file), slots + (u64)(u32)fd * 8);
    return file;
}
