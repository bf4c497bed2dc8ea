"""The account of system calls as a table for people, as a sentence and as JSON."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kintro.observers.buckets import bounds_ns
from kintro.observers.syscalls import percentile_ns
from kintro.observers.syscalls_records import Account, Process, ProcessKey, Syscall
from kintro.renderers.text import duration, fit, printable
from kintro.shapes import Cell, Column

WIDE_BAR = 24  # cells of a histogram, where there is room
WIDE = 120  # from that many cells on there is room for more columns
BARS = "▁▂▃▄▅▆▇█"

_NARROW = (
    Column("SYSCALL", 15),
    Column("CALLS", 8, right=True),
    Column("ERRORS", 6, right=True),
    Column("OPEN", 4, right=True),
    Column("TOTAL", 7, right=True),
    Column("P50", 7, right=True),
    Column("P99", 7, right=True),
    Column("MAX", 7, right=True),
)
_MORE = (Column("MIN", 7, right=True), Column("MEAN", 7, right=True))
_PROCESS = (Column("PID", 7, right=True), Column("COMM", 15))
_NARROW_BY_PROCESS = ("PID", "COMM", "SYSCALL", "CALLS", "ERRORS", "TOTAL", "P99", "MAX")


def is_wide(width: int | None) -> bool:
    return width is None or width >= WIDE


def columns(wide: bool, by_process: bool, scale: tuple[int, int] | None) -> tuple[Column, ...]:
    """`scale`: the durations at both ends of the histograms, or none were measured."""
    title = f"{_brief(scale[0])}…{_brief(scale[1])}" if scale else ""
    if wide:
        front = _PROCESS if by_process else ()
        return (*front, *_NARROW, *_MORE, Column(title, WIDE_BAR), Column("ERRORS BY KIND", None))
    if not by_process:
        return (*_NARROW, Column(title, 11))
    narrow = [column for column in (*_PROCESS, *_NARROW) if column.title in _NARROW_BY_PROCESS]
    narrow[1:3] = [Column("COMM", 9), Column("SYSCALL", 15)]
    return (*narrow, Column("", 6))


def _brief(ns: int) -> str:
    """Without a fraction: `512ns`, `8ms`."""
    for unit, unit_ns in (("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000)):
        if ns >= unit_ns:
            return f"{ns // unit_ns}{unit}"
    return f"{ns}ns"


def octaves(calls: Iterable[Syscall]) -> range:
    """The powers of two (four buckets each) that any of them fell into."""
    used = {bucket // 4 for call in calls for bucket, number in enumerate(call.buckets) if number}
    return range(min(used), max(used) + 1) if used else range(0)


def scale_ns(found: range) -> tuple[int, int] | None:
    if not found:
        return None
    return bounds_ns(4 * found[0])[0] or 32, bounds_ns(4 * found[-1] + 3)[1] or 1 << 37


def bar(call: Syscall, found: range, cells: int) -> str:
    """A histogram in a line: how many calls by duration, from short to long."""
    each = -(-len(found) // cells) or 1
    heights = [
        sum(call.buckets[4 * octave : 4 * (octave + each)]) for octave in range(found.start, found.stop, each)
    ]
    most = max(heights, default=0)
    signs = (BARS[-(-number * len(BARS) // most) - 1] if number else " " for number in heights)
    return "".join(signs)


def row(
    call: Syscall, found: range, shown: Sequence[Column], comms: Mapping[ProcessKey, bytes | None]
) -> tuple[Cell, ...]:
    """Cells of `shown`, which `columns` gave."""
    errors = ", ".join(f"{name} {count}" for name, count in sorted(call.errno.items(), key=lambda e: -e[1]))
    returned = call.returned or None
    cells = {
        "SYSCALL": Cell(printable(call.name)),
        "CALLS": Cell(str(call.calls)),
        "ERRORS": Cell(str(call.errors or ""), "bad"),
        "OPEN": Cell(str(call.unfinished or ""), "changed"),
        "TOTAL": _span(returned and call.total_ns),
        "P50": _span(percentile_ns(call, 0.5)),
        "P99": _span(percentile_ns(call, 0.99)),
        "MAX": _span(call.max_ns),
        "MIN": _span(call.min_ns),
        "MEAN": _span(returned and round(call.total_ns / returned)),
        "ERRORS BY KIND": Cell(errors, "bad"),
    }
    if call.process is not None:
        cells["PID"] = Cell(str(call.process.pid))
        cells["COMM"] = Cell(printable(comms.get(call.process) or b"?"))
    made = []
    for column in shown:
        cell = cells.get(column.title)
        if cell is None:
            cell = Cell(bar(call, found, column.width or WIDE_BAR), "new")
        elif column.width is not None and not column.right:
            cell = cell._replace(text=fit(cell.text, column.width))
        made.append(cell)
    return tuple(made)


def _span(ns: int | None) -> Cell:
    return Cell("–", "faint") if ns is None else Cell(duration(ns))


def summary_lines(account: Account) -> list[str]:
    """What was counted in all, and the mode switches."""
    kinds = _number(len({call.slot for call in account.syscalls}), "kind")
    processes = _number(len(account.processes), "process", "processes")
    text = (
        f"{account.calls:,} calls of {kinds} by {processes} "
        f"in {duration(account.duration_ns)}: {_number(account.errors, 'error')}, "
        f"{account.unfinished} unfinished; lost {account.lost}"
    )
    if account.complete is not None:
        text += "; complete" if account.complete else f"; INCOMPLETE ({account.entries:,} entries)"
    apart = [
        f"{number:,} {what}"
        for number, what in (
            (account.early, "begun before the trace"),
            (account.refused, "answered by seccomp or ptrace"),
        )
        if number
    ]
    if apart:
        text += f"; not among them: {', '.join(apart)}"
    return [text, _modes(account.processes), *_entered_from(account.levels)]


def _entered_from(levels: Mapping[int, int]) -> list[str]:
    """The privilege level that the CPU saved when threads entered the kernel: 3 and EL0 are user mode."""
    name = "EL" if os.uname().machine == "aarch64" else "ring "
    told = [f"{_number(number, 'thread')} from {name}{level}" for level, number in sorted(levels.items())]
    vdso = "what the vDSO answers (clock_gettime and the like) does not enter it and is not here"
    return [f"entered the kernel: {', '.join(told)}; {vdso}"] if told else []


def _modes(processes: Sequence[Process]) -> str:
    user, kernel = sum(p.user_ns for p in processes), sum(p.kernel_ns for p in processes)
    text = f"threads were in user mode for {duration(user)}, in calls for {duration(kernel)}"
    if all(p.utime_ns is not None and p.stime_ns is not None for p in processes):
        utime, stime = sum(p.utime_ns or 0 for p in processes), sum(p.stime_ns or 0 for p in processes)
        text += f"; CPU time by the kernel: user {duration(utime)}, system {duration(stime)}"
    return text


def _number(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def as_json(account: Account, calls: Sequence[Syscall], kind: str = "summary") -> dict[str, Any]:
    """`calls`: those to be listed, in their order."""
    return {
        "type": kind,
        "duration_ns": account.duration_ns,
        "calls": account.calls,
        "errors": account.errors,
        "unfinished": account.unfinished,
        "early": account.early,
        "refused": account.refused,
        "entries": account.entries,
        "privilege_levels": {str(level): number for level, number in account.levels.items()},
        "lost": account.lost,
        "complete": account.complete,
        "processes": [_process_json(process) for process in account.processes],
        "syscalls": [_syscall_json(call) for call in calls],
    }


def _process_json(process: Process) -> dict[str, Any]:
    fields = process._asdict()
    key = fields.pop("key")
    return {"pid": key.pid, "start_time_ns": key.start_time_ns, **fields}


def _syscall_json(call: Syscall) -> dict[str, Any]:
    whose = {}
    if call.process is not None:
        whose = {"pid": call.process.pid, "start_time_ns": call.process.start_time_ns}
    return {
        **whose,
        "nr": call.nr,
        "name": call.name,
        "calls": call.calls,
        "unfinished": call.unfinished,
        "errors": call.errors,
        "errno": dict(call.errno),
        "total_ns": call.total_ns,
        "min_ns": call.min_ns,
        "max_ns": call.max_ns,
        "p50_ns": percentile_ns(call, 0.5),
        "p99_ns": percentile_ns(call, 0.99),
        "histogram": [
            {"low_ns": low, "high_ns": high, "count": number}
            for bucket, number in enumerate(call.buckets)
            if number
            for low, high in (bounds_ns(bucket),)
        ],
    }
