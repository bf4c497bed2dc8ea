/* Where a system call's arguments are in an array of eight registers, saved as they lie in pt_regs. */
#ifdef HAVE_PT_REGS_R10 /* x86-64: r10 r9 r8 ax cx dx si di */
#define FIRST_REGISTER r10
enum { ARG0 = 7, ARG1 = 6, ARG2 = 5, ARG3 = 0, ARG4 = 2, ARG5 = 1 };
#else /* arm64: x0 to x7 */
#define FIRST_REGISTER regs
enum { ARG0, ARG1, ARG2, ARG3, ARG4, ARG5 };
#endif

static inline u64 argument_in(u64 *registers, u32 place)
{
    u32 packed = ARG0 | ARG1 << 4 | ARG2 << 8 | ARG3 << 12 | ARG4 << 16 | ARG5 << 20;
    return registers[packed >> (place & 7) * 4 & 7];
}

/* The number of the call that returns; -1 where a tracer let it do nothing. */
static inline s64 number_at_exit(struct pt_regs *regs)
{
#ifdef HAVE_PT_REGS_ORIG_AX
    u64 nr = 0;
    READ(nr, regs, orig_ax);
    return nr;
#endif
#ifdef HAVE_PT_REGS_SYSCALLNO
    s32 nr = 0;
    READ(nr, regs, syscallno);
    return nr;
#endif
    return -1;
}

/* At an exit arm64 has the result in the first argument's place. */
static inline void first_argument_at_exit(u64 *registers, struct pt_regs *regs)
{
#ifdef HAVE_PT_REGS_ORIG_X0
    READ(registers[ARG0], regs, orig_x0);
#endif
}
