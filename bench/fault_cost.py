"""What it costs a process that its page faults are counted, and every other process on the machine.

The load maps 64 MiB without huge pages, touches each page once and unmaps it, again and again, by writing or
by reading (which gives the page of zeros, the cheapest fault there is). The best round of each run counts.
All take turns. Needs gcc.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

import _peers as peers

from kintro.observers.watch import watch

LOAD = r"""
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#define PAGES 16384L
int main(int argc, char **argv)
{
    double best = 1e18;
    getchar();
    for (int round = 0; round < atoi(argv[1]); round++) {
        struct timespec begin, end;
        volatile char *memory = mmap(0, PAGES << 12, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        madvise((void *)memory, PAGES << 12, MADV_NOHUGEPAGE);
        clock_gettime(CLOCK_MONOTONIC, &begin);
        for (long i = 0; i < PAGES; i++)
            if (argv[2][0] == 'w')
                memory[i << 12] = 1;
            else
                (void)memory[i << 12];
        clock_gettime(CLOCK_MONOTONIC, &end);
        double ns = ((end.tv_sec - begin.tv_sec) * 1e9 + end.tv_nsec - begin.tv_nsec) / PAGES;
        best = ns < best ? ns : best;
        munmap((void *)memory, PAGES << 12);
    }
    printf("%f\n", best);
}
"""
WATCHED = ("nobody", "another process", "the process itself", "itself, with events")


def fault_ns(load: list[str], whom: str) -> float:
    with subprocess.Popen(load, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        pid = os.getpid() if whom == "another process" else process.pid
        if whom == "nobody":
            return float(process.communicate("\n")[0])
        with watch(pid, lambda pid: [], events=whom.endswith("events")) as watched:
            assert watched.no_faults is None
            assert process.stdin is not None and process.stdout is not None
            watched.when_readable(process.stdout.fileno(), watched.stop)
            process.stdin.write("\n")
            process.stdin.close()
            for _ in watched:
                pass
            return float(process.stdout.read())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=9, help="of each (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="in one run (default: %(default)s)")
    args = parser.parse_args()
    found: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="kintro-bench-") as folder:
        path = peers.compiled(LOAD, Path(folder, "touch"))
        for number in range(1, args.runs + 1):
            for touch in ("write", "read"):
                for whom in WATCHED:
                    taken = fault_ns([path, str(args.rounds), touch], whom)
                    found.setdefault((touch, whom), []).append(taken)
                    peers.progress(f"{number}/{args.runs} {touch}, {whom} watched: {taken:,.0f} ns")
    print("### Page faults while somebody is watched\n")
    print(peers.machine())
    print(f"- {args.runs} runs of each, taking turns\n")
    rows = []
    for (touch, whom), values in found.items():
        more = statistics.median(values) - statistics.median(found[touch, "nobody"])
        rows.append([touch, whom, peers.spread(values), f"{more:.0f}"])
    print(peers.table(["touch", "watched", "ns for a fault, median (min–max)", "ns added"], rows, {}))


if __name__ == "__main__":
    main()
