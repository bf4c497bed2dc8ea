"""What it costs a system call that all of them are counted, with their durations: kintro beside its peers.

A pinned process calls getppid, the cheapest there is, in a loop; the tools watch the whole system, but for
strace, which runs the loop. The floor is two empty programs at the raw tracepoints sys_enter and sys_exit: no
tool that sees a call begin and end through BPF can cost less; none that tells how long it took can do with
less than that and two looks at the clock. Time is the loop's CPU time, without what strace and perf do in
processes of their own. A tool has begun when it has opened its probes, and no more for a moment. All take
turns.

bcc's syscount gets kintro's header tree, as there are no headers for many kernels.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import _peers as peers
from startup import headers_for_bcc

STEADY_S = 0.3
HELD = ("anon_inode:[perf_event]", "anon_inode:bpf_link", "anon_inode:bpf-raw-tracepoint")
TIMEOUT_S = 30.0
BOTH = "sys_enter", "sys_exit"
HISTOGRAMS = (
    "tracepoint:raw_syscalls:sys_enter { @start[tid] = nsecs; } "
    "tracepoint:raw_syscalls:sys_exit /@start[tid]/ { @ns[args->id] = hist(nsecs - @start[tid]); "
    "delete(@start[tid]); }"
)
TOOLS = [
    peers.floor("floor", "0", *BOTH),
    peers.floor("floor with the clock", "bpf_ktime_get_ns() & 1", *BOTH),
    peers.Tool("kintro", (peers.KINTRO, "syscalls"), ""),
    peers.Tool("kintro, each process", (peers.KINTRO, "syscalls", "--by", "process"), ""),
    peers.Tool("libbpf-tools syscount", ("syscount", "-L"), ""),
    peers.Tool("bcc syscount", ("syscount-bpfcc", "-L"), ""),
    peers.Tool("bpftrace", ("bpftrace", "-e", HISTOGRAMS), ""),
    peers.Tool("perf trace", ("perf", "trace", "-s", "-a", "-o", "/dev/null"), ""),
]
# The second stops only calls of that name.
STRACE = {"strace": ("-f", "-c"), "strace, seccomp": ("--seccomp-bpf", "-f", "-c", "-e", "trace=getppid")}
SLOW = {"perf trace": 10}  # a tenth of the calls


def loop_ns(loop: list[str], calls: int) -> float:
    """CPU time for a call."""
    told = subprocess.run([*loop, str(calls)], capture_output=True, text=True, check=True).stdout
    return float(told.split()[1]) * 1e9 / calls


def probes_of(pid: int) -> int:
    """How many descriptors of a process hold a probe or an event."""
    held = 0
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        with contextlib.suppress(OSError):
            held += os.readlink(link).startswith(
                ("anon_inode:[perf_event]", "anon_inode:bpf_link", "anon_inode:bpf-raw")
            )
    return held


@contextmanager
def watching(tool: peers.Tool, env: dict[str, str], least: int = 2) -> Iterator[None]:
    """The tool beside us, from when it has begun. `least`: so many probes it has at least."""
    with tempfile.TemporaryFile() as complaint:
        process = subprocess.Popen(
            [tool.path or tool.argv[0], *tool.argv[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=complaint,
            env=env,
        )
        try:
            begin = since = time.monotonic()
            opened = 0
            while opened < least or time.monotonic() < since + STEADY_S:
                if process.poll() is not None or time.monotonic() > begin + TIMEOUT_S:
                    complaint.seek(0)
                    lines = complaint.read().decode(errors="replace").strip().splitlines()
                    raise RuntimeError((lines or ["it does not begin"])[-1])
                time.sleep(0.02)
                before, opened = opened, probes_of(process.pid)
                since = since if opened == before else time.monotonic()
            yield
        finally:
            peers.end(process)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=7, help="with each tool (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=1_000_000, help="in one run (default: %(default)s)")
    args = parser.parse_args()
    machine = peers.machine()
    peers.mount_tracefs()
    found: dict[str, list[float]] = {"untraced": []}
    notes: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="kintro-bench-") as folder, headers_for_bcc() as env:
        program = peers.compiled(peers.LOOP, Path(folder, "loop"))
        loop = ["taskset", "-c", str(max(os.sched_getaffinity(0))), program]
        for number in range(1, args.runs + 1):
            found["untraced"].append(loop_ns(loop, args.calls))
            for tool in TOOLS:
                if tool.name in notes:
                    continue
                try:
                    if tool.path is None:
                        raise RuntimeError("not installed")
                    with watching(tool, env):
                        taken_ns = loop_ns(loop, args.calls // SLOW.get(tool.name, 1))
                except RuntimeError as error:
                    notes[tool.name] = f"cannot run here: {error}"
                    continue
                peers.progress(f"{number}/{args.runs} {tool.name}: {taken_ns:,.0f} ns")
                found.setdefault(tool.name, []).append(taken_ns)
            for name, options in STRACE.items() if shutil.which("strace") else ():
                command = ["strace", *options, "-o", "/dev/null", *loop]
                found.setdefault(name, []).append(loop_ns(command, args.calls // 50))
    print(report(machine, args, found, notes))


def report(
    machine: str, args: argparse.Namespace, found: dict[str, list[float]], notes: dict[str, str]
) -> str:
    commands = {tool.name: tool.command for tool in TOOLS[2:]} | {
        name: f"`strace {' '.join(options)}`" for name, options in STRACE.items()
    }
    middle = {name: statistics.median(values) for name, values in found.items()}
    untraced, rows = middle["untraced"], []
    floor = middle["floor"] - untraced if "floor" in middle else None
    for name, values in sorted(found.items(), key=lambda item: middle[item[0]]):
        added = middle[name] - untraced
        ratio = f"{added / floor:.2f}" if floor else ""
        rows.append([name, commands.get(name, ""), peers.spread(values), f"{added:,.0f}", ratio])
    headers = ["tool", "command", "ns for a call, median (min–max)", "added", "times the floor's"]
    text = f"### A system call while all are counted\n\n{machine}\n"
    text += f"- {args.runs} runs of each, taking turns: {args.calls:,} times getppid, on one CPU\n\n"
    return text + peers.table(headers, rows, notes)


if __name__ == "__main__":
    main()
