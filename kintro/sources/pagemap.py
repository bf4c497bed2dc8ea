"""Which frame each page of a process lies in: /proc/PID/pagemap.

Documentation/admin-guide/mm/pagemap.rst, fs/proc/task_mmu.c. Who may read a process's memory map may read
its pagemap; frame numbers are shown to CAP_SYS_ADMIN only, others read 0 in their place (Linux 4.2), and no
page of a process lies in frame 0. The ioctl PAGEMAP_SCAN (Linux 6.7) finds the pages that exist: 0.2 ms for
100 GiB of nothing, where reading an entry for each page takes 95 ms; it also tells the zero page and huge
mappings to those who may not see frames. It passes over what is no RAM (VM_PFNMAP: devices, [vvar]).
The process runs on meanwhile: each page is read at a moment of its own.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np

from kintro.errors import EX_NOINPUT, EX_NOPERM, EX_UNAVAILABLE, KintroError
from kintro.sources import host
from kintro.sources.procfs import PF_KTHREAD

PAGE_BYTES = mmap.PAGESIZE
ENTRY_BYTES = 8
USER_END = 1 << 63  # above it no process has pages; [vsyscall] is the kernel's

# An entry, fs/proc/task_mmu.c PM_…
PFN = np.uint64((1 << 55) - 1)  # a frame's number if present; a place in swap if swapped
SOFT_DIRTY = np.uint64(1 << 55)
EXCLUSIVE = np.uint64(1 << 56)  # mapped once only (Linux 4.2)
GUARD = np.uint64(1 << 58)  # by MADV_GUARD_INSTALL (Linux 6.15, before it looks swapped)
FILE = np.uint64(1 << 61)  # of a file or of shared memory; the huge zero page has it too
SWAPPED = np.uint64(1 << 62)  # also while a page moves from frame to frame, and on guards
PRESENT = np.uint64(1 << 63)

# include/uapi/linux/fs.h
_PAGE_IS_FILE, _PAGE_IS_PRESENT, _PAGE_IS_SWAPPED, _PAGE_IS_PFNZERO, _PAGE_IS_HUGE = 4, 8, 16, 32, 64
_SCAN_ARG = struct.Struct("12Q")  # struct pm_scan_arg
_PAGEMAP_SCAN = 3 << 30 | _SCAN_ARG.size << 16 | ord("f") << 8 | 16  # _IOWR('f', 16, struct pm_scan_arg)
_REGIONS_MAX = 4096  # of struct page_region in one call

_CHUNK = 1 << 19  # entries read at once where there is no PAGEMAP_SCAN: 2 GiB of addresses
_GAP = 8  # a read costs 0.8 µs, an entry of /proc/kpagecount 80 ns: reading on beats another read up to here


class Pages(NamedTuple):
    """The pages of an address space that have an entry: in memory, in swap, or guards. Four equal columns."""

    numbers: np.ndarray  # u64, address // PAGE_BYTES, ascending
    entries: np.ndarray  # u64, as of /proc/PID/pagemap
    zero: np.ndarray | None  # bool: a zero page. None: no PAGEMAP_SCAN
    huge: np.ndarray | None  # bool: one entry maps a whole huge page, THP or hugetlb. None: no PAGEMAP_SCAN

    def between(self, start: int, end: int) -> Pages:
        """Those with addresses from start to before end."""
        low, high = np.searchsorted(self.numbers, np.array([start, end], np.uint64) // np.uint64(PAGE_BYTES))
        return self.take(slice(low, high))

    def take(self, which: slice | np.ndarray) -> Pages:
        return Pages(
            self.numbers[which],
            self.entries[which],
            None if self.zero is None else self.zero[which],
            None if self.huge is None else self.huge[which],
        )


def present(entries: np.ndarray) -> np.ndarray:
    """Which pages have a frame."""
    return (entries & PRESENT) != 0


def guard(entries: np.ndarray) -> np.ndarray:
    """Which pages are guards: touching them is a SIGSEGV."""
    return (entries & GUARD) != 0


def swapped(entries: np.ndarray) -> np.ndarray:
    """Which pages are in swap, or for a moment on their way to another frame."""
    return (entries & (SWAPPED | GUARD)) == SWAPPED


def frames(entries: np.ndarray) -> np.ndarray | None:
    """The frame number (PFN) of each page, 0 where it has none. None: they are not shown to this process."""
    pfns = np.where(present(entries), entries & PFN, np.uint64(0))
    return pfns if pfns.any() or not present(entries).any() else None


def read_pagemap(pid: int, start: int, end: int, root: Path = host.ROOT) -> np.ndarray:
    """One u64 for each page from address start to before end; 0 for a page that was never touched.

    8 bytes for each page, also of a reservation: `Pagemap.pages` has only what exists. Errors as Pagemap.
    """
    with Pagemap(pid, root) as pagemap:
        return pagemap.entries(start, end)


class Pagemap:
    """The open pagemap of a process: of the memory it had then, so that a later exec is noticed.

    KintroError: no such process, or it has no memory (a kernel thread, a zombie), or ends or executes another
    program while it is read (66); not ours to read (77); a kernel without CONFIG_PROC_PAGE_MONITOR (69).
    """

    def __init__(self, pid: int, root: Path = host.ROOT) -> None:
        self._pid, self._root = pid, root
        try:
            self._fd = os.open(root / f"proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError:
            raise KintroError(
                f"the memory of process {pid} may not be read",
                "Run kintro as root, or as the process's owner.",
                EX_NOPERM,
            ) from None
        except (FileNotFoundError, ProcessLookupError):  # the latter for no memory, since Linux 6.16
            raise self._missing() from None

    def __enter__(self) -> Pagemap:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def entries(self, start: int, end: int) -> np.ndarray:
        """As read_pagemap."""
        first = start // PAGE_BYTES
        found = np.zeros(max(0, -(-end // PAGE_BYTES) - first), np.uint64)
        _fill(self._fd, first, found)
        self._check()
        return found

    def pages(self, ranges: Iterable[tuple[int, int]]) -> Pages:
        """The pages that have an entry, of ranges of addresses (start, end) that do not overlap."""
        joined = list(_joined(ranges))
        scanned = self._scan(joined)
        if scanned is None:
            numbers, entries = self._sift(joined)
            found = Pages(numbers, entries, None, None)
        else:
            starts, ends, categories = scanned
            numbers = _expand(starts, ends)
            each = np.repeat(categories, (ends - starts).astype(np.int64))
            is_zero, is_huge = ((each & np.uint64(flag)) != 0 for flag in (_PAGE_IS_PFNZERO, _PAGE_IS_HUGE))
            found = Pages(numbers, read_at(self._fd, numbers), is_zero, is_huge)
            found = found.take(_exists(found.entries))  # some may have gone since the scan
        self._check()
        return found

    def _scan(self, ranges: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Runs of pages of one kind: first number, one behind the last, PAGE_IS_…; None without the ioctl."""
        regions = np.empty((_REGIONS_MAX, 3), np.uint64)  # struct page_region
        found = [regions[:0]]
        wanted = _PAGE_IS_PRESENT | _PAGE_IS_SWAPPED
        for start, end in ranges:
            while start < end:
                argument = bytearray(
                    _SCAN_ARG.pack(
                        _SCAN_ARG.size, 0, start, end, 0, regions.ctypes.data, _REGIONS_MAX, 0,
                        0, 0, wanted, wanted | _PAGE_IS_FILE | _PAGE_IS_PFNZERO | _PAGE_IS_HUGE,
                    )
                )  # fmt: skip
                try:
                    count = fcntl.ioctl(self._fd, _PAGEMAP_SCAN, argument)
                except OSError:  # an older kernel, a seccomp filter
                    return None
                found.append(regions[:count].copy())
                if count < _REGIONS_MAX:
                    break
                # Not walk_end: past 512 regions in one call that is an address before the last (Linux 6.18).
                start = int(regions[-1, 1])
        starts, ends, categories = np.concatenate(found).T
        return starts // np.uint64(PAGE_BYTES), ends // np.uint64(PAGE_BYTES), categories

    def _sift(self, ranges: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
        """Numbers and entries of the pages that have one, from all entries: 1 s for each TiB."""
        numbers, entries = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
        chunk = np.empty(_CHUNK, np.uint64)
        for start, end in ranges:
            for first in range(start // PAGE_BYTES, end // PAGE_BYTES, _CHUNK):
                part = chunk[: min(_CHUNK, end // PAGE_BYTES - first)]
                got = part[: _fill(self._fd, first, part)]
                [kept] = np.nonzero(_exists(got))
                numbers.append(kept.astype(np.uint64) + np.uint64(first))
                entries.append(got[kept])
        return np.concatenate(numbers), np.concatenate(entries)

    def _check(self) -> None:
        """Once the memory is given up, nothing can be read, where else there is an entry for address 0."""
        if not os.pread(self._fd, ENTRY_BYTES, 0):
            raise self._missing()

    def _missing(self) -> KintroError:
        """What is to be said of a process without memory."""
        stat = host.read_text(f"proc/{self._pid}/stat", self._root)
        if stat is None:
            return KintroError(f"no such process: {self._pid}", None, EX_NOINPUT)
        words = stat.rpartition(")")[2].split()  # from the state on, proc_pid_stat(5)
        if int(words[6]) & PF_KTHREAD:
            return KintroError(
                f"process {self._pid} is a thread of the kernel: no memory of its own", None, EX_NOINPUT
            )
        if words[0] in "ZX":
            return KintroError(f"process {self._pid} has ended: a zombie has no memory", None, EX_NOINPUT)
        if not (self._root / f"proc/{self._pid}/pagemap").exists():
            return KintroError(
                "this kernel has no /proc/PID/pagemap", "It needs CONFIG_PROC_PAGE_MONITOR=y.", EX_UNAVAILABLE
            )
        return KintroError(
            f"process {self._pid} executed another program or ended while it was looked at",
            "Try again.",
            EX_NOINPUT,
        )


def read_at(fd: int, indexes: np.ndarray) -> np.ndarray:
    """The u64 at each index of a file of u64; indexes ascend. Where the file ends before, 0."""
    if not len(indexes):
        return np.empty(0, np.uint64)
    breaks = np.flatnonzero(np.diff(indexes) > _GAP) + 1
    firsts = indexes[np.concatenate(([0], breaks))]
    lengths = indexes[np.concatenate((breaks - 1, [-1]))] - firsts + np.uint64(1)
    ends = np.cumsum(lengths)
    found = np.zeros(int(ends[-1]), np.uint64)
    view, low = found.view(np.uint8).data, 0
    for first, end in zip(firsts.tolist(), (ends * np.uint64(ENTRY_BYTES)).tolist()):
        # The kernel may give less than was asked for; a file that ends gives nothing.
        at = first * ENTRY_BYTES - low
        while low < end and (got := os.preadv(fd, [view[low:end]], at + low)):
            low += got
        low = end
    runs = np.diff(np.concatenate(([0], breaks, [len(indexes)])))
    return found[indexes - np.repeat(firsts - (ends - lengths), runs)]


def _fill(fd: int, first: int, into: np.ndarray) -> int:
    """Reads entries from an index on; how many there were."""
    view, done = into.view(np.uint8).data, 0
    while done < len(view) and (got := os.preadv(fd, [view[done:]], first * ENTRY_BYTES + done)):
        done += got
    return done // ENTRY_BYTES


def _exists(entries: np.ndarray) -> np.ndarray:
    return (entries & (PRESENT | SWAPPED | GUARD)) != 0


def _expand(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """All numbers of half-open runs, one after the other."""
    lengths = ends - starts
    before = np.cumsum(lengths) - lengths
    total = int(lengths.sum())
    return np.arange(total, dtype=np.uint64) + np.repeat(starts - before, lengths.astype(np.int64))


def _joined(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The ranges of user space, ascending, those that touch or overlap as one."""
    start = end = 0
    for low, high in sorted(ranges):
        if high > USER_END:
            continue
        if low > end or start == end:
            if start < end:
                yield start, end
            start = low
        end = max(end, high)
    if start < end:
        yield start, end
