"""A process and its ancestors up to the root: those that live, from /proc, those that ended, from a session.

A process is known by its pid and its start time. The kernel tells of the parent a process has now: once that
has ended, it is another (reparenting), and where it came from is known only to whoever watched. A session
of `trace-fork --save` has the parent at the fork, and each change.

Start times: a session has the ns of CLOCK_MONOTONIC, /proc the tick of CLOCK_BOOTTIME (fs/proc/array.c).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from kintro.observers.lifecycle_records import Event, Exec, Exit, Fork, Reparent
from kintro.sources.processes import TICK_NS, Process

Key = tuple[int, int]  # pid, start time in ns of CLOCK_MONOTONIC


class Life(NamedTuple):
    """What a session tells of a process. None: it does not."""

    pid: int
    start_time_ns: int  # CLOCK_MONOTONIC
    ppid: int | None = None  # the parent it had when it was seen first
    seen_ns: int | None = None  # when that was
    fork: Fork | None = None
    comm: bytes | None = None  # the last that was seen
    exec: Exec | None = None  # the last
    exit: Exit | None = None
    reparents: tuple[Reparent, ...] = ()


class Ancestor(NamedTuple):
    """A process of the chain. At least one of `process` and `life` is there."""

    pid: int
    process: Process | None  # it lives
    life: Life | None  # the session tells of it
    by_fork: bool  # the next is its parent at the fork; else the one that it has now
    namespaces: Mapping[str, int | None] | None = None  # if it lives


class Ancestry(NamedTuple):
    ancestors: tuple[Ancestor, ...]  # from the process asked for upwards
    complete: bool  # the last is one that has no parent
    others: int  # of the session, that had the same pid at another time


def lives(events: Iterable[Event]) -> dict[Key, Life]:
    """All processes that a session speaks of."""
    found: dict[Key, Life] = {}

    def known(pid: int, start_time_ns: int) -> Life:
        return found.get((pid, start_time_ns)) or Life(pid, start_time_ns)

    for event in events:
        if (isinstance(event, Fork) and event.kind == "thread") or (
            isinstance(event, Exit) and not event.process
        ):
            continue
        life = known(event.pid, event.start_time_ns)
        if life.ppid is None:
            ppid = event.old_ppid if isinstance(event, Reparent) else event.ppid
            life = life._replace(ppid=ppid, seen_ns=event.ts_ns)
        if isinstance(event, Fork):
            life = life._replace(fork=event, comm=event.comm)
            parent = known(event.ppid, event.parent_start_time_ns)
            if parent.comm is None and event.creator_pid == event.ppid:
                parent = parent._replace(comm=event.comm)
            found[parent.pid, parent.start_time_ns] = parent
        elif isinstance(event, Exec):
            life = life._replace(exec=event, comm=event.comm)
        elif isinstance(event, Exit):
            life = life._replace(exit=event, comm=event.comm)
        else:
            life = life._replace(reparents=(*life.reparents, event), comm=life.comm or event.comm)
        found[life.pid, life.start_time_ns] = life
    return found


def same_start(start_time_ns: int, tick_ns: int, suspended_ns: int) -> bool:
    """Whether the start time of a session and that of /proc can be of one process.

    `suspended_ns`: how far CLOCK_BOOTTIME is ahead now. It was less when the process began, if the machine
    slept since; the kernel reads its two clocks one after the other, hence the tick more.
    """
    return start_time_ns - TICK_NS < tick_ns <= start_time_ns + suspended_ns + TICK_NS


class Alive(NamedTuple):
    """The living processes that may be ancestors."""

    processes: Mapping[int, Process]
    suspended_ns: int

    def of(self, life: Life) -> Process | None:
        """The process that a session tells of: same pid, same start time, and not seen to end."""
        process = self.processes.get(life.pid)
        if process is None or not same_start(life.start_time_ns, process.start_time_ns, self.suspended_ns):
            return None
        return process if life.exit is None or process.is_zombie else None

    def older(self, pid: int, start_time_ns: int) -> Process | None:
        """The process that has this pid, if it began before that time: then it had the pid at that time."""
        process = self.processes.get(pid)
        if process is None or process.start_time_ns > start_time_ns:
            return None
        return process

    def life_of(self, process: Process, found: Mapping[int, Sequence[Life]]) -> Life | None:
        """What a session tells of a living process."""
        return next((life for life in reversed(found.get(process.pid, ())) if self.of(life) is process), None)


def climb(pid: int, alive: Alive, known: Mapping[Key, Life]) -> Ancestry | None:
    """The chain from a process up: by forks where the session has them, else by what /proc says.

    A living process is preferred, else the last in the session that had the pid. None if there is none.
    """
    by_pid: dict[int, list[Life]] = {}
    for key in sorted(known, key=lambda key: key[1]):
        by_pid.setdefault(key[0], []).append(known[key])
    process = alive.processes.get(pid)
    life = alive.life_of(process, by_pid) if process else next(reversed(by_pid.get(pid, ())), None)
    if process is None and life is None:
        return None
    others = len(by_pid.get(pid, ())) - (life is not None)
    chain: list[Ancestor] = []
    complete = False
    climbed: set[Key] = set()  # a session that somebody has forged must not lead in circles
    while process is not None or life is not None:
        fork = life.fork if life is not None else None
        own_pid = process.pid if process is not None else life.pid if life is not None else 0
        chain.append(Ancestor(own_pid, process, life, fork is not None))
        if fork is not None:
            key = fork.ppid, fork.parent_start_time_ns
            life = known[key] if key not in climbed else None
            process = alive.of(life) if life is not None else None
            climbed.add(key)
            complete = fork.ppid == 0
        elif process is not None:
            complete = process.ppid == 0
            process = alive.processes.get(process.ppid)
            life = alive.life_of(process, by_pid) if process else None
        elif life is not None:
            process, life = _seen_parent(life, alive, by_pid)
    return Ancestry(tuple(chain), complete, others)


def _seen_parent(
    life: Life, alive: Alive, by_pid: Mapping[int, Sequence[Life]]
) -> tuple[Process | None, Life | None]:
    """The parent of one that has ended and whose fork was not seen: who had the pid when it was told.

    Only one that began before it can be that: its own start time is not told.
    """
    if life.ppid is None or life.seen_ns is None:
        return None, None
    process = alive.older(life.ppid, life.start_time_ns)
    if process is not None:
        return process, alive.life_of(process, by_pid)
    for other in reversed(by_pid.get(life.ppid, ())):
        if other.start_time_ns < life.start_time_ns and not (other.exit and other.exit.ts_ns < life.seen_ns):
            return None, other
    return None, None
