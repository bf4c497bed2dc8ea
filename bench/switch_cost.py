"""What a tracer of process life costs the context switches of everybody else.

kintro looks at every context switch to learn who takes the children of a dead process; exitsnoop does not.
`perf bench sched pipe` sends a token to and fro between two processes through pipes. Both are on one CPU, so
that each turn is two context switches. The tracers watch the whole system, in which little else happens;
all take turns.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import tempfile
from pathlib import Path

import _peers as peers

SWITCHES_PER_TURN = 2
TRACERS = {"untraced": (), "kintro": (peers.TRACE_FORK,), "libbpf-tools exitsnoop": (peers.EXITSNOOP,)}


def turn_ns(tools: tuple[peers.Tool, ...], load: list[str]) -> float:
    """Nanoseconds for a turn of the load while the tools watch."""
    with (
        tempfile.TemporaryDirectory(prefix="kintro-bench-", dir="/dev/shm") as folder,
        peers.attached(tools, Path(folder)),
    ):
        said = subprocess.run(load, capture_output=True, text=True, check=True).stdout
    return 1000 * float(re.search(r"([\d.]+) usecs/op", said)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=9, help="with each tracer (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=200_000, help="in one run (default: %(default)s)")
    args = parser.parse_args()
    cpu = max(os.sched_getaffinity(0))
    load = ["taskset", "-c", str(cpu), "perf", "bench", "sched", "pipe", "-l", str(args.turns)]
    machine = peers.machine()
    peers.mount_tracefs()
    found: dict[str, list[float]] = {}
    notes: dict[str, str] = {}
    for number in range(1, args.runs + 1):
        for name, tools in TRACERS.items():
            missing = [tool.argv[0] for tool in tools if tool.path is None]
            if missing:
                notes[name] = f"cannot run here: {missing[0]} is not installed"
                continue
            taken_ns = turn_ns(tools, load)
            found.setdefault(name, []).append(taken_ns)
            peers.progress(f"{number}/{args.runs} {name}: {taken_ns:,.0f} ns")
    untraced = statistics.median(found["untraced"])
    rows = []
    for name, values in found.items():
        middle = statistics.median(values)
        rows.append(
            [
                name,
                " and ".join(tool.command for tool in TRACERS[name]),
                peers.spread(values),
                f"{middle / untraced:.3f}",
                f"{(middle - untraced) / SWITCHES_PER_TURN:.0f}",
            ]
        )
    print("### Context switches while process life is traced\n")
    print(machine)
    print(f"- {args.runs} runs of each, taking turns: `{' '.join(load)}`\n")
    headers = ["tracer", "command", "ns for a turn, median (min–max)", "of untraced", "ns added to a switch"]
    print(peers.table(headers, rows, notes))


if __name__ == "__main__":
    main()
