"""Mappings paired and pages compared, from mappings and arrays of our own making."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sparse_files import lay_out

from kintro.errors import KintroError
from kintro.observers.memory_diff import Compared, changed, compare, diff, diff_json
from kintro.observers.memory_pairs import Pair, pairs
from kintro.observers.memory_records import Region
from kintro.renderers.jsonl import line
from kintro.sources.mappings import Mapping, Usage
from kintro.sources.pagemap import PAGE_BYTES, Pages

PRESENT, SWAPPED, FILE, EXCLUSIVE = (1 << bit for bit in (63, 62, 61, 56))
USAGE = Usage(*[0] * 21, flags=())._replace(
    shared_clean_bytes=4096, shared_dirty_bytes=8192, private_dirty_bytes=16384, kernel_page_bytes=PAGE_BYTES
)


def mapping(
    first: int, last: int, path: bytes = b"", perms: str = "rw-p", offset: int = 0, inode: int | None = None
) -> Mapping:
    """Of the pages from first to before last; a path that begins with / is that of a file."""
    number = inode if inode is not None else sum(path) if path.startswith(b"/") else 0
    return Mapping(
        first * PAGE_BYTES, last * PAGE_BYTES, perms, offset * PAGE_BYTES, "08:01", number, path, False
    )


def told(found: tuple[Pair, ...]) -> list[tuple[str, tuple[int, int] | None, tuple[int, int] | None, int]]:
    """Relation, pages in A, pages in B, shift in pages."""

    def pages(span: tuple[int, int]) -> tuple[int, int] | None:
        return (span[0] // PAGE_BYTES, span[1] // PAGE_BYTES) if span != (0, 0) else None

    return [(p.relation, pages(p.span_a), pages(p.span_b), p.shift_bytes // PAGE_BYTES) for p in found]


# Pairs


def test_a_heap_that_has_grown_is_the_same_mapping() -> None:
    found = told(pairs([mapping(10, 20, b"[heap]")], [mapping(10, 30, b"[heap]")]))
    assert found == [("same mapping", (10, 20), (10, 30), 0)]


def test_a_mapping_that_was_cut() -> None:
    cut = [mapping(10, 14), mapping(14, 16, perms="---p"), mapping(18, 20)]
    assert told(pairs([mapping(10, 20)], cut)) == [
        ("same mapping", (10, 14), (10, 14), 0),
        ("same mapping", (14, 18), (14, 16), 0),
        ("same mapping", (18, 20), (18, 20), 0),
    ]
    assert told(pairs(cut, [mapping(10, 20)])) == [
        ("same mapping", (10, 14), (10, 14), 0),
        ("same mapping", (14, 16), (14, 18), 0),
        ("same mapping", (18, 20), (18, 20), 0),
    ]


def test_another_object_at_the_same_address_is_another_mapping() -> None:
    a = [mapping(10, 20, b"/a")]
    assert [one[0] for one in told(pairs(a, [mapping(10, 20, b"/b")]))] == ["only in A", "only in B"]
    assert [one[0] for one in told(pairs(a, [mapping(10, 20)]))] == ["only in A", "only in B"]
    other_place = mapping(10, 20, b"/a", offset=5)
    assert [one[0] for one in told(pairs(a, [other_place]))] == ["only in A", "only in B"]


def test_what_aslr_moved() -> None:
    def run(program: int, library: int, heap: int, stack: int, stack_pages: int) -> list[Mapping]:
        return [
            mapping(program, program + 2, b"/bin/x", "r-xp"),
            mapping(program + 2, program + 3, b"/bin/x", "rw-p", offset=2),
            mapping(program + 3, program + 4),
            mapping(heap, heap + 33, b"[heap]"),
            mapping(library - 2, library),
            mapping(library, library + 9, b"/lib/y", "r-xp"),
            mapping(library + 9, library + 12),
            mapping(stack - stack_pages, stack, b"[stack]"),
        ]

    found = told(pairs(run(100, 1000, 200, 9000, 33), run(60, 1500, 300, 8000, 40)))
    assert [one[0] for one in found] == ["moved"] * 8
    assert [one[3] for one in found] == [-40, -40, -40, 100, 500, 500, 500, -1000]
    assert found[-1] == ("moved", (8967, 9000), (7960, 8000), -1000)


def test_a_mapping_moved_out_of_another() -> None:
    """B has one anonymous mapping where A has a file in the middle, which B has elsewhere."""
    a = [mapping(10, 12), mapping(12, 14, b"/x"), mapping(14, 16)]
    found = told(pairs(a, [mapping(10, 16), mapping(50, 52, b"/x")]))
    assert found == [
        ("same mapping", (10, 12), (10, 14), 0),
        ("moved", (12, 14), (50, 52), 38),
        ("same mapping", (14, 16), (14, 16), 0),
    ]


@st.composite
def spaces(draw: st.DrawFn) -> list[Mapping]:
    found, at = [], 0
    kinds = st.sampled_from([b"", b"", b"/a", b"/b", b"[heap]", b"[stack]"])
    for gap, length, path in draw(
        st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6), kinds), max_size=9)
    ):
        at += gap
        offset = at - draw(st.integers(0, 1)) * at if path.startswith(b"/") else 0
        found.append(mapping(at, at + length, path, draw(st.sampled_from(["rw-p", "r--p"])), offset))
        at += length
    return found


def stretches(found: list[tuple[Mapping, tuple[int, int]]]) -> list[int]:
    return sorted(address for _, span in found for address in range(*span, PAGE_BYTES))


@given(spaces(), spaces())
def test_every_page_of_both_is_in_one_pair(a: list[Mapping], b: list[Mapping]) -> None:
    found = pairs(a, b)
    of_a = [(pair.a, pair.span_a) for pair in found if pair.a]
    of_b = [(pair.b, pair.span_b) for pair in found if pair.b]
    for parts, whole in ((of_a, a), (of_b, b)):
        assert stretches(parts) == stretches([(m, (m.start, m.end)) for m in whole])
        assert all(m.start <= start < end <= m.end for m, (start, end) in parts)


@given(spaces())
def test_a_process_is_the_same_as_itself(space: list[Mapping]) -> None:
    found = pairs(space, space)
    assert [pair.relation for pair in found] == ["same mapping"] * len(space)
    assert all(pair.span_a == pair.span_b for pair in found)


# Pages


def pages(entries: dict[int, int]) -> Pages:
    numbers = sorted(entries)
    return Pages(np.array(numbers, np.uint64), np.array([entries[n] for n in numbers], np.uint64), None, None)


def test_each_way_in_which_pages_stand_to_each_other() -> None:
    a = pages({1: PRESENT | 7, 2: PRESENT | 8 | EXCLUSIVE, 3: PRESENT | 9, 5: SWAPPED | 1, 6: PRESENT | 4})
    b = pages({1: PRESENT | 7 | FILE, 2: PRESENT | 80, 4: PRESENT | 10, 5: PRESENT | 11, 6: SWAPPED | 3})
    assert compare(a, b) == Compared(1, 1, 1, 1, None, 2)
    assert compare(a, b, by_frames=False) == Compared(None, None, 1, 1, None, 2)


def test_the_zero_page_is_told_apart() -> None:
    a = pages({1: PRESENT | 7, 2: PRESENT | 8})._replace(zero=np.array([False, True]))
    assert compare(a, a) == Compared(2, 0, 0, 0, 1, 0)


SPACE = st.dictionaries(
    st.integers(100, 130), st.tuples(st.sampled_from([PRESENT, PRESENT, SWAPPED]), st.integers(1, 5))
)


@given(SPACE, SPACE, st.integers(-90, 90))
def test_pages_compared_one_by_one(
    a: dict[int, tuple[int, int]], b: dict[int, tuple[int, int]], shift: int
) -> None:
    found = compare(
        pages({number: state | pfn for number, (state, pfn) in a.items()}),
        pages({number + shift: state | pfn for number, (state, pfn) in b.items()}),
        shift * PAGE_BYTES,
    )
    expected = dict(same_frame=0, different_frame=0, only_a=0, only_b=0, swapped=0, zero=None)
    for number in a.keys() | b.keys():
        (state_a, frame_a), (state_b, frame_b) = a.get(number, (0, 0)), b.get(number, (0, 0))
        if SWAPPED in (state_a, state_b):
            which = "swapped"
        elif state_a and state_b:
            which = "same_frame" if frame_a == frame_b else "different_frame"
        else:
            which = "only_a" if state_a else "only_b"
        expected[which] = (expected[which] or 0) + 1
    assert found._asdict() == expected


def test_what_changed_between_two_reads() -> None:
    before = pages({1: PRESENT | 7, 2: PRESENT | 8 | EXCLUSIVE, 3: PRESENT | 9, 4: SWAPPED | 1})
    assert changed(before, before) == 0
    # Page 2 is only mapped elsewhere too by now, as after a fork: its frame is the same.
    after = pages({1: PRESENT | 70, 2: PRESENT | 8, 4: PRESENT | 3, 5: PRESENT | 4})
    assert changed(before, after) == 4


# Both


def two_processes(root: Path, hidden: bool = False) -> None:
    for pid, pfns in ((1, {10: 7, 11: 8, 12: 9}), (2, {10: 7, 11: 80, 53: 9})):
        entries = {number: PRESENT | (0 if hidden else pfn) for number, pfn in pfns.items()}
        lay_out(root, f"{pid}/pagemap", entries, size=64)


A, B = [mapping(10, 14), mapping(20, 22, b"/x")], [mapping(10, 14), mapping(52, 54, b"/x")]


def test_a_diff_and_its_json(tmp_path: Path) -> None:
    two_processes(tmp_path)
    found = diff(1, A, 2, B, tmp_path)
    assert (found.by, found.changed_a, found.changed_b) == ("frames", 0, 0)
    assert found.total == Compared(1, 1, 1, 1, None, 0)
    told = json.loads(line(diff_json(found)))
    assert (told["a"], told["b"], told["by"]) == (1, 2, "frames")
    assert told["pages"] == {
        "same_frame": 1, "different_frame": 1, "only_a": 1, "only_b": 1, "zero": None, "swapped": 0,
    }  # fmt: skip
    assert told["bytes"]["only_a"] == PAGE_BYTES
    assert [one["relation"] for one in told["mappings"]] == ["same mapping", "moved"]
    moved = told["mappings"][1]
    assert (moved["shift_bytes"], moved["pages"]["only_b"]) == (32 * PAGE_BYTES, 1)
    assert (moved["a"]["path"], moved["a"]["start"]) == ("/x", 20 * PAGE_BYTES)
    assert moved["a"]["smaps"] is None


def test_without_frames_smaps_says_how_much_is_shared(tmp_path: Path) -> None:
    two_processes(tmp_path, hidden=True)
    regions = [Region(one, USAGE, "anon", "", "") for one in A]
    found = diff(1, regions, 2, B, tmp_path)
    assert found.by == "smaps"
    assert found.total == Compared(None, None, 1, 1, None, 0)
    part = diff_json(found)["mappings"][0]
    assert part["a"]["smaps"] == {"shared_bytes": 12288, "private_bytes": 16384}
    assert part["b"]["smaps"] is None and part["pages"]["same_frame"] is None


def test_with_neither_frames_nor_smaps_nothing_can_be_said(tmp_path: Path) -> None:
    two_processes(tmp_path, hidden=True)
    with pytest.raises(KintroError) as caught:
        diff(1, A, 2, B, tmp_path)
    assert caught.value.exit_code == 77


def test_nothing_compared_with_nothing(tmp_path: Path) -> None:
    two_processes(tmp_path)
    assert diff(1, [], 2, [], tmp_path).total == Compared(0, 0, 0, 0, 0, 0)
