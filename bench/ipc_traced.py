"""What it costs a message through a pipe that it is traced: kintro beside its peers.

`perf bench sched pipe` sends a token to and fro between two processes, both on one CPU: a turn is two
messages, two reads that sleep and two writes that wake. Each tool runs it. kintro tells for each end of each
pipe the messages, bytes, wake-ups and the time asleep; strace writes a line for each call, which kintro does
with --events; bpftrace adds up bytes by process. Time is the CPU time of the two processes, without what the
tools do in their own; beside it, what passes on the clock, in which strace's own work shows. All take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import tempfile
from pathlib import Path

import _peers as peers

MESSAGES_PER_TURN = 2
SUMS = (
    "tracepoint:syscalls:sys_exit_read, tracepoint:syscalls:sys_exit_write "
    '/comm == "perf" && args->ret > 0/ { @[probe, pid] = count(); @bytes[probe, pid] = sum(args->ret); }'
)
FEWER = 20  # so many times fewer turns under strace
LOAD = """
import resource, subprocess, sys
print(subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True, check=True).stdout)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print("CPU time:", used.ru_utime + used.ru_stime)
"""


def tools(folder: Path) -> dict[str, tuple[str, ...]]:
    """What to put before the load; `folder`: for what they write."""
    told, lines = str(folder / "told.json"), str(folder / "lines")
    return {
        "untraced": (),
        "kintro": (peers.KINTRO, "trace-ipc", "--json", "-q", "-o", told, "--"),
        "kintro, each operation": (peers.KINTRO, "trace-ipc", "--events", "-o", lines, "--"),
        "bpftrace": ("bpftrace", "-q", "-o", "/dev/null", "-e", SUMS, "-c"),
        "strace, seccomp": ("strace", "-f", "--seccomp-bpf", "-e", "trace=read,write", "-o", lines),
    }


def turn_ns(before: tuple[str, ...], load: list[str], turns: int) -> tuple[float, float]:
    """Nanoseconds for a turn of the load: CPU time, and on the clock."""
    command = [*load, str(turns)]
    argv = [*before, " ".join(command)] if before[-1:] == ("-c",) else [*before, *command]
    done = subprocess.run(argv, capture_output=True, text=True, env=peers.environment())
    clock = re.search(r"Total time: ([\d.]+) \[sec\]", done.stdout)
    used = re.search(r"CPU time: ([\d.]+)", done.stdout)
    if clock is None or used is None:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it does not run"])[-1])
    return 1e9 * float(used[1]) / turns, 1e9 * float(clock[1]) / turns


def carried(folder: Path) -> tuple[int, int]:
    """Messages that kintro has counted on the two pipes, at both ends, and what it has lost."""
    summary = json.loads((folder / "told.json").read_text())
    pipes = sorted(
        (one["sent_messages"], one["received_messages"])
        for one in summary["channels"]
        if one["kind"] == "pipe"
    )
    return sum(map(sum, pipes[-2:])), summary["lost"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="with each tool (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=100_000, help="in one run (default: %(default)s)")
    args = parser.parse_args()
    bench = ["taskset", "-c", str(max(os.sched_getaffinity(0))), "perf", "bench", "sched", "pipe", "-l"]
    machine = peers.machine()
    peers.mount_tracefs()
    found: dict[str, list[tuple[float, float]]] = {}
    notes: dict[str, str] = {}
    told = lost = 0
    with tempfile.TemporaryDirectory(prefix="kintro-bench-", dir="/dev/shm") as name:
        watchers, script = tools(Path(name)), Path(name, "load.py")
        script.write_text(LOAD)
        load = [peers.PYTHON, "-S", "-E", str(script), *bench]
        for number in range(1, args.runs + 1):
            for tool, before in watchers.items():
                if tool in notes:
                    continue
                try:
                    taken_ns = turn_ns(before, load, args.turns // (FEWER if "strace" in tool else 1))
                except (RuntimeError, FileNotFoundError) as error:
                    notes[tool] = f"cannot run here: {error}"
                    continue
                if tool == "kintro":
                    told, lost = told + carried(Path(name))[0], lost + carried(Path(name))[1]
                peers.progress(
                    f"{number}/{args.runs} {tool}: {taken_ns[0]:,.0f} ns, {taken_ns[1]:,.0f} on the clock"
                )
                found.setdefault(tool, []).append(taken_ns)
    middle = {tool: statistics.median(used for used, _ in values) for tool, values in found.items()}
    added = {tool: (value - middle["untraced"]) / MESSAGES_PER_TURN for tool, value in middle.items()}
    rows = []
    for tool, values in sorted(found.items(), key=lambda item: middle[item[0]]):
        words = [Path(word).name if word == peers.KINTRO else word for word in watchers[tool]]
        rows.append(
            [
                tool,
                f"`{' '.join([*words, 'LOAD'])}`".replace(name, "…") if words else "",
                peers.spread([used for used, _ in values]),
                f"{added[tool]:,.0f}",
                f"{added[tool] / added['kintro']:.2f}" if added.get("kintro") else "",
                peers.spread([clock for _, clock in values]),
            ]
        )
    wanted = args.runs * args.turns * MESSAGES_PER_TURN * 2
    print(f"### A message through a pipe that is traced\n\n{machine}")
    print(f"- {args.runs} runs of each, taking turns: LOAD is `{' '.join(bench)} {args.turns}`")
    print(f"- kintro told {told:,} messages of {wanted:,}, sent and received; lost {lost:,}\n")
    headers = [
        "tool", "command", "CPU ns for a turn, median (min–max)", "added to a message", "times kintro's",
        "ns on the clock",
    ]  # fmt: skip
    print(peers.table(headers, rows, notes))


if __name__ == "__main__":
    main()
