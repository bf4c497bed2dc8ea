"""The ring reader, both ways: every committed record once, in order, and not one byte of the others."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ring_image import PAGE, ring_of

from kintro.sources.ring import LINGER_S, Reader, Ring

U64 = np.dtype([("ts_ns", "<u8"), ("value", "<u8")])  # 24 bytes with the header
ODD = np.dtype([("ts_ns", "<u8"), ("value", "<u4"), ("name", "S3")], align=True)  # 15 bytes, padded to 16
HEAD = np.dtype([("ts_ns", "<u8"), ("value", "<u4"), ("bytes", "<u4")])  # with bytes behind it
STRIDE = 24


Take = Callable[[Ring], np.ndarray]


def from_rows(ring: Ring) -> np.ndarray:
    return np.array(ring.rows(), ring.dtype)


@pytest.fixture(params=[Ring.read, from_rows], ids=["read", "rows"])
def take(request: pytest.FixtureRequest) -> Take:
    return request.param


def event(value: int, dtype: np.dtype = U64) -> bytes:
    row = np.zeros(1, dtype)
    row["ts_ns"], row["value"] = value + 1000, value
    return row.tobytes()


def variable_event(value: int, data: bytes) -> bytes:
    return np.array([(value + 1000, value, len(data))], HEAD).tobytes() + data


def values(events: np.ndarray) -> list[int]:
    assert events["ts_ns"].tolist() == [value + 1000 for value in events["value"].tolist()]
    return events["value"].tolist()


def test_empty(take: Take) -> None:
    with ring_of(U64) as (image, ring):
        for _ in range(2):
            events = take(ring)
            assert (len(events), events.dtype) == (0, U64)
        assert (image.consumer, ring.received) == (0, 0)


def test_each_event_once(take: Take) -> None:
    with ring_of(U64) as (image, ring):
        for value in range(3):
            image.add(event(value))
        assert values(take(ring)) == [0, 1, 2]
        assert image.consumer == image.producer == 3 * STRIDE
        assert values(take(ring)) == []
        image.add(event(3))
        assert values(take(ring)) == [3]
        assert ring.received == 4


def test_full_to_the_last_byte(take: Take) -> None:
    """Records of 16 bytes that fill the ring without a gap: end and begin are then the same place."""
    dtype = np.dtype([("ts_ns", "<u8")])
    with ring_of(dtype) as (image, ring):
        for value in range(PAGE // 16):
            image.add(event_of_time(value))
        assert image.free() == 0
        assert take(ring)["ts_ns"].tolist() == list(range(PAGE // 16))
        assert image.free() == PAGE


@pytest.mark.parametrize("variable", [False, True])
def test_texts_without_the_nuls_that_pad_them(take: Take, variable: bool) -> None:
    names = [b"", b"a", b"a\0b", b"\0ab", b"abc"]
    with ring_of(ODD, variable=variable) as (image, ring):
        for name in names:
            image.add(np.array([(1, 2, name)], ODD).tobytes())
        assert take(ring)["name"].tolist() == names


def event_of_time(ts_ns: int) -> bytes:
    return ts_ns.to_bytes(8, "little")


def test_what_was_read_stays_when_the_kernel_writes_over_it(take: Take) -> None:
    with ring_of(U64) as (image, ring):
        image.add(event(7))
        kept = take(ring)
        for value in range(2 * PAGE // STRIDE):
            image.add(event(100 + value))
            take(ring)
        assert values(kept) == [7]


@pytest.mark.parametrize("back", range(8, STRIDE + 8, 8))
@pytest.mark.parametrize("dtype", [U64, ODD], ids=["whole words", "15 bytes"])
def test_a_record_across_the_end(take: Take, dtype: np.dtype, back: int) -> None:
    with ring_of(dtype, position=PAGE - back) as (image, ring):
        for value in range(3):
            image.add(event(value, dtype))
        assert values(take(ring)) == [0, 1, 2]


@pytest.mark.parametrize("position", [(1 << 32) - 8, 1 << 40, (1 << 63) + 8 * 511])
def test_positions_of_a_ring_long_in_use(take: Take, position: int) -> None:
    with ring_of(U64, position=position) as (image, ring):
        for value in range(5):
            image.add(event(value))
        assert values(take(ring)) == list(range(5))
        assert image.consumer == position + 5 * STRIDE


@pytest.mark.parametrize("variable", [False, True])
def test_a_busy_record_holds_back_what_is_behind_it(take: Take, variable: bool) -> None:
    dtype, make = (HEAD, lambda v: variable_event(v, b"x" * v)) if variable else (U64, event)
    with ring_of(dtype, variable=variable) as (image, ring):
        image.add(make(0))
        first = image.reserve(make(1))
        image.add(make(2))
        second = image.reserve(make(3))
        assert values(take(ring)) == [0]
        assert image.consumer == first
        assert values(take(ring)) == []
        image.commit(second)
        assert values(take(ring)) == []
        image.commit(first)
        assert values(take(ring)) == [1, 2, 3]
        assert ring.received == 4


@pytest.mark.parametrize("variable", [False, True])
def test_discarded_records_are_passed_over(take: Take, variable: bool) -> None:
    dtype, make = (HEAD, lambda v: variable_event(v, b"x" * v)) if variable else (U64, event)
    with ring_of(dtype, variable=variable) as (image, ring):
        for value, discard in enumerate([True, False, True, True, False, True]):
            image.add(make(value), discard)
        assert values(take(ring)) == [1, 4]
        assert image.consumer == image.producer
        image.add(make(6), discard=True)
        assert values(take(ring)) == []
        assert (image.consumer, ring.received) == (image.producer, 2)


def test_a_discarded_record_that_is_still_busy(take: Take) -> None:
    with ring_of(U64) as (image, ring):
        position = image.reserve(event(0))
        image.add(event(1))
        assert values(take(ring)) == []
        image.commit(position, discard=True)
        assert values(take(ring)) == [1]


def test_bytes_behind_the_struct(take: Take) -> None:
    data = [b"", b"a", b"1234567", b"12345678", b"nul\0inside\0", bytes(range(256)) * 4]
    with ring_of(HEAD, variable=True, position=PAGE - 16) as (image, ring):
        assert ring.dtype.names == ("ts_ns", "value", "bytes", "data")
        for value, behind in enumerate(data):
            image.add(variable_event(value, behind))
        events = take(ring)
        assert values(events) == list(range(len(data)))
        assert events["data"].tolist() == data
        assert events["bytes"].tolist() == [len(behind) for behind in data]


def test_several_sizes_and_none(take: Take) -> None:
    with ring_of(HEAD, variable=True) as (_, ring):
        events = take(ring)
        assert (len(events), events.dtype) == (0, ring.dtype)


ACTIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("add"), st.sampled_from(["commit", "discard", "leave busy"]), st.binary(max_size=60)
        ),
        st.tuples(st.just("settle"), st.booleans()),
        st.tuples(st.just("read")),
    ),
    max_size=60,
)


@given(ACTIONS, st.integers(0, PAGE // 8 - 1), st.booleans(), st.sampled_from([Ring.read, from_rows]))
def test_any_sequence(actions: list[tuple], start: int, variable: bool, take: Take) -> None:
    """Against a plain list: what is committed before the first busy record comes, once and in order."""
    dtype = HEAD if variable else ODD
    records: list[dict] = []  # as the kernel has them, in the order of their reservation
    with ring_of(dtype, position=8 * start, variable=variable) as (image, ring):
        done: list[tuple[int, bytes]] = []

        def expect_read() -> None:
            expected = []
            while records and records[0]["state"] != "leave busy":
                record = records.pop(0)
                if record["state"] == "commit":
                    expected.append((record["value"], record["data"]))
            events = take(ring)
            data = events["data"].tolist() if variable else [b""] * len(events)
            assert list(zip(values(events), data)) == expected
            done.extend(expected)

        for number, (kind, *details) in enumerate(actions):
            if kind == "read":
                expect_read()
            elif kind == "settle":
                busy = [record for record in records if record["state"] == "leave busy"]
                if busy:
                    image.commit(busy[-1]["position"], details[0])
                    busy[-1]["state"] = "discard" if details[0] else "commit"
            else:
                state, data = details[0], details[1] if variable else b""
                payload = variable_event(number, data) if variable else event(number, ODD)
                if image.free() < 8 + len(payload) + 8:
                    continue
                position = image.reserve(payload)
                if state != "leave busy":
                    image.commit(position, state == "discard")
                records.append(dict(state=state, value=number, data=data, position=position))
        expect_read()
        assert ring.received == len(done)


# Several rings together


def test_reader_reads_all_rings() -> None:
    with ring_of(U64) as (first_image, first), ring_of(HEAD, variable=True) as (second_image, second):
        a, b = os.eventfd(0), os.eventfd(0)
        with Reader({"first": (a, first), "second": (b, second)}) as reader:
            first_image.add(event(1))
            second_image.add(variable_event(2, b"two"))
            second_image.add(variable_event(3, b""))
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            batch, now_ns = reader.read()
            assert before <= now_ns <= time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            assert {kind: values(events) for kind, events in batch.items()} == {
                "first": [1],
                "second": [2, 3],
            }
            assert reader.received == 3
            first_image.add(event(4))
            second_image.add(variable_event(5, b"five"))
            rows, now_ns = reader.rows()
            assert before <= now_ns <= time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            assert rows == {"first": [(1004, 4)], "second": [(1005, 5, 4, b"five")]}
            assert reader.received == 5
        os.close(a)
        os.close(b)


def test_reader_waits_for_a_ring_or_a_watched_descriptor() -> None:
    ring_fd, watched = os.eventfd(0), os.eventfd(0)
    with ring_of(U64) as (_, ring), Reader({"only": (ring_fd, ring)}) as reader:
        assert reader.wait(0) == set()
        reader.wake_on(watched)
        os.eventfd_write(watched, 1)
        assert reader.wait(None) == {watched}
        reader.stop_waking_on(watched)
        assert reader.wait(0) == set()
        os.eventfd_write(ring_fd, 1)
        assert reader.wait(None) == {ring_fd}
    os.close(ring_fd)
    os.close(watched)


def test_two_reads_are_at_least_the_linger_apart() -> None:
    ready = os.eventfd(1)
    with ring_of(U64) as (_, ring), Reader({"only": (ready, ring)}) as reader:
        reader.read()
        begin = time.monotonic()
        reader.wait(None)
        assert time.monotonic() - begin > LINGER_S * 0.9
    os.close(ready)
