/* Buckets of a histogram of durations. */

#define BUCKETS 128      /* four for each power of two */
#define FIRST_EXPONENT 5 /* below 40 ns: bucket 0; from 2^37 * 7 / 8 ns on: the last */

static inline u32 bucket_of(u64 ns)
{
    u64 rest = ns >> FIRST_EXPONENT;
    u32 exponent = 0;
    if (!rest)
        return 0;
    if (rest >> 32)
        return BUCKETS - 1;
    if (rest >> 16) {
        rest >>= 16;
        exponent += 16;
    }
    if (rest >> 8) {
        rest >>= 8;
        exponent += 8;
    }
    if (rest >> 4) {
        rest >>= 4;
        exponent += 4;
    }
    if (rest >> 2) {
        rest >>= 2;
        exponent += 2;
    }
    exponent += rest >> 1;
    return exponent * 4 + (ns >> (exponent + FIRST_EXPONENT - 2) & 3);
}
