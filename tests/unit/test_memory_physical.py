"""Kinds of pages, from arrays of our own making."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kintro.observers.memory_physical import FrameFacts, Physical, count
from kintro.sources.mappings import Mapping
from kintro.sources.pagemap import PAGE_BYTES, Pages

PRESENT, SWAPPED, GUARD, FILE, EXCLUSIVE = (1 << bit for bit in (63, 62, 58, 61, 56))
ANON, HUGE, KSM, THP, ZERO = (1 << bit for bit in (12, 17, 21, 22, 24))


def mapping(first: int, last: int) -> Mapping:
    """Of the pages from first to before last."""
    return Mapping(first * PAGE_BYTES, last * PAGE_BYTES, "rw-p", 0, "00:00", 0, b"", False)


def u64(values: list[int]) -> np.ndarray:
    return np.array(values, np.uint64)


def counted(
    rows: list[tuple[int, int, int, int]], *mappings: Mapping, scan: bool = False, hugetlb: bool | None = None
) -> tuple[Physical, ...]:
    """Rows of page number, entry, flags, number of mappings."""
    numbers, entries, flags, counts = (u64([row[n] for row in rows]) for n in range(4))
    no = np.zeros(len(rows), bool)
    pages = Pages(numbers, entries, no if scan else None, no if scan else None)
    return count(mappings, [hugetlb] * len(mappings), pages, FrameFacts(flags, counts))


def test_each_kind() -> None:
    [found] = counted(
        [
            (10, PRESENT | 100 | EXCLUSIVE, ANON, 1),
            (11, PRESENT | 101, ANON | KSM, 5),
            (12, PRESENT | 200 | FILE, THP, 30),
            (13, PRESENT | 7, ZERO, 0),
            (14, PRESENT | 512 | FILE, ZERO | THP, 0),  # the huge zero page
            (15, PRESENT | 9, 0, 0),
            (16, SWAPPED | 3, 0, 0),
            (17, SWAPPED | GUARD, 0, 0),
            (18, PRESENT | 1024, ANON | HUGE, 1),
        ],
        mapping(10, 20),
    )
    assert found._asdict() | {"mapping": None} == dict(
        mapping=None, present=7, swapped=1, guard=1, zero=2, hugetlb=1, anonymous=2, file=1, unclear=1,
        huge_mapped=None, thp=2, ksm=1, exclusive=1, shared=2, mappings_median=3.0, mappings_max=30,
        runs=6, longest_run=2,
    )  # fmt: skip
    assert found.rss == 3


def test_mappings_have_their_own_pages_only_in_any_order() -> None:
    rows = [(number, PRESENT | number + 1, ANON, 1) for number in (1, 2, 3, 7, 9)]
    found = counted(rows, mapping(7, 10), mapping(0, 3), mapping(4, 6), mapping(3, 4))
    assert [one.present for one in found] == [2, 2, 0, 1]
    assert [(one.runs, one.longest_run) for one in found] == [(2, 1), (1, 2), (0, 0), (1, 1)]


def test_of_the_kernels_page_nothing_is_known() -> None:
    vsyscall = Mapping(0xFFFFFFFFFF600000, 0xFFFFFFFFFF601000, "--xp", 0, "00:00", 0, b"[vsyscall]", False)
    [found] = counted([], vsyscall)
    assert set(found[1:]) == {None} and found.rss is None


def test_what_is_not_known_is_not_0() -> None:
    pages = Pages(u64([1, 2]), u64([PRESENT, PRESENT | FILE]), None, None)
    [found] = count([mapping(0, 4)], [None], pages, FrameFacts(None, None))
    assert (found.present, found.exclusive, found.swapped, found.guard) == (2, 0, 0, 0)
    known = {"mapping", "present", "exclusive", "swapped", "guard"}
    assert {value for name, value in found._asdict().items() if name not in known} == {None}


def test_the_scan_tells_zero_pages_to_those_who_see_no_frames() -> None:
    pages = Pages(
        u64([1, 2, 3]),
        u64([PRESENT, PRESENT | FILE, PRESENT]),
        np.array([False, False, True]),
        np.array([False] * 3),
    )
    [found] = count([mapping(0, 4)], [False], pages, FrameFacts(None, None))
    assert (found.zero, found.anonymous, found.file, found.hugetlb, found.rss) == (1, 1, 1, 0, 2)
    [huge] = count([mapping(0, 4)], [True], pages, FrameFacts(None, None))
    assert (huge.hugetlb, huge.anonymous, huge.file, huge.rss) == (3, 0, 0, 0)
    [unknown] = count([mapping(0, 4)], [None], pages, FrameFacts(None, None))
    assert (unknown.hugetlb, unknown.anonymous, unknown.rss) == (None, 1, None)


BITS = st.lists(st.sampled_from([PRESENT, PRESENT, SWAPPED, GUARD, FILE, EXCLUSIVE]), max_size=4)
FLAGS = st.lists(st.sampled_from([ANON, HUGE, KSM, THP, ZERO]), max_size=3)


@given(st.lists(st.tuples(st.integers(1, 60), BITS, FLAGS, st.integers(0, 9)), max_size=40), st.booleans())
def test_every_page_is_of_one_kind(rows: list[tuple[int, list[int], list[int], int]], scan: bool) -> None:
    made = [
        (number, sum(set(bits)) | pfn, sum(set(flags)), mapped)
        for number, (pfn, bits, flags, mapped) in enumerate(rows)
    ]
    first, second = counted(made, mapping(0, 20), mapping(20, 40), scan=scan)
    for one in (first, second):
        kinds = (one.zero, one.hugetlb, one.anonymous, one.file, one.unclear)
        assert one.present == sum(kind for kind in kinds if kind is not None)
        assert one.rss == (one.anonymous or 0) + (one.file or 0)
        assert (one.longest_run or 0) <= (one.present or 0)
        assert bool(one.runs) == bool(one.present)
    present = sum(bool(entry & PRESENT) for _, entry, _, _ in made)
    assert (first.present or 0) + (second.present or 0) == present
