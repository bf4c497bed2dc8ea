"""Page frames and comparisons as rows: every number in its column, and what is not known said."""

from __future__ import annotations

from kintro.observers.frames_text import diff_columns, diff_rows, diff_summary
from kintro.observers.memory_diff import FRAMES, SMAPS, Compared, Diff, Part, Sharing
from kintro.observers.memory_pairs import pairs
from kintro.observers.memory_records import Region
from kintro.sources.mappings import Mapping

PAGE = 4096


def mapping(start: int, pages: int) -> Mapping:
    return Mapping(start * PAGE, (start + pages) * PAGE, "rw-p", 0, "00:00", 0, b"", False)


HEAP, OTHER = mapping(16, 8), mapping(64, 4)
REGIONS = tuple(Region(m, None, "anon", what, "made up") for m, what in ((HEAP, "heap"), (OTHER, "other")))


def compared(by: str, **heap: int | None) -> Diff:
    values = dict(same_frame=5, different_frame=3, only_a=0, only_b=0, zero=1, swapped=0) | heap
    parts = []
    for pair in pairs([HEAP, OTHER], [HEAP, OTHER]):
        whole = Compared(**values) if pair.a == HEAP else Compared(4, 0, 0, 0, 0, 0)
        sides = (Sharing(20480, 12288), Sharing(8192, 24576)) if pair.a == HEAP else (None, None)
        parts.append(Part(pair, whole, *sides))
    return Diff(100, 101, by, PAGE, 0, 2, tuple(parts))


def texts(found: Diff) -> list[list[str]]:
    return [[cell.text for cell in row] for row in diff_rows(found, REGIONS)]


def test_what_differs_comes_first() -> None:
    found = compared(FRAMES)
    assert [column.title for column in diff_columns(found)][1:5] == ["SAME", "COPIED", "ONLY 100", "ONLY 101"]
    assert texts(found) == [
        ["10000", "5", "3", "0", "0", "same mapping", "heap"],
        ["40000", "4", "0", "0", "0", "same mapping", "other"],
    ]
    assert diff_summary(found) == (
        "pages in the same frame: 9 (36K), 1 of them the zero page, in different frames: 3 (12K), "
        "only in 100: 0 (0), only in 101: 0 (0); 2 pages changed while they were read"
    )


def test_without_frames_what_smaps_says() -> None:
    found = compared(SMAPS, same_frame=None, different_frame=None)
    titles = [column.title for column in diff_columns(found)]
    assert titles[1:5] == ["SHARED 100", "PRIVATE 100", "SHARED 101", "PRIVATE 101"]
    rows = texts(found)
    assert ["10000", "20K", "12K", "8K", "24K", "same mapping", "heap"] in rows
    assert ["40000", "–", "–", "–", "–", "same mapping", "other"] in rows
    assert diff_summary(found).startswith("pages in the same frame: ?, 1 of them the zero page")
    assert "only root may read: shared and private are those of smaps" in diff_summary(found)
