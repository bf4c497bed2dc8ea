/* The mapping at an address of the current process: by its tree of mappings, which is a maple tree since
 * Linux 6.1 (include/linux/maple_tree.h), and was a red-black tree (include/linux/rbtree.h). It is read
 * without a lock: what changes meanwhile may not be found. */

#define RB_DEPTH 34 /* of 65 530 mappings (vm.max_map_count): at most twice the logarithm */
#define RB_RIGHT 8
#define RB_LEFT 16
#define MAPLE_DEPTH 8 /* more than 2^64 addresses can take */
#define MAPLE_RANGE_PIVOTS 15
#define MAPLE_ARANGE_PIVOTS 9
#define MAPLE_ARANGE 3 /* enum maple_type: leaves are below 2 */
#define VM_SHARED 0x8  /* include/linux/mm.h */

static inline struct vm_area_struct *mapping_at(u64 address)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    struct vm_area_struct *mapping;
    struct mm_struct *mm = NULL;
    u64 entry = 0, begin = 0, end = 0;

    READ(mm, task, mm);
#ifdef HAVE_MM_STRUCT_MM_MT
    /* The root is the last member. */
    bpf_probe_read_kernel(&entry, 8, (char *)&mm->mm_mt + sizeof(mm->mm_mt) - 8);
    if ((entry & 3) != 2) /* xa_is_node: else a single mapping */
        return NULL;
#pragma unroll /* Linux 6.1 refuses a loop that comes back to its head by falling through */
    for (int depth = 0; depth < MAPLE_DEPTH; depth++) {
        u64 node = entry & ~0xffULL, type = entry >> 3 & 0xf, pivot;
        u32 pivots = type == MAPLE_ARANGE ? MAPLE_ARANGE_PIVOTS : MAPLE_RANGE_PIVOTS, slot;
        for (slot = 0; slot < MAPLE_RANGE_PIVOTS; slot++) {
            if (slot >= pivots)
                break;
            pivot = 0;
            bpf_probe_read_kernel(&pivot, 8, (void *)(node + 8 + 8 * slot));
            if (address <= pivot || (slot && !pivot))
                break;
        }
        bpf_probe_read_kernel(&entry, 8, (void *)(node + 8 + 8 * pivots + 8 * slot));
        if (type < 2)
            break;
    }
    mapping = (struct vm_area_struct *)entry;
    READ(begin, mapping, vm_start);
    READ(end, mapping, vm_end);
    return begin <= address && address < end ? mapping : NULL;
#elif defined HAVE_MM_STRUCT_MM_RB
    bpf_probe_read_kernel(&entry, 8, &mm->mm_rb);
#pragma unroll
    for (int depth = 0; depth < RB_DEPTH; depth++) {
        if (!entry)
            break;
        mapping = (struct vm_area_struct *)(entry - __builtin_offsetof(struct vm_area_struct, vm_rb));
        READ(begin, mapping, vm_start);
        READ(end, mapping, vm_end);
        if (begin <= address && address < end)
            return mapping;
        bpf_probe_read_kernel(&entry, 8, (void *)(entry + (address < begin ? RB_LEFT : RB_RIGHT)));
    }
    return NULL;
#else
    return NULL;
#endif
}
