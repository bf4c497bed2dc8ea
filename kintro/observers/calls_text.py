"""System calls as lines for people and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kintro.observers.calls import Seen, Summary
from kintro.observers.calls_records import COMPAT, EARLY
from kintro.observers.syscall_values import escaped, text
from kintro.renderers.text import duration, printable
from kintro.shapes import Cell, Column

COLUMNS = (
    Column("TIME(s)", 11, right=True),
    Column("TID", 7, right=True),
    Column("COMM", 15),
    Column("TOOK", 7, right=True),
    Column("CALL", None),
    Column("", None),  # what it returned
)


def row(seen: Seen, begin_ns: int) -> tuple[Cell, ...]:
    """A call as the cells of COLUMNS; the time is that of its entry, from `begin_ns` on."""
    call = seen.call
    took = call.duration_ns
    time = "before" if call.flags & EARLY else f"{(call.ts_ns - begin_ns) / 1e9:.6f}"
    meaning = "bad" if seen.error else "changed" if call.returned is None else ""
    return (
        Cell(time, "faint"),
        Cell(str(call.tid)),
        Cell(printable(seen.comm or b"?")),
        Cell("–" if took is None else duration(took), "faint"),
        Cell(call_text(seen)),
        Cell(f"= {result_text(seen)}", meaning),
    )


def call_text(seen: Seen) -> str:
    """`openat(dirfd=AT_FDCWD, pathname="/etc/passwd", flags=O_RDONLY)`."""
    arguments = ", ".join(
        f"{name}={text(value)}{_path(seen.files, name)}" for name, value in seen.arguments.items()
    )
    return f"{'32-bit ' if seen.call.flags & COMPAT else ''}{seen.name}({arguments})"


def _path(files: Mapping[str, bytes], name: str) -> str:
    return f"<{escaped(files[name], '<>')}>" if name in files else ""


def result_text(seen: Seen) -> str:
    """`3</etc/passwd>`, `-1 ENOENT`, or `?` of a call that did not return."""
    if seen.call.returned is None:
        return "?"
    if seen.error is not None:
        return f"-1 {seen.error}"
    if seen.result is None:
        return str(seen.call.ret)
    return text(seen.result) + _path(seen.files, "return")


def as_json(seen: Seen) -> dict[str, Any]:
    """A call as the JSON object that `trace-syscalls --json` prints."""
    call = seen.call
    return {
        "type": "syscall",
        "ts_ns": None if call.flags & EARLY else call.ts_ns,
        "pid": call.pid,
        "tid": call.tid,
        "comm": seen.comm,
        "name": seen.name,
        "nr": call.nr,
        "compat": bool(call.flags & COMPAT),
        "args": seen.arguments,
        "files": seen.files,
        "ret": call.returned,
        "errno": seen.error,
        "duration_ns": call.duration_ns,
    }


def summary_json(result: Summary) -> dict[str, Any]:
    return {"type": "summary"} | result._asdict()


def summary_line(result: Summary) -> str:
    """What was counted, and what was lost."""
    span = "an unknown time" if result.duration_ns is None else duration(result.duration_ns)
    told = f"{result.calls:,} call{'' if result.calls == 1 else 's'} in {span}"
    if result.errors is not None:
        told += (
            f": {result.errors:,} error{'' if result.errors == 1 else 's'}, {result.unfinished:,} unfinished"
        )
    apart = [
        f"{number:,} {what}"
        for number, what in (
            (result.early, "begun before the trace"),
            (result.passed_over, "passed over"),
            (result.refused, "answered by seccomp or ptrace"),
        )
        if number
    ]
    if apart:
        told += f"; {', '.join(apart)}"
    told += f"; lost {'unknown' if result.lost is None else format(result.lost, ',')}"
    return told + ("; complete" if result.complete else "; INCOMPLETE")
