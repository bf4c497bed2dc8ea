"""System calls of processes: how many of which, how long they take, how they fail.

Probe: probes/syscalls.c, which adds all up in the kernel. syscalls_read.py takes it from there; here are
pure functions.

What it cannot see: calls that never reach the kernel (the vDSO answers clock_gettime, gettimeofday, time and
getcpu); threads that made no call at all.

A call is known by the number that it began with. rt_sigreturn has no errors: what it seems to return is the
register of the code that it returns to.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kintro.observers import buckets as histogram
from kintro.observers.buckets import BUCKETS, bounds_ns
from kintro.observers.syscalls_records import (
    OTHER_SLOT,
    PROBE,
    SLOT_NAMES,
    UNFINISHED,
    Account,
    Process,
    ProcessKey,
    Syscall,
)
from kintro.sources.bpf import Loading
from kintro.sources.command import picked
from kintro.sources.filters import Filters
from kintro.sources.rows import Rows
from kintro.sources.trace import Trace

# include/linux/errno.h: the kernel's own, which no program sees. The signal that interrupted the call decides
# whether it begins anew or fails with EINTR.
KERNEL_ERRNO = {
    512: "ERESTARTSYS", 513: "ERESTARTNOINTR", 514: "ERESTARTNOHAND", 515: "ENOIOCTLCMD",
    516: "ERESTART_RESTARTBLOCK", 517: "EPROBE_DEFER", 530: "EIOCBQUEUED",
}  # fmt: skip


def percentile_ns(call: Syscall, part: float) -> int | None:
    """The duration that so large a part of the calls (0 to 1) did not exceed; None if none returned.

    As exactly as the buckets tell it: see buckets.py.
    """
    if call.min_ns is None or call.max_ns is None:
        return None
    return histogram.percentile_ns(call.buckets, part, call.min_ns, call.max_ns)


def error_name(number: int) -> str:
    return errno.errorcode.get(number) or KERNEL_ERRNO.get(number) or f"errno {number}"


class Result(NamedTuple):
    """What returned of one call."""

    total_ns: int
    min_ns: int
    max_ns: int
    buckets: Sequence[int]


_NOTHING = Result(0, 0, 0, (0,) * BUCKETS)

Key = tuple[ProcessKey | None, int]  # whose, which slot


@dataclass
class Reading:
    """What the probe had at one moment."""

    ts_ns: int
    results: dict[Key, Result] = field(default_factory=dict)
    outcomes: dict[Key, Counter[int]] = field(default_factory=dict)  # errors and UNFINISHED
    under_way: Counter[Key] = field(default_factory=Counter)
    processes: dict[ProcessKey, Process] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)


def account(last: Reading, names: Mapping[int, str], first: Reading, moving: bool = False) -> Account:
    """What was counted from one reading to another. `moving`: the last was not after the end of the trace."""
    keys = sorted({*last.results, *last.outcomes, *last.under_way}, key=_order)
    syscalls = [_syscall(key, last, first, names) for key in keys]
    processes = [_since(now, first.processes.get(key)) for key, now in sorted(last.processes.items())]
    more = {name: value - first.counters.get(name, 0) for name, value in last.counters.items()}
    return Account(
        last.ts_ns - first.ts_ns,
        [call for call in syscalls if call.returned or call.calls],
        [process for process in processes if process.calls or process.user_ns or process.kernel_ns],
        more["early"],
        more["refused"],
        sum(value for name, value in more.items() if name.endswith("_lost"))
        + more["missed"]
        + more["overtaken"],
        {level: more[name] for level in range(4) if more[name := f"level_{level}"]},
        moving,
    )


def _order(key: Key) -> tuple[ProcessKey, int]:
    return key[0] or ProcessKey(0, 0), key[1]


def _syscall(key: Key, last: Reading, first: Reading, names: Mapping[int, str]) -> Syscall:
    process, slot = key
    result, before = last.results.get(key, _NOTHING), first.results.get(key, _NOTHING)
    buckets = [b - a for a, b in zip(before.buckets, result.buckets)]
    outcomes = Counter(last.outcomes.get(key, {}))
    outcomes.subtract(first.outcomes.get(key, {}))
    name = SLOT_NAMES.get(slot) or names.get(slot) or str(slot)
    errors = {} if name == "rt_sigreturn" else outcomes
    low_ns, high_ns = _extremes(buckets, result, interval=before is not _NOTHING)
    return Syscall(
        slot,
        slot if slot < OTHER_SLOT else None,
        name,
        process,
        sum(buckets),
        outcomes[UNFINISHED] + last.under_way[key],
        first.under_way[key],
        {error_name(n): count for n, count in sorted(errors.items()) if count and n != UNFINISHED},
        result.total_ns - before.total_ns,
        low_ns,
        high_ns,
        buckets,
    )


def _extremes(buckets: Sequence[int], result: Result, interval: bool) -> tuple[int | None, int | None]:
    """The shortest and the longest; in an interval as exactly as its buckets tell."""
    used = [bucket for bucket, number in enumerate(buckets) if number]
    if not used:
        return None, None
    if not interval:
        return result.min_ns, result.max_ns
    low_ns, high_ns = bounds_ns(used[0])[0], bounds_ns(used[-1])[1]
    return max(low_ns, result.min_ns), min(high_ns or result.max_ns, result.max_ns)


def _since(now: Process, before: Process | None) -> Process:
    figures: list[Any] = list(now[2:])
    if before is not None:
        figures = [None if a is None or b is None else a - b for a, b in zip(now[2:], before[2:])]
    calls, user_ns, kernel_ns, *times = figures
    return Process(now.key, now.comm, calls, user_ns, kernel_ns, *divided(*times))


def divided(
    runtime_ns: int | None, utime_ns: int | None, stime_ns: int | None
) -> tuple[int | None, int | None, int | None]:
    """Time on a CPU with its two parts, of samples of them, as the kernel's cputime_adjust does it."""
    if runtime_ns is None or utime_ns is None or stime_ns is None:
        return runtime_ns, None, None
    if stime_ns <= 0:
        return runtime_ns, runtime_ns, 0
    system_ns = runtime_ns * stime_ns // (max(utime_ns, 0) + stime_ns)
    return runtime_ns, runtime_ns - system_ns, system_ns


SORTS = ("calls", "total", "errors", "max", "name")


def sort_key(by: str) -> Callable[[Syscall], Any]:
    """For `sorted`: the most first, names from a to z."""
    figures: dict[str, Callable[[Syscall], Any]] = {
        "calls": lambda call: -call.calls,
        "total": lambda call: -call.total_ns,
        "errors": lambda call: -call.errors,
        "max": lambda call: -(call.max_ns or 0),
        "name": lambda call: 0,
    }
    return lambda call: (figures[by](call), call.name)


def settled(counters: Mapping[str, int]) -> bool:
    """Whether the CPU time of all threads that have ended is final."""
    return counters["left"] == counters["freed"]


def tally(traced: Any) -> Mapping[str, Any]:
    return {"duration_ns": traced.duration_ns, "lost": traced.lost}


def count(
    command: Sequence[str] | None = None,
    filters: Filters | None = None,
    duration_s: float | None = None,
    by_process: bool = False,
    during: Callable[[], Any] | None = None,
) -> Account:
    """Counts the system calls of a command and its descendants, or of what `filters` picks, for a while.

    Without a command and a duration it ends with the process that `filters` names, or never. `during` is
    called when counting has begun, which ends when it returns.

    Raises KintroError for whatever stands against it, as the command line tells it.
    """
    from kintro.observers import syscalls_read
    from kintro.sources.syscall_names import syscall_names

    filters, make = picked(command, filters)
    loading = Loading(PROBE, filters, syscalls_read.defines(by_process))
    with Trace(loading, Rows({}), settled if command else None, make, duration_s, during) as trace:
        pid = trace.command.pid if trace.command is not None else None
        first = Reading(syscalls_read.begin(trace.probe, pid))
        for _ in trace.rows():
            pass
        assert trace.account is not None  # the rows have come to their end
        end_ns = first.ts_ns + trace.account.duration_ns
        return account(syscalls_read.read(trace.probe, by_process, end_ns), syscall_names(), first)
