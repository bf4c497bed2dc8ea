"""An experiment with virtual memory: what is behind its addresses."""

from __future__ import annotations

import ctypes
import mmap
import random
import resource
from collections.abc import Iterable
from typing import Any, NamedTuple

from kintro.concepts.experiment import Experiment, Finding, NotObserved, Picture, judged
from kintro.concepts.scene import Actor, Play
from kintro.concepts.words import Value
from kintro.errors import EX_NOPERM, KintroError
from kintro.observers.memory import whole
from kintro.observers.memory_diff import diff
from kintro.observers.memory_layout import layout
from kintro.observers.memory_records import AddressSpace
from kintro.observers.memory_space import read_space
from kintro.shapes import Bar, Bars
from kintro.sources.mappings import Mapping, Usage, read_maps, read_smaps
from kintro.sources.proc_limits import read_auxv
from kintro.sources.procfs import read_statm

PAGES = 1 << 14


def own_memory(pages: int) -> tuple[mmap.mmap, int]:
    """Memory that is one mapping of its own, and its address."""
    data = mmap.mmap(-1, pages * mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    data.madvise(mmap.MADV_NOHUGEPAGE)  # page by page
    data.madvise(mmap.MADV_DONTDUMP)  # so that it is not joined with its neighbours
    return data, ctypes.addressof(ctypes.c_char.from_buffer(data))


def _faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


class Touched(NamedTuple):
    """Memory of a process that is mapped first and then touched, beside the same in a sibling."""

    mapped_bytes: int
    written: int  # pages, as all without a unit
    write_faults: int
    read: int
    read_faults: int
    resident_bytes: tuple[int, int, int]  # of that memory: before, after writing, after reading
    apart: int | None  # pages at the same address in both, in different frames; None: frames are not told
    alike: int | None  # in the same frame
    process_bytes: tuple[int, int]  # of the whole process then: mapped, resident


def _touch(data: mmap.mmap, written: list[int], read: list[int]) -> Play:
    yield None
    before = _faults()
    for page in written:
        data[page * mmap.PAGESIZE] = 1
    yield _faults() - before
    before = _faults()
    for page in read:
        data[page * mmap.PAGESIZE]
    yield _faults() - before


def observe_touched() -> Touched:
    data, address = own_memory(PAGES)
    pages = random.sample(range(PAGES), random.randint(2000, 4000))
    cut = random.randint(1000, len(pages) - 500)
    written, read = sorted(pages[:cut]), sorted(pages[cut:])
    with Actor(_touch, data, written, read) as one, Actor(_touch, data, written, read) as other:
        one.step()
        other.step()
        resident = [_resident_bytes(one.pid, address)]
        faults = []
        for _ in range(2):
            faults.append(one.step())
            other.step()
            resident.append(_resident_bytes(one.pid, address))
        apart, alike = frames(one.pid, other.pid, address, PAGES)
        whole_process = read_statm(one.pid)
        return Touched(
            PAGES * mmap.PAGESIZE,
            len(written),
            faults[0],
            len(read),
            faults[1],
            (resident[0], resident[1], resident[2]),
            apart,
            alike,
            (whole_process.size_pages * mmap.PAGESIZE, whole_process.resident_pages * mmap.PAGESIZE),
        )


def _found(pid: int, address: int, entries: Iterable[tuple[Mapping, Usage | None]]) -> Any:
    """The entry of the mapping with this address."""
    for mapping, usage in entries:
        if mapping.start <= address < mapping.end:
            return mapping, usage
    raise NotObserved("foreign-proc", pid=pid)


def _resident_bytes(pid: int, address: int) -> int:
    return _found(pid, address, read_smaps(pid))[1].rss_bytes


def frames(a: int, b: int, address: int, pages: int) -> tuple[int | None, int | None]:
    """Of that many pages at the same address in two processes: in different frames, and in the same."""
    part: list[list[Mapping]] = []
    for pid in (a, b):
        mapping, _ = _found(pid, address, ((mapping, None) for mapping in read_maps(pid)))
        part.append([mapping._replace(start=address, end=address + pages * mmap.PAGESIZE)])
    try:
        found = diff(a, part[0], b, part[1]).total
    except KintroError as error:
        if error.exit_code != EX_NOPERM:
            raise
        return None, None
    return found.different_frame, found.same_frame


def judge_touched(seen: Touched) -> Finding:
    before, after, then = seen.resident_bytes
    facts: dict[str, Value] = {
        "mapped_bytes": seen.mapped_bytes,
        "before_bytes": before,
        "written": seen.written,
        "write_faults": seen.write_faults,
        "after_bytes": after,
        "apart": seen.apart,
        "read": seen.read,
        "read_faults": seen.read_faults,
        "then_bytes": then,
        "alike": seen.alike,
        "process_bytes": seen.process_bytes[0],
        "resident_bytes": seen.process_bytes[1],
    }
    on_touch = before == 0 and after == seen.written * mmap.PAGESIZE and seen.write_faults >= seen.written
    holds = on_touch and after < seen.mapped_bytes and seen.apart in (None, seen.written)
    holds = holds and seen.process_bytes[1] < seen.process_bytes[0]
    zeros = then == after and seen.read_faults >= seen.read and seen.alike in (None, seen.read)
    bars = (
        Bar("mapped", seen.mapped_bytes),
        Bar("resident before", before),
        Bar("resident after writing", after),
        Bar("resident after reading", then),
    )
    picture = Picture("first-touch", Bars("memory of a process", "bytes", False, bars))
    return Finding(judged(holds, zeros), facts, (picture,))


def judge_touched_of(seen: AddressSpace) -> Finding:
    total = whole(seen)
    if total.rss_bytes is None:
        raise NotObserved("no-usage")
    facts: dict[str, Value] = {
        "process_bytes": total.size_bytes,
        "resident_bytes": total.rss_bytes,
        "own_bytes": total.uss_bytes,
    }
    picture = Picture("whole-space", layout(seen))
    return Finding(judged(total.rss_bytes < total.size_bytes, False), facts, (picture,))


def look(pid: int, kernel_symbols: bool = False) -> AddressSpace:
    """The address space of a process that has one."""
    if read_auxv(pid) is None:
        raise NotObserved("no-memory")
    return read_space(pid, kernel_symbols=kernel_symbols)


EXPERIMENTS = (Experiment("A4", observe_touched, judge_touched, on=look, judge_on=judge_touched_of),)
