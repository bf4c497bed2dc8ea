"""Events of several rings and CPUs in one order, as columns and as rows: all there, once, and sorted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kintro.sources.columns import Columns, Reorder, in_time_order
from kintro.sources.ring import WINDOW_NS
from kintro.sources.rows import Rows

EVENT = np.dtype([("ts_ns", "<u8"), ("id", "<u4")])
KINDS = ("fork", "exec", "exit")
Row = tuple[int, int]
Found = list[tuple[str, Row]]


class AsColumns:
    """A Reorder, given and giving rows."""

    def __init__(self) -> None:
        self.own = Reorder()

    def push(self, batch: Mapping[str, list[Row]], now_ns: int) -> Found:
        arrays = {kind: np.array(batch.get(kind, []), EVENT) for kind in KINDS}
        released = self.own.push(arrays, now_ns)
        for array in released.values():
            assert array["ts_ns"].tolist() == sorted(array["ts_ns"].tolist())
        return list(in_time_order(released))

    def flush(self) -> Found:
        return list(in_time_order(self.own.flush()))

    @property
    def holds(self) -> bool:
        return self.own.holds

    @property
    def late(self) -> int:
        return self.own.late


class AsRows(Rows):
    def __init__(self) -> None:
        super().__init__({})

    def push(self, batch: Mapping[str, list[Row]], now_ns: int) -> Found:
        return super().push({kind: batch.get(kind, []) for kind in KINDS}, now_ns)


Order = AsColumns | AsRows


@pytest.fixture(params=[AsColumns, AsRows])
def order(request: pytest.FixtureRequest) -> Order:
    return request.param()


def test_held_until_the_window_has_passed(order: Order) -> None:
    assert not order.holds
    assert order.push({"fork": [(100, 1)]}, 100) == []
    assert order.holds
    assert order.push({}, 99 + WINDOW_NS) == []
    assert order.push({}, 100 + WINDOW_NS) == [("fork", (100, 1))]
    assert not order.holds
    assert order.push({}, 1 << 62) == []


def test_no_batch_is_older_than_the_one_before(order: Order) -> None:
    assert order.push({"fork": [(30, 1), (10, 2)], "exit": [(40, 3)]}, 41) == []
    assert order.push({"fork": [(20, 4)], "exit": [(15, 5)]}, 30 + WINDOW_NS) == [
        ("fork", (10, 2)), ("exit", (15, 5)), ("fork", (20, 4)), ("fork", (30, 1)),
    ]  # fmt: skip
    assert order.flush() == [("exit", (40, 3))]
    assert order.late == 0


def test_events_of_one_time_keep_the_order_of_their_ring_and_rings_theirs(order: Order) -> None:
    order.push({"exit": [(5, 0)], "fork": [(5, 1), (5, 2)]}, 5)
    order.push({"fork": [(5, 3), (4, 4)], "exec": [(5, 5)]}, 6)
    assert order.flush() == [
        ("fork", (4, 4)), ("fork", (5, 1)), ("fork", (5, 2)), ("fork", (5, 3)), ("exec", (5, 5)),
        ("exit", (5, 0)),
    ]  # fmt: skip


def test_an_event_after_a_younger_one_was_released_is_late(order: Order) -> None:
    assert order.push({"fork": [(100, 1)]}, 100 + WINDOW_NS) == [("fork", (100, 1))]
    late = order.push({"exit": [(99, 2), (100, 3)]}, 101 + WINDOW_NS)
    assert late == [("exit", (99, 2)), ("exit", (100, 3))]
    assert order.late == 1
    young = 3 * WINDOW_NS
    assert order.push({"fork": [(young, 4)]}, young) == []
    assert order.push({"exit": [(50, 5)]}, young + 1) == [("exit", (50, 5))]
    assert order.late == 2
    assert order.flush() == [("fork", (young, 4))]
    assert order.late == 2


@st.composite
def arrivals(draw: st.DrawFn, longest_delay: int) -> list[tuple[int, dict[str, list[Row]]]]:
    """(time of the read, kind → rows): each event at its time plus a delay, read at some time after that."""
    count = draw(st.integers(0, 30))
    times = draw(st.lists(st.integers(0, 5 * WINDOW_NS), min_size=count, max_size=count))
    delays = draw(st.lists(st.integers(0, longest_delay), min_size=count, max_size=count))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=count, max_size=count))
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


Reads = list[tuple[int, dict[str, list[Row]]]]


def run(reads: Reads, order: Order) -> tuple[list[Found], int]:
    out = [order.push(batch, now) for now, batch in reads]
    out.append(order.flush())
    assert not order.holds
    sent = Counter((kind, row) for _, batch in reads for kind, found in batch.items() for row in found)
    assert Counter(item for found in out for item in found) == sent
    return out, order.late


@given(arrivals(longest_delay=WINDOW_NS), st.sampled_from([AsColumns, AsRows]))
def test_sorted_if_none_is_later_than_the_window(reads: Reads, order: type[Order]) -> None:
    out, late = run(reads, order())
    places = [(row[0], KINDS.index(kind)) for found in out for kind, row in found]
    assert [time_ns for time_ns, _ in places] == sorted(time_ns for time_ns, _ in places)
    for found in out:
        within = [(row[0], KINDS.index(kind)) for kind, row in found]
        assert within == sorted(within)
    assert late == 0


@given(arrivals(longest_delay=4 * WINDOW_NS), st.sampled_from([AsColumns, AsRows]))
def test_what_is_later_is_counted_and_not_lost(reads: Reads, order: type[Order]) -> None:
    out, late = run(reads, order())
    read_at = {row: now for now, batch in reads for found in batch.values() for row in found}
    released = -1  # time of the youngest event that was handed out
    expected_late = 0
    for (now, _), found in zip([*reads, (1 << 62, {})], out):
        rows = [row for _, row in found]
        expected_late += sum(row[0] < released and read_at[row] == now for row in rows)
        released = max([released, *(row[0] for row in rows)])
    assert late == expected_late


@given(arrivals(longest_delay=4 * WINDOW_NS))
def test_columns_and_rows_come_out_the_same(reads: Reads) -> None:
    assert run(reads, AsColumns()) == run(reads, AsRows())


def test_what_waits_is_weighed_with_what_it_refers_to() -> None:
    columns = Columns({}, {})
    plain = {"fork": np.zeros(100, EVENT)}
    assert columns.size_bytes(plain) == 100 * EVENT.itemsize
    texts = np.zeros(3, [("ts_ns", "<u8"), ("data", "O")])
    texts["data"] = [bytes(4096), bytes(1000), None]
    assert columns.size_bytes(plain | {"text": texts}) - columns.size_bytes(plain) > 5096 + texts.nbytes
    assert Rows({}).size_bytes([("fork", (1, 2))] * 10) == 10 * Rows({}).size_bytes([("fork", (1, 2))]) > 0
