"""Experiments with system calls: what enters the kernel, what that costs, in which mode the CPU is."""

from __future__ import annotations

import mmap
import os
import platform
import random
import resource
import time
from collections import Counter
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

from kintro.concepts import syscall_cost
from kintro.concepts.experiment import Experiment, Finding, NotObserved, Picture, judged
from kintro.concepts.scene import Actor, Play, require_all, require_host_pids
from kintro.concepts.words import Value
from kintro.observers import calls, syscalls
from kintro.observers.calls import Seen
from kintro.observers.calls_spans import spans
from kintro.observers.syscalls_records import Account
from kintro.shapes import Bar, Bars, Table, Timeline
from kintro.sources.filters import Filters

LOOK_S = 0.5  # at a process that was there before
_FORKS = ("fork", "vfork", "clone", "clone3")
_USER_LEVEL = {"x86_64": 3, "aarch64": 0}  # ring 3; EL0


class Entered(NamedTuple):
    """Calls that a process made, and what the kernel saw of them, by name."""

    made: dict[str, int]
    entered: dict[str, int]
    returned: dict[str, int]
    clock_asked: int  # how often it asked for the time
    clock_entered: int
    pages: int  # fresh ones that it wrote to, without any call
    faults: int
    page_calls: int  # system calls meanwhile
    complete: bool  # nothing was lost, and as many calls were told as had begun


def _act(data: mmap.mmap, files: tuple[int, int], made: dict[str, int], clock_asked: int) -> Play:
    into, out = files
    for _ in range(made["write"]):
        os.write(into, b".")
    for _ in range(made["read"]):
        os.read(out, 1)
    for _ in range(made["fork"]):
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    for _ in range(clock_asked):
        time.clock_gettime_ns(time.CLOCK_REALTIME)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for page in range(0, len(data), mmap.PAGESIZE):
        data[page] = 1
    yield resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def observe_entered() -> Entered:
    require_host_pids()
    pages, clock_asked = random.randint(100, 400), random.randint(500, 1500)
    made = {name: random.randint(20, 90) for name in ("write", "read")} | {"fork": random.randint(2, 5)}
    data = mmap.mmap(-1, pages * mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    data.madvise(mmap.MADV_NOHUGEPAGE)  # page by page
    files = os.open("/dev/null", os.O_WRONLY), os.open("/dev/zero", os.O_RDONLY)
    faults: list[int] = []
    with Actor(_act, data, files, made, clock_asked) as actor:
        filters = Filters(pid=actor.pid)
        with calls.trace(filters=filters, during=lambda: faults.append(actor.step())) as run:
            own = [seen for seen in run if seen.call.pid == actor.pid]
            complete = run.summary.complete
            require_all(run.summary.lost, complete)
    asked_ns = [seen.call.ts_ns for seen in own if seen.name == "getrusage"]  # before and after the pages
    into, out = files
    picked: dict[str, list[Seen]] = {
        "write": [seen for seen in own if seen.name == "write" and seen.call.arg0 == into],
        "read": [seen for seen in own if seen.name == "read" and seen.call.arg0 == out],
        "fork": [seen for seen in own if seen.name in _FORKS],
    }
    return Entered(
        made,
        {name: len(found) for name, found in picked.items()},
        {name: sum(seen.call.duration_ns is not None for seen in found) for name, found in picked.items()},
        clock_asked,
        sum(seen.name in ("clock_gettime", "gettimeofday", "time") for seen in own),
        pages,
        faults[0],
        sum(min(asked_ns) < seen.call.ts_ns < max(asked_ns) for seen in own),
        complete,
    )


def judge_entered(seen: Entered) -> Finding:
    facts: dict[str, Value] = {
        **{f"{name}s_made": number for name, number in seen.made.items()},
        **{f"{name}s_entered": number for name, number in seen.entered.items()},
        **{f"{name}s_returned": number for name, number in seen.returned.items()},
        "clock_asked": seen.clock_asked,
        "clock_entered": seen.clock_entered,
        "pages": seen.pages,
        "faults": seen.faults,
        "page_calls": seen.page_calls,
        "complete": seen.complete,
    }
    rows = tuple(
        (name, *(f"{part[name]:,}" for part in (seen.made, seen.entered, seen.returned)))
        for name in seen.made
    )
    clock = (f"{number:,}" for number in (seen.clock_asked, seen.clock_entered, seen.clock_entered))
    rows += (("clock_gettime", *clock),)
    table = Table(("call", "calls made", "entries", "exits"), rows)
    holds = seen.complete and seen.made == seen.entered == seen.returned
    # Calls that stay outside, and without a call the processor's own exception, which leads inside too.
    outside = seen.clock_entered < seen.clock_asked
    by_fault = seen.faults >= seen.pages > seen.page_calls
    return Finding(judged(holds, outside and by_fault), facts, (Picture("calls-made", table),))


def observe_calls_of(pid: int) -> Account:
    require_host_pids()
    found = syscalls.count(filters=Filters(pid=pid), duration_s=LOOK_S)
    require_all(found.lost, found.complete)
    if not found.calls:
        raise NotObserved("quiet", duration_ns=found.duration_ns)
    return found


def _bars(found: Account) -> Bars:
    by = syscalls.sort_key("calls")
    bars = (Bar(call.name, call.calls) for call in sorted(found.syscalls, key=by)[:20])
    return Bars("system calls", "calls", False, tuple(bars))


def judge_calls_of(seen: Account) -> Finding:
    facts: dict[str, Value] = {
        "duration_ns": seen.duration_ns,
        "calls": seen.calls,
        "entries": seen.entries,
        "unfinished": seen.unfinished,
        "kinds": len(seen.syscalls),
        "lost": seen.lost,
        "complete": seen.complete,
    }
    return Finding(judged(seen.complete is True, False), facts, (Picture("calls-seen", _bars(seen)),))


class Part(NamedTuple):
    """A while in the life of a process, as the kernel counts it."""

    utime_ns: int | None
    stime_ns: int | None
    calls: int
    inside_ns: int  # from the entries of its calls of readv to their exits
    levels: dict[int, int]  # threads by the privilege level that their first entry saved
    complete: bool | None


class Modes(NamedTuple):
    """A process that computes, then has the kernel work, then both in turn."""

    computing: Part
    calling: Part
    user_level: int  # the one that this architecture has for user mode
    spans: list[tuple[int, int]]  # of calls: entry, exit; in order
    timeline: Timeline


_WORK_S = 0.12
_TURNS = 25


def _work() -> Play:
    zeros = os.open("/dev/zero", os.O_RDONLY)
    until = time.process_time() + _WORK_S
    while time.process_time() < until:
        sum(range(100_000))
    yield None
    buffer = bytearray(1 << 20)
    until = time.process_time() + _WORK_S
    while time.process_time() < until:
        os.readv(zeros, [buffer] * 8)
    yield None
    for _ in range(_TURNS):
        sum(range(2000))
        os.readv(zeros, [buffer])
    yield None


def _part(pid: int, step: Callable[[], Any]) -> Part:
    found = syscalls.count(filters=Filters(pid=pid, follow=False), during=step)
    require_all(found.lost, found.complete)
    process = next(process for process in found.processes if process.key.pid == pid)
    inside_ns = sum(call.total_ns for call in found.syscalls if call.name == "readv")
    return Part(
        process.utime_ns, process.stime_ns, found.calls, inside_ns, dict(found.levels), found.complete
    )


def observe_modes() -> Modes:
    require_host_pids()
    if platform.machine() not in _USER_LEVEL:
        raise NotObserved("no-levels", machine=platform.machine())
    with Actor(_work) as actor:
        parts = [_part(actor.pid, actor.step) for _ in range(2)]
        with calls.trace(filters=Filters(pid=actor.pid), during=actor.step) as run:
            seen = [one for one in run if one.call.duration_ns is not None and one.name == "readv"]
    return Modes(
        parts[0],
        parts[1],
        _USER_LEVEL[platform.machine()],
        [(one.call.ts_ns, one.call.ended_ns) for one in seen],
        spans(seen),
    )


def judge_modes(seen: Modes) -> Finding:
    taken = [end - begin for begin, end in seen.spans]
    between = [later[0] - earlier[1] for earlier, later in zip(seen.spans, seen.spans[1:])]
    levels: Counter[int] = Counter()
    for part in (seen.computing, seen.calling):
        levels.update(part.levels)
    facts: dict[str, Value] = {
        "entry_level": min(levels, default=None),
        "user_level": seen.user_level,
        "computing_user_ns": seen.computing.utime_ns,
        "computing_system_ns": seen.computing.stime_ns,
        "calling_user_ns": seen.calling.utime_ns,
        "calling_system_ns": seen.calling.stime_ns,
        "calls": seen.calling.calls,
        "calling_inside_ns": seen.calling.inside_ns,
        "spans": len(seen.spans),
        "in_kernel_ns": median(taken) if taken else None,
        "outside_ns": median(between) if between else None,
        "complete": seen.computing.complete is True and seen.calling.complete is True,
    }
    from_user = bool(levels) and set(levels) == {seen.user_level}
    in_turn = len(seen.spans) == _TURNS and min(taken, default=0) > 0 and min(between, default=0) > 0
    split = _more(seen.computing.utime_ns, seen.computing.stime_ns) and _more(
        seen.calling.stime_ns, seen.calling.utime_ns
    )
    picture = Picture("two-modes", seen.timeline)
    return Finding(
        judged(from_user and in_turn and split and facts["complete"] is True, False), facts, (picture,)
    )


def _more(one_ns: int | None, other_ns: int | None) -> bool:
    return one_ns is not None and other_ns is not None and one_ns > other_ns


def judge_modes_of(seen: Account) -> Finding:
    levels = set(seen.levels)
    user_level = _USER_LEVEL.get(platform.machine())
    if user_level is None:
        return Finding("not-observed", {"machine": platform.machine()}, (), "no-levels")
    facts: dict[str, Value] = {
        "duration_ns": seen.duration_ns,
        "calls": seen.calls,
        "entry_level": min(levels, default=None),
        "user_level": user_level,
        "outside_ns": sum(process.user_ns for process in seen.processes),
        "in_kernel_ns": sum(process.kernel_ns for process in seen.processes),
    }
    return Finding(judged(levels == {user_level}, False), facts, (Picture("calls-seen", _bars(seen)),))


EXPERIMENTS = (
    Experiment("S1", observe_entered, judge_entered, True, observe_calls_of, judge_calls_of, on_root=True),
    *syscall_cost.EXPERIMENTS,
    Experiment("S3", observe_modes, judge_modes, True, observe_calls_of, judge_modes_of, on_root=True),
)
