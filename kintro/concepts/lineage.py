"""An experiment with the parent's id: the way up from a daemon, and what a middle process takes with it."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from itertools import pairwise
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import NamedTuple

from kintro.concepts.experiment import Finding, Picture, judged
from kintro.concepts.family import survivor, wait_until, whole_chain
from kintro.concepts.scene import Actor, Play
from kintro.concepts.words import Value
from kintro.observers import ancestry, lifecycle, task
from kintro.observers.tree import Node
from kintro.observers.tree_text import tree
from kintro.sources import host
from kintro.sources.filters import Filters
from kintro.sources.processes import Process, read_snapshot


class Lineage(NamedTuple):
    """A daemon, its ancestors by /proc before and after the end of the process that made it."""

    daemon_pid: int
    middle_pid: int
    before: list[Process]
    after: list[Process]
    record: tuple[int | None, int | None]  # its parent then, by /proc and by the kernel's record
    traced: list[int] | None  # the pids of its ancestors by a trace; None: not traced
    boottime_ns: int


def _daemon(ready: Connection, over: Connection) -> None:
    os.setsid()
    ready.send(os.getpid())
    over.poll(None)  # until its other ends are closed


def _starts_daemon(ready: Connection, over: Connection) -> Play:
    survivor(lambda: _daemon(ready, over), [ready.fileno(), over.fileno()])
    yield os.getpid()


def _starts_middle(ready: Connection, over: Connection) -> Play:
    with Actor(_starts_daemon, ready, over) as middle:
        yield middle.step()
        middle.step()
        middle.wait()
    yield True


def observe_lineage() -> Lineage:
    with ExitStack() as stack:
        told, ready = Pipe(duplex=False)
        over, held = Pipe(duplex=False)
        for end in (told, held):
            stack.callback(end.close)
        first = stack.enter_context(Actor(_starts_middle, ready, over))
        found: list[Lineage] = []

        def act() -> None:
            middle = first.step()
            daemon = told.recv()
            before = whole_chain(daemon)
            first.step()
            wait_until(lambda: whole_chain(daemon)[0].ppid != middle)
            with task.reading() as tasks:
                ppid = {field.name: field for field in tasks.describe(daemon).fields}["ppid"]
            proc, kernel = (one if isinstance(one, int) else None for one in (ppid.proc, ppid.kernel))
            after = whole_chain(daemon)
            now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            found.append(Lineage(daemon, middle, before, after, (proc, kernel), None, now_ns))

        if os.geteuid() != 0 or not host.in_initial_pid_namespace():
            act()
            return found[0]
        with lifecycle.trace(filters=Filters(pid=os.getpid()), during=act) as run:
            known = ancestry.lives(run)
        ahead_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        alive = ancestry.Alive(read_snapshot().processes, ahead_ns)
        way = ancestry.climb(found[0].daemon_pid, alive, known)
        return found[0]._replace(traced=[one.pid for one in way.ancestors] if way else [])


def judge_lineage(seen: Lineage) -> Finding:
    before, after = ([process.pid for process in chain] for chain in (seen.before, seen.after))
    traced = seen.traced
    facts: dict[str, Value] = {
        "daemon_pid": seen.daemon_pid,
        "parent_pid": seen.before[0].ppid,
        "ancestors_before": len(before) - 1,
        "new_parent_pid": seen.record[0],
        "kernel_parent_pid": seen.record[1],
        "ancestors_after": len(after) - 1,
        "traced_ancestors": len(traced) - 1 if traced else None,
    }
    to_root = all(chain[-1].ppid == 0 for chain in (seen.before, seen.after))
    is_daemon = seen.after[0].sid == seen.daemon_pid != seen.before[-1].pid
    rises = all(a.ppid == b.pid for chain in (seen.before, seen.after) for a, b in pairwise(chain))
    kept = seen.record[0] == seen.after[0].ppid and seen.record[1] in (None, seen.record[0])
    made = before[:2] == [seen.daemon_pid, seen.middle_pid]
    lost = seen.middle_pid not in after
    regained = traced is not None and traced[:2] == before[:2]
    holds = to_root and is_daemon and rises and kept and made
    shown = (
        ancestors("ancestors-before", seen.before, seen.boottime_ns),
        ancestors("ancestors", seen.after, seen.boottime_ns),
    )
    return Finding(judged(holds, lost and (traced is None or regained)), facts, shown)


class Chain(NamedTuple):
    """The way up from a process, and the parent of each by the kernel's record."""

    processes: list[Process]
    kernel: list[int | None] | None  # None: it was not read
    boottime_ns: int


def observe_chain(pid: int) -> Chain:
    with task.reading() as tasks:
        for _ in range(3):  # an ancestor may end meanwhile
            processes = whole_chain(pid)
            kernel = []
            for process in processes:
                fields = {field.name: field.kernel for field in tasks.describe(process.pid).fields}
                ppid = fields["ppid"]
                kernel.append(ppid if isinstance(ppid, int) else None)
            if kernel == [process.ppid for process in processes]:
                break
    now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return Chain(processes, None if None in kernel else kernel, now_ns)


def judge_chain(seen: Chain) -> Finding:
    parents = [process.ppid for process in seen.processes]
    facts: dict[str, Value] = {
        "pid": seen.processes[0].pid,
        "parent_pid": parents[0],
        "ancestors": len(parents) - 1,
        "root_pid": seen.processes[-1].pid,
        "same_in_record": _equal(parents, seen.kernel),
    }
    rises = all(ppid == above.pid for ppid, above in zip(parents, seen.processes[1:]))
    holds = rises and parents[-1] == 0 and seen.kernel in (None, parents)
    return Finding(judged(holds, False), facts, (ancestors("ancestors", seen.processes, seen.boottime_ns),))


def _equal(parents: list[int], kernel: list[int | None] | None) -> int | None:
    return None if kernel is None else sum(a == b for a, b in zip(parents, kernel))


def ancestors(caption: str, chain: list[Process], boottime_ns: int) -> Picture:
    """The root first."""
    rows = [Node(depth, True, one, False, False) for depth, one in enumerate(reversed(chain))]
    return Picture(caption, tree(rows, boottime_ns, with_arguments=False))
