"""What it costs a context switch that all of them are watched: kintro beside its peers.

`perf bench sched pipe` sends a token to and fro between two processes through pipes. Both are on one CPU,
so that each turn is two context switches, with a wake-up before most of them. The tools watch the whole
system. The floor is an empty program at the raw tracepoint sched_switch; another has one at sched_waking
too, which whoever tells how long a task waited cannot do without. A tool has begun when it has opened its
probes, and no more for a moment. All take turns. Time is the CPU time of the two processes, without what
the tools do in their own.

bcc's tools get kintro's header tree, as there are no headers for many kernels.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import tempfile
from pathlib import Path

import _peers as peers
from startup import headers_for_bcc
from syscalls import watching

SWITCHES_PER_TURN = 2
RUN_QUEUE = (
    "tracepoint:sched:sched_wakeup { @woken[args->pid] = nsecs; } "
    "tracepoint:sched:sched_switch /@woken[args->next_pid]/ "
    "{ @us = hist((nsecs - @woken[args->next_pid]) / 1000); delete(@woken[args->next_pid]); }"
)
ALONE = "floor: sched_switch"
# Two processes on each CPU, or on the first few, yield to each other for a while.
YIELD = r"""
#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    for (int i = 0; i < 2 * atoi(argv[1]); i++) {
        if (fork() == 0) {
            cpu_set_t set;
            CPU_ZERO(&set);
            CPU_SET(i / 2, &set);
            sched_setaffinity(0, sizeof(set), &set);
            alarm(atoi(argv[2]));
            for (;;)
                sched_yield();
        }
    }
    while (wait(NULL) > 0)
        ;
    return 0;
}
"""
FOR_RUNQLAT = """\
#define TASK_RUNNING 0
#define __always_inline inline __attribute__((always_inline))
"""


def tools(folder: Path) -> list[peers.Tool]:
    """`folder`: for what perf records."""
    record = ("perf", "sched", "record", "-o", str(folder / "perf.data"))
    return [
        peers.floor(ALONE, "0", "sched_switch"),
        peers.floor("floor: with sched_waking", "0", "sched_switch", "sched_waking"),
        peers.Tool("kintro", (peers.KINTRO, "ctxswitch"), ""),
        peers.Tool("libbpf-tools runqlat", ("runqlat",), ""),
        peers.Tool("libbpf-tools cpudist", ("cpudist",), ""),
        peers.Tool("libbpf-tools offcputime", ("offcputime",), ""),
        peers.Tool("bcc runqlat", ("runqlat-bpfcc",), ""),
        peers.Tool("bcc cpudist", ("cpudist-bpfcc",), ""),
        peers.Tool("bpftrace, run queue", ("bpftrace", "-e", RUN_QUEUE), ""),
        peers.Tool("perf sched record", record, ""),
    ]


def turn_ns(load: list[str], turns: int) -> float:
    """Nanoseconds of CPU time for a turn of the load."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*load, str(turns)], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return 1e9 * used_s / turns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=7, help="with each tool (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=100_000, help="in one run (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=5, help="of timeline (default: %(default)s)")
    args = parser.parse_args()
    cpu = max(os.sched_getaffinity(0))
    load = ["taskset", "-c", str(cpu), "perf", "bench", "sched", "pipe", "-l"]
    machine = peers.machine()
    peers.mount_tracefs()
    found: dict[str, list[float]] = {"untraced": []}
    notes: dict[str, str] = {}
    with (
        tempfile.TemporaryDirectory(prefix="kintro-bench-", dir="/dev/shm") as name,
        headers_for_bcc() as env,
    ):
        for header in ("nsproxy", "pid_namespace", "init_task"):
            Path(env["BCC_KERNEL_SOURCE"], f"include/linux/{header}.h").write_text(FOR_RUNQLAT)
        watchers = tools(Path(name))
        for number in range(1, args.runs + 1):
            found["untraced"].append(turn_ns(load, args.turns))
            for tool in watchers:
                if tool.name in notes:
                    continue
                try:
                    if tool.path is None:
                        raise RuntimeError("not installed")
                    with watching(tool, env, least=1):
                        taken_ns = turn_ns(load, args.turns)
                except RuntimeError as error:
                    notes[tool.name] = f"cannot run here: {error}"
                    continue
                peers.progress(f"{number}/{args.runs} {tool.name}: {taken_ns:,.0f} ns")
                found.setdefault(tool.name, []).append(taken_ns)
        cpus = [1, os.cpu_count() or 1]
        rows = [timeline(Path(name), number, args.seconds) for number in cpus for _ in range(3)]
    commands = {tool.name: tool.command.replace(name, "…") for tool in watchers[2:]}
    print(
        report(
            machine,
            f"{args.runs} runs of each, taking turns: `{' '.join(load)} {args.turns}`",
            commands,
            found,
            notes,
        )
    )
    headers = ["CPUs with two processes that yield", "switches/s", "switches", "lost", "bytes for each"]
    print("\n### A timeline: `kintro ctxswitch --timeline FILE.pftrace`\n\n" + peers.table(headers, rows, {}))


def timeline(folder: Path, cpus: int, seconds: int) -> list[str]:
    """A row: what a timeline of as many switches as can be made on so many CPUs comes to."""
    load = peers.compiled(YIELD, folder / "yield")
    output, trace = folder / "account", folder / "trace.pftrace"
    words = [
        peers.KINTRO,
        "ctxswitch",
        "-d",
        str(seconds),
        "--timeline",
        str(trace),
        "--json",
        "-o",
        str(output),
    ]
    with subprocess.Popen([load, str(cpus), str(seconds + 3)], start_new_session=True) as yielding:
        subprocess.run(words, stderr=subprocess.DEVNULL, check=True)
        os.killpg(yielding.pid, signal.SIGKILL)
    told = json.loads(output.read_text().splitlines()[-1])
    rate = told["switches"] / told["duration_ns"] * 1e9
    size = trace.stat().st_size / told["switches"]
    return [str(cpus), f"{rate:,.0f}", f"{told['switches']:,}", f"{told['lost']:,}", f"{size:.0f}"]


def report(
    machine: str, how: str, commands: dict[str, str], found: dict[str, list[float]], notes: dict[str, str]
) -> str:
    middle = {name: statistics.median(values) for name, values in found.items()}
    added = {name: (value - middle["untraced"]) / SWITCHES_PER_TURN for name, value in middle.items()}
    rows = []
    for name, values in sorted(found.items(), key=lambda item: middle[item[0]]):
        ratio = f"{added[name] / added['kintro']:.2f}" if added.get("kintro") else ""
        rows.append([name, commands.get(name, ""), peers.spread(values), f"{added[name]:,.0f}", ratio])
    headers = ["tool", "command", "ns for a turn, median (min–max)", "ns added to a switch", "times kintro's"]
    text = f"### A context switch while all are watched\n\n{machine}\n- {how}\n\n"
    return text + peers.table(headers, rows, notes)


if __name__ == "__main__":
    main()
