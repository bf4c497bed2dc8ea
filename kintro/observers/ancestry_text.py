"""A chain of ancestors for people and as JSON."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from kintro.observers.ancestry import Ancestor, Ancestry, Life
from kintro.observers.lifecycle_text import end_of
from kintro.observers.tree_text import arguments, user
from kintro.renderers.text import command_line, duration, printable
from kintro.shapes import Cell, Column, Tree, TreeRow

COLUMNS = (
    Column("STARTED", 19),
    Column("USER", 8),
    Column("PGID", 7, right=True),
    Column("SID", 7, right=True),
    Column("STATE", 5),
)
_UNKNOWN = "?"


def tree(found: Ancestry, realtime_ns: Callable[[Ancestor], int]) -> Tree:
    """The root first. `realtime_ns`: when an ancestor began, in ns since 1970."""
    rows = []
    above: Ancestor | None = None
    for depth, ancestor in enumerate(reversed(found.ancestors)):
        rows.append(TreeRow(depth, True, _cells(ancestor, realtime_ns(ancestor)), label(ancestor, above)))
        above = ancestor
    return Tree(COLUMNS, "PROCESS", tuple(rows))


def _cells(ancestor: Ancestor, realtime_ns: int) -> tuple[Cell, ...]:
    started = Cell(f"{datetime.fromtimestamp(realtime_ns / 1e9):%Y-%m-%d %H:%M:%S}", "faint")
    process, life = ancestor.process, ancestor.life
    if process is None:
        owner = user(life.exec.uid) if life is not None and life.exec is not None else _UNKNOWN
        return started, Cell(owner), Cell(_UNKNOWN), Cell(_UNKNOWN), Cell("ended", "faint")
    state = Cell(process.state, "bad" if process.is_zombie else "")
    return started, Cell(user(process.euid)), Cell(str(process.pgid)), Cell(str(process.sid)), state


def label(ancestor: Ancestor, above: Ancestor | None) -> str:
    """Name, pid, what became of it, who took it, what namespaces it entered, command line."""
    process, life = ancestor.process, ancestor.life
    comm = process.comm if process is not None else life.comm if life is not None else None
    notes = [*_namespaces(ancestor, above)]
    if process is not None and process.is_zombie:
        notes.append("zombie")
    if process is not None and process.first_thread_ended:
        notes.append("first thread has ended")
    if life is not None:
        notes += _told(life, ancestor)
    text = f"{printable(comm) if comm is not None else _UNKNOWN} ({ancestor.pid})"
    if notes:
        text += f" [{'; '.join(notes)}]"
    shown = _arguments(ancestor)
    return f"{text}  {shown}" if shown else text


def _told(life: Life, ancestor: Ancestor) -> list[str]:
    """What only the session knows."""
    notes = []
    if life.fork is not None and life.fork.creator_pid != life.fork.ppid:
        notes.append(f"created by {life.fork.creator_pid}")
    notes += [
        f"handed on from {event.old_ppid} to {_or_unknown(event.new_ppid)} ({_or_unknown(event.reason)})"
        for event in life.reparents
    ]
    if life.exit is not None:
        notes.append(f"{end_of(life.exit)} after {duration(life.exit.lifetime_ns)}")
    elif ancestor.process is None:
        notes.append("its end was not seen")
    return notes


def _namespaces(ancestor: Ancestor, above: Ancestor | None) -> list[str]:
    notes = []
    process = ancestor.process
    if process is not None and len(process.ns_pids) > 1:
        notes.append(f"pid {process.ns_pids[-1]} inside")
    if above is not None and ancestor.namespaces and above.namespaces:
        others = [
            name
            for name, number in ancestor.namespaces.items()
            if number is not None and above.namespaces[name] not in (None, number)
        ]
        if others:
            notes.append(f"other {', '.join(others)} namespace{'' if len(others) == 1 else 's'}")
    return notes


def _arguments(ancestor: Ancestor) -> str:
    if ancestor.process is not None and (ancestor.process.argv or ancestor.life is None):
        return arguments(ancestor.process)
    program = ancestor.life.exec if ancestor.life is not None else None
    return command_line(program.argv) if program is not None and program.argv is not None else ""


def _or_unknown(value: object) -> str:
    return _UNKNOWN if value is None else str(value)


def notes(found: Ancestry, traced: bool) -> list[str]:
    """What is to be said of the chain as a whole."""
    top = found.ancestors[-1]
    lines = []
    if found.complete:
        lines.append("up to the root: the parent of the first is the kernel itself, pid 0, or outside")
    elif top.process is not None:
        lines.append(f"not up to the root: process {top.process.ppid}, its parent, may not be seen")
    else:
        parent = f" {top.life.ppid}" if top.life is not None and top.life.ppid else ""
        lines.append(f"not up to the root: nothing is known of its parent{parent}, which ended")
    if not traced:
        lines.append("who ended before is lost: `kintro trace-fork --save` keeps it, for --traced")
    if found.others:
        plural = "" if found.others == 1 else "es"
        lines.append(f"in the session, {found.others} other process{plural} had this pid at another time")
    return lines


def as_json(found: Ancestry) -> dict[str, Any]:
    """One document: the process asked for first."""
    return {
        "type": "ancestry",
        "pid": found.ancestors[0].pid,
        "complete": found.complete,
        "others_with_pid": found.others,
        "ancestors": [_as_json(ancestor) for ancestor in found.ancestors],
    }


def _as_json(ancestor: Ancestor) -> dict[str, Any]:
    process, life = ancestor.process, ancestor.life
    program = life.exec if life is not None else None
    fork = life.fork if life is not None else None
    end = life.exit if life is not None else None
    fields: dict[str, Any] = {
        "pid": ancestor.pid,
        "ppid": life.ppid if life is not None else None,
        "start_time_ns": life.start_time_ns if life is not None else None,
        "alive": process is not None,
        "comm": life.comm if life is not None else None,
        "argv": program.argv if program is not None else None,
        "uid": program.uid if program is not None else None,
        "pgid": None,
        "sid": None,
        "state": None,
        "ns_pids": None,
        "namespaces": ancestor.namespaces,
    }
    if process is not None:
        kept = {name: value for name, value in process._asdict().items() if name in fields}
        fields |= kept | {"start_time_ns": fields["start_time_ns"] or process.start_time_ns}
    return fields | {
        "start_time_from": "session" if life is not None else "proc",
        "fork_ppid": fork.ppid if fork is not None else None,
        "fork_parent_start_time_ns": fork.parent_start_time_ns if fork is not None else None,
        "creator_pid": fork.creator_pid if fork is not None else None,
        "exit_code": end.exit_code if end is not None else None,
        "signal": end.signal if end is not None else None,
        "exit_ts_ns": end.ts_ns if end is not None else None,
        "reparents": [
            {name: getattr(event, name) for name in ("ts_ns", "old_ppid", "new_ppid", "reason")}
            for event in (life.reparents if life is not None else ())
        ],
    }
