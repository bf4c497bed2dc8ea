"""Changes between two snapshots of mappings."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from memory_maps import PAGE, done, mapping, merged, paged, steps

from kintro.observers.changes import KINDS, Change, RssChange, changes, rss_changes
from kintro.sources.mappings import Mapping, Usage


def told(before: list[Mapping], after: list[Mapping]) -> list[tuple[str, int, int]]:
    """(kind, first page, last page)"""
    return [(c.kind, c.start // PAGE, c.end // PAGE) for c in changes(before, after)]


def test_nothing() -> None:
    assert changes([], []) == []
    same = [mapping(1, 5), mapping(7, 9, "r-xp", b"/bin/x", 7)]
    assert changes(same, list(same)) == []


def test_appeared_and_disappeared() -> None:
    one, other = mapping(1, 5), mapping(7, 9, "r-xp", b"/bin/x", 7)
    assert changes([one], [one, other]) == [Change("appeared", other.start, other.end, other, None)]
    assert changes([one, other], [other]) == [Change("disappeared", one.start, one.end, one, one)]


def test_grew_at_either_end() -> None:
    heap, larger = mapping(10, 20, path=b"[heap]"), mapping(10, 24, path=b"[heap]")
    assert changes([heap], [larger]) == [Change("grew", 20 * PAGE, 24 * PAGE, larger, heap)]
    stack, deeper = mapping(90, 99, path=b"[stack]"), mapping(80, 99, path=b"[stack]")
    assert changes([stack], [deeper]) == [Change("grew", 80 * PAGE, 90 * PAGE, deeper, stack)]


def test_a_new_one_that_merged_with_its_neighbours() -> None:
    left, right, all_of_it = mapping(1, 5), mapping(8, 9), mapping(1, 9)
    assert changes([left, right], [all_of_it]) == [Change("grew", 5 * PAGE, 8 * PAGE, all_of_it, left)]


def test_shrank_at_an_end_and_in_the_middle() -> None:
    whole = mapping(10, 30)
    assert told([whole], [mapping(10, 25)]) == [("shrank", 25, 30)]
    assert told([whole], [mapping(12, 30)]) == [("shrank", 10, 12)]
    assert told([whole], [mapping(10, 15), mapping(20, 30)]) == [("shrank", 15, 20)]


def test_protected_in_the_middle() -> None:
    whole = mapping(10, 30)
    middle = mapping(15, 20, "r--p")
    parts = [mapping(10, 15), middle, mapping(20, 30)]
    assert changes([whole], parts) == [Change("protected", 15 * PAGE, 20 * PAGE, middle, whole)]
    assert changes(parts, [whole]) == [Change("protected", 15 * PAGE, 20 * PAGE, whole, middle)]


def test_a_file_protected_in_the_middle() -> None:
    whole = mapping(10, 30, "r--p", b"/lib/a", 7, at=4)
    parts = [
        mapping(10, 15, "r--p", b"/lib/a", 7, at=4),
        mapping(15, 20, "rw-p", b"/lib/a", 7, at=9),
        mapping(20, 30, "r--p", b"/lib/a", 7, at=14),
    ]
    assert told([whole], parts) == [("protected", 15, 20)]


def test_replaced_by_something_else() -> None:
    one, other = mapping(10, 20), mapping(12, 15, "rw-p", b"/lib/a", 7)
    parts = [mapping(10, 12), other, mapping(15, 20)]
    assert told([one], parts) == [("shrank", 12, 15), ("appeared", 12, 15)]
    replaced = [("disappeared", 10, 20), ("appeared", 10, 20)]
    assert told([mapping(10, 20)], [mapping(10, 20, "rw-s")]) == replaced
    moved = mapping(10, 20, "r--p", b"/lib/a", 7, at=1)
    assert told([moved._replace(offset=0)], [moved]) == replaced


def test_renamed() -> None:
    file = mapping(10, 20, "r--p", b"/lib/a", 7)
    gone = file._replace(deleted=True)
    assert changes([file], [gone]) == [Change("renamed", file.start, file.end, gone, file)]
    named = mapping(10, 20, path=b"[anon:arena]")
    assert told([mapping(10, 20)], [named]) == [("renamed", 10, 20)]


def test_protected_and_grew_at_once() -> None:
    assert told([mapping(10, 20)], [mapping(10, 25, "r--p")]) == [("protected", 10, 20), ("grew", 20, 25)]


@given(first=steps, then=steps)
def test_the_changes_lead_from_the_first_to_the_second(first: Any, then: Any) -> None:
    old = done({}, first)
    new = done(old, then)
    before, after = merged(old), merged(new)
    pages: dict[int, Any] = paged(before)
    found = changes(before, after)
    for change in found:
        assert change.kind in KINDS and change.start < change.end
        assert (change.before is None) == (change.kind == "appeared")
        for number in range(change.start // PAGE, change.end // PAGE):
            if change.kind in ("disappeared", "shrank"):
                assert pages.pop(number) is not None
    for change in found:
        now = paged([change.mapping])
        for number in range(change.start // PAGE, change.end // PAGE):
            if change.kind in ("appeared", "grew"):
                assert number not in pages
                pages[number] = now[number]
            elif change.kind == "protected":
                assert pages[number][0] != now[number][0]
                pages[number] = (now[number][0], *pages[number][1:])
            elif change.kind == "renamed":
                pages[number] = (*pages[number][:3], *now[number][3:])
    assert pages == paged(after)
    assert [change.start for change in found] == sorted(change.start for change in found)


@given(first=steps)
def test_whatever_is_there_has_not_changed(first: Any) -> None:
    mappings = merged(done({}, first))
    assert changes(mappings, mappings) == []
    assert {c.kind for c in changes([], mappings)} <= {"appeared"}
    assert {c.kind for c in changes(mappings, [])} <= {"disappeared"}


# Resident memory


def usage(rss_pages: int) -> Usage:
    empty = Usage(*[0] * (len(Usage._fields) - 1), ())
    return empty._replace(rss_bytes=rss_pages * PAGE)


def test_resident_memory() -> None:
    one, other, new = mapping(1, 5), mapping(10, 20), mapping(30, 40)
    before = [(one, usage(2)), (other, usage(3))]
    after = [(one, usage(2)), (other, usage(9)), (new, usage(10))]
    assert rss_changes(before, after) == [RssChange(other, 3 * PAGE, 9 * PAGE)]


def test_resident_memory_of_what_was_split() -> None:
    whole = mapping(10, 30)
    parts = [mapping(10, 15), mapping(15, 20, "r--p"), mapping(20, 30)]
    before, after = [(whole, usage(12))], [(part, usage(4)) for part in parts]
    assert rss_changes(before, after) == []
    assert rss_changes(after, [(whole, usage(13))]) == [RssChange(whole, 12 * PAGE, 13 * PAGE)]
    more = [*after[:2], (parts[2], usage(9))]
    assert rss_changes(before, more) == [RssChange(parts[0], 12 * PAGE, 17 * PAGE)]
