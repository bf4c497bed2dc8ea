"""Entries of pagemap and of the files about frames, from files of our own making."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sparse_files import lay_out

from kintro.errors import KintroError
from kintro.sources import pagemap
from kintro.sources.page_frames import flag_names, read_kpagecount, read_kpageflags
from kintro.sources.pagemap import PAGE_BYTES, Pagemap, Pages, read_at, read_pagemap

PRESENT, SWAPPED, GUARD, FILE = (1 << bit for bit in (63, 62, 58, 61))
SLEEPER = "7 (x) S 1 7 7 0 -1 0 0 0"
STATS = {
    "no such process": None,
    "thread of the kernel": "7 (kworker) I 2 0 0 0 -1 69238880 0 0",
    "a zombie has no memory": "7 (a) b) Z 1 7 7 0 -1 0 0 0",
    "executed another program": SLEEPER,
}


def u64(*values: int) -> np.ndarray:
    return np.array(values, np.uint64)


def test_what_an_entry_says() -> None:
    entries = u64(0, PRESENT | 5, SWAPPED | 77, SWAPPED | GUARD | 3, PRESENT | FILE | 1 << 56 | 6, 1 << 55)
    assert pagemap.present(entries).tolist() == [False, True, False, False, True, False]
    assert pagemap.swapped(entries).tolist() == [False, False, True, False, False, False]
    assert pagemap.guard(entries).tolist() == [False, False, False, True, False, False]
    found = pagemap.frames(entries)
    assert found is not None and found.tolist() == [0, 5, 0, 0, 6, 0]


def test_hidden_frames_are_not_frame_0() -> None:
    assert pagemap.frames(u64(PRESENT, PRESENT | FILE, SWAPPED | 5)) is None
    nothing = pagemap.frames(u64(0, SWAPPED | 5))
    assert nothing is not None and nothing.tolist() == [0, 0]


@given(st.dictionaries(st.integers(0, 400), st.integers(1, 2**64 - 1)), st.sets(st.integers(0, 500)))
def test_read_at_is_what_stands_there(entries: dict[int, int], wanted: set[int]) -> None:
    fd = os.memfd_create("entries")
    try:
        for index, entry in entries.items():
            os.pwrite(fd, entry.to_bytes(8, "little"), index * 8)
        indexes = np.array(sorted(wanted), np.uint64)
        assert read_at(fd, indexes).tolist() == [entries.get(index, 0) for index in indexes.tolist()]
    finally:
        os.close(fd)


def test_pages_without_the_ioctl(tmp_path: Path) -> None:
    """A plain file refuses it, as kernels before 6.7 do. Soft-dirty alone is no page."""
    entries = {3: PRESENT | 9, 4: 1 << 55, 5: SWAPPED | 2, 20: PRESENT | 7, 30: SWAPPED | GUARD}
    lay_out(tmp_path, "7/pagemap", entries, size=64)
    ranges = [(20, 31), (1 << 52) + np.array([1, 2]), (2, 5), (5, 6)]
    with Pagemap(7, tmp_path) as opened:
        found = opened.pages([(int(a) * PAGE_BYTES, int(b) * PAGE_BYTES) for a, b in ranges])
    assert found.numbers.tolist() == [3, 5, 20, 30]
    assert found.entries.tolist() == [entries[number] for number in (3, 5, 20, 30)]
    assert (found.zero, found.huge) == (None, None)
    assert found.between(4 * PAGE_BYTES, 20 * PAGE_BYTES).numbers.tolist() == [5]


def test_an_entry_for_each_page(tmp_path: Path) -> None:
    lay_out(tmp_path, "7/pagemap", {3: PRESENT | 9})
    assert read_pagemap(7, 2 * PAGE_BYTES, 6 * PAGE_BYTES, tmp_path).tolist() == [0, PRESENT | 9, 0, 0]
    assert read_pagemap(7, 0, 0, tmp_path).tolist() == []


@pytest.mark.parametrize("message", STATS)
@pytest.mark.parametrize("opens", [True, False])
def test_a_process_without_memory(tmp_path: Path, message: str, opens: bool) -> None:
    """It opens, but nothing can be read, or it does not open: since Linux 6.16, or when it is gone."""
    stat = STATS[message]
    folder = tmp_path / "proc/7"
    folder.mkdir(parents=True)
    if stat is not None:
        (folder / "stat").write_text(stat)
    if opens:
        lay_out(tmp_path, "7/pagemap", {})
    elif stat == SLEEPER:
        message = "this kernel has no /proc/PID/pagemap"
    with pytest.raises(KintroError) as caught:
        read_pagemap(7, 0, PAGE_BYTES, tmp_path)
    assert message in caught.value.message
    assert caught.value.exit_code == (69 if "this kernel" in message else 66)


@given(st.sets(st.tuples(st.integers(0, 60), st.integers(1, 9))))
def test_ranges_that_touch_become_one(starts: set[tuple[int, int]]) -> None:
    ranges, end = [], 0
    for gap, length in starts:
        ranges.append((end + gap % 3, end + gap % 3 + length))
        end = ranges[-1][1]
    joined = list(pagemap._joined(reversed(ranges)))
    pages = [number for start, end in ranges for number in range(start, end)]
    assert [number for start, end in joined for number in range(start, end)] == pages
    assert all(after > before for (_, before), (after, _) in pairwise(joined))


def test_the_kernels_half_is_left_out() -> None:
    vsyscall = (0xFFFFFFFFFF600000, 0xFFFFFFFFFF601000)
    assert list(pagemap._joined([(4096, 8192), vsyscall])) == [(4096, 8192)]


def test_frames_in_any_order_and_more_than_once(tmp_path: Path) -> None:
    lay_out(tmp_path, "kpagecount", {5: 1, 6: 2, 900: 3})
    lay_out(tmp_path, "kpageflags", {5: 1 << 12 | 1 << 24})
    assert read_kpagecount(u64(900, 5, 6, 5, 9999), tmp_path).tolist() == [3, 1, 2, 1, 0]
    [flags] = read_kpageflags(u64(5), tmp_path).tolist()
    assert flag_names(flags) == ("ANON", "ZERO_PAGE")
    assert read_kpagecount(u64(), tmp_path).tolist() == []


def test_no_file_about_frames(tmp_path: Path) -> None:
    with pytest.raises(KintroError) as caught:
        read_kpagecount(u64(1), tmp_path)
    assert caught.value.exit_code == 69


def test_pages_take_keeps_columns_together() -> None:
    pages = Pages(u64(1, 2, 3), u64(4, 5, 6), np.array([True, False, True]), None)
    taken = pages.take(np.array([True, False, True]))
    assert (taken.numbers.tolist(), taken.entries.tolist(), taken.huge) == ([1, 3], [4, 6], None)
    assert taken.zero is not None and taken.zero.tolist() == [True, True]
