"""A task as the kernel keeps it: each field as /proc tells it beside the member that holds it, compared.

The kernel's record is read twice, before and after /proc: what only grows has to lie in between, all else has
to be what it was at one of the two moments. If a field differs, all is read anew a few times, as it may have
changed and changed back; only what differs in the end is said to differ.

Cost: 2 ms for a process, most of it /proc. Loading the probe and reading BTF takes 0.2 s once.

What it cannot see: fields that this kernel keeps in members of other names than task_fields.py has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from kintro.errors import EX_NOINPUT, KintroError
from kintro.observers.task_fields import all_sources
from kintro.observers.task_kernel import Layout, Raw, layout_of, members, read_record
from kintro.observers.task_proc import Facts, read_facts
from kintro.observers.task_records import Field, Task, Value
from kintro.observers.task_source import TICK_NS, Source
from kintro.sources import ancestors, procfs
from kintro.sources.btf import kernel_btf
from kintro.sources.kernel_memory import IDLE, TaskMemory

NOT_IN_PROC = "the idle task is not in /proc"
ELSEWHERE = "this kernel keeps it elsewhere"
NOT_TOLD = "/proc does not tell it here"
_ATTEMPTS = 5
_START = "start_boottime | real_start_time"


class Tasks:
    """Describes tasks. `memory`: how the kernel's record is read, or why it is not."""

    def __init__(self, memory: TaskMemory | KintroError) -> None:
        self._memory = memory
        self._sources = all_sources()
        self._layout: Layout | None = None
        self._no_layout = ""
        try:
            self._layout = layout_of(kernel_btf(), self._sources)
        except KintroError as error:
            self._no_layout = error.message

    def describe(self, pid: int, tid: int | None = None) -> Task:
        """A process, and one of its threads, by default the first. Pid 0 is the idle task.

        KintroError (66) if there is none; for the idle task, that of the reader of kernel memory.
        """
        tid = pid if tid is None else tid
        if pid == IDLE:
            return self._idle()
        require(pid, tid)
        for _ in range(_ATTEMPTS):
            before = self._record(tid)
            facts = read_facts(pid, tid)
            after = self._record(tid)
            if isinstance(self._memory, TaskMemory) and (before is None or after is None):
                require(pid, tid)
                continue
            if (before or {}).get(_START) != (after or {}).get(_START):
                continue
            fields = tuple(self._field(source, facts, before, after) for source in self._sources)
            if all(field.equal is not False for field in fields):
                break
        else:
            if before is None or after is None:
                raise KintroError(f"process {pid} changed while it was read", "try again", EX_NOINPUT)
        start_ns = _number(after, _START)
        return Task(
            pid,
            tid,
            facts.status.comm or b"",
            facts.thread.starttime_ticks * TICK_NS if start_ns is None else start_ns,
            fields,
            self._why_not(),
        )

    def _idle(self) -> Task:
        if isinstance(self._memory, KintroError):
            raise self._memory
        record = self._record(IDLE)
        if record is None:
            raise KintroError("the idle task was not found", None, EX_NOINPUT)
        fields = tuple(self._field(source, None, record, record) for source in self._sources)
        comm = next(field.kernel for field in fields if field.name == "comm")
        return Task(
            0,
            0,
            comm if isinstance(comm, bytes) else b"",
            _number(record, _START) or 0,
            fields,
            self._why_not(),
        )

    def _why_not(self) -> str | None:
        if isinstance(self._memory, KintroError):
            return "; ".join(filter(None, (self._memory.message, self._memory.hint)))
        return self._no_layout or None

    def _record(self, tid: int) -> dict[str, Raw] | None:
        if isinstance(self._memory, KintroError) or self._layout is None:
            return None
        return read_record(self._memory, self._layout, tid)

    def _field(
        self,
        source: Source,
        facts: Facts | None,
        before: Mapping[str, Raw] | None,
        after: Mapping[str, Raw] | None,
    ) -> Field:
        known = members(self._layout, source) if self._layout else ()
        whole = len(known) == len(source.paths)
        first, last = (kernel_value(source, record) if whole else None for record in (before, after))
        proc = source.proc(facts) if facts is not None else None
        equal = compared(source.how, first, proc, last)
        kernel = first if equal and source.how == "same" and last != proc else last
        note = None
        if proc is None:
            note = NOT_IN_PROC if facts is None else facts.why.get(source.file) or source.note or NOT_TOLD
        elif kernel is None:
            note = self._why_not() or (source.note if whole else ELSEWHERE)
        elif equal is None:
            note = source.note
        return Field(source.group, source.name, source.unit, proc, kernel, known, equal, note)


@contextmanager
def reading() -> Iterator[Tasks]:
    """Describes tasks with the kernel's side of them, where that can be read."""
    with ExitStack() as stack:
        memory: TaskMemory | KintroError
        try:
            memory = stack.enter_context(TaskMemory())
        except KintroError as error:
            memory = error
        yield Tasks(memory)


def require(pid: int, tid: int) -> None:
    """KintroError (66) if there is no such process, or no such thread of it."""
    ancestors.require(pid)
    if tid not in procfs.thread_ids(pid):
        raise KintroError(f"process {pid} has no thread {tid}", f"see /proc/{pid}/task", EX_NOINPUT)


def kernel_value(source: Source, record: Mapping[str, Raw] | None) -> Value | None:
    """A field's value by the kernel's record."""
    if record is None:
        return None
    values: Sequence[Raw | None] = [record.get(path) for path in source.paths]
    return source.absent if None in values else source.kernel(*values)


def compared(how: str, before: Value | None, proc: Value | None, after: Value | None) -> bool | None:
    """Whether /proc agrees with the kernel's record before and after it; None where that cannot be said."""
    if proc is None or before is None or after is None or how == "about":
        return None
    if how == "grows" and isinstance(before, int) and isinstance(proc, int) and isinstance(after, int):
        return before <= proc <= after
    if how == "begins" and isinstance(after, bytes) and isinstance(proc, bytes) and proc != after:
        return None if proc.startswith(after) else False
    return proc in (before, after)


def _number(record: Mapping[str, Raw] | None, path: str) -> int | None:
    value = (record or {}).get(path)
    return value if isinstance(value, int) else None
