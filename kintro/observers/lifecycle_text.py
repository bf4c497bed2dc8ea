"""Events of process life as lines for people, and as the tree of all that lived."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kintro.observers.lifecycle import Summary
from kintro.observers.lifecycle_records import Event, Exec, Exit, Fork, Reparent
from kintro.renderers.text import command_line, duration, printable
from kintro.shapes import Cell, Column, Tree, TreeRow

COLUMNS = (
    Column("TIME(s)", 11, right=True),
    Column("EVENT", 8),
    Column("PID", 7, right=True),
    Column("PPID", 7, right=True),
    Column("COMM", 15),
    Column("WHAT", None),
)

Key = tuple[int, int]  # pid, start time


def row(event: Event, begin_ns: int) -> tuple[Cell, ...]:
    """An event as the cells of COLUMNS; the time counts from `begin_ns`."""
    ppid, what, meaning = _told(event)
    return (
        Cell(f"{(event.ts_ns - begin_ns) / 1e9:.6f}", "faint"),
        Cell(type(event).__name__.lower(), meaning),
        Cell(str(event.pid)),
        Cell("?" if ppid is None else str(ppid)),
        Cell(printable(event.comm)),
        Cell(what),
    )


def _told(event: Event) -> tuple[int | None, str, str]:
    """The ppid to show, the text and its meaning."""
    if isinstance(event, Fork):
        notes = [f"thread {event.tid}" if event.kind == "thread" else event.kind]
        if event.creator_pid != event.ppid and event.kind != "thread":
            notes.append(f"created by {event.creator_pid}")
        if event.ns_pid != event.tid:
            notes.append(f"pid {event.ns_pid} in its namespace")
        return event.ppid, ", ".join(notes), "new"
    if isinstance(event, Exec):
        return event.ppid, _program(event), "good"
    if isinstance(event, Exit):
        who = "" if event.process else f"thread {event.tid} "
        return event.ppid, f"{who}{end_of(event)} after {duration(event.lifetime_ns)}", _exit_meaning(event)
    if event.new_ppid is None:
        return None, f"from {event.old_ppid} to a parent that could not be read", "changed"
    zombie = ", a zombie" if event.zombie else ""
    return event.new_ppid, f"from {event.old_ppid} to {event.new_ppid} ({event.reason}){zombie}", "changed"


def _program(event: Exec) -> str:
    if event.argv is None:
        return f"{printable(event.filename)} (arguments could not be read)"
    return command_line(event.argv) + (" …(more)" if event.argv_truncated else "")


def end_of(event: Exit) -> str:
    if event.signal:
        return event.signal + (" (core dumped)" if event.core_dumped else "")
    return f"exit {event.exit_code}"


def _exit_meaning(event: Exit) -> str:
    return "" if event.wait_status == 0 else "bad"


def summary_line(summary: Summary) -> str:
    """The summary as one sentence, with what was lost and what the kernel itself counted."""
    counts = [
        f"{number} {name}{'' if number == 1 else 's'}"
        for number, name in (
            (summary.forks, "fork"),
            (summary.threads, "thread"),
            (summary.execs, "exec"),
            (summary.exits, "exit"),
            (summary.reparents, "reparent"),
        )
    ]
    span = "an unknown time" if summary.duration_ns is None else duration(summary.duration_ns)
    text = f"{', '.join(counts)} in {span}; lost {'unknown' if summary.lost is None else summary.lost}"
    if summary.kernel_forks is not None:
        text += f"; the kernel counted {summary.kernel_forks} tasks created"
    if summary.complete:
        return text + "; complete"
    return text + "; INCOMPLETE"


class Process:
    """One process in the making of a tree."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.parent: Key | None = None
        self.born = False  # its fork was seen
        self.programs: list[bytes] = []  # comm at the fork, then after each exec
        self.argv = ""
        self.threads = 0
        self.end: Exit | None = None
        self.adopted_by: Reparent | None = None
        self.children: list[Key] = []


def processes(events: Iterable[Event]) -> dict[Key, Process]:
    """All processes that any event speaks of, by (pid, start time), in the order of their first event."""
    found: dict[Key, Process] = {}

    def known(key: Key) -> Process:
        return found.setdefault(key, Process(key))

    for event in events:
        if isinstance(event, Fork) and event.kind == "thread":
            known((event.pid, event.process_start_time_ns)).threads += 1
            continue
        if isinstance(event, Exit) and not event.process:
            continue
        if isinstance(event, Fork):
            parent = known((event.ppid, event.parent_start_time_ns))
            if not parent.programs and event.creator_pid == event.ppid:
                parent.programs.append(event.comm)
            parent.children.append((event.pid, event.start_time_ns))
        process = known((event.pid, event.start_time_ns))
        if isinstance(event, Fork):
            process.born, process.parent = True, (event.ppid, event.parent_start_time_ns)
            process.programs = [event.comm]
        elif isinstance(event, Exec):
            process.programs.append(event.comm)
            process.argv = _program(event)
        elif isinstance(event, Exit):
            process.programs = process.programs or [event.comm]
            process.end = event
        else:
            process.adopted_by = event
    return found


def _depth_first(found: dict[Key, Process]) -> Iterator[tuple[int, bool, Process]]:
    """(depth, last among its siblings, process), parents first; no recursion, a chain may be long."""
    roots = [process for process in found.values() if process.parent is None]
    stack = [(0, i == 0, root) for i, root in enumerate(reversed(roots))]
    while stack:
        depth, last, process = stack.pop()
        yield depth, last, process
        children = [found[key] for key in reversed(process.children)]
        stack += [(depth + 1, i == 0, child) for i, child in enumerate(children)]


def tree(found: dict[Key, Process]) -> Tree:
    """The tree of all that lived: lifetime and end of each, the programs it ran, who adopted it."""
    columns = (Column("LIFETIME", 9, right=True), Column("END", 11))
    rows = []
    for depth, last, process in _depth_first(found):
        end = process.end
        lifetime = Cell(duration(end.lifetime_ns) if end else "", "faint")
        fate = Cell(_short_end(end), _exit_meaning(end)) if end else Cell("alive", "faint")
        rows.append(TreeRow(depth, last, (lifetime, fate), _label(process)))
    return Tree(columns, "PROCESS", tuple(rows))


def _short_end(end: Exit) -> str:
    return end.signal or f"exit {end.exit_code}"


def _label(process: Process) -> str:
    names = [printable(name) for name in process.programs] or ["?"]
    label = f"{' → '.join(names)} ({process.key[0]})"
    if process.threads:
        label += f" +{process.threads} thread{'' if process.threads == 1 else 's'}"
    if process.adopted_by is not None and process.adopted_by.new_ppid is not None:
        label += f" adopted by {process.adopted_by.new_ppid} ({process.adopted_by.reason})"
    return f"{label}  {process.argv}" if process.argv else label


def tree_json(found: dict[Key, Process]) -> dict[str, Any]:
    """The same as one JSON object: a flat list in depth-first order, each with its depth and its parent."""
    return {
        "type": "tree",
        "processes": [
            {
                "pid": process.key[0],
                "start_time_ns": process.key[1],
                "depth": depth,
                "ppid": process.parent[0] if process.parent else None,
                "programs": process.programs,
                "threads": process.threads,
                "lifetime_ns": process.end.lifetime_ns if process.end else None,
                "exit_code": process.end.exit_code if process.end else None,
                "signal": process.end.signal if process.end else None,
                "adopted_by": process.adopted_by.new_ppid if process.adopted_by else None,
            }
            for depth, _, process in _depth_first(found)
        ],
    }
