"""Experiments with virtual memory: what is behind its addresses, and whose they are."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import random
import resource
from typing import NamedTuple

from kintro.concepts.experiment import Experiment, Finding, NotObserved, Picture, judged
from kintro.concepts.scene import NOBODY, Actor, Play, drop_rights
from kintro.concepts.words import Value
from kintro.observers.memory import whole
from kintro.observers.memory_diff import diff
from kintro.observers.memory_layout import layout
from kintro.observers.memory_records import AddressSpace
from kintro.observers.memory_space import read_space
from kintro.shapes import Bar, Bars, Table
from kintro.sources.mappings import Mapping, read_maps, read_smaps
from kintro.sources.procfs import read_statm

PAGES = 1 << 14
WORD_BYTES = 8
_PR_SET_DUMPABLE = 4  # include/uapi/linux/prctl.h
_FIXED_NOREPLACE, _PROT_NONE = 0x100000, 0  # include/uapi/asm-generic/mman-common.h
_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]


def map_page(address: int) -> str | None:
    """Maps a page there; the name of the error, or None: it is mapped, now or before."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _FIXED_NOREPLACE
    if _libc.mmap(address, mmap.PAGESIZE, _PROT_NONE, flags, -1, 0) != _FAILED:
        return None
    code = ctypes.get_errno()
    return None if code == errno.EEXIST else errno.errorcode.get(code, str(code))


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("bytes", ctypes.c_size_t))


def peek(pid: int, address: int, size: int) -> tuple[bytes, str | None]:
    """Memory of another process by process_vm_readv(2), or the name of the error."""
    buffer = ctypes.create_string_buffer(size)
    here, there = _Iovec(ctypes.addressof(buffer), size), _Iovec(address, size)
    if _libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) == size:
        return buffer.raw, None
    return b"", errno.errorcode.get(ctypes.get_errno(), "?")


def _memory(pages: int) -> tuple[mmap.mmap, int]:
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
    data, address = _memory(PAGES)
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
        apart, alike = _frames(one.pid, other.pid, address, PAGES)
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


def _mapping(pid: int, address: int) -> Mapping:
    return next(mapping for mapping in read_maps(pid) if mapping.start <= address < mapping.end)


def _resident_bytes(pid: int, address: int) -> int:
    return next(
        usage.rss_bytes for mapping, usage in read_smaps(pid) if mapping.start <= address < mapping.end
    )


def _frames(a: int, b: int, address: int, pages: int) -> tuple[int | None, int | None]:
    """Of that many pages at the same address in two processes: in different frames, and in the same."""
    if os.geteuid() != 0:
        return None, None
    end = address + pages * mmap.PAGESIZE
    found = diff(
        a,
        [_mapping(a, address)._replace(start=address, end=end)],
        b,
        [_mapping(b, address)._replace(start=address, end=end)],
    ).total
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
        Bar(f"after writing to {seen.written:,} pages", after),
        Bar(f"after reading {seen.read:,} more", then),
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


class Apart(NamedTuple):
    """Two processes that use the same address, and what becomes of an attempt to read there from outside."""

    address: int
    pids: tuple[int, int]
    words: tuple[str, str]  # what each has written there and still finds there
    found: tuple[str, str]
    frames_differ: bool | None  # None: not told
    borders: tuple[int, int]  # how far the user space of each reaches
    refused: str | None  # the error of one without permission; None: it could read
    permitted: str | None  # what one with permission has read; None: it could not


def _own(data: mmap.mmap) -> Play:
    word = os.urandom(WORD_BYTES)
    data[:WORD_BYTES] = word
    yield word.hex()
    yield bytes(data[:WORD_BYTES]).hex()
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # nobody without special rights may look into it now
    yield None


def _peek(pid: int, address: int, user: int = NOBODY) -> Play:
    drop_rights(user)
    yield peek(pid, address, WORD_BYTES)


def observe_apart() -> Apart:
    data, address = _memory(1)
    with Actor(_own, data) as one, Actor(_own, data) as other:
        words = one.step(), other.step()
        found = one.step(), other.step()
        permitted, _ = peek(one.pid, address, WORD_BYTES)
        apart, _ = _frames(one.pid, other.pid, address, 1)
        borders = tuple(read_space(actor.pid).frame.task_size for actor in (one, other))
        one.step()
        with Actor(_peek, one.pid, address) as stranger:
            _, refused = stranger.step()
        return Apart(
            address,
            (one.pid, other.pid),
            words,
            found,
            None if apart is None else apart == 1,
            (borders[0], borders[1]),
            refused,
            permitted.hex() or None,
        )


def judge_apart(seen: Apart) -> Finding:
    facts: dict[str, Value] = {
        "same_address": seen.address,
        "one_found": seen.found[0],
        "other_found": seen.found[1],
        "frames_differ": seen.frames_differ,
        "border_address": seen.borders[0],
        "other_border_address": seen.borders[1],
        "refused_error": seen.refused,
        "permitted_found": seen.permitted,
    }
    own = seen.found == seen.words and seen.words[0] != seen.words[1] and seen.frames_differ is not False
    whole_space = seen.borders[0] == seen.borders[1] > seen.address
    holds = own and whole_space and seen.refused in ("EPERM", "EACCES")
    rows = tuple(
        (str(pid), f"0x{seen.address:x}", word) for pid, word in zip(seen.pids, seen.found, strict=True)
    )
    picture = Picture("same-address", Table(("pid", "address", "bytes"), rows))
    return Finding(judged(holds, seen.permitted == seen.words[0]), facts, (picture,))


class Locked(NamedTuple):
    """What becomes of attempts to read the memory of a process."""

    address: int
    refused: str | None
    permitted_bytes: int


def observe_locked(pid: int) -> Locked:
    mapping = next((m for m in read_maps(pid) if m.perms.startswith("r") and m.path != b"[vvar]"), None)
    if mapping is None:
        raise NotObserved("no-memory")
    owner = os.stat(f"/proc/{pid}").st_uid
    with Actor(_peek, pid, mapping.start, NOBODY - (owner == NOBODY)) as stranger:
        _, refused = stranger.step()
    permitted, _ = peek(pid, mapping.start, WORD_BYTES)
    return Locked(mapping.start, refused, len(permitted))


def judge_locked(seen: Locked) -> Finding:
    facts: dict[str, Value] = {
        "same_address": seen.address,
        "refused_error": seen.refused,
        "permitted_bytes": seen.permitted_bytes,
    }
    return Finding(judged(seen.refused in ("EPERM", "EACCES"), seen.permitted_bytes > 0), facts)


def _look(pid: int) -> AddressSpace:
    return read_space(pid)


EXPERIMENTS = (
    Experiment("A4", observe_touched, judge_touched, on=_look, judge_on=judge_touched_of),
    Experiment("A5", observe_apart, judge_apart, on=observe_locked, judge_on=judge_locked, on_root=True),
)
