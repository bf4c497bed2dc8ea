"""Experiments with the tree of processes: that it is one, and what its root is."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from kintro.concepts.experiment import Experiment, Finding, NotObserved, Picture, judged
from kintro.concepts.family import whole_chain
from kintro.concepts.lineage import ancestors
from kintro.concepts.orphans import judge_handover, observe_handover
from kintro.concepts.words import Value, shown
from kintro.observers import task
from kintro.observers.task_records import Task
from kintro.observers.tree import Node, nodes
from kintro.observers.tree_text import tree
from kintro.renderers.text import printable
from kintro.shapes import Table
from kintro.sources import host
from kintro.sources.processes import Process, Snapshot, read_snapshot

INIT, KTHREADD = 1, 2
_ROWS = 80  # of a picture, at most


class Forest(NamedTuple):
    """All processes of one moment."""

    snapshot: Snapshot
    whole_machine: bool  # not only those of a pid namespace
    boottime_ns: int


def observe_forest() -> Forest:
    snapshot = read_snapshot()
    if snapshot.hidden_parents or snapshot.unreadable:
        raise NotObserved("hidden", hidden=len(snapshot.hidden_parents) + snapshot.unreadable)
    return Forest(snapshot, host.in_initial_pid_namespace(), boottime_ns())


def boottime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def way_up(pid: int, parents: dict[int, int]) -> list[int] | None:
    """A pid, its parent, and so on to the last one above 0; None if that leads in a circle or to nobody."""
    way: list[int] = []
    while pid:
        if pid not in parents or pid in way:
            return None
        way.append(pid)
        pid = parents[pid]
    return way


def judge_forest(seen: Forest) -> Finding:
    parents = {process.pid: process.ppid for process in seen.snapshot.processes.values()}
    ways = [way_up(pid, parents) for pid in parents]
    whole = [way for way in ways if way]
    roots = sorted({way[-1] for way in whole})
    below = {root: sum(way[-1] == root for way in whole) for root in roots}
    facts: dict[str, Value] = {
        "processes": len(parents),
        "reach_a_root": len(whole),
        "roots": len(roots),
        "below_init": below.get(INIT, 0),
        "below_kthreadd": below.get(KTHREADD, 0),
        "deepest": max(map(len, whole), default=0),
    }
    # One who enters a pid namespace from outside has a parent that is not seen there.
    one_tree = INIT in roots and (set(roots) <= {INIT, KTHREADD} or not seen.whole_machine)
    two_branches = set(roots) == {INIT, KTHREADD}
    shown = Picture("tree", tree(_few(nodes(seen.snapshot)), seen.boottime_ns, with_arguments=False))
    return Finding(judged(len(whole) == len(parents) and one_tree, two_branches), facts, (shown,))


def _few(found: list[Node]) -> list[Node]:
    """As many levels as there is room for."""
    deepest = max((node.depth for node in found), default=0)
    while deepest > 1 and sum(node.depth <= deepest for node in found) > _ROWS:
        deepest -= 1
    return [node for node in found if node.depth <= deepest]


class Chain(NamedTuple):
    """A process and its ancestors."""

    processes: list[Process]
    boottime_ns: int


def observe_chain(pid: int) -> Chain:
    return Chain(whole_chain(pid), boottime_ns())


def judge_chain(seen: Chain) -> Finding:
    facts: dict[str, Value] = {
        "pid": seen.processes[0].pid,
        "ancestors": len(seen.processes) - 1,
        "root_pid": seen.processes[-1].pid,
    }
    distinct = len({process.pid for process in seen.processes}) == len(seen.processes)
    rises = all(a.ppid == b.pid for a, b in zip(seen.processes, seen.processes[1:]))
    holds = distinct and rises and seen.processes[-1].ppid == 0
    return Finding(judged(holds, False), facts, (ancestors("ancestors", seen.processes, seen.boottime_ns),))


class Placed(NamedTuple):
    """A task and its parent by the kernel's record."""

    pid: int
    name: str
    parent_pid: int | None
    own_parent: bool | None
    proc_parent_pid: int | None  # None: /proc does not show this task


def placed(found: Task) -> Placed:
    fields = {field.name: field for field in found.fields}
    ppid, own = fields["ppid"], fields["own_parent"].kernel
    kernel, proc = (one if isinstance(one, int) else None for one in (ppid.kernel, ppid.proc))
    return Placed(found.pid, printable(found.comm), kernel, None if own is None else bool(own), proc)


class Root(NamedTuple):
    """The way from a process to the root by the kernel's records, and init and kthreadd."""

    way: list[Placed]
    branches: list[Placed]
    idle_in_proc: bool


def observe_root() -> Root:
    return root_above(os.getpid())


def root_above(pid: int) -> Root:
    with task.reading() as tasks:
        way = [placed(tasks.describe(pid))]
        while way[-1].own_parent is False and way[-1].parent_pid is not None and len(way) < 1000:
            way.append(placed(tasks.describe(way[-1].parent_pid)))
        idle = tasks.describe(0)
        branches = [placed(tasks.describe(pid)) for pid in (INIT, KTHREADD)]
        if way[-1].pid != 0:
            way.append(placed(idle))
    return Root(way, branches, os.path.exists("/proc/0"))


def judge_root(seen: Root) -> Finding:
    idle = seen.way[-1]
    init, kthreadd = seen.branches
    facts: dict[str, Value] = {
        "pid": seen.way[0].pid,
        "steps": len(seen.way) - 1,
        "root_pid": idle.pid,
        "root_name": idle.name,
        "root_parent_pid": idle.parent_pid,
        "own_parent": idle.own_parent,
        "init_parent_pid": init.parent_pid,
        "init_own_parent": init.own_parent,
        "kthreadd_parent_pid": kthreadd.parent_pid,
        "idle_in_proc": seen.idle_in_proc,
    }
    rises = all(a.parent_pid == b.pid for a, b in zip(seen.way, seen.way[1:]))
    holds = rises and (idle.pid, idle.parent_pid, idle.own_parent) == (0, 0, True)
    not_init = init.own_parent is False and init.parent_pid == 0 and not seen.idle_in_proc
    rows = [
        tuple("" if value is None else shown(name, value) for name, value in one._asdict().items())
        for one in dict.fromkeys((*reversed(seen.way), *seen.branches))
    ]
    table = Table(("pid", "name", "parent by the kernel", "its own parent", "parent by /proc"), tuple(rows))
    return Finding(judged(holds, not_init), facts, (Picture("parents", table),))


EXPERIMENTS = (
    Experiment("T1", observe_forest, judge_forest, on=observe_chain, judge_on=judge_chain),
    Experiment("T2", observe_root, judge_root, root=True, on=root_above, on_root=True),
    Experiment("T3", observe_handover, judge_handover, root=True),
)
