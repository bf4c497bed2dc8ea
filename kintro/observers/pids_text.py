"""Ids in use and ids given out, for people and as JSON."""

from __future__ import annotations

from typing import Any

from kintro.observers.pids import Namespace, Report
from kintro.observers.pids_watch import Event, Gap, Given, Watched, Wrap
from kintro.renderers.text import duration, printable
from kintro.shapes import Cell, Column, Table
from kintro.sources.pid_numbers import RESERVED

COLUMNS = (
    Column("TIME(s)", 11, right=True),
    Column("EVENT", 6),
    Column("ID", 9, right=True),
    Column("PID", 7, right=True),
    Column("PPID", 7, right=True),
    Column("COMM", 15),
    Column("WHAT", None),
)


def facts(report: Report) -> Table:
    """Name and value of what is known of the reader's own pid namespace."""
    usage, moved = report.usage, report.moved
    others = usage.threads - usage.processes
    kept = f", {usage.kept} of process groups or sessions whose first has ended" if usage.kept else ""
    rows = [
        ("pid namespace", _known(report.pid_namespace)),
        ("ids stay below", f"{_known(report.pid_max)} (pid_max)"),
        ("given out last", _known(report.last_pid)),
        ("in use", f"{usage.threads + usage.kept}: {usage.processes} processes, {others} more threads{kept}"),
        ("free", _free(report)),
        ("tasks at most", f"{_known(report.threads_max)} on this machine (threads-max)"),
        ("rate", f"{_rate(moved.moved, moved.duration_ns)} ids a second, over {duration(moved.duration_ns)}"),
        ("starts over in", _span(report.wrap_ns)),
        ("an id comes again after", _span(report.id_lifetime_ns)),
    ]
    return Table(("", ""), tuple(rows))


def _free(report: Report) -> str:
    usage = report.usage
    if usage.free is None:
        return "not known: /proc does not show all processes to this user"
    if usage.first == RESERVED:
        return f"{usage.free} (from {RESERVED} on: lower ones are not given out again)"
    return str(usage.free)


def _rate(number: int, duration_ns: int) -> str:
    return f"{number * 1e9 / max(1, duration_ns):.1f}"


def _span(span_ns: int | None) -> str:
    return (
        "not known: no id was given out meanwhile" if span_ns is None else f"{duration(span_ns)} at this rate"
    )


def _known(value: int | None) -> str:
    return "?" if value is None else str(value)


def namespaces(found: tuple[Namespace, ...]) -> Table:
    columns = ("PID NAMESPACE", "INSIDE", "DEPTH", "INIT", "PROCESSES", "THREADS", "PID_MAX", "LAST")
    order = ("namespace", "parent", "depth", "init_pid", "processes", "threads", "pid_max", "last_pid")
    return Table(columns, tuple(tuple(_known(getattr(one, name)) for name in order) for one in found))


def as_json(report: Report) -> dict[str, Any]:
    fields = report._asdict()
    moved = fields.pop("moved")
    return {
        "type": "pids",
        **fields,
        "usage": report.usage._asdict(),
        "rate": {name: getattr(moved, name) for name in ("duration_ns", "moved", "wraps", "tasks")},
        "namespaces": [one._asdict() for one in report.namespaces],
    }


def row(event: Event, begin_ns: int) -> tuple[Cell, ...]:
    """An event as the cells of COLUMNS; the time counts from `begin_ns`."""
    time = Cell(f"{(event.ts_ns - begin_ns) / 1e9:.6f}", "faint")
    if isinstance(event, Given):
        fork = event.fork
        cells = (str(event.id), str(fork.pid), str(fork.ppid), printable(fork.comm), fork.kind)
        return time, Cell("id", "new"), *map(Cell, cells)
    if isinstance(event, Gap):
        used = "" if event.in_use is None else f", {event.in_use} of them in use"
        span = f"{event.first}" if event.ids == 1 else f"{event.first} to {event.last}"
        cells = (str(event.first), "", "", "", f"skipped {span}: {event.ids}{used}")
        return time, Cell("gap", "changed"), *map(Cell, cells)
    cells = (str(event.id), "", "", "", f"starts over after {event.after}")
    return time, Cell("wrap", "bad"), *map(Cell, cells)


def event_json(event: Event) -> dict[str, Any]:
    if isinstance(event, Given):
        fork = event.fork
        named = ("pid", "tid", "ppid", "start_time_ns", "comm", "kind")
        fields = {name: getattr(fork, name) for name in named}
        return {"type": "id", "ts_ns": event.ts_ns, "id": event.id} | fields
    if isinstance(event, Wrap):
        return {"type": "wrap", **event._asdict()}
    return {"type": "gap", **event._asdict(), "count": event.ids}


def summary_line(found: Watched) -> str:
    used = "" if found.skipped_in_use is None else f" ({found.skipped_in_use} in use)"
    span = "an unknown time" if found.duration_ns is None else duration(found.duration_ns)
    rate = "" if found.duration_ns is None else f", {_rate(found.ids, found.duration_ns)} a second"
    text = (
        f"{found.ids} ids in {span}{rate}: {found.processes} processes, {found.threads} threads; "
        f"{found.skipped} skipped{used} in {found.gaps} gaps; started over {found.wraps} times; "
        f"lost {_known(found.lost)}"
    )
    if found.kernel_forks is not None:
        text += f"; the kernel counted {found.kernel_forks} tasks created"
    return text + ("; complete" if found.complete else "; INCOMPLETE")


def summary_json(found: Watched) -> dict[str, Any]:
    return {"type": "summary", **found._asdict()}
