/* Page faults of the picked processes: how many of which kind on which page.
 *
 * A fault is counted where it begins (page_fault_user, page_fault_kernel: x86, before it is handled), and
 * once more as a major one where the kernel counts it as such, when it has been handled (perf's software
 * event, mm_account_fault in mm/memory.c). The counts lie in two maps: user space turns the programs to the
 * other one, waits for those that still run, and empties the first.
 *
 * Cost: 150 to 200 ns for a fault of a picked process, 60 to 110 ns for one of another (bench/fault_cost.py);
 * the fault itself takes 600 ns and more. 12 MiB for the maps: each has room for 256 Ki pages, or fewer where
 * they lie scattered; where there is none, a fault is counted without its page.
 *
 * Parameters beside those of kintro.h: EVENTS, to send each fault as well.
 */
#include "kintro.h"

/* Bits of the error code: arch/x86/include/asm/trap_pf.h */
#define X86_PF_PROT 0x01
#define X86_PF_WRITE 0x02
#define X86_PF_INSTR 0x10

#define SIGBUS 7
#define SIGSEGV 11
#define SI_KERNEL 0x80 /* include/uapi/asm-generic/siginfo.h; those of faults are smaller */

#define PAGES 16 /* of a block: an insertion for each sixteenth page, not for each */
#define BLOCKS 16384

enum { READS, WRITES, EXECS, PROTECTIONS, MAJORS, KINDS };

struct fault_event {
    u64 ts_ns;
    u64 address;
    u64 ip;
    u32 tid;
    u32 error_code;
    u32 user;
};

struct block {
    u32 counts[PAGES * KINDS];
};

RING(fault, 0, 1);
COUNTER(user_read, 16); /* in the order of the kinds; each fault in one of these eight */
COUNTER(user_write, 17);
COUNTER(user_exec, 18);
COUNTER(user_protection, 19);
COUNTER(kernel_read, 20);
COUNTER(kernel_write, 21);
COUNTER(kernel_exec, 22);
COUNTER(kernel_protection, 23);
COUNTER(major, 24);
COUNTER(refused, 25);   /* faults answered with SIGSEGV or SIGBUS */
COUNTER(execs, 26);     /* new address spaces */
COUNTER(unplaced, 27);  /* counted above, but the map had no room for their pages */
COUNTER(all_major, 28); /* of the whole system */
COUNTER(inserted, 29);  /* blocks that needed room */

BPF_F_TABLE("array", u32, u64, generation, 1, BPF_F_MMAPABLE); /* the map that is written to: 0 or 1 */
BPF_HASH(blocks_0, u64, struct block, BLOCKS);                 /* by address / (PAGES * PAGE_SIZE) */
BPF_HASH(blocks_1, u64, struct block, BLOCKS);
BPF_ARRAY(empty, struct block, 1);

static inline struct block *block_of(u64 key)
{
    u32 zero = 0;
    u64 *second = generation.lookup(&zero);
    struct block *nothing = empty.lookup(&zero), *block;
    if (!second || !nothing)
        return NULL;
    if (*second) {
        block = blocks_1.lookup(&key);
        if (block)
            return block;
        count(inserted);
        blocks_1.insert(&key, nothing);
        return blocks_1.lookup(&key);
    }
    block = blocks_0.lookup(&key);
    if (block)
        return block;
    count(inserted);
    blocks_0.insert(&key, nothing);
    return blocks_0.lookup(&key);
}

static inline void place(u64 address, u32 kind)
{
    u64 page = address / PAGE_SIZE;
    struct block *block = block_of(page / PAGES);
    if (block)
        __sync_fetch_and_add(&block->counts[page % PAGES * KINDS + kind], 1);
    else
        count(unplaced);
}

static inline void begun(struct bpf_raw_tracepoint_args *ctx, bool user)
{
    u64 address = ctx->args[0];
    u32 code = ctx->args[2], kind = READS;

    if (code & X86_PF_PROT)
        kind = PROTECTIONS;
    else if (code & X86_PF_INSTR)
        kind = EXECS;
    else if (code & X86_PF_WRITE)
        kind = WRITES;
    count((user ? user_read : kernel_read) + kind);
    place(address, kind);
#ifdef EVENTS
    struct fault_event event = {};
    event.ts_ns = bpf_ktime_get_ns();
    event.address = address;
#ifdef HAVE_PT_REGS_IP
    struct pt_regs *regs = (struct pt_regs *)ctx->args[1];
    READ(event.ip, regs, ip);
#endif
    event.tid = bpf_get_current_pid_tgid();
    event.error_code = code;
    event.user = user;
    counted(fault_ring.ringbuf_output(&event, sizeof(event), 0), fault_sent);
#endif
}

int tp_page_fault_user(struct bpf_raw_tracepoint_args *ctx)
{
    if (wanted())
        begun(ctx, true);
    return 0;
}

/* The kernel reads or writes memory of the process for it, as in read(2). */
int tp_page_fault_kernel(struct bpf_raw_tracepoint_args *ctx)
{
    bool of_process = (s64)ctx->args[0] >= 0; /* and not the kernel's own half */
    if (of_process && wanted())
        begun(ctx, false);
    return 0;
}

int perf_page_faults_maj(struct bpf_perf_event_data *ctx)
{
    u64 address = *(u64 *)&ctx->addr; /* in one piece, as the verifier wants it */
    count(all_major);
    if (wanted()) {
        count(major);
        place(address, MAJORS);
    }
    return 0;
}

/* A fault that the kernel answers with a signal is not counted in /proc/PID/stat. */
int tp_signal_generate(struct bpf_raw_tracepoint_args *ctx)
{
    struct kernel_siginfo *info = (struct kernel_siginfo *)ctx->args[1];
    u64 number = ctx->args[0], task = ctx->args[2];
    s32 code = 0;

    if ((number != SIGSEGV && number != SIGBUS) || task != bpf_get_current_task() || !wanted())
        return 0;
    READ(code, info, si_code);
    if (code > 0 && code < SI_KERNEL)
        count(refused);
    return 0;
}

int tp_sched_process_exec(struct bpf_raw_tracepoint_args *ctx)
{
    if (wanted())
        count(execs);
    return 0;
}
