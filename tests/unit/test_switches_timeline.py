"""Timelines of made-up turns and wake-ups: Chrome's events, stretches, what a page is made of."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections import Counter
from typing import Any

import layouts
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kintro.observers.switches import NOBODY
from kintro.observers.switches_page import PageTimeline
from kintro.observers.switches_records import PREEMPTED, UNTOLD, Name, Turn, Waking
from kintro.observers.switches_stretches import FIELDS, SEVERAL, UNSEEN, Stretches, together
from kintro.observers.switches_timeline import ChromeTimeline, Waits, left, told_state
from kintro.renderers import html
from kintro.renderers.text import printable
from kintro.shapes import Lane, Turns

BEGIN_NS = 1_000_000
IDLE, A, B, HOSTILE = 1, 40, 41, 42  # slots
NAMES = {
    IDLE: NOBODY,
    A: Name(1040, 1000, 5, b"cat"),
    B: Name(1041, 1000, 6, b"do\x1bg"),
    HOSTILE: Name(7, 7, 1, b'</script><b>\xff"'),
}


def turn(cpu: int, begin: int, end: int, slot: int, state: int = 1, following: int = IDLE) -> Turn:
    """Times are since BEGIN_NS."""
    return Turn(BEGIN_NS + end, BEGIN_NS + begin, slot, following, cpu, state)


def waking(cpu: int, at: int, slot: int, waker: int) -> Waking:
    return Waking(BEGIN_NS + at, slot, waker, cpu, 0)


EVENTS = [
    turn(0, 0, 100, A, 1),  # A blocks
    waking(0, 150, A, B),  # B on CPU 0 wakes it
    turn(1, 0, 180, IDLE, 0),
    waking(1, 220, A, A),  # about to sleep, it is woken by itself: still there
    turn(1, 180, 250, A, 1),
    turn(0, 100, 300, B, PREEMPTED),
    turn(1, 250, 320, IDLE, 0),
    turn(0, 300, 420, HOSTILE, 0x80),
    turn(1, 320, 430, A, 2),
    turn(0, 420, 500, B, 0),
    turn(1, 430, 500, IDLE, UNTOLD),
]


def test_the_state_that_is_told() -> None:
    # include/trace/events/sched.h: of several bits the highest, what is not told is S, D … by itself.
    told = {0: 0, 1: 1, 2: 2, 0x402: 0x80, 4: 4, 8: 8, 0x80: 0x10, 0x20: 0x20, 0x101: 1, 0x2001: 1}
    assert {state: told_state(state) for state in told} == told
    assert told_state(PREEMPTED) == told_state(PREEMPTED | 1) == told_state(UNTOLD) == 0x100


def test_why_a_task_left() -> None:
    words = {0: "made way", 1: "blocked", 2: "blocked, uninterruptible", 0x402: "blocked, idle", 4: "stopped"}
    words |= {8: "stopped by a tracer", 0x80: "ended", PREEMPTED: "preempted", PREEMPTED | 1: "preempted"}
    words |= {UNTOLD: "unknown", 0x40: "parked"}
    assert {state: left(state) for state in words} == words


def waited(events: list[Any]) -> list[tuple[int, int | None, int | None]]:
    """Slot, wait and waker of each turn of a task."""
    waits, found = Waits(), []
    for event in events:
        if isinstance(event, Waking):
            waits.woken(event)
        elif event.slot != IDLE:
            since_ns, by = waits.before(event)
            wait_ns = None if since_ns is None else event.ts_ns - since_ns
            found.append((event.slot, wait_ns, by and by.waker_slot))
    return found


def test_how_long_a_task_waited_and_who_woke_it() -> None:
    assert waited(EVENTS) == [
        (A, None, None),  # what was before the trace is not known
        (A, 30, B),
        (B, None, None),
        (HOSTILE, None, None),
        (A, 70, A),  # woken before it had left: it has waited since then
        (B, 120, None),  # nobody wakes who was preempted
    ]


def test_a_waking_of_a_task_that_then_does_not_sleep_is_nobodys_arrow() -> None:
    events = [waking(0, 50, A, B), turn(1, 0, 100, A, 0), turn(1, 130, 200, A)]
    assert waited(events) == [(A, None, None), (A, 30, None)]


def test_a_waking_during_a_turn_does_not_hide_the_one_before_it() -> None:
    events = [turn(0, 0, 10, A), waking(1, 20, A, B), waking(1, 40, A, HOSTILE), turn(0, 30, 50, A)]
    events += [waking(1, 70, A, B), turn(0, 90, 95, A)]
    assert waited(events) == [(A, None, None), (A, 10, B), (A, 20, B)]


def test_after_an_untold_switch_a_waking_tells_since_when() -> None:
    events = [turn(0, 0, 10, A, UNTOLD), turn(0, 30, 50, A, UNTOLD), waking(1, 70, A, B), turn(0, 90, 95, A)]
    assert waited(events) == [(A, None, None), (A, None, None), (A, 20, B)]


def chrome(events: list[Any]) -> list[dict[str, Any]]:
    pieces: list[bytes] = []
    timeline = ChromeTimeline(pieces.append, BEGIN_NS, NAMES.__getitem__)
    for event in events:
        timeline.add(event)
    timeline.flush()
    return json.loads(b"".join(pieces))["traceEvents"]


def test_chromes_events() -> None:
    events = chrome(EVENTS)
    turns = [e for e in events if e["ph"] == "X"]
    assert [(e["tid"], e["ts"], e["dur"], e["name"], e["args"]["left"]) for e in turns] == [
        (0, 0, 0.1, "cat", "blocked"),
        (1, 0.18, 0.07, "cat", "blocked"),
        (0, 0.1, 0.2, "do\\x1bg", "preempted"),
        (0, 0.3, 0.12, printable(NAMES[HOSTILE].comm), "ended"),
        (1, 0.32, 0.11, "cat", "blocked, uninterruptible"),
        (0, 0.42, 0.08, "do\\x1bg", "made way"),
    ]
    assert [e["args"]["waited_ns"] for e in turns] == [None, 30, None, None, 70, 120]
    assert turns[0]["args"].items() >= {"pid": 1000, "tid": 1040}.items()
    arrows = [
        (e["ph"], e["id"], e["tid"], e["ts"]) for e in events if e["cat" if "cat" in e else "ph"] == "wake-up"
    ]
    assert arrows == [("s", 1, 0, 0.15), ("f", 1, 1, 0.18), ("s", 2, 1, 0.22), ("f", 2, 1, 0.32)]
    assert {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"} == {
        0: "CPU 0",
        1: "CPU 1",
    }


def test_chromes_events_of_nothing() -> None:
    assert [event["name"] for event in chrome([])] == ["process_name"]


@given(st.lists(st.integers(0, 1 << 50), min_size=1, max_size=20))
def test_times_for_chrome_are_exact(times_ns: list[int]) -> None:
    turns = [turn(0, at, at + 7, A) for at in sorted(times_ns)]
    told = [event for event in chrome(turns) if event["ph"] == "X"]
    assert [round(event["ts"] * 1000) for event in told] == sorted(times_ns)


def page(events: list[Any], **options: Any) -> Any:
    timeline = PageTimeline(lambda piece: None, BEGIN_NS, NAMES.__getitem__, **options)
    for event in events:
        timeline.add(event)
    return timeline.timeline()


def test_a_pages_turns() -> None:
    shape = page(EVENTS)
    assert [(r.name, r.tid, r.turns, r.busy_ns, r.waited_ns) for r in shape.runners] == [
        (b"cat", 1040, 3, 280, 100),
        (b"do\x1bg", 1041, 2, 280, 120),
        (NAMES[HOSTILE].comm, 7, 1, 120, 0),
    ]
    assert (shape.lanes, shape.duration_ns, shape.note) == (
        (Lane("CPU 0", 4, 500, 0), Lane("CPU 1", 2, 180, 0)),
        500,
        "",
    )
    turns = shape.turns
    endings = [shape.endings[code] for code in turns.left]
    found = list(
        zip(turns.lane, turns.begin_ns, turns.end_ns, turns.task, turns.since_ns, turns.waker, endings)
    )
    assert found == [
        (0, 0, 100, 0, -1, -1, "blocked"),
        (0, 100, 300, 1, -1, -1, "preempted"),
        (0, 300, 420, 2, -1, -1, "ended"),
        (0, 420, 500, 1, 300, -1, "made way"),
        (1, 180, 250, 0, 150, 1, "blocked"),
        (1, 320, 430, 0, 250, 0, "blocked, uninterruptible"),
    ]
    assert turns.woken_ns[-2:].tolist() == [150, 220]


def test_what_was_not_seen_is_unknown_and_not_idle() -> None:
    shape = page([turn(0, 0, 100, A), turn(0, 160, 200, IDLE, 0), turn(0, 200, 300, B)])
    turns = shape.turns
    assert list(zip(turns.begin_ns, turns.end_ns, turns.task)) == [
        (0, 100, 0),
        (100, 160, UNSEEN),
        (200, 300, 1),
    ]
    assert "Of 60 ns nothing is known" in shape.note
    assert "<td>200 ns</td><td>40 ns</td><td>60 ns</td>" in html.timeline(shape)


def test_who_wakes_and_never_runs_is_named_and_an_interrupt_is_nobody() -> None:
    idle = [turn(0, 0, 10, IDLE, 0), turn(0, 20, 30, IDLE, 0)]
    events = [waking(1, 5, A, HOSTILE), idle[0], turn(0, 10, 20, A), waking(0, 25, A, IDLE), idle[1]]
    events += [turn(0, 30, 40, A)]
    shape = page(events)
    assert [(runner.tid, runner.turns) for runner in shape.runners] == [(1040, 2), (7, 0)]
    assert shape.turns.waker.tolist() == [1, -2]
    assert shape.turns.waker_lane.tolist() == [-1, 0]  # of CPU 1 nothing else is known


def unpacked(data: bytes, number: int) -> list[list[int]]:
    """Columns of so many numbers each."""
    numbers, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            numbers.append(value)
            value = shift = 0
    assert shift == 0
    return [numbers[at : at + number] for at in range(0, len(numbers), number)]


def data_of(text: str) -> bytes:
    [packed] = re.findall(r'<script type="text/plain" id="data"[^>]*>([^<]*)</script>', text)
    return zlib.decompress(base64.b64decode(packed))


def test_what_the_page_holds_is_what_was_seen() -> None:
    shape = page(EVENTS)
    gap, length, task, _, waited_ns, waker, lane, woken, several, idle, others = unpacked(
        data_of(html.timeline(shape)), 6
    )
    assert gap == [0, 0, 0, 0, 360, 140]
    assert length == [100, 200, 120, 80, 70, 110]
    assert task == [1, 2, 3, 2, 1, 1]
    assert waited_ns == [0, 0, 0, 121, 31, 71]
    assert waker == [1, 1, 1, 1, 3, 2] and lane == [0, 0, 0, 0, 1, 2] and woken == [0, 0, 0, 0, 30, 100]
    assert {*several} == {1} and {*idle, *others} == {0}


@given(st.lists(st.tuples(*[st.integers(0, 1 << 52)] * 2), min_size=1, max_size=30))
def test_all_numbers_survive(pairs: list[tuple[int, int]]) -> None:
    from kintro.renderers.html.timeline import packed

    columns = {name: np.zeros(len(pairs), np.int64) for name in Turns._fields}
    columns["lane"] = np.arange(len(pairs))
    columns["begin_ns"] = np.array([begin for begin, _ in pairs])
    columns["end_ns"] = columns["busy_ns"] = columns["task_ns"] = np.array([sum(pair) for pair in pairs])
    columns["waker"] -= 1
    found = unpacked(packed(Turns(**columns)), len(pairs))
    assert [gap // 2 for gap in found[0]] == [begin for begin, _ in pairs]
    assert found[1] == [length for _, length in pairs]


@pytest.mark.parametrize("comm", [name.encode(errors="surrogateescape") for name in layouts.HOSTILE[:-1]])
def test_names_of_strangers_on_a_page(comm: bytes) -> None:
    names = {**NAMES, A: Name(5, 5, 5, comm)}
    timeline = PageTimeline(lambda piece: None, BEGIN_NS, names.__getitem__)
    for event in EVENTS:
        timeline.add(event)
    text = html.timeline(timeline.timeline())
    assert "<img" not in text and "<svg onload" not in text and "alert(3)</script>" not in text
    assert (
        "\u202e" not in text
        and text.count("</script>") == 2
        and "{{ 7 * 7 }}" not in text.replace("{{ 7 * 7 }}", "", 4)
    )


# Stretches


def rows_of(lanes: list[list[tuple[int, int, int]]]) -> np.ndarray:
    """Lanes of (gap, length, task)."""
    rows = []
    for lane, turns in enumerate(lanes):
        at = 0
        for gap, length, task in turns:
            begin, at = at + gap, at + gap + length
            rows.append((lane, begin, at, task, 1, -1, -1, -1, -1, 1, length, length))
    return np.array(rows, np.int64).reshape(-1, FIELDS)


LANES = st.lists(
    st.lists(st.tuples(st.integers(0, 900), st.integers(0, 3000), st.integers(0, 3)), max_size=40), max_size=3
)


@given(LANES, st.sampled_from([64, 1024, 4096]))
def test_together_nothing_is_lost_and_long_turns_stay(lanes: list[Any], step_ns: int) -> None:
    table = rows_of(lanes)
    if not len(table):
        return
    before, after = Turns(*table.T), Turns(*together(table, step_ns).T)
    for column in ("busy_ns", "turns"):
        for lane in range(len(lanes)):
            sums = [int(getattr(t, column)[t.lane == lane].sum()) for t in (before, after)]
            assert sums[0] == sums[1]
    assert (after.end_ns - after.begin_ns >= after.busy_ns).all() and (after.busy_ns >= after.task_ns).all()
    assert not ((after.lane[1:] == after.lane[:-1]) & (after.begin_ns[1:] < after.end_ns[:-1])).any()
    exact = {tuple(row) for row in table.tolist()}
    for row, turns in zip(np.stack(after, axis=1).tolist(), after.turns.tolist()):
        assert turns > 1 or tuple(row) in exact
    long = [tuple(row) for row in table.tolist() if row[2] - row[1] >= step_ns]
    assert {*long} <= {tuple(row) for row in np.stack(after, axis=1).tolist()}
    for index in np.flatnonzero(after.turns > 1):
        inside = (before.lane == after.lane[index]) & (before.begin_ns >= after.begin_ns[index])
        inside &= before.end_ns <= after.end_ns[index]
        times: Counter[int] = Counter()
        for task, ns in zip(before.task[inside].tolist(), before.task_ns[inside].tolist()):
            times[task] += ns
        assert max(times.values()) == after.task_ns[index] == times[int(after.task[index])]
        assert after.left[index] == SEVERAL


def test_a_long_trace_is_put_together_and_says_so() -> None:
    shape = page(
        [turn(0, at, at + 90, (A, B)[at // 100 % 2], 1) for at in range(0, 1_000_000, 100)], room=1000
    )
    assert len(shape.turns.lane) <= 1000
    assert (
        int(shape.turns.turns[shape.turns.task >= 0].sum()) == 10_000 == sum(r.turns for r in shape.runners)
    )
    assert sum(runner.busy_ns for runner in shape.runners) == 900_000
    assert "too many for one page" in shape.note
    assert len(html.timeline(shape)) < 100_000


def test_room_is_made_whatever_comes() -> None:
    stretches = Stretches(room=64)
    for number in range(10_000):
        stretches.add(
            number % 4, number * 10**6, number * 10**6 + 500, number, 1, -1, -1, -1, -1, 1, 500, 500
        )
    assert len(stretches.table()) <= 64
    assert stretches.table()[:, Turns._fields.index("turns")].sum() == 10_000
