"""How many events a second reach a file, and how many are lost, at the highest rate of one CPU.

A pinned process calls getppid, the cheapest system call there is, in a loop; each tool tells every one,
on another CPU, as fast as it can, with its own default buffers. Delivered is what is found afterwards in what
the tool has written. kintro writes an Arrow stream, perf its own file, bpftrace lines of text; the plain bcc
reader is what its documentation shows, a Python function called for each event, and keeps them in memory.

bcc gets kintro's header tree, as there are no headers for many kernels.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import _peers as peers
from startup import headers_for_bcc
from system_calls import syscalls

from kintro.observers.calls_records import dtypes
from kintro.sources.session import read_batches

# The shape of bcc's own examples: examples/ringbuf/ringbuf_output.py.
BCC = """
import os, subprocess, sys
from bcc import BPF
b = BPF(text='''
BPF_RINGBUF_OUTPUT(events, 4096);
struct event {{ u64 ts; u64 args[6]; s64 ret; u32 tid; u32 nr; }};
RAW_TRACEPOINT_PROBE(sys_exit) {{
    struct event event = {{}};
    u64 comm[2] = {{}};
    bpf_get_current_comm(&comm, sizeof(comm));
    if (comm[0] != 0x706f6f6c)
        return 0;
    event.ts = bpf_ktime_get_ns();
    event.ret = ctx->args[1];
    event.tid = bpf_get_current_pid_tgid();
    events.ringbuf_output(&event, sizeof(event), 0);
    return 0;
}}
''')
kept = []
def told(ctx, data, size):
    event = b['events'].event(data)
    kept.append((event.ts, event.tid, event.ret))
b['events'].open_ring_buffer(told)
loop = subprocess.Popen({loop!r})
while loop.poll() is None:
    b.ring_buffer_poll(10)
b.ring_buffer_consume()
open({count!r}, 'w').write(str(len(kept)))
"""


class Tool(NamedTuple):
    name: str
    shown: str
    command: Callable[[list[str], Path], list[str]]
    delivered: Callable[[Path], int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="with each tool (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=5_000_000, help="in one run (default: %(default)s)")
    args = parser.parse_args()
    machine = peers.machine()
    peers.mount_tracefs()
    nr = int(syscalls()["getppid"])
    tools = tools_for(nr)
    rates: dict[str, list[float]] = {}
    arrived: dict[str, list[int]] = {}
    notes: dict[str, str] = {}
    untraced: list[float] = []
    cpus = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="kintro-bench-") as name, headers_for_bcc() as env:
        folder = Path(name)
        peers.compiled(peers.LOOP, folder / "loop")
        loop = [
            str(shutil.which("taskset")),
            "-c",
            str(cpus[-1]),
            str(folder / "loop"),
            str(args.calls),
            str(folder / "took"),
        ]
        for number in range(1, args.runs + 1):
            subprocess.run(loop, check=True)
            untraced.append(args.calls / float((folder / "took").read_text().split()[0]) / 1e6)
            for tool in tools:
                if tool.name in notes:
                    continue
                out = folder / "out"
                shutil.rmtree(out, ignore_errors=True)
                out.mkdir()
                (folder / "took").unlink(missing_ok=True)
                command = ["taskset", "-c", str(cpus[0]), *tool.command(loop, out)]
                done = subprocess.run(command, env=env, capture_output=True, check=False, timeout=600)
                try:
                    took_s = float((folder / "took").read_text().split()[0])
                    delivered = min(tool.delivered(out), args.calls)
                except (OSError, ValueError, IndexError) as error:
                    said = done.stderr.decode(errors="replace").strip().splitlines()
                    notes[tool.name] = f"cannot run here: {said[-1] if said else error}"
                    continue
                rates.setdefault(tool.name, []).append(args.calls / took_s / 1e6)
                arrived.setdefault(tool.name, []).append(delivered)
                lost = args.calls - delivered
                peers.progress(
                    f"{number}/{args.runs} {tool.name}: {args.calls / took_s / 1e6:.2f} M/s, lost {lost:,}"
                )
                time.sleep(0.5)
    print("### Every system call of a loop\n")
    print(machine)
    print(f"- {args.runs} runs of each, taking turns, {args.calls:,} calls in a run, on CPU {cpus[-1]}")
    print(f"- the tools run on CPU {cpus[0]}\n")
    rows = [["untraced", "", peers.spread(untraced, 2), "–", "–"]]
    for tool in tools:
        if tool.name not in rates:
            continue
        total, got = args.calls * len(arrived[tool.name]), sum(arrived[tool.name])
        share = statistics.median(arrived[tool.name]) / args.calls
        rows.append([
            tool.name, tool.shown, peers.spread(rates[tool.name], 2),
            f"{statistics.median(rates[tool.name]) * share:.2f}", f"{total - got:,} of {total:,}",
        ])  # fmt: skip
    headers = ["tool", "command", "M calls/s, median (min–max)", "M told/s", "lost"]
    print(peers.table(headers, rows, notes))


def tools_for(nr: int) -> list[Tool]:
    wanted = f"id == {nr}"
    program = (
        f"tracepoint:raw_syscalls:sys_exit /pid == cpid && args->id == {nr}/ "
        '{ printf("%llu %d %ld %ld\\n", nsecs, tid, args->id, args->ret); }'
    )
    kintro = [peers.KINTRO, "trace-syscalls", "-q", "--as-root", "--save"]
    perf = ["perf", "record", "-q", "-e", "raw_syscalls:sys_exit", "--filter", wanted, "-o"]

    def saved(out: Path) -> int:
        batches = read_batches(out / "s", "call", dtypes()["call"])
        return sum(int((batch["nr"] == nr).sum()) for batch in batches)

    def lines(out: Path) -> int:
        with (out / "lines").open("rb") as file:
            return sum(line.split()[2:3] == [str(nr).encode()] for line in file)

    return [
        Tool(
            "**kintro**",
            "`kintro trace-syscalls --save DIR -q -- LOOP`",
            lambda loop, out: [*kintro, str(out / "s"), "--", *loop],
            saved,
        ),
        Tool(
            "perf record",
            f"`perf record -e raw_syscalls:sys_exit --filter '{wanted}' -- LOOP`",
            lambda loop, out: [*perf, str(out / "perf.data"), "--", *loop],
            samples,
        ),
        Tool(
            "bpftrace",
            f"`bpftrace -c LOOP -e '{program}'`",
            lambda loop, out: ["bpftrace", "-o", str(out / "lines"), "-c", " ".join(loop), "-e", program],
            lines,
        ),
        Tool(
            "a plain bcc reader",
            "`ring_buffer_poll()`, 16 MiB",
            lambda loop, out: [peers.PYTHON, "-c", BCC.format(loop=loop, count=str(out / "count"))],
            lambda out: int((out / "count").read_text()),
        ),
    ]


def samples(out: Path) -> int:
    """Of perf's file."""
    command = ["perf", "report", "--stats", "-i", str(out / "perf.data")]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return int(re.findall(r"SAMPLE events:\s+(\d+)", said)[-1])


if __name__ == "__main__":
    main()
