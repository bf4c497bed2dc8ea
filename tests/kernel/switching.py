"""Runs kintro ctxswitch beside loads, and what its account must be like; what the kernel itself tells."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple

from .harness import KINTRO, interrupt, json_lines, running, wait_for

CPU = max(os.sched_getaffinity(0))
SWITCH_NS = 5000


class Counts(NamedTuple):
    """What /proc/PID/task/TID tells of a task."""

    voluntary: int
    involuntary: int
    runtime_ns: int


def counts_of(pid: int, tid: int) -> tuple[str, Counts]:
    """A task's state and its counts."""
    folder = Path(f"/proc/{pid}/task/{tid}")
    status = dict(re.findall(r"^(\w+):\s*(\w+)", (folder / "status").read_text(), re.MULTILINE))
    numbers = int(status["voluntary_ctxt_switches"]), int(status["nonvoluntary_ctxt_switches"])
    return status["State"], Counts(*numbers, schedstat_of(pid, tid)[0])


def schedstat_of(pid: int, tid: int) -> tuple[int, int]:
    """How long a task was on CPUs and how long in run queues, ns (kernel/sched/stats.h, sched_info)."""
    on_cpu_ns, waited_ns, _ = Path(f"/proc/{pid}/task/{tid}/schedstat").read_text().split()
    return int(on_cpu_ns), int(waited_ns)


def tasks_below(pid: int) -> list[tuple[int, int]]:
    """(pid, tid) of a process and of all that descend from it."""
    found, pids = [], [pid]
    for process in pids:  # grows while it is walked
        for folder in Path(f"/proc/{process}/task").iterdir():
            found.append((process, int(folder.name)))
            pids += map(int, (folder / "children").read_text().split())
    return found


def at_rest(pid: int) -> dict[int, Counts]:
    """By tid, once all tasks of a process and below it sleep or are stopped, and none switches any more."""

    def looked() -> dict[int, Counts] | None:
        states = {}
        for process, tid in tasks_below(pid):
            state, states[tid] = counts_of(process, tid)
            if state not in "ST":
                return None
        return states

    def settled() -> dict[int, Counts] | None:
        first = looked()
        time.sleep(0.05)
        return first if first and first == looked() else None

    return wait_for(settled, "the load to come to rest")


@contextmanager
def load(*command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """A load of workloads/switches.c that has done its work; it is ended in the end."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with running(command, bufsize=0, **pipes) as process:
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.stdin.close()
        assert process.wait(20) == 0


@contextmanager
def tracing_switches(
    output: Path, *options: str, program: Sequence[str | Path] = (KINTRO,)
) -> Iterator[subprocess.Popen[bytes]]:
    """`kintro ctxswitch -i 0.2 --json OPTIONS …` from its first interval on."""
    command = [*program, "ctxswitch", "-i", "0.2", "--json", "-o", output, *options]
    with running(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        wait_for(lambda: output.exists() and b"\n" in output.read_bytes(), "the first interval")
        yield process


def told(output: Path, tracer: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The summary of a trace, which is ended for it."""
    status, complaint = interrupt(tracer)
    assert status == 0, complaint
    return whole(json_lines(output)[-1])


def whole(summary: dict[str, Any]) -> dict[str, Any]:
    """The summary, which must be consistent."""
    assert (summary["type"], summary["lost"], summary["complete"]) == ("summary", 0, True), {
        name: value for name, value in summary.items() if not isinstance(value, list)
    }
    assert summary["switches"] == summary["kernel_switches"]
    tasks = summary["tasks"]
    of_nobody = summary["switches"] - sum(summary[name] for name in ("voluntary", "involuntary", "from_idle"))
    assert 0 <= of_nobody <= summary["untold"]
    for name in ("voluntary", "involuntary"):
        assert summary[name] == sum(task[name] for task in tasks)
    from_idle = [pair for pair in summary["pairs"] if pair["prev"]["tid"] == 0]
    assert not any(pair["voluntary"] or pair["involuntary"] for pair in from_idle)
    pairs_from_idle = sum(pair["count"] for pair in from_idle)
    assert pairs_from_idle <= summary["from_idle"] + summary["untold"] or not summary["from_idle"]
    for task in tasks:
        assert task["switches"] == task["voluntary"] + task["involuntary"]
        known_ns = task["on_cpu_ns"] + task["blocked_ns"] + task["runnable_ns"]
        assert known_ns <= summary["duration_ns"]
        if task["run_queue_max_ns"] is not None:
            assert task["run_queue_p50_ns"] <= task["run_queue_p99_ns"] <= task["run_queue_max_ns"]
    assert summary["cpus"] == len(summary["per_cpu"])
    for cpu in summary["per_cpu"]:
        assert cpu["busy_ns"] + cpu["idle_ns"] == summary["duration_ns"]
        assert cpu["switches"] == cpu["kernel_switches"]
    return summary


def assert_counts(summary: dict[str, Any], kernels: dict[int, Counts]) -> dict[int, dict[str, Any]]:
    """Tasks by tid; of these each has been counted as the kernel did, from its birth on."""
    tasks = {task["tid"]: task for task in summary["tasks"]}
    seen = {tid: (tasks[tid]["voluntary"], tasks[tid]["involuntary"]) for tid in kernels if tid in tasks}
    assert seen == {tid: counts[:2] for tid, counts in kernels.items()}
    for tid, counts in kernels.items():
        assert tasks[tid]["runtime_ns"] == counts.runtime_ns
    return tasks


def stolen_ticks() -> int:
    """The time in which CPUs of this virtual machine did not run though they would have; proc_stat(5)."""
    return int(Path("/proc/stat").read_text().split(maxsplit=9)[8])


def assert_times(tasks: dict[int, dict[str, Any]], kernels: dict[int, Counts], stolen: int) -> None:
    """The times between the switches are within 1 % of what the kernel has added up, but for the switches.

    A turn begins for the kernel when it began to switch, or even at the wake-up that led to it, which may be
    microseconds before. What was stolen meanwhile, so many ticks, the kernel takes for nobody's time.
    """
    stolen_ns = (stolen + 1) * 10**9 // os.sysconf("SC_CLK_TCK") if stolen else 0
    for tid, counts in kernels.items():
        more_ns = tasks[tid]["on_cpu_ns"] - counts.runtime_ns
        error_ns = counts.runtime_ns // 100 + SWITCH_NS * tasks[tid]["switches"]
        assert -error_ns <= more_ns <= error_ns + stolen_ns, (tasks[tid], counts, stolen)


def swaps(summary: dict[str, Any], prev: int, following: int) -> tuple[int, int]:
    """How often the one tid made way for the other: voluntarily, involuntarily."""
    found = [
        (pair["voluntary"], pair["involuntary"])
        for pair in summary["pairs"]
        if (pair["prev"]["tid"], pair["next"]["tid"]) == (prev, following)
    ]
    return found[0] if found else (0, 0)


class Sample(NamedTuple):
    begin_ns: int
    end_ns: int
    switches: int  # of /proc/stat, read in between


@contextmanager
def sampling() -> Iterator[list[Sample]]:
    """The kernel's count of all switches, again and again."""
    samples: list[Sample] = []
    over = Event()

    def sample() -> None:
        while not over.wait(0.002):
            begin_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            [line] = re.findall(r"^ctxt (\d+)$", Path("/proc/stat").read_text(), re.MULTILINE)
            samples.append(Sample(begin_ns, time.clock_gettime_ns(time.CLOCK_MONOTONIC), int(line)))

    thread = Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


def bracket(samples: Sequence[Sample], begin_ns: int, end_ns: int) -> tuple[int, int]:
    """How many switches there were between two moments: at least, at most."""
    before = [sample for sample in samples if sample.end_ns <= begin_ns][-1]
    after = next(sample for sample in samples if sample.begin_ns >= begin_ns)
    last = [sample for sample in samples if sample.end_ns <= end_ns][-1]
    behind = next(sample for sample in samples if sample.begin_ns >= end_ns)
    return last.switches - after.switches, behind.switches - before.switches
