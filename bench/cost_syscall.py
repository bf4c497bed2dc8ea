"""What `kintro cost syscall` measures without a compiler, beside a C program that measures the same.

The C program calls abs through a pointer, clock_gettime and getppid in loops of its own, and writes to pages
of fresh memory; as many rounds, as many calls in a run, the median of the rounds. Both on the same CPU,
taking turns. Needs gcc.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

import _peers as peers

C = r"""
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#define ROUNDS 500
#define PAGES 256
static double taken[5][ROUNDS];
static struct timespec begin;
static void start(void) { clock_gettime(CLOCK_MONOTONIC, &begin); }
static double ns(long calls)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    return ((end.tv_sec - begin.tv_sec) * 1e9 + end.tv_nsec - begin.tv_nsec) / calls;
}
static int order(const void *a, const void *b)
{
    double x = *(double *)a, y = *(double *)b;
    return (x > y) - (x < y);
}
int main(void)
{
    int (*volatile function)(int) = abs;
    struct timespec now;
    for (int round = 0; round < ROUNDS; round++) {
        start();
        for (int i = 0; i < 200000; i++)
            function(1);
        taken[0][round] = ns(200000);
        start();
        for (int i = 0; i < 20000; i++)
            clock_gettime(CLOCK_REALTIME, &now);
        taken[1][round] = ns(20000);
        start();
        for (int i = 0; i < 2000; i++)
            getppid();
        taken[2][round] = ns(2000);
        volatile char *memory = mmap(0, PAGES << 12, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        madvise((void *)memory, PAGES << 12, MADV_NOHUGEPAGE);
        for (int again = 0; again < 2; again++) {
            start();
            for (long i = 0; i < PAGES; i++)
                memory[i << 12] = 0;
            taken[4 - again][round] = ns(PAGES);
        }
        taken[4][round] -= taken[3][round];
        munmap((void *)memory, PAGES << 12);
    }
    for (int what = 0; what < 5; what++) {
        qsort(taken[what], ROUNDS, sizeof(double), order);
        printf("%f\n", taken[what][ROUNDS / 2]);
    }
}
"""
WHAT = ("function", "vdso", "syscall", "touch", "fault")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=11, help="of each (default: %(default)s)")
    args = parser.parse_args()
    cpu = str(max(os.sched_getaffinity(0)))
    machine = peers.machine()
    ours: dict[str, list[float]] = {what: [] for what in WHAT}
    theirs: dict[str, list[float]] = {what: [] for what in WHAT}
    with tempfile.TemporaryDirectory(prefix="kintro-bench-") as folder:
        path = peers.compiled(C, Path(folder, "cost"))
        for number in range(1, args.runs + 1):
            said = subprocess.run(["taskset", "-c", cpu, path], capture_output=True, text=True, check=True)
            for what, line in zip(WHAT, said.stdout.split(), strict=True):
                theirs[what].append(float(line))
            command = [peers.KINTRO, "cost", "syscall", "--json", "--cpu", cpu]
            said = subprocess.run(command, capture_output=True, text=True, check=True)
            for cost in json.loads(said.stdout)["costs"]:
                ours[cost["what"]].append(cost["median_ns"])
            peers.progress(f"{number}/{args.runs}")
    rows = []
    for what in WHAT:
        ratio = statistics.median(ours[what]) / statistics.median(theirs[what])
        rows.append([what, peers.spread(ours[what], 1), peers.spread(theirs[what], 1), f"{ratio:.2f}"])
    print(f"### The cost of a system call, with and without a compiler\n\n{machine}")
    print(f"- {args.runs} runs of each, taking turns, on CPU {cpu}\n")
    print(peers.table(["what", "kintro, ns, median (min–max)", "C, ns, median (min–max)", "ratio"], rows, {}))


if __name__ == "__main__":
    main()
