"""Experiments with the ids of processes: whom they name, and how a process comes to know its own."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import NamedTuple

from kintro.concepts.counting import (
    judge_growth,
    judge_older_above,
    judge_round,
    observe_growth,
    observe_older_above,
    observe_round,
)
from kintro.concepts.experiment import Experiment, Finding, NotObserved, Picture, judged
from kintro.concepts.family import init_of_namespace
from kintro.concepts.lineage import judge_chain, judge_lineage, observe_chain, observe_lineage
from kintro.concepts.scene import Actor, Play
from kintro.concepts.words import Value
from kintro.observers import calls, task
from kintro.renderers.text import duration, printable
from kintro.shapes import Table
from kintro.sources import host
from kintro.sources.filters import Filters
from kintro.sources.processes import Process, Snapshot, read_process, read_snapshot

INIT = 1
CALLS = "getpid,getppid"
_WATCH_S = 0.5
_TRIES = 3


class Ids(NamedTuple):
    """Every id of a task at one moment, and a process that is the first of another pid namespace."""

    processes: int
    ids: int  # of all threads, counted for each process
    different: int
    init: Process | None
    first_start_ns: int  # of all processes
    inside: Process | None  # None: not permitted


def _ids_of(snapshot: Snapshot) -> list[int]:
    return [
        tid for p in snapshot.processes.values() for tid in (p.pid, *(thread.tid for thread in p.thread_list))
    ]


def _is_asked() -> Play:
    while True:
        yield os.getpid(), os.getppid()


def observe_ids() -> Ids:
    with Actor(init_of_namespace, _is_asked) as outer:
        inside_pid = outer.step()
        snapshot = read_snapshot(threads=True)
        for _ in range(_TRIES):  # an id may go to another task while they are read
            ids = _ids_of(snapshot)
            if len(set(ids)) == len(ids):
                break
            snapshot = read_snapshot(threads=True)
    if INIT not in snapshot.processes:
        raise NotObserved("hidden", hidden=1)
    inside = snapshot.processes.get(inside_pid) if inside_pid is not None else None
    return Ids(
        len(snapshot.processes),
        len(ids),
        len(set(ids)),
        snapshot.processes[INIT],
        min(process.start_time_ns for process in snapshot.processes.values()),
        inside,
    )


def judge_ids(seen: Ids) -> Finding:
    init = seen.init
    facts: dict[str, Value] = {
        "processes": seen.processes,
        "ids": seen.ids,
        "different": seen.different,
        "first_pid": init.pid if init else None,
        "first_name": printable(init.comm) if init else None,
        "first_start_ns": init.start_time_ns if init else None,
        "earliest_start_ns": seen.first_start_ns,
        "outer_pid": seen.inside.ns_pids[0] if seen.inside else None,
        "inner_pid": seen.inside.ns_pids[-1] if seen.inside else None,
    }
    unique = seen.processes > 1 and seen.ids == seen.different
    is_first = init is not None and init.pid == INIT and init.start_time_ns == seen.first_start_ns
    # Two processes have the id 1: each in a namespace of its own.
    own = seen.inside.ns_pids if seen.inside else ()
    again = len(own) > 1 and own[-1] == INIT != own[0]
    shown = [one for one in (init, seen.inside) if one is not None]
    return Finding(
        judged(unique and is_first, again), facts, (Picture("ids-by-namespace", _by_level(shown)),)
    )


def _by_level(processes: list[Process]) -> Table:
    """The ids of each, from out here inwards."""
    levels = max((len(one.ns_pids) for one in processes), default=1)
    rows = tuple(
        (
            printable(one.comm),
            duration(one.start_time_ns),
            *(str(number) for number in one.ns_pids),
            *[""] * (levels - len(one.ns_pids)),
        )
        for one in processes
    )
    inner = [f"{level} namespace{'s' if level > 1 else ''} further in" for level in range(1, levels)]
    return Table(("name", "started after boot", "pid", *inner), rows)


class Named(NamedTuple):
    """A process, and how many tasks have the id that it has here."""

    process: Process
    having_it: int


def observe_named(pid: int) -> Named:
    snapshot = read_snapshot(threads=True)
    if pid not in snapshot.processes:
        raise NotObserved("ended", pid=pid)
    return Named(snapshot.processes[pid], _ids_of(snapshot).count(pid))


def judge_named(seen: Named) -> Finding:
    ids = seen.process.ns_pids
    facts: dict[str, Value] = {
        "pid": ids[0],
        "having_it": seen.having_it,
        "namespaces": len(ids),
        "inner_pid": ids[-1],
    }
    shown = Picture("ids-by-namespace", _by_level([seen.process]))
    return Finding(judged(seen.having_it == 1, len(ids) > 1), facts, (shown,))


class Asked(NamedTuple):
    """A process that asks who it is. None of the kernel's: not traced."""

    pid: int  # as out here it is known
    parent_pid: int
    told: tuple[int, int]  # what the program was told: its own pid, its parent's
    returned: dict[str, int | None] | None  # by call: what the kernel's exit from it said


class SelfKnowledge(NamedTuple):
    here: Asked
    inside: Asked | None  # the first process of a pid namespace; None: not permitted


def observe_self() -> SelfKnowledge:
    with ExitStack() as stack:
        here = stack.enter_context(Actor(_is_asked))
        outer = stack.enter_context(Actor(init_of_namespace, _is_asked))
        inside_pid = outer.step()
        told: list[tuple[int, int]] = []

        def ask() -> None:
            told.append(here.step())
            if inside_pid is not None:
                told.append(outer.step())

        returned: dict[int, dict[str, int | None]] | None = None
        if os.geteuid() == 0 and host.in_initial_pid_namespace():
            returned = {}
            filters = Filters(pid=os.getpid())
            with calls.trace(filters=filters, expression=CALLS, during=ask) as run:
                for seen in run:
                    returned.setdefault(seen.call.pid, {})[seen.name] = seen.call.returned
        else:
            ask()

        def asked(pid: int, said: tuple[int, int]) -> Asked:
            process = read_process(pid)
            if process is None:
                raise NotObserved("ended", pid=pid)
            return Asked(pid, process.ppid, said, None if returned is None else returned.get(pid, {}))

        inside = asked(inside_pid, told[1]) if inside_pid is not None else None
        return SelfKnowledge(asked(here.pid, told[0]), inside)


def _by_kernel(asked: Asked) -> tuple[int | None, int | None]:
    return (asked.returned or {}).get("getpid"), (asked.returned or {}).get("getppid")


def judge_self(seen: SelfKnowledge) -> Finding:
    here, inside = seen.here, seen.inside
    kernel = _by_kernel(here)
    facts: dict[str, Value] = {
        "pid": here.pid,
        "told_pid": here.told[0],
        "returned_pid": kernel[0],
        "parent_pid": here.parent_pid,
        "told_parent_pid": here.told[1],
        "returned_parent_pid": kernel[1],
        "outer_pid": inside.pid if inside else None,
        "inner_told_pid": inside.told[0] if inside else None,
        "inner_returned_pid": _by_kernel(inside)[0] if inside else None,
    }
    answers = [here, *([inside] if inside else [])]
    as_traced = all(one.returned is None or _by_kernel(one) == one.told for one in answers)
    as_known = here.told == (here.pid, here.parent_pid)
    otherwise = inside is not None and inside.told[0] == INIT != inside.pid
    rows = []
    for one in answers:
        numbers = one.pid, one.parent_pid, *one.told, *_by_kernel(one)
        rows.append(tuple("" if number is None else str(number) for number in numbers))
    columns = ("pid", "parent", "told of itself", "told of its parent", "getpid returned", "getppid returned")
    shown = Picture("answers", Table(columns, tuple(rows)))
    return Finding(judged(as_traced and as_known, otherwise), facts, (shown,))


class Answers(NamedTuple):
    """What a running process is told when it asks, by the kernel's record and by calls that it made."""

    pid: int
    ns_pids: tuple[int, ...]  # by /proc
    kernel_ns_pids: tuple[int, ...] | None  # None: not read
    returned: list[int] | None  # of its calls of getpid in a while


def observe_answers(pid: int) -> Answers:
    with task.reading() as tasks:
        told = {field.name: field for field in tasks.describe(pid).fields}["ns_pids"]
    returned = None
    if os.geteuid() == 0 and host.in_initial_pid_namespace():
        filters = Filters(pid=pid, follow=False)
        with calls.trace(filters=filters, duration_s=_WATCH_S, expression="getpid") as run:
            returned = [seen.call.ret for seen in run if seen.call.pid == pid]
    if not isinstance(told.proc, tuple):
        raise NotObserved("ended", pid=pid)
    kernel = told.kernel if isinstance(told.kernel, tuple) else None
    return Answers(pid, told.proc, kernel, returned)


def judge_answers(seen: Answers) -> Finding:
    own = seen.ns_pids[-1]
    facts: dict[str, Value] = {
        "pid": seen.pid,
        "own_pid": own,
        "kernel_own_pid": seen.kernel_ns_pids[-1] if seen.kernel_ns_pids else None,
        "asked": len(seen.returned) if seen.returned is not None else None,
    }
    agree = seen.kernel_ns_pids in (None, seen.ns_pids) and set(seen.returned or ()) <= {own}
    return Finding(judged(agree, own != seen.pid), facts)


EXPERIMENTS = (
    Experiment("I1", observe_ids, judge_ids, on=observe_named, judge_on=judge_named),
    Experiment("I2", observe_growth, judge_growth),
    Experiment(
        "I3", observe_round, judge_round, root=True, on=observe_older_above, judge_on=judge_older_above
    ),
    Experiment("I4", observe_lineage, judge_lineage, on=observe_chain, judge_on=judge_chain),
    Experiment("I5", observe_self, judge_self, on=observe_answers, judge_on=judge_answers),
)
