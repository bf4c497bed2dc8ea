"""What fork's claims come to in a process that is there already, beside a relative that a fork has made."""

from __future__ import annotations

from typing import NamedTuple

from kintro.concepts.experiment import Finding, NotObserved, Picture, judged
from kintro.concepts.words import Value
from kintro.errors import KintroError
from kintro.observers import task
from kintro.observers.memory_diff import diff
from kintro.observers.memory_layout import diff_layout
from kintro.observers.memory_pairs import MOVED, SAME
from kintro.observers.memory_space import read_space
from kintro.shapes import Layout
from kintro.sources import procfs
from kintro.sources.processes import Process, read_process, read_snapshot

COPIED = ("data", "bss", "heap", "stack", "anon")  # kinds that fork copies, where they are private


class Kin(NamedTuple):
    """A process and its parent. Start times in ns since boot."""

    pid: int
    start_time_ns: int
    parent_pid: int  # by /proc
    kernel_parent_pid: int | None  # by the kernel's record; None: it was not read
    parent_start_time_ns: int


def observe_kin(pid: int) -> Kin:
    with task.reading() as tasks:
        told = {field.name: field for field in tasks.describe(pid).fields}["ppid"]
    process = read_process(pid)
    if process is None or process.ppid != told.proc:
        raise NotObserved("ended", pid=pid)
    if process.ppid == 0:
        raise NotObserved("no-parent", pid=pid)
    parent = read_process(process.ppid)
    if parent is None:
        raise NotObserved("hidden", hidden=1)
    kernel = told.kernel if isinstance(told.kernel, int) else None
    return Kin(pid, process.start_time_ns, process.ppid, kernel, parent.start_time_ns)


def judge_kin(seen: Kin) -> Finding:
    facts = {
        "pid": seen.pid,
        "proc_parent_pid": seen.parent_pid,
        "kernel_parent_pid": seen.kernel_parent_pid,
        "start_ns": seen.start_time_ns,
        "parent_start_ns": seen.parent_start_time_ns,
    }
    older = seen.parent_start_time_ns <= seen.start_time_ns
    return Finding(judged(older and seen.kernel_parent_pid in (None, seen.parent_pid), False), facts)


class Shared(NamedTuple):
    """Two processes of one program compared. Counts of pages that both have."""

    pid: int
    other_pid: int
    related: bool  # one is the other's parent
    code: tuple[int, int]  # in the same frame, in different ones
    private: tuple[int, int]  # of what a fork copies, at the same addresses
    public: tuple[int, int]  # mapped with MAP_SHARED and writable
    layout: Layout


def observe_relative(pid: int) -> Shared:
    """Beside its parent or a child, of which fork has made one out of the other and no exec came since."""
    own = procfs.read_stat(pid)
    processes = read_snapshot().processes
    for other in (p for p in processes.values() if p.pid == own.ppid or p.ppid == pid):
        try:
            stack = procfs.read_stat(other.pid).startstack
            if own.startstack and stack == own.startstack and _one_program(pid, other):
                return compared(pid, other.pid, True)
        except KintroError:  # it has ended
            continue
    raise NotObserved("no-relative", pid=pid)


def observe_same_program(pid: int) -> Shared:
    """Beside another process of the same program, by choice one that is no relative."""
    if procfs.exe_file(pid) is None:
        raise NotObserved("no-program", pid=pid)
    processes = read_snapshot().processes
    if pid not in processes:
        raise NotObserved("ended", pid=pid)

    def related(other: Process) -> bool:
        return other.pid == processes[pid].ppid or other.ppid == pid

    for other in sorted(processes.values(), key=related):
        try:
            if other.pid != pid and _one_program(pid, other):
                return compared(pid, other.pid, related(other))
        except KintroError:  # it has ended
            continue
    raise NotObserved("no-other", pid=pid)


def _one_program(pid: int, other: Process) -> bool:
    return not other.is_kernel_thread and procfs.exe_file(other.pid) == procfs.exe_file(pid)


def compared(pid: int, other: int, related: bool) -> Shared:
    a, b = read_space(pid), read_space(other)
    found = diff(pid, a.regions, other, b.regions)
    kinds = {region.mapping: region.kind for region in a.regions}
    counts = {"code": [0, 0], "private": [0, 0], "public": [0, 0]}
    for part in found.parts:
        mapping = part.pair.a
        if mapping is None or part.pair.relation not in (SAME, MOVED):
            continue
        of = None
        if kinds[mapping] == "text":
            of = "code"
        elif "s" in mapping.perms and "w" in mapping.perms:
            of = "public"
        elif kinds[mapping] in COPIED and part.pair.relation == SAME:
            of = "private"
        if of is not None:
            counts[of][0] += part.pages.same_frame or 0
            counts[of][1] += part.pages.different_frame or 0
    pairs = {name: (same, own) for name, (same, own) in counts.items()}
    return Shared(pid, other, related, **pairs, layout=diff_layout(a, b, found))


def _facts(seen: Shared, pages: tuple[int, int]) -> dict[str, Value]:
    return {
        "pid": seen.pid,
        "other_pid": seen.other_pid,
        "related": seen.related,
        "same_pages": pages[0],
        "own_pages": pages[1],
    }


def judge_copied(seen: Shared) -> Finding:
    """Pages that neither has written to since the fork are still in one frame."""
    same, own = seen.private
    shown = Picture("shared-frames", seen.layout)
    return Finding(judged(same + own > 0, same > 0), _facts(seen, seen.private), (shown,))


def judge_code(seen: Shared) -> Finding:
    same, own = seen.code
    facts, shown = _facts(seen, seen.code), Picture("shared-frames", seen.layout)
    return Finding(judged(same > 0 and own == 0, not seen.related), facts, (shown,))


def judge_changed(seen: Shared) -> Finding:
    """What was written to since the fork lies in different frames; what is mapped for both does not."""
    facts = {**_facts(seen, seen.private), "public_pages": seen.public[0]}
    if seen.private[1] == 0:
        return Finding("not-observed", facts, (), "nothing-written")
    shown = Picture("shared-frames", seen.layout)
    return Finding(judged(seen.public[1] == 0, seen.public[0] > 0), facts, (shown,))
