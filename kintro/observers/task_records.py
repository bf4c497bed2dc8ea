"""What is known of a task: its fields, each as /proc has it and as the kernel's own record does.

The probe (probes/task.c) sends no events: it copies what it is asked for.
"""

from __future__ import annotations

from typing import NamedTuple

PROBE = "task"
RECORDS: dict[str, type] = {}

# A number, a name, an answer, or several numbers.
Value = int | bytes | str | bool | tuple[int, ...]


class Member(NamedTuple):
    """Where the kernel keeps something: the way there from task_struct, and its place in the last struct."""

    path: str  # as C would go: `task_struct.signal->rlim[7].rlim_cur`
    offset: int  # bytes, from the kernel's BTF
    size: int  # bytes; 0: as many as there are


class Field(NamedTuple):
    """One fact of a task. None: not known, `note` says why."""

    group: str
    name: str
    unit: str  # see task_fields.py
    proc: Value | None  # as /proc or a system call tells
    kernel: Value | None  # as the kernel's record has it, in the same unit
    members: tuple[Member, ...]  # those that `kernel` is made of; the first says the most
    equal: bool | None  # None: they cannot be compared
    note: str | None  # why not, or why they may differ


class Task(NamedTuple):
    """A task and its process at one moment."""

    pid: int  # of the process: tgid
    tid: int
    comm: bytes
    start_time_ns: int  # of CLOCK_BOOTTIME; in whole ticks where the kernel's record was not read
    fields: tuple[Field, ...]
    no_kernel: str | None  # why the kernel's record was not read
