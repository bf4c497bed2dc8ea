"""A thread's calls as two lanes, one for each mode."""

from __future__ import annotations

from test_calls import call, told

from kintro.observers.calls_records import EARLY, UNFINISHED
from kintro.observers.calls_spans import KERNEL, USER, spans


def test_user_mode_lies_between_calls() -> None:
    made = [(0, 10, 30), (39, 35, 36), (0, 50, 57)]
    found = spans(told(*(call(nr, ts_ns=begin, ended_ns=end) for nr, begin, end in made)))
    assert found.duration_ns == 47
    assert [(lane.name, lane.turns, lane.busy_ns) for lane in found.lanes] == [
        ("user mode", 2, 19),
        ("kernel mode", 3, 28),
    ]
    names = [(runner.name, runner.turns, runner.busy_ns) for runner in found.runners]
    assert names == [(b"read", 2, 27), (b"user mode", 2, 19), (b"getpid", 1, 1)]
    turns = found.turns
    assert turns.lane.tolist() == [USER] * 2 + [KERNEL] * 3
    assert turns.begin_ns.tolist() == [20, 26, 0, 25, 40]
    assert turns.end_ns.tolist() == [25, 40, 20, 26, 47]
    assert turns.task.tolist() == [1, 1, 0, 2, 0]
    endings = [found.endings[code] for code in turns.left.tolist()]
    assert endings == ["called the kernel"] * 2 + ["returned"] * 3


def test_calls_without_a_begin_or_an_end_are_left_out() -> None:
    early, whole = call(0, ts_ns=0, ended_ns=9, flags=EARLY), call(39, ts_ns=10, ended_ns=12)
    assert spans(told(early, whole, call(0, ts_ns=20, flags=UNFINISHED))).duration_ns == 2
    assert spans([]).duration_ns == 0
    assert len(spans([]).turns.lane) == 0
