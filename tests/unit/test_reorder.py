"""Events of several rings and CPUs in one order: nothing lost, nothing twice, and sorted."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kintro.sources.ring import WINDOW_NS, Batch, Reorder, in_time_order

EVENT = np.dtype([("ts_ns", "<u8"), ("id", "<u4")])
RANKS = {"fork": 0, "exec": 1, "exit": 2}
Row = tuple[int, int]


def events(*rows: Row) -> np.ndarray:
    return np.array(list(rows), EVENT)


def rows(batch: Batch) -> dict[str, list[Row]]:
    return {kind: array.tolist() for kind, array in batch.items()}


def test_held_until_the_window_has_passed() -> None:
    reorder = Reorder()
    assert not reorder.holds
    assert rows(reorder.push({"fork": events((100, 1))}, 100)) == {}
    assert reorder.holds
    assert rows(reorder.push({}, 99 + WINDOW_NS)) == {}
    assert rows(reorder.push({}, 100 + WINDOW_NS)) == {"fork": [(100, 1)]}
    assert not reorder.holds
    assert rows(reorder.push({}, 1 << 62)) == {}


def test_each_kind_is_sorted_and_no_batch_is_older_than_the_one_before() -> None:
    reorder = Reorder()
    assert rows(reorder.push({"fork": events((30, 1), (10, 2)), "exit": events((40, 3))}, 41)) == {}
    late_comer = {"fork": events((20, 4)), "exit": events((15, 5))}
    assert rows(reorder.push(late_comer, 30 + WINDOW_NS)) == {
        "fork": [(10, 2), (20, 4), (30, 1)],
        "exit": [(15, 5)],
    }
    assert rows(reorder.flush()) == {"exit": [(40, 3)]}
    assert reorder.late == 0


def test_events_of_one_time_keep_the_order_of_their_ring() -> None:
    reorder = Reorder()
    reorder.push({"fork": events((5, 1), (5, 2))}, 5)
    reorder.push({"fork": events((5, 3), (4, 4))}, 6)
    assert rows(reorder.flush()) == {"fork": [(4, 4), (5, 1), (5, 2), (5, 3)]}


def test_an_event_after_a_younger_one_was_released_is_late() -> None:
    reorder = Reorder()
    assert rows(reorder.push({"fork": events((100, 1))}, 100 + WINDOW_NS)) == {"fork": [(100, 1)]}
    assert rows(reorder.push({"exit": events((99, 2), (100, 3))}, 101 + WINDOW_NS)) == {
        "exit": [(99, 2), (100, 3)]
    }
    assert reorder.late == 1
    young = 3 * WINDOW_NS
    assert rows(reorder.push({"fork": events((young, 4))}, young)) == {}
    assert rows(reorder.push({"exit": events((50, 5))}, young + 1)) == {"exit": [(50, 5)]}
    assert reorder.late == 2
    assert rows(reorder.flush()) == {"fork": [(young, 4)]}
    assert reorder.late == 2


@st.composite
def arrivals(draw: st.DrawFn, longest_delay: int) -> list[tuple[int, dict[str, list[Row]]]]:
    """(time of the read, kind → rows): each event at its time plus a delay, read at some time after that."""
    count = draw(st.integers(0, 30))
    times = draw(st.lists(st.integers(0, 5 * WINDOW_NS), min_size=count, max_size=count))
    delays = draw(st.lists(st.integers(0, longest_delay), min_size=count, max_size=count))
    kinds = draw(st.lists(st.sampled_from(list(RANKS)), min_size=count, max_size=count))
    reads = sorted({*draw(st.lists(st.integers(0, 9 * WINDOW_NS), max_size=8)), 20 * WINDOW_NS})
    result = []
    before = -1
    for read in reads:
        batch: dict[str, list[Row]] = {}
        for number, (ts_ns, delay, kind) in enumerate(zip(times, delays, kinds)):
            if before < ts_ns + delay <= read:
                batch.setdefault(kind, []).append((ts_ns, number))
        result.append((read, batch))
        before = read
    return result


def run(reads: list[tuple[int, dict[str, list[Row]]]]) -> tuple[list[Batch], int]:
    reorder = Reorder()
    out = [reorder.push({kind: events(*found) for kind, found in batch.items()}, now) for now, batch in reads]
    out.append(reorder.flush())
    assert not reorder.holds
    return out, reorder.late


def check_all_there(reads: list[tuple[int, dict[str, list[Row]]]], out: list[Batch]) -> None:
    sent = Counter((kind, row) for _, batch in reads for kind, found in batch.items() for row in found)
    received = Counter((kind, row) for batch in out for kind, found in rows(batch).items() for row in found)
    assert received == sent


@given(arrivals(longest_delay=WINDOW_NS))
def test_sorted_if_none_is_later_than_the_window(reads: list) -> None:
    out, late = run(reads)
    check_all_there(reads, out)
    times = [row[0] for batch in out for _, row in in_time_order(batch, RANKS)]
    assert times == sorted(times)
    assert late == 0


@given(arrivals(longest_delay=4 * WINDOW_NS))
def test_what_is_later_is_counted_and_not_lost(reads: list) -> None:
    out, late = run(reads)
    check_all_there(reads, out)
    read_at = {row: now for now, batch in reads for found in batch.values() for row in found}
    released = -1  # time of the youngest event that was handed out
    expected_late = 0
    for (now, _), batch in zip([*reads, (1 << 62, {})], out):
        found = [row for array in rows(batch).values() for row in array]
        expected_late += sum(row[0] < released and read_at[row] == now for row in found)
        released = max([released, *(row[0] for row in found)])
    assert late == expected_late


def test_rows_of_all_kinds_in_order_of_time() -> None:
    batch = {"exit": events((1, 10), (5, 11)), "exec": events(), "fork": events((1, 12), (3, 13), (5, 14))}
    assert list(in_time_order(batch, RANKS)) == [
        ("fork", (1, 12)),
        ("exit", (1, 10)),
        ("fork", (3, 13)),
        ("fork", (5, 14)),
        ("exit", (5, 11)),
    ]
    assert list(in_time_order({}, RANKS)) == []


@given(st.dictionaries(st.sampled_from(list(RANKS)), st.lists(st.integers(0, 9)), max_size=3))
def test_any_batch_in_order_of_time_then_rank_then_place(kinds: dict[str, list[int]]) -> None:
    batch = {kind: events(*((ts, i) for i, ts in enumerate(sorted(times)))) for kind, times in kinds.items()}
    expected = sorted(
        ((kind, row) for kind, array in batch.items() for row in array.tolist()),
        key=lambda item: (item[1][0], RANKS[item[0]], item[1][1]),
    )
    assert list(in_time_order(batch, RANKS)) == expected
