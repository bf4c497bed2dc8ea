"""Context switches: how often each task left a CPU and why, how long it ran, slept and waited for one.

Probe: probes/switches.c, which adds all up in the kernel. switches_read.py takes it from there; here are
pure functions.

What it cannot see: tasks that neither ran nor were woken while it looked; interrupts, whose time is that of
the task they interrupt, and whose wake-ups count for it.

A wait for a CPU begins with the wake-up (sched_waking); for a task that could have gone on, with the switch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kintro.observers.buckets import BUCKETS, highest_ns, percentile_ns
from kintro.observers.switches_records import IDLE, IDLE_COMM, PROBE, Account, Cpu, Name, Pair, Swaps, Task
from kintro.sources.bpf import Loading
from kintro.sources.command import picked
from kintro.sources.filters import Filters
from kintro.sources.rows import Rows
from kintro.sources.trace import Trace

NOBODY = Name(0, 0, 0, IDLE_COMM)
_NO_SWAPS, _NO_TIME = Swaps(0, 0), Cpu(0, 0, 0, 0, 0)


@dataclass
class Reading:
    """What the probe had at one moment."""

    ts_ns: int
    tasks: dict[int, Task] = field(default_factory=dict)  # by slot, those that the filters let through
    cpus: dict[int, Cpu] = field(default_factory=dict)
    names: dict[int, Name] = field(default_factory=dict)
    pairs: dict[Pair, Swaps] = field(default_factory=dict)
    wakes: Counter[Pair] = field(default_factory=Counter)
    sleeps: Sequence[int] = (0,) * BUCKETS
    counters: Mapping[str, int] = field(default_factory=dict)


def account(last: Reading, first: Reading, whole_system: bool, moving: bool = False) -> Account:
    """What was counted from one reading to another. `moving`: the last was not after the end of the trace."""
    tasks = {slot: task_since(task, first.tasks.get(slot)) for slot, task in last.tasks.items()}
    pairs = {pair: _less(swaps, first.pairs.get(pair, _NO_SWAPS)) for pair, swaps in last.pairs.items()}
    more = {name: value - first.counters.get(name, 0) for name, value in last.counters.items()}
    return Account(
        first.ts_ns,
        last.ts_ns - first.ts_ns,
        whole_system,
        {slot: task for slot, task in tasks.items() if task.switches or task.on_cpu_ns or task.runnable_ns},
        {cpu: _cpu_since(time, first.cpus.get(cpu, _NO_TIME)) for cpu, time in last.cpus.items()},
        {IDLE: NOBODY, **last.names},
        {pair: swaps for pair, swaps in pairs.items() if swaps.times and not tasks.keys().isdisjoint(pair)},
        {pair: number for pair, number in (last.wakes - first.wakes).items() if pair[0] in tasks},
        [b - a for a, b in zip(first.sleeps, last.sleeps)],
        more["untold"],
        max(more["unwoken"], more["wakings_missed"]),
        {
            name: value
            for name, value in more.items()
            if value and (name.endswith("_lost") or name == "missed")
        },
        moving,
    )


def _less(now: Swaps, before: Swaps) -> Swaps:
    return Swaps(now.voluntary - before.voluntary, now.involuntary - before.involuntary)


def _cpu_since(now: Cpu, before: Cpu) -> Cpu:
    if now.kernel_switches is None or before.kernel_switches is None:
        before = before._replace(kernel_switches=0)
        now = now._replace(kernel_switches=None)
    kernel = None if now.kernel_switches is None else now.kernel_switches - (before.kernel_switches or 0)
    rest = (b - a for a, b in zip(before[2:], now[2:]))
    return Cpu(now.switches - before.switches, kernel, *rest)


def task_since(now: Task, before: Task | None) -> Task:
    """A task's figures without those it had before; the longest are then as exact as buckets are."""
    if before is None:
        return now
    waits = [b - a for a, b in zip(before.waits, now.waits)]
    slices = [b - a for a, b in zip(before.slices, now.slices)]
    return Task(
        now.name,
        now.switches - before.switches,
        now.voluntary - before.voluntary,
        now.unseen - before.unseen,
        now.migrations - before.migrations,
        now.on_cpu_ns - before.on_cpu_ns,
        now.blocked_ns - before.blocked_ns,
        now.runnable_ns - before.runnable_ns,
        now.runtime_ns - before.runtime_ns,
        highest_ns(waits, now.wait_max_ns) or 0,
        highest_ns(slices, now.slice_max_ns) or 0,
        waits,
        slices,
    )


def wait_ns(task: Task, part: float) -> int | None:
    """The wait for a CPU that so large a part (0 to 1) did not exceed; None if there was none."""
    return percentile_ns(task.waits, part, 0, task.wait_max_ns)


def slice_ns(task: Task, part: float) -> int | None:
    """The same of its turns on a CPU."""
    return percentile_ns(task.slices, part, 0, task.slice_max_ns)


def summed(histograms: Iterable[Sequence[int]]) -> list[int]:
    """One histogram of several."""
    total = [0] * BUCKETS
    for buckets in histograms:
        total = [a + b for a, b in zip(total, buckets)]
    return total


def wakers(found: Account) -> dict[int, list[tuple[int, int]]]:
    """Slot → the slots of those who woke it and how often, the most frequent first."""
    by_task: dict[int, list[tuple[int, int]]] = {}
    for (woken, waker), number in sorted(found.wakes.items(), key=lambda item: (-item[1], item[0])):
        by_task.setdefault(woken, []).append((waker, number))
    return by_task


def frequent(found: Account) -> list[tuple[Pair, Swaps]]:
    """Who made way for whom, the most frequent first."""
    return sorted(found.pairs.items(), key=lambda item: (-item[1].times, item[0]))


def reasons(pair: Pair, swaps: Swaps) -> Swaps:
    """Why the one who left did so. An idle task's switches are neither voluntary nor involuntary."""
    return _NO_SWAPS if pair[0] == IDLE else swaps


def matrix(found: Account, most: int) -> tuple[list[int], dict[Pair, int]]:
    """The slots of those that switched most with each other, and how often each made way for each."""
    busy: Counter[int] = Counter()
    for pair, swaps in found.pairs.items():
        for slot in set(pair):
            busy[slot] += swaps.times
    slots = [slot for slot, _ in sorted(busy.items(), key=lambda item: (-item[1], item[0]))[:most]]
    return slots, {pair: s.times for pair, s in found.pairs.items() if set(pair) <= set(slots)}


SORTS = ("on-cpu", "switches", "involuntary", "blocked", "waiting", "latency", "migrations", "name")


def sort_key(by: str) -> Callable[[Task], Any]:
    """For `sorted`: the most first, names from a to z."""
    figures: dict[str, Callable[[Task], Any]] = {
        "on-cpu": lambda task: -task.on_cpu_ns,
        "switches": lambda task: -task.switches,
        "involuntary": lambda task: -task.involuntary,
        "blocked": lambda task: -task.blocked_ns,
        "waiting": lambda task: -task.runnable_ns,
        "latency": lambda task: -task.wait_max_ns,
        "migrations": lambda task: -task.migrations,
        "name": lambda task: task.name.comm,
    }
    return lambda task: (figures[by](task), task.name.tid, task.name.start_time_ns)


# What a Trace wants of an observer.


def settled(counters: Mapping[str, int]) -> bool:
    """Whether all threads that have begun to exit have left their CPU."""
    return counters["left"] == counters["freed"]


def tally(traced: Any) -> Mapping[str, Any]:
    return {"duration_ns": traced.duration_ns, "lost": traced.lost}


def count(
    command: Sequence[str] | None = None,
    filters: Filters | None = None,
    duration_s: float | None = None,
    during: Callable[[], Any] | None = None,
) -> Account:
    """Counts the context switches of a command and its descendants, or of what `filters` picks, for a while.

    Without a command and a duration it ends with the process that `filters` names, or never. `during` is
    called when counting has begun, which ends when it returns.

    Raises KintroError for whatever stands against it, as the command line tells it.
    """
    from kintro.observers import switches_read

    filters, make = picked(command, filters)
    loading = Loading(PROBE, filters, switches_read.defines())
    ends_ns: list[int] = []
    with Trace(loading, Rows({}), settled if command else None, make, duration_s, during) as trace:
        pid = trace.command.pid if trace.command is not None else None
        trace.around(
            lambda: ends_ns.append(switches_read.begin(trace.probe, pid)),
            lambda: ends_ns.append(switches_read.end(trace.probe)),
        )
        for _ in trace.rows():
            pass
        begin_ns, end_ns = ends_ns
        now = switches_read.read(trace.probe, end_ns)
    return account(now, Reading(begin_ns), loading.filters.whole_system)
