"""The tree of processes: who is below whom, which are the kernel's, where pid namespaces begin.

Records: sources/processes.py. What it shows is one moment; who was whose child before: ancestry.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kintro.sources.ancestors import missing
from kintro.sources.processes import Process, Snapshot, read_snapshot

__all__ = ["Node", "Totals", "nodes", "read_snapshot", "totals"]


class Node(NamedTuple):
    """A process at its place in the tree."""

    depth: int
    last: bool  # the last among its siblings
    process: Process
    enters_pid_namespace: bool  # its innermost pid namespace is not its parent's
    hidden_parent: bool  # /proc does not show its parent to this user


class Totals(NamedTuple):
    """Of the processes that are shown, unless said otherwise."""

    processes: int
    threads: int  # of all of them, the first of each too
    zombies: int
    pid_namespaces: int  # that processes shown entered: below those of their parents
    kernel_threads_left_out: int
    vanished: int  # of all, see Snapshot
    unreadable: int


def nodes(snapshot: Snapshot, pid: int | None = None, kernel: bool = False) -> list[Node]:
    """Processes in depth-first order, siblings by pid: all, or one with those below it.

    `kernel`: also kernel threads, which are left out otherwise, unless it is one of them that is asked for.
    KintroError (66) if there is no process of that pid.
    """
    processes = snapshot.processes
    if pid is not None and pid not in processes:
        raise missing(pid)
    shown = {
        process.pid: process
        for process in processes.values()
        if kernel or pid is not None or not process.is_kernel_thread
    }
    children: dict[int, list[Process]] = {}
    roots = []
    for process in shown.values():
        if process.ppid in shown:
            children.setdefault(process.ppid, []).append(process)
        else:
            roots.append(process)
    return list(_depth_first(snapshot, children, roots if pid is None else [processes[pid]]))


def _depth_first(
    snapshot: Snapshot, children: dict[int, list[Process]], roots: list[Process]
) -> Iterator[Node]:
    """No recursion: a chain of processes may be long."""
    stack = [(0, number == 0, process) for number, process in enumerate(reversed(roots))]
    while stack:
        depth, last, process = stack.pop()
        yield Node(depth, last, process, _enters(snapshot, process), process.pid in snapshot.hidden_parents)
        below = reversed(children.get(process.pid, ()))
        stack += [(depth + 1, number == 0, child) for number, child in enumerate(below)]


def _enters(snapshot: Snapshot, process: Process) -> bool:
    """A child's pid namespace is its parent's or one below that (pid_namespaces(7)): the depths tell."""
    parent = snapshot.processes.get(process.ppid)
    return len(process.ns_pids) > (len(parent.ns_pids) if parent is not None else 1)


def totals(snapshot: Snapshot, found: list[Node]) -> Totals:
    processes = [node.process for node in found]
    in_kernel = sum(process.is_kernel_thread for process in snapshot.processes.values())
    return Totals(
        processes=len(processes),
        threads=sum(process.threads for process in processes),
        zombies=sum(process.is_zombie for process in processes),
        pid_namespaces=sum(node.enters_pid_namespace for node in found),
        kernel_threads_left_out=in_kernel - sum(process.is_kernel_thread for process in processes),
        vanished=snapshot.vanished,
        unreadable=snapshot.unreadable,
    )
