"""The ids of processes and threads: how many there can be, are, and are left; how long until one comes again.

Processes and threads take their ids from one counter for each pid namespace. An id stays taken as long as
any task has it as its own id, its process group or its session.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import NamedTuple

from kintro.sources import host, pid_numbers
from kintro.sources.pid_numbers import RESERVED, Counter, Moved
from kintro.sources.processes import Process, Snapshot, read_snapshot


class Usage(NamedTuple):
    """Which ids are in use in this pid namespace."""

    processes: int
    threads: int  # first threads too: ids in use by tasks
    kept: int  # of process groups and sessions whose first process has ended
    first: int  # the lowest that is given out from now on
    free: int | None  # that can be given out; None if not all processes can be seen


class Namespace(NamedTuple):
    """A pid namespace below this one. None: only root may know."""

    namespace: int | None  # inode
    parent: int | None  # inode of the one around it
    depth: int  # 1: right below this one
    init_pid: int | None  # pid here of its first process; None if that is not seen
    processes: int  # that have it as their innermost
    threads: int
    pid_max: int | None
    last_pid: int | None


class Report(NamedTuple):
    """Times in ns, of now; None where the counter did not move."""

    ts_ns: int  # CLOCK_MONOTONIC
    pid_namespace: int | None
    pid_max: int | None
    last_pid: int | None
    threads_max: int | None  # tasks of the whole machine (proc_sys_kernel(5))
    usage: Usage
    moved: Moved
    wrap_ns: int | None  # until the counter starts over
    id_lifetime_ns: int | None  # of a whole round: at the earliest then an id comes again
    namespaces: tuple[Namespace, ...]


def report(interval_s: float, told_to_end: Callable[[], bool] = lambda: False) -> Report:
    """What is so now, and the rate over an interval."""
    moved = pid_numbers.measure(interval_s, told_to_end)
    snapshot = read_snapshot()
    counter = moved.counter
    used = usage(snapshot, counter)
    wrap_ns, id_lifetime_ns = lifetimes(moved, used.first)
    return Report(
        ts_ns=snapshot.taken_ns,
        pid_namespace=host.pid_namespace(),
        pid_max=counter.pid_max,
        last_pid=counter.last_pid,
        threads_max=host.read_int("proc/sys/kernel/threads-max"),
        usage=used,
        moved=moved,
        wrap_ns=wrap_ns,
        id_lifetime_ns=id_lifetime_ns,
        namespaces=tuple(namespaces(snapshot.processes.values())),
    )


def usage(snapshot: Snapshot, counter: Counter) -> Usage:
    processes = snapshot.processes.values()
    own: set[int] = set()
    for process in processes:
        own.add(process.pid)
        if process.threads > 1:
            own.update(pid_numbers.read_tids(process.pid))
    groups = {number for process in processes for number in (process.pgid, process.sid)} - {0}
    used = own | groups
    first = RESERVED if (counter.last_pid or 0) >= RESERVED else 1
    pid_max = counter.pid_max
    free = None
    if pid_max is not None and _sees_all(snapshot):
        free = pid_max - first - sum(first <= number < pid_max for number in used)
    return Usage(len(processes), len(own), len(groups - own), first, free)


def _sees_all(snapshot: Snapshot) -> bool:
    return not snapshot.unreadable and (os.geteuid() == 0 or host.hidepid() in (None, "off", "0"))


def lifetimes(moved: Moved, first: int) -> tuple[int | None, int | None]:
    """(until the counter starts over, for a whole round) in ns at the rate that was measured."""
    pid_max, last_pid = moved.counter
    if not moved.moved or pid_max is None or last_pid is None:
        return None, None
    each_ns = moved.duration_ns / moved.moved
    return round((pid_max - 1 - last_pid) * each_ns), round((pid_max - max(first, RESERVED)) * each_ns)


def namespaces(processes: Iterable[Process]) -> list[Namespace]:
    """Those below the reader's that processes are in, outer ones first.

    One that may not be looked into is told by its depth only, together with others of that depth.
    """
    members: dict[tuple[int, int | None], list[Process]] = {}
    for process in processes:
        if len(process.ns_pids) > 1:
            key = len(process.ns_pids) - 1, host.pid_namespace(process.pid)
            members.setdefault(key, []).append(process)
    found = []
    for (depth, number), inside in sorted(members.items(), key=lambda item: (item[0][0], item[0][1] or 0)):
        some = inside[0].pid
        counter = pid_numbers.read_counter_of(some) if number is not None else Counter(None, None)
        found.append(
            Namespace(
                namespace=number,
                parent=pid_numbers.parent_namespace(some),
                depth=depth,
                init_pid=next((p.pid for p in inside if p.ns_pids[-1] == 1), None) if number else None,
                processes=len(inside),
                threads=sum(process.threads for process in inside),
                pid_max=counter.pid_max,
                last_pid=counter.last_pid,
            )
        )
    return found
