"""The cost of a context switch that `kintro cost switch` tells, beside ping-pongs written in C.

perf bench sched pipe sends a word to and fro through two pipes, between processes or (-T) threads: each turn
is two writes, two reads and two switches, where kintro's pipe needs one write and one read. The C program
does with barriers and sched_yield what kintro does, in loops of its own. All on one CPU, taking turns. Time
is CPU time of the two for each switch counted, system calls included: so to kintro's those that it has
subtracted are added again, for the pipe twice. Needs gcc.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import tempfile
from pathlib import Path

import _peers as peers

C = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
static pthread_barrier_t *barrier;
static long turns;
static int yields;
static void *play(void *nothing)
{
    for (long i = 0; i < turns; i++)
        if (yields)
            sched_yield();
        else
            pthread_barrier_wait(barrier);
    return nothing;
}
int main(int argc, char **argv)
{
    int threads = !strcmp(argv[1], "threads");
    pthread_barrierattr_t attributes;
    pthread_t other;
    yields = !strcmp(argv[2], "yield");
    turns = atol(argv[3]);
    barrier = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_barrierattr_init(&attributes);
    pthread_barrierattr_setpshared(&attributes, !threads);
    pthread_barrier_init(barrier, &attributes, 2);
    if (threads) {
        pthread_create(&other, 0, play, 0);
        play(0);
        return pthread_join(other, 0);
    }
    if (fork()) {
        play(0);
        return wait(0) < 0;
    }
    play(0);
}
"""
BETWEEN = ("processes", "threads")
CALLS = {"pipe": 2}  # of the peer's to one of kintro's


def cpu_ns(command: list[str], turns: int) -> tuple[float, float]:
    """CPU time of a load for each of its context switches, and its switches for each turn."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, str(turns)], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    switches = after.ru_nvcsw + after.ru_nivcsw - before.ru_nvcsw - before.ru_nivcsw
    return 1e9 * taken_s / switches, switches / turns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=7, help="of each (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=200_000, help="in a run (default: %(default)s)")
    args = parser.parse_args()
    cpu = str(max(os.sched_getaffinity(0)))
    pinned = ["taskset", "-c", cpu]
    machine = peers.machine()
    ours: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    theirs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="kintro-bench-") as folder:
        path = peers.compiled(C, Path(folder, "switch"))
        for number in range(1, args.runs + 1):
            for between in BETWEEN:
                perf = [*pinned, "perf", "bench", "sched", "pipe", *(["-T"] if between == "threads" else [])]
                theirs.setdefault(("pipe", between), []).append(cpu_ns([*perf, "-l"], args.turns))
                for what in ("futex", "yield"):
                    command = [*pinned, path, between, what]
                    theirs.setdefault((what, between), []).append(cpu_ns(command, args.turns))
            command = [peers.KINTRO, "cost", "switch", "--json", "--cpu", cpu]
            said = subprocess.run(command, capture_output=True, text=True, check=True)
            for way in json.loads(said.stdout)["switches"]:
                whole_ns = way["median_ns"] + way["calls_ns"] * CALLS.get(way["what"], 1)
                figures = (way["median_ns"], whole_ns, way["switches"] / way["calls"])
                ours.setdefault((way["what"], way["between"]), []).append(figures)
            peers.progress(f"{number}/{args.runs}")
    rows = []
    for (what, between), mine in ours.items():
        peer = theirs[what, between]
        ratio = statistics.median(one[1] for one in mine) / statistics.median(ns for ns, _ in peer)
        rows.append(
            [
                f"{between}, {what}",
                peers.spread([one[0] for one in mine]),
                peers.spread([one[1] for one in mine]),
                f"{statistics.median(one[2] for one in mine):.2f}",
                "perf bench sched pipe" if what == "pipe" else "C",
                peers.spread([ns for ns, _ in peer]),
                f"{statistics.median(number for _, number in peer):.2f}",
                f"{ratio:.2f}",
            ]
        )
    print(f"### The cost of a context switch\n\n{machine}")
    print(
        f"- {args.runs} runs of each, taking turns, on CPU {cpu}; {args.turns:,} turns in a run of the peers"
    )
    print("- ns for each switch counted, median (min–max); the peers' have the system calls in them\n")
    headers = [
        "switch",
        "kintro",
        "with system calls",
        "switches for a call",
        "peer",
        "the peer's",
        "switches for a turn",
        "ratio",
    ]
    print(peers.table(headers, rows, {}))


if __name__ == "__main__":
    main()
