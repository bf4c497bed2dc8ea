"""What two processes have in common in memory: which pages lie in the same frame.

Right after a fork parent and child share every frame; a page is copied when one of them writes to it. Two
runs of one program share the pages of its files, through the page cache, at addresses that ASLR has moved:
`memory_pairs` finds what answers to what, here the pages are compared, huge pages by their small ones.

Neither process is stopped. Both are read twice, and what differs is counted: if nothing does, all that is
told was true at one moment. Frame numbers need CAP_SYS_ADMIN; without, smaps tells how much is shared with
anyone at all, and only which pages exist is compared. Cost as Pagemap.pages, four times.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kintro.errors import EX_NOPERM, KintroError
from kintro.observers.memory_pairs import ONLY_A, ONLY_B, Pair, pairs
from kintro.observers.memory_physical import mapping_of
from kintro.observers.memory_records import Region
from kintro.sources import host, pagemap
from kintro.sources.mappings import Mapping, Usage
from kintro.sources.pagemap import PAGE_BYTES, Pagemap, Pages

FRAMES, SMAPS = "frames", "smaps"


class Compared(NamedTuple):
    """How the pages of A and B stand to each other; counts of pages. None: frames are not shown to us."""

    same_frame: int | None
    different_frame: int | None  # at the same address, or at the same place of a mapping that has moved
    only_a: int
    only_b: int
    zero: int | None  # of same_frame: the zero page, which the whole machine shares; Linux 6.7
    swapped: int  # in swap in A or B; in none of the counts before


class Sharing(NamedTuple):
    """What smaps says one process shares with anyone at all, in bytes (proc_pid_smaps(5))."""

    shared_bytes: int
    private_bytes: int


class Part(NamedTuple):
    """A pair of mappings, and what they share. None of smaps: not given."""

    pair: Pair
    pages: Compared
    smaps_a: Sharing | None
    smaps_b: Sharing | None


class Diff(NamedTuple):
    """Two address spaces compared."""

    a: int  # pid
    b: int
    by: str  # `frames`, or `smaps`: no frame numbers, same and different frames are not known
    page_bytes: int
    changed_a: int  # pages of A that changed while B was read; 0: it was still
    changed_b: int
    parts: tuple[Part, ...]

    @property
    def total(self) -> Compared:
        """All pages of both."""
        columns = zip(*(part.pages for part in self.parts)) if self.parts else [()] * len(Compared._fields)
        return Compared(*map(_total, columns))


def diff(
    a: int,
    regions_a: Sequence[Region] | Sequence[Mapping],
    b: int,
    regions_b: Sequence[Region] | Sequence[Mapping],
    root: Path = host.ROOT,
) -> Diff:
    """Compares process a with process b, of which the regions or mappings are given; part of them will do.

    KintroError as Pagemap; and where frames are not shown and no region has its usage (77).
    """
    mappings_a, mappings_b = ([mapping_of(item) for item in items] for items in (regions_a, regions_b))
    usages_a, usages_b = _usages(regions_a), _usages(regions_b)
    ranges_a, ranges_b = ([(m.start, m.end) for m in found] for found in (mappings_a, mappings_b))
    with Pagemap(a, root) as of_a, Pagemap(b, root) as of_b:
        # Two reads of A around one of B, and two of B around one of A: what is still in both was so at once.
        pages_a, pages_b = of_a.pages(ranges_a), of_b.pages(ranges_b)
        changed_a = changed(pages_a, of_a.pages(ranges_a))
        changed_b = changed(pages_b, of_b.pages(ranges_b))
    by = FRAMES
    if pagemap.frames(pages_a.entries) is None or pagemap.frames(pages_b.entries) is None:
        by = SMAPS
        if not usages_a and not usages_b:
            raise KintroError(
                "which pages two processes share may not be read", "Run kintro as root.", EX_NOPERM
            )
    parts = tuple(
        Part(
            pair,
            compare(
                pages_a.between(*pair.span_a), pages_b.between(*pair.span_b), pair.shift_bytes, by == FRAMES
            ),
            usages_a.get(pair.a),
            usages_b.get(pair.b),
        )
        for pair in pairs(mappings_a, mappings_b)
    )
    return Diff(a, b, by, PAGE_BYTES, changed_a, changed_b, parts)


def compare(a: Pages, b: Pages, shift_bytes: int = 0, by_frames: bool = True) -> Compared:
    """Compares pages of A with those of B that are `shift_bytes` further up."""
    numbers_b = b.numbers - np.uint64(shift_bytes // PAGE_BYTES % (1 << 64))  # wraps as the kernel's own do
    away = np.union1d(a.numbers[pagemap.swapped(a.entries)], numbers_b[pagemap.swapped(b.entries)])
    in_a = pagemap.present(a.entries) & ~np.isin(a.numbers, away, assume_unique=True)
    in_b = pagemap.present(b.entries) & ~np.isin(numbers_b, away, assume_unique=True)
    _, places_a, places_b = np.intersect1d(
        a.numbers[in_a], numbers_b[in_b], assume_unique=True, return_indices=True
    )
    both = len(places_a)
    only_a, only_b = np.count_nonzero(in_a) - both, np.count_nonzero(in_b) - both
    if not by_frames:
        return Compared(None, None, int(only_a), int(only_b), None, len(away))
    frames_a, frames_b = (
        (pages.entries[which] & pagemap.PFN)[places]
        for pages, which, places in ((a, in_a, places_a), (b, in_b, places_b))
    )
    same = frames_a == frames_b
    count = int(np.count_nonzero(same))
    zero = None if a.zero is None else int(np.count_nonzero(a.zero[in_a][places_a] & same))
    return Compared(count, both - count, int(only_a), int(only_b), zero, len(away))


def changed(before: Pages, after: Pages) -> int:
    """Pages that came, went, or changed their frame between two reads of the same process."""
    told = pagemap.PRESENT | pagemap.SWAPPED | pagemap.GUARD | pagemap.PFN
    _, old, new = np.intersect1d(before.numbers, after.numbers, assume_unique=True, return_indices=True)
    other = np.count_nonzero((before.entries[old] ^ after.entries[new]) & told)
    return len(before.numbers) + len(after.numbers) - 2 * len(old) + int(other)


def diff_json(found: Diff) -> dict[str, Any]:
    """The diff as one JSON object; paths are bytes still. null: not known."""
    total = found.total
    return {
        "a": found.a,
        "b": found.b,
        "by": found.by,
        "page_bytes": found.page_bytes,
        "changed_pages": {"a": found.changed_a, "b": found.changed_b},
        "pages": total._asdict(),
        "bytes": {
            name: None if value is None else value * found.page_bytes
            for name, value in total._asdict().items()
        },
        "mappings": [_part_json(part) for part in found.parts],
    }


def _part_json(part: Part) -> dict[str, Any]:
    relation = part.pair.relation
    return {
        "relation": relation,
        "shift_bytes": None if relation in (ONLY_A, ONLY_B) else part.pair.shift_bytes,
        "a": _mapping_json(part.pair.a, part.smaps_a),
        "b": _mapping_json(part.pair.b, part.smaps_b),
        "pages": part.pages._asdict(),
    }


def _mapping_json(mapping: Mapping | None, smaps: Sharing | None) -> dict[str, Any] | None:
    if mapping is None:
        return None
    return mapping._asdict() | {"smaps": None if smaps is None else smaps._asdict()}


def _usages(of: Iterable[Region | Mapping]) -> dict[Mapping | None, Sharing]:
    return {
        item.mapping: _sharing(item.usage)
        for item in of
        if isinstance(item, Region) and item.usage is not None
    }


def _sharing(usage: Usage) -> Sharing:
    return Sharing(
        usage.shared_clean_bytes + usage.shared_dirty_bytes + usage.shared_hugetlb_bytes,
        usage.private_clean_bytes + usage.private_dirty_bytes + usage.private_hugetlb_bytes,
    )


def _total(column: Sequence[int | None]) -> Any:
    return None if None in column else sum(value for value in column if value is not None)
