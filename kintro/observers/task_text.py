"""A task for people, and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from kintro.observers import task_names as names
from kintro.observers.task_records import Field, Task, Value
from kintro.observers.task_source import TICK_NS
from kintro.renderers.text import duration, printable, size
from kintro.shapes import Cell, Column

WIDE = 120  # from that many cells on there is room for more columns
UNLIMITED = (1 << 64) - 1
_MASKS = ("signals", "capabilities", "flags")


def is_wide(width: int | None) -> bool:
    return width is None or width >= WIDE


def columns(wide: bool) -> tuple[Column, ...]:
    """OFFSET: of the member in its struct."""
    value = 24 if wide else 15
    first = Column("FIELD", 17), Column("/PROC", value), Column("KERNEL", value), Column("", 1)
    return (*first, *([Column("OFFSET", 6, right=True)] if wide else []), Column("MEMBER", None))


def groups(task: Task) -> Iterator[tuple[str, list[Field]]]:
    """The fields that are known, by group, in their order."""
    for group in dict.fromkeys(field.group for field in task.fields):
        there = [field for field in task.fields if field.group == group]
        known = [field for field in there if (field.proc, field.kernel) != (None, None)]
        if known:
            yield group, known


def rows(field: Field, wide: bool, width: int) -> Iterator[tuple[Cell, ...]]:
    """Lines of a field: cells of `columns`, wrapped where they are longer."""
    shape = columns(wide)
    room = max(12, width - sum(column.width or 0 for column in shape) - len(shape) + 1)
    member = field.members[0] if field.members else None
    parts = [
        [Cell(field.name)],
        [Cell(text) for text in _wrapped(shown(field.unit, field.proc), shape[1].width or 0)],
        [Cell(text) for text in _wrapped(shown(field.unit, field.kernel), shape[2].width or 0)],
        [_sign(field)],
        *([[Cell(str(member.offset) if member else "")]] if wide else []),
        [Cell(text) for text in _path(member.path.partition(".")[2] if member else "", room)],
    ]
    for number in range(max(map(len, parts))):
        yield tuple(part[number] if number < len(part) else Cell("") for part in parts)


def _sign(field: Field) -> Cell:
    if field.equal is not None:
        return Cell("=", "good") if field.equal else Cell("≠", "bad")
    return Cell("≈" if None not in (field.proc, field.kernel) else "", "faint")


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width) or [""]


def _path(path: str, room: int) -> list[str]:
    """A member's path, broken before an arrow."""
    lines = [""]
    for number, step in enumerate(path.split("->")):
        part = f"->{step}" if number else step
        if lines[-1] and len(lines[-1]) + len(part) > room:
            lines.append("  ")
        lines[-1] += part
    return lines


def details(field: Field) -> str:
    """What the bits of a set are called, by /proc if it tells; empty if there is nothing to say."""
    value = field.kernel if field.proc is None else field.proc
    found = meaning(field.unit, value) if field.unit in _MASKS else []
    missing = [name for name in names.CAPABILITIES if name not in found]
    if field.unit == "capabilities" and len(missing) < len(names.CAPABILITIES) // 2:
        found = ["all but", *missing] if missing else ["all"]
    return " ".join(found)


def shown(unit: str, value: Value | None) -> str:
    """A value for people; empty if it is not known."""
    if value is None:
        return ""
    if isinstance(value, bytes | str):
        text = printable(value)
        return f"{text} ({names.STATES[text]})" if unit == "state" and text in names.STATES else text
    if unit == "limit" and isinstance(value, tuple):
        soft, hard = ("unlimited" if part == UNLIMITED else str(part) for part in value)
        return soft if soft == hard else f"{soft} / {hard}"
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    if unit == "answer":
        return "yes" if value else "no"
    if unit == "bytes":
        return size(value)
    if unit == "ns":
        return duration(value)
    if unit == "ticks":
        return f"{value * TICK_NS / 1e9:.2f} s"
    if unit == "octal":
        return f"{value:04o}"
    if unit == "device":
        return f"{value >> 8 & 0xFFF}:{value & 0xFF | value >> 12 & ~0xFF}" if value else "none"
    if unit in (*_MASKS, "address"):
        return f"{value:#x}" if value else "0"
    return " ".join((str(value), *meaning(unit, value)))


def meaning(unit: str, value: Value | None) -> list[str]:
    """The names of what a value stands for, if it stands for something."""
    if not isinstance(value, int):
        return []
    if unit == "signals":
        return names.signal_names(value)
    if unit == "capabilities":
        return names.capability_names(value)
    if unit == "flags":
        return names.flag_names(value)
    if unit == "policy":
        return names.name_in(names.POLICIES, value)
    return names.name_in(names.SECCOMP_MODES, value) if unit == "seccomp" else []


def title(task: Task) -> str:
    whose = f"process {task.pid}" if task.tid == task.pid else f"thread {task.tid} of process {task.pid}"
    if task.pid == 0:
        whose = "the idle task, pid 0"
    return f"{printable(task.comm)}: {whose}"


def summary_lines(task: Task) -> Iterator[str]:
    """How the two sides agree, and what was not compared."""
    hidden = [f.note for f in task.fields if f.proc is None and f.note and f.note.startswith("not permitted")]
    if hidden:
        yield f"/proc keeps {len(hidden)} fields from this reader: {printable(hidden[0])}, and the like"
    if task.no_kernel is not None:
        yield f"the KERNEL column is empty: {task.no_kernel}"
        return
    equal, differ = (sum(field.equal is answer for field in task.fields) for answer in (True, False))
    about = [f for f in task.fields if f.equal is None and None not in (f.proc, f.kernel)]
    alone = [f for f in task.fields if (f.proc is None) != (f.kernel is None) and f.note not in hidden]
    if task.pid:
        yield f"{equal} fields are equal, {differ} differ, {len(about)} can be compared only roughly (≈)"
    by_note: dict[str, list[str]] = {}
    for field in (*about, *alone):
        by_note.setdefault(field.note or "", []).append(field.name)
    for note, fields in by_note.items():
        some = ", ".join(fields) if len(fields) < 8 else f"{len(fields)} fields"
        yield f"{some}: {printable(note)}"


def as_json(task: Task) -> dict[str, Any]:
    return {
        "type": "task",
        "pid": task.pid,
        "tid": task.tid,
        "comm": task.comm,
        "start_time_ns": task.start_time_ns,
        "no_kernel": task.no_kernel,
        "fields": [_field_json(field) for field in task.fields],
    }


def _field_json(field: Field) -> dict[str, Any]:
    first = field.members[0] if field.members else None
    value = field.kernel if field.proc is None else field.proc
    return {
        "group": field.group,
        "name": field.name,
        "unit": field.unit,
        "proc": field.proc,
        "kernel": field.kernel,
        "equal": field.equal,
        "note": field.note,
        "names": meaning(field.unit, value),
        "member": first and first.path,
        "offset": first and first.offset,
        "members": [member._asdict() for member in field.members],
    }
