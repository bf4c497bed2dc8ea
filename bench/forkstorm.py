"""What tracing costs a process that does nothing but fork, and what each tracer misses of it.

The loop is posix_spawn() of a path that cannot be executed, from Python: the C library makes a child that
shares the parent's memory (CLONE_VM | CLONE_VFORK), the child fails to exec and exits, the parent reaps it.
Nothing cheaper that makes real processes can be had without a compiler: a fork() of Python or of stress-ng
copies page tables and takes five to nine times as long. So this is the worst case for every tracer; for a
program that does something, the slowdown is smaller. One turn is exactly one fork and one exit.

The loop and its children stay on one CPU; the tracers run where the scheduler puts them. The loop times
itself, so that a tracer's start does not count. Tracers of the whole system are waited for until they show
an event; after the loop they get time to write out what they have seen before they are ended.
All write to a file in memory, whose lines are counted. The tools take turns. strace, which is much slower,
gets a twentieth of the forks.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import _peers as peers

STRACE_SHARE = 20
LOOP = """
import os, sys, time
turns, cpu, result = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
os.sched_setaffinity(0, {cpu})
with open("/proc/self/comm", "w") as file:
    file.write("forkstorm")
begin = time.perf_counter()
for _ in range(turns):
    try:
        os.posix_spawn("/", ["/"], {})
    except OSError:
        pass
seconds = time.perf_counter() - begin
with open(result, "w") as file:
    file.write(f"{os.getpid()} {seconds}")
"""


@dataclass(frozen=True)
class Tracer:
    """How to trace the loop: tools beside it, or a tool that starts it; lines that tell of its children."""

    name: str
    beside: tuple[peers.Tool, ...] = ()
    around: tuple[str, ...] = ()
    fork: str | None = None  # {loop} is the pid of the loop
    exit: str | None = None
    share: int = 1  # it gets this fraction of the forks


KINTRO_FORK = r"^ *[\d.]+ fork +\d+ +{loop} forkstorm "
KINTRO_EXIT = r"^ *[\d.]+ exit +\d+ +{loop} forkstorm "
JSON_FORK = r'^{{"type":"fork",.*"comm":"forkstorm",.*"ppid":{loop},'
JSON_EXIT = r'^{{"type":"exit",.*"comm":"forkstorm",.*"ppid":{loop},'
STRACE_EXIT = r"^\d+ +\+\+\+ exited with 127"
FORKSTAT = peers.Tool("forkstat", ("forkstat", "-e", "fork,exit"), r"^[\d:]+ +(fork|exit) ")
BPFTRACE = peers.Tool(
    "bpftrace",
    (
        "bpftrace",
        "-e",
        r'tracepoint:sched:sched_process_fork { printf("%d %d\n", args->parent_pid, args->child_pid); }',
    ),
    r"^\d+ \d+$",
)
STRACE = ("strace", "-f", "-o", "/dev/stdout")

UNTRACED = Tracer("untraced")
TRACERS = [
    UNTRACED,
    Tracer("kintro, its command", (), (*peers.TRACE_FORK.argv, "--"), KINTRO_FORK, KINTRO_EXIT),
    Tracer("kintro, its command, JSON", (), (*peers.TRACE_FORK.argv, "--json", "--"), JSON_FORK, JSON_EXIT),
    Tracer("kintro, whole system", (peers.TRACE_FORK,), (), KINTRO_FORK, KINTRO_EXIT),
    Tracer(
        "libbpf-tools execsnoop and exitsnoop",
        (peers.EXECSNOOP, peers.EXITSNOOP),
        exit=r"^forkstorm +\d+ +{loop} +\d+ ",
    ),
    Tracer(
        "forkstat",
        (FORKSTAT,),
        # Not by the parent: for a child that is gone already it says 0. Nor does it always know the name.
        fork=r"^[\d:]+ fork +\d+ child +(?:forkstorm|<unknown>|/usr/bin/python3 -I -S )",
        exit=r"^[\d:]+ exit +\d+ +32512 ",  # the wait status of exit code 127
    ),
    Tracer("bpftrace", (BPFTRACE,), fork=r"^{loop} \d+$"),
    Tracer(
        "strace, no system calls",
        (),
        (*STRACE, "-e", "trace=none", "-e", "signal=none"),
        exit=STRACE_EXIT,
        share=STRACE_SHARE,
    ),
    Tracer("strace", (), STRACE, exit=STRACE_EXIT, share=STRACE_SHARE),
]


def storm(tracer: Tracer, forks: int) -> tuple[float, int | None, int | None]:
    """Forks per second, and how many of the forks and of the exits the tracer did not show."""
    with tempfile.TemporaryDirectory(prefix="kintro-bench-", dir="/dev/shm") as name:
        folder = Path(name)
        result = folder / "result"
        cpu = max(os.sched_getaffinity(0))
        loop = [peers.PYTHON, "-I", "-S", "-c", LOOP, str(forks), str(cpu), str(result)]
        with peers.attached(tracer.beside, folder) as files:
            own = folder / "own.out"
            peers.started([*tracer.around, *loop], own).wait()
        pid, seconds = result.read_text().split()
        said = b"".join(file.read_bytes() for file in [own, *files])
        missed = []
        for line in (tracer.fork, tracer.exit):
            told = re.findall(line.format(loop=pid).encode(), said, re.MULTILINE) if line else None
            missed.append(None if told is None else forks - len(told))
        return forks / float(seconds), missed[0], missed[1]


def unusable(tracer: Tracer) -> str | None:
    """Why a tracer cannot be measured, or None."""
    tools = [*tracer.beside, *([peers.Tool("", tracer.around, "")] if tracer.around else [])]
    missing = [tool.argv[0] for tool in tools if tool.path is None]
    return f"not installed: {', '.join(missing)}" if missing else None


def command(tracer: Tracer) -> str:
    if tracer.around:
        return peers.Tool("", (*tracer.around, "LOOP"), "").command
    return " and ".join(tool.command for tool in tracer.beside)


def missed_text(missed: list[int | None], forks: int) -> str:
    """Of all runs together; '–' for a tracer that does not tell."""
    known = [number for number in missed if number is not None]
    return f"{sum(known):,} of {len(known) * forks:,}" if known else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="of each tracer (default: %(default)s)")
    parser.add_argument("--forks", type=int, default=100_000, help="in one run (default: %(default)s)")
    args = parser.parse_args()
    machine = peers.machine()
    peers.mount_tracefs()
    found: dict[str, list[tuple[float, int | None, int | None]]] = {}
    notes: dict[str, str] = {}
    for number in range(1, args.runs + 1):
        for tracer in TRACERS:
            if tracer.name in notes:
                continue
            try:
                problem = unusable(tracer)
                if problem is None:
                    measured = storm(tracer, args.forks // tracer.share)
            except (OSError, subprocess.SubprocessError) as error:
                problem = str(error)
            if problem is not None:
                notes[tracer.name] = f"cannot run here: {problem}"
                continue
            found.setdefault(tracer.name, []).append(measured)
            peers.progress(f"{number}/{args.runs} {tracer.name}: {measured[0]:,.0f}/s, missed {measured[1:]}")
    untraced = statistics.median(rate for rate, _, _ in found[UNTRACED.name])
    rows = []
    for tracer in (t for t in TRACERS if t.name in found):
        rates, forks, exits = (list(column) for column in zip(*found[tracer.name]))
        rate = statistics.median(rates)
        rows.append(
            [
                tracer.name,
                command(tracer),
                peers.spread(rates),
                f"{rate / untraced:.2f}",
                f"{1e6 / rate - 1e6 / untraced:.1f}",
                missed_text(forks, args.forks // tracer.share),
                missed_text(exits, args.forks // tracer.share),
            ]
        )
    print("### A storm of forks\n")
    print(machine)
    print(
        f"- {args.runs} runs of each, taking turns, {args.forks:,} forks in a run "
        f"({args.forks // STRACE_SHARE:,} under strace), on one CPU\n"
        f"- LOOP: `{peers.PYTHON}`, posix_spawn() of a path that cannot be executed (bench/forkstorm.py)\n"
    )
    headers = ["tracer", "command", "forks/s, median (min–max)", "of untraced", "µs added to a fork"]
    print(peers.table([*headers, "forks missed", "exits missed"], rows, notes))


if __name__ == "__main__":
    main()
