"""Processes without a parent or in a circle, another root, and orphans that go elsewhere."""

from __future__ import annotations

from typing import Any

from tests.kernel.doctored.change import first


def with_parent(seen: Any, ppid: int) -> Any:
    """The last process has that parent."""
    processes = dict(seen.snapshot.processes)
    pid, process = processes.popitem()
    processes[pid] = process._replace(ppid=pid if ppid < 0 else ppid)
    return seen._replace(snapshot=seen.snapshot._replace(processes=processes))


def with_root(seen: Any, **fields: Any) -> Any:
    return seen._replace(way=[*seen.way[:-1], seen.way[-1]._replace(**fields)])


DOCTORED = {
    "T1": [
        lambda seen: with_parent(seen, 1 << 30),
        lambda seen: with_parent(seen, 0),
        lambda seen: with_parent(seen, -1),
    ],
    "T2": [
        lambda seen: with_root(seen, own_parent=False),
        lambda seen: with_root(seen, parent_pid=1),
        lambda seen: with_root(seen, pid=1),
        lambda seen: seen._replace(way=first(seen.way, parent_pid=1 << 30)),
    ],
    "T3": [
        lambda seen: seen._replace(plain=seen.plain._replace(new_pid=None, reason=None)),
        lambda seen: seen._replace(plain=seen.plain._replace(told_pid=seen.plain.old_pid)),
        lambda seen: seen._replace(plain=seen.plain._replace(reason="thread")),
        lambda seen: seen._replace(namespace=seen.namespace._replace(new_pid=1)),
        lambda seen: seen._replace(namespace=seen.namespace._replace(reason="subreaper")),
        lambda seen: seen._replace(namespace=seen.namespace._replace(told_pid=2)),
        lambda seen: seen._replace(lost=1),
    ],
}


def with_one_root(seen: Any) -> Any:
    """The kernel's threads are below init, too."""
    processes = dict(seen.snapshot.processes)
    processes[2] = processes[2]._replace(ppid=1)
    return seen._replace(snapshot=seen.snapshot._replace(processes=processes))


PLAIN = {
    "T1": [with_one_root],
    "T2": [
        lambda seen: seen._replace(branches=first(seen.branches, own_parent=True)),
        lambda seen: seen._replace(branches=first(seen.branches, parent_pid=2)),
        lambda seen: seen._replace(idle_in_proc=True),
    ],
    "T3": [
        lambda seen: seen._replace(subreaper=seen.subreaper._replace(reason="init")),
        lambda seen: seen._replace(subreaper=seen.subreaper._replace(new_pid=1)),
        lambda seen: seen._replace(thread=seen.thread._replace(told_pid=1)),
    ],
}
