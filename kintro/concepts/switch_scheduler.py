"""An experiment with the scheduler: who runs, when, and for how long."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

from kintro.concepts.experiment import Experiment, Finding, NotObserved, Picture, judged
from kintro.concepts.scene import Actor, Play, require_all, require_host_pids
from kintro.concepts.words import Value
from kintro.observers import switches
from kintro.observers.buckets import bounds_ns
from kintro.observers.switches_records import Account, Task
from kintro.renderers.text import duration
from kintro.shapes import Bar, Bars, Table
from kintro.sources.filters import Filters

HOG_S = 0.9
LOOK_S = 0.5  # at a process that was there before
_NAP_S = 0.002


class Ruled(NamedTuple):
    """Three processes that want the same CPU: two always, of different nice, one now and then."""

    nice: int  # of the one that yields to the other, which has 0
    first: Task
    nicer: Task
    sleeper: Task
    duration_ns: int
    complete: bool | None


def _hog(cpu: int, nice: int) -> Play:
    os.sched_setaffinity(0, {cpu})
    os.nice(nice)
    yield None
    until = time.monotonic() + HOG_S
    while time.monotonic() < until:
        sum(range(5000))
    yield None


def _sleeper(cpu: int) -> Play:
    os.sched_setaffinity(0, {cpu})
    yield None
    until = time.monotonic() + HOG_S
    while time.monotonic() < until:
        time.sleep(_NAP_S)
    yield None


def observe_ruled() -> Ruled:
    require_host_pids()
    cpu, nice = random.choice(sorted(os.sched_getaffinity(0))), random.randint(8, 12)
    with ExitStack() as stack:
        plays = ((_hog, cpu, 0), (_hog, cpu, nice), (_sleeper, cpu))
        actors = [stack.enter_context(Actor(play, *arguments)) for play, *arguments in plays]
        for actor in actors:
            actor.step()

        def work() -> None:
            for actor in actors:
                actor.go_on()
            for actor in actors:
                actor.told()

        found = switches.count(filters=Filters(pid=os.getpid()), during=work)
    require_all(found.lost)
    by_tid = {task.name.tid: task for task in found.tasks.values()}
    first, nicer, sleeper = (by_tid[actor.pid] for actor in actors)
    return Ruled(nice, first, nicer, sleeper, found.duration_ns, found.complete)


def judge_ruled(seen: Ruled) -> Finding:
    first, nicer, sleeper = seen.first, seen.nicer, seen.sleeper
    facts: dict[str, Value] = {
        "duration_ns": seen.duration_ns,
        "nice": seen.nice,
        "first_ns": first.on_cpu_ns,
        "nicer_ns": nicer.on_cpu_ns,
        "ratio": first.on_cpu_ns / nicer.on_cpu_ns if nicer.on_cpu_ns else None,
        "first_slice_ns": switches.slice_ns(first, 0.5),
        "first_wait_ns": switches.wait_ns(first, 0.5),
        "nicer_wait_ns": switches.wait_ns(nicer, 0.5),
        "nicer_longest_wait_ns": nicer.wait_max_ns,
        "hogs_involuntary": first.involuntary + nicer.involuntary,
        "hogs_voluntary": first.voluntary + nicer.voluntary,
        "sleeper_involuntary": sleeper.involuntary,
        "sleeper_voluntary": sleeper.voluntary,
        "sleeper_wait_ns": switches.wait_ns(sleeper, 0.5),
    }
    by_nice = first.on_cpu_ns > 2 * nicer.on_cpu_ns > 0
    decides = sum(first.waits) > 0 and sum(nicer.waits) > 0 and sum(sleeper.waits) > 0
    taken = first.involuntary + nicer.involuntary > first.voluntary + nicer.voluntary
    given = sleeper.voluntary > sleeper.involuntary
    named = (("nice 0", first), (f"nice {seen.nice}", nicer), ("sleeper", sleeper))
    waits = [sum(counts) for counts in zip(*(task.waits for _, task in named), strict=True)]
    pictures = (Picture("three-tasks", _table(named)), Picture("waits", histogram(waits)))
    return Finding(judged(by_nice and decides, taken and given), facts, pictures)


def _table(named: Sequence[tuple[str, Task]]) -> Table:
    rows = tuple(
        (
            name,
            duration(task.on_cpu_ns),
            f"{task.switches:,}",
            f"{task.voluntary:,}",
            f"{task.involuntary:,}",
            _told(switches.slice_ns(task, 0.5)),
            _told(switches.wait_ns(task, 0.5)),
            duration(task.wait_max_ns),
        )
        for name, task in named
    )
    return Table(
        ("task", "on CPU", "switches", "voluntary", "involuntary", "turn p50", "wait p50", "wait max"), rows
    )


def _told(ns: int | None) -> str:
    return "?" if ns is None else duration(ns)


def histogram(buckets: Sequence[int]) -> Bars:
    """Waits for a CPU; a bar for each power of two between the shortest and the longest."""
    octaves = [sum(buckets[first : first + 4]) for first in range(0, len(buckets), 4)]
    used = [octave for octave, count in enumerate(octaves) if count]
    bars = []
    for octave in range(used[0], used[-1] + 1) if used else ():
        low, high = bounds_ns(4 * octave)[0], bounds_ns(4 * octave + 3)[1]
        bars.append(Bar(f"{duration(low)} … {duration(high) if high else ''}".rstrip(), octaves[octave]))
    return Bars("waits for a CPU", "waits", False, tuple(bars))


def observe_ruled_of(pid: int) -> Account:
    require_host_pids()
    found = switches.count(filters=Filters(pid=pid), duration_s=LOOK_S)
    require_all(found.lost)
    if not found.switches:
        raise NotObserved("quiet", duration_ns=found.duration_ns)
    return found


def judge_ruled_of(seen: Account) -> Finding:
    tasks = list(seen.tasks.values())
    waits, slices = (switches.summed(found) for found in zip(*((task.waits, task.slices) for task in tasks)))
    longest = max(task.wait_max_ns for task in tasks)
    facts: dict[str, Value] = {
        "duration_ns": seen.duration_ns,
        "tasks": len(tasks),
        "on_cpu_ns": sum(task.on_cpu_ns for task in tasks),
        "runnable_ns": sum(task.runnable_ns for task in tasks),
        "voluntary": seen.voluntary,
        "involuntary": seen.involuntary,
        "waits_counted": sum(waits),
        "turns_counted": sum(slices),
        "longest_wait_ns": longest,
        "lost": seen.lost,
    }
    both = seen.voluntary > 0 and seen.involuntary > 0
    holds = seen.switches > 0 and seen.lost == 0
    return Finding(judged(holds, both), facts, (Picture("waits", histogram(waits)),))


EXPERIMENTS = (
    Experiment("C4", observe_ruled, judge_ruled, True, observe_ruled_of, judge_ruled_of, on_root=True),
)
