"""What lies in memory behind each mapping: how many pages have a frame, of which kind, and who else maps it.

By /proc/PID/pagemap, /proc/kpageflags and /proc/kpagecount, read one after the other while the process runs.
All counts are of pages of the base size (mmap.PAGESIZE): a huge page of 2 MiB counts as 512.

present = zero + hugetlb + anonymous + file + unclear. What smaps calls Rss is anonymous + file: it counts
neither a zero page, which reading untouched memory maps and which takes no memory of its own, nor hugetlb.
Cost: 80 ns in each of the three files for each page in memory, whatever is reserved.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kintro.errors import KintroError
from kintro.observers.memory_records import Region
from kintro.sources import host, page_frames, pagemap
from kintro.sources.mappings import Mapping
from kintro.sources.pagemap import PAGE_BYTES, USER_END, Pagemap, Pages


class Physical(NamedTuple):
    """The pages of one mapping; counts of pages. None: not known, mostly for want of CAP_SYS_ADMIN."""

    mapping: Mapping
    present: int | None  # have a frame. None, as all else: [vsyscall], that is the kernel's
    swapped: int | None  # in swap, or for a moment on their way from frame to frame
    guard: int | None  # guards by madvise(2); before Linux 6.15 they seem swapped
    zero: int | None  # mapped to the zero page, small or huge
    hugetlb: int | None
    anonymous: int | None  # with hugetlb None they hold its private pages, as `file` its shared ones
    file: int | None  # of files, shared memory and memfds
    unclear: int | None  # no RAM (devices, [vvar]), or the frame changed hands meanwhile
    huge_mapped: int | None  # by one entry for a whole huge page, hugetlb too, not the zero page; Linux 6.7
    thp: int | None  # in a transparent huge page of any size, large folios of files too, however mapped
    ksm: int | None  # merged with pages of the same content
    exclusive: int | None  # mapped nowhere else (bit 56)
    shared: int | None  # mapped more than once, be it by the same process
    mappings_median: (
        float | None
    )  # of how often each frame is mapped, without zero pages; None also for no page
    mappings_max: int | None
    runs: int | None  # stretches of pages that lie in consecutive frames
    longest_run: int | None

    @property
    def rss(self) -> int | None:
        """Pages that smaps counts as Rss."""
        if self.anonymous is None or self.file is None or self.hugetlb is None:
            return None
        return self.anonymous + self.file


class FrameFacts(NamedTuple):
    """What the kernel says of the frames of pages, column by column; 0 where a page has none."""

    flags: np.ndarray | None  # u64 of /proc/kpageflags
    mapcounts: np.ndarray | None  # u64 of /proc/kpagecount


def physical(
    pid: int, of: Sequence[Region] | Sequence[Mapping], root: Path = host.ROOT
) -> tuple[Physical, ...]:
    """One record for each region or mapping, in their order. Errors as pagemap.Pagemap.

    A mapping that is gone by now has no pages.
    """
    mappings = [mapping_of(item) for item in of]
    with Pagemap(pid, root) as opened:
        pages = opened.pages([(mapping.start, mapping.end) for mapping in mappings])
    return count(mappings, [usage_says_hugetlb(item) for item in of], pages, read_facts(pages, root))


def read_facts(pages: Pages, root: Path = host.ROOT) -> FrameFacts:
    """Of all frames of these pages; None for what may not be read."""
    pfns = pagemap.frames(pages.entries)
    if pfns is None:
        return FrameFacts(None, None)
    with_frame = pfns != 0
    columns: list[np.ndarray | None] = []
    for read in (page_frames.read_kpageflags, page_frames.read_kpagecount):
        try:
            column = np.zeros(len(pfns), np.uint64)
            column[with_frame] = read(pfns[with_frame], root)
            columns.append(column)
        except KintroError:
            columns.append(None)
    return FrameFacts(*columns)


def count(
    mappings: Sequence[Mapping], hugetlb: Sequence[bool | None], pages: Pages, facts: FrameFacts
) -> tuple[Physical, ...]:
    """One record for each mapping. `hugetlb`: whether it is of hugetlb pages; None: only flags can tell."""
    bounds = np.array([(m.start, m.end) for m in mappings], np.uint64).reshape(-1, 2) // np.uint64(PAGE_BYTES)
    places = np.searchsorted(pages.numbers, bounds).tolist()
    found = []
    for mapping, is_hugetlb, (low, high) in zip(mappings, hugetlb, places):
        if mapping.end > USER_END:
            found.append(Physical(mapping, *[None] * (len(Physical._fields) - 1)))
            continue
        part = slice(low, high)
        own = FrameFacts(*(None if column is None else column[part] for column in facts))
        found.append(_count(mapping, is_hugetlb, pages.take(part), own))
    return tuple(found)


def _count(mapping: Mapping, hugetlb: bool | None, pages: Pages, facts: FrameFacts) -> Physical:
    entries, flags, mapcounts = pages.entries, facts.flags, facts.mapcounts
    present = pagemap.present(entries)
    kinds = _kinds(pages, present, flags, hugetlb)
    zero = kinds["zero"]
    pfns = pagemap.frames(entries)
    counts = None if mapcounts is None else mapcounts[mapcounts > 0]  # a zero page has 0
    runs = None if pfns is None else _runs(pages.numbers[present], pfns[present])
    return Physical(
        mapping=mapping,
        present=_sum(present),
        swapped=_sum(pagemap.swapped(entries)),
        guard=_sum(pagemap.guard(entries)),
        **{name: _sum(which) for name, which in kinds.items()},
        huge_mapped=None if pages.huge is None or zero is None else _sum(pages.huge & ~zero),
        thp=_flagged(flags, page_frames.THP),
        ksm=_flagged(flags, page_frames.KSM),
        exclusive=_sum(present & ((entries & pagemap.EXCLUSIVE) != 0)),
        shared=None if counts is None else _sum(counts > 1),
        mappings_median=None if counts is None or not len(counts) else float(np.median(counts)),
        mappings_max=None if counts is None or not len(counts) else int(counts.max()),
        runs=None if runs is None else len(runs),
        longest_run=None if runs is None else int(runs.max(initial=0)),
    )


def _kinds(
    pages: Pages, present: np.ndarray, flags: np.ndarray | None, hugetlb: bool | None
) -> dict[str, np.ndarray | None]:
    """Which pages are of which kind; each page that is present is of one only."""
    of_file = (pages.entries & pagemap.FILE) != 0
    if flags is not None:
        zero = present & ((flags & page_frames.ZERO_PAGE) != 0)
        in_hugetlb = present & ~zero & ((flags & page_frames.HUGE) != 0)
        left = present & ~zero & ~in_hugetlb
        file = left & of_file
        anonymous = left & ~of_file & ((flags & page_frames.ANON) != 0)
        unclear = left & ~file & ~anonymous
        return dict(zero=zero, hugetlb=in_hugetlb, anonymous=anonymous, file=file, unclear=unclear)
    in_hugetlb = None if hugetlb is None else present & np.bool_(hugetlb)
    if pages.zero is None:  # before Linux 6.7 only flags tell a zero page from another
        return dict(zero=None, hugetlb=in_hugetlb, anonymous=None, file=None, unclear=None)
    zero = present & pages.zero
    left = present & ~zero & ~np.bool_(bool(hugetlb))
    return dict(zero=zero, hugetlb=in_hugetlb, anonymous=left & ~of_file, file=left & of_file, unclear=None)


def _runs(numbers: np.ndarray, pfns: np.ndarray) -> np.ndarray:
    """Lengths of the stretches in which both the page and its frame go up by one."""
    if not len(numbers):
        return np.empty(0, np.int64)
    one = np.uint64(1)
    [breaks] = np.nonzero((np.diff(numbers) != one) | (np.diff(pfns) != one))
    return np.diff(np.concatenate(([-1], breaks, [len(numbers) - 1])))


def _sum(which: np.ndarray | None) -> int | None:
    return None if which is None else int(np.count_nonzero(which))


def _flagged(flags: np.ndarray | None, flag: np.uint64) -> int | None:
    return None if flags is None else _sum((flags & flag) != 0)


def mapping_of(item: Region | Mapping) -> Mapping:
    return item.mapping if isinstance(item, Region) else item


def usage_says_hugetlb(item: Region | Mapping) -> bool | None:
    """By KernelPageSize of smaps: THP leaves it alone."""
    usage = item.usage if isinstance(item, Region) else None
    page_bytes = usage.kernel_page_bytes if usage is not None else None
    return None if page_bytes is None else page_bytes > PAGE_BYTES
