"""Experiments with how ids are given out: ever higher, and from the beginning when the highest is reached."""

from __future__ import annotations

import os
import random
import threading
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from kintro.concepts.experiment import Finding, NotObserved, Picture, judged
from kintro.concepts.family import existing, init_of_namespace
from kintro.concepts.scene import Actor, Play, require_all, require_host_pids
from kintro.concepts.words import Value
from kintro.observers import lifecycle
from kintro.observers.lifecycle_records import Fork
from kintro.observers.pids_watch import Allocation, Given, Wrap
from kintro.shapes import Table
from kintro.sources import host
from kintro.sources.btf import kernel_btf
from kintro.sources.filters import Filters
from kintro.sources.members import place
from kintro.sources.pid_numbers import RESERVED, read_counter
from kintro.sources.processes import TICK_NS, read_snapshot

FIRST = 2  # after init
_TRIES = 5
_SHOWN = 20  # ids before and after a new round, in a picture
_KERNEL = Path("/proc/sys/kernel")


class Made(NamedTuple):
    """A task that was made; tasks are in the order of time."""

    kind: str  # process or thread
    id: int


class Growth(NamedTuple):
    made: list[Made]
    given: list[int] | None  # all ids that the kernel gave out meanwhile; None: not traced, or not wholly


def _makes(processes: int, threads: int) -> Play:
    made = []
    for kind in random.sample(["process", "thread"], processes + threads, counts=[processes, threads]):
        if kind == "thread":
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()
            made.append(Made(kind, thread.native_id or 0))
        else:
            made.append(Made(kind, _short()))
    yield made


def _short() -> int:
    """The pid of a child that has ended."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def observe_growth() -> Growth:
    for _ in range(_TRIES):
        seen = _growth()
        if all(a.id < b.id for a, b in pairwise(seen.made)):
            break
        # The counter may have started over, which is another claim.
    return seen


def _growth() -> Growth:
    made: list[Made] = []
    with Actor(_makes, random.randint(15, 30), random.randint(5, 10)) as actor:

        def make() -> None:
            made.extend(actor.step())

        if os.geteuid() != 0 or not host.in_initial_pid_namespace():
            make()
            return Growth(made, None)
        with lifecycle.trace(threads=True, during=make) as run:
            given = [event.tid for event in run if isinstance(event, Fork)]
            return Growth(made, None if run.summary.lost else given)


def judge_growth(seen: Growth) -> Finding:
    ids = [one.id for one in seen.made]
    steps = [b - a for a, b in pairwise(ids)]
    others = None
    if seen.given is not None:
        others = len({number for number in seen.given if ids[0] < number < ids[-1]} - set(ids))
    threads = sum(one.kind == "thread" for one in seen.made)
    facts: dict[str, Value] = {
        "made": len(ids),
        "threads": threads,
        "first_tid": ids[0],
        "last_tid": ids[-1],
        "greater": sum(step > 0 for step in steps),
        "skipped": sum(max(0, step - 1) for step in steps),
        "given_to_others": others,
    }
    grows = len(steps) > 1 and all(step > 0 for step in steps)
    traced = seen.given is None or set(ids) <= set(seen.given)
    rows = [(one.kind, str(one.id), f"+{step}") for one, step in zip(seen.made[1:], steps)]
    table = Table(("made", "id", "from the one before"), tuple(rows))
    return Finding(judged(grows and traced, threads > 0), facts, (Picture("ids-in-turn", table),))


class Round(NamedTuple):
    """Ids given out in a pid namespace beyond its highest."""

    pid_max: int
    kept: list[int]  # of processes that live all the time
    told: list[int]  # what fork returned, one after the other
    given: list[int]  # the same by the kernel's events
    wraps: list[tuple[int, int]]  # the last before and the first after, by the kernel's events
    lost: int | None


def _fills(pid_max: int, kept: int) -> Play:
    """In a pid namespace of its own: pid_max is for that alone."""
    (_KERNEL / "pid_max").write_text(str(pid_max))
    with suppress(OSError):  # sooner than by so many forks, where the kernel lets us
        (_KERNEL / "ns_last_pid").write_text(str(RESERVED - 1))
    held = random.sample(range(1, 20), kept)
    yield True
    told: list[int] = []
    living: list[int] = []
    while len(told) < 20 or told[-1] < RESERVED:
        if len(living) < kept and told and told[-1] >= RESERVED and len(told) in held:
            living.append(_waits())
            told.append(living[-1])
        else:
            told.append(_short())
    while len(living) < kept:
        living.append(_waits())
        told.append(living[-1])
    before = told[-1]
    while told[-1] >= before or len(told) < pid_max - RESERVED + 30:
        told.append(_short())
    for _ in range(20):
        told.append(_short())
    yield told, living


def _waits() -> int:
    """The pid of a child that ends with its namespace."""
    pid = os.fork()
    if pid == 0:
        threading.Event().wait()
    return pid


def observe_round() -> Round:
    require_host_pids()
    if place(kernel_btf(), "pid_namespace", "pid_max") is None:
        raise NotObserved("one-pid-max")
    pid_max, kept = random.randint(340, 370), random.randint(2, 5)
    with Actor(init_of_namespace, _fills, pid_max, kept) as outer:
        init = existing(outer.step())
        if outer.step() is None:
            raise NotObserved("no-setting")
        inside: list[tuple[list[int], list[int]]] = []
        filters = Filters(pid_namespace=host.pid_namespace(init))
        with lifecycle.trace(filters=filters, during=lambda: inside.append(outer.step())) as run:
            ids = Allocation(None, lambda fork: fork.ns_pid, lambda: pid_max, None)
            events = list(ids.events(run))
            lost = run.summary.lost
    require_all(lost)
    told, living = inside[0]
    given = [event.id for event in events if isinstance(event, Given)]
    wraps = [(event.after, event.id) for event in events if isinstance(event, Wrap)]
    return Round(pid_max, living, told, given, wraps, lost)


def expected(pid_max: int, kept: list[int], told: list[int], begin: int) -> list[int]:
    """The ids that come, from the first on, if each is the next free one, from `begin` after the last."""
    found, living = told[:1], set[int]()
    for _ in told[1:]:
        if found[-1] in kept:
            living.add(found[-1])
        following = found[-1] + 1
        while following in living or following >= pid_max:
            following = begin if following >= pid_max else following + 1
        found.append(following)
    return found


def judge_round(seen: Round) -> Finding:
    turns = [(a, b) for a, b in pairwise(seen.told) if b < a]
    first_round = seen.told[: seen.told.index(turns[0][0]) + 1] if turns else seen.told
    after = seen.told[len(first_round) :]
    facts: dict[str, Value] = {
        "pid_max": seen.pid_max,
        "made": len(seen.told),
        "wraps": len(turns),
        "last_pid": turns[0][0] if turns else None,
        "next_pid": turns[0][1] if turns else None,
        "kept": len(seen.kept),
        "again": len(set(after) & set(first_round)),
        "kept_again": len(set(after) & set(seen.kept)),
        "lost": seen.lost,
    }
    over = len(turns) > 0 and facts["again"] != 0 and facts["kept_again"] == 0
    agree = seen.given == seen.told and seen.wraps == turns and seen.lost == 0
    from_start, later = (
        seen.told == expected(seen.pid_max, seen.kept, seen.told, begin) for begin in (FIRST, RESERVED)
    )
    turn = len(first_round)
    rows = [
        (str(number), "in use all the time" if number in seen.kept else "")
        for number in seen.told[max(0, turn - _SHOWN) : turn + _SHOWN]
    ]
    table = Table(("id", "note"), tuple(rows))
    in_turn = from_start or later
    return Finding(judged(over and agree and in_turn, later), facts, (Picture("a-round", table),))


class OlderAbove(NamedTuple):
    """Processes that began after one, and have lower ids."""

    pid: int
    below: list[int]
    pid_max: int | None
    last_pid: int | None


def observe_older_above(pid: int) -> OlderAbove:
    processes = read_snapshot().processes
    if pid not in processes:
        raise NotObserved("ended", pid=pid)
    since_ns = processes[pid].start_time_ns + 2 * TICK_NS  # an id is taken a moment before that
    below = [p.pid for p in processes.values() if p.pid < pid and p.start_time_ns > since_ns]
    counter = read_counter()
    if not below:
        raise NotObserved("no-wrap", pid=pid, pid_max=counter.pid_max, last_pid=counter.last_pid)
    return OlderAbove(pid, below, counter.pid_max, counter.last_pid)


def judge_older_above(seen: OlderAbove) -> Finding:
    facts: dict[str, Value] = {
        "pid": seen.pid,
        "younger_below": len(seen.below),
        "lowest_pid": min(seen.below),
        "pid_max": seen.pid_max,
        "last_pid": seen.last_pid,
    }
    return Finding(judged(seen.pid > min(seen.below), min(seen.below) >= RESERVED), facts)
