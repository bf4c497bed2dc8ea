"""Figures of system calls from what the probe adds up: buckets, percentiles, differences, JSON, the table."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kintro.observers import syscalls, syscalls_read, syscalls_text
from kintro.observers.buckets import BUCKETS, bounds_ns
from kintro.observers.syscalls import Reading, Result, account, percentile_ns, sort_key
from kintro.observers.syscalls_records import (
    COMPAT_SLOT,
    OTHER_SLOT,
    UNFINISHED,
    Process,
    ProcessKey,
    Syscall,
)
from kintro.renderers import jsonl, terminal
from kintro.sources.syscall_names import syscall_names

NAMES = {0: "read", 15: "rt_sigreturn", 59: "execve"}
WHO = ProcessKey(5_000, 42)
COUNTERS = dict.fromkeys(
    ("early", "refused", "overtaken", "missed", "results_lost", *(f"level_{n}" for n in range(4))), 0
)


def bucket_of(ns: int) -> int:
    """As probes/syscalls.c has it, in other words."""
    if ns < 32:
        return 0
    exponent = ns.bit_length() - 1
    return min(BUCKETS - 1, 4 * (exponent - 5) + (ns >> exponent - 2 & 3)) if exponent < 37 else BUCKETS - 1


def result(*durations_ns: int) -> Result:
    buckets = [0] * BUCKETS
    for ns in durations_ns:
        buckets[bucket_of(ns)] += 1
    return Result(sum(durations_ns), min(durations_ns), max(durations_ns), buckets)


def process(calls: int, **figures: int) -> Process:
    return Process(WHO, b"cat", calls, 70, 30, 100, 20, 20)._replace(**figures)


def reading(ts_ns: int = 1000, **parts: object) -> Reading:
    return Reading(ts_ns, counters=COUNTERS, **parts)  # type: ignore[arg-type]


def call_of(*durations_ns: int) -> Syscall:
    found = account(reading(results={(None, 0): result(*durations_ns)}), NAMES, Reading(0))
    [call] = found.syscalls
    return call


@given(st.integers(0, 1 << 45))
def test_a_duration_lies_in_its_bucket(ns: int) -> None:
    low, high = bounds_ns(bucket_of(ns))
    assert low <= ns and (high is None or ns < high)


def test_buckets_follow_one_another_and_are_narrow() -> None:
    bounds = [bounds_ns(bucket) for bucket in range(BUCKETS)]
    assert bounds[0] == (0, 40) and bounds[-1][1] is None
    assert [high for _, high in bounds[:-1]] == [low for low, _ in bounds[1:]]
    assert all(high <= low * 1.25 for low, high in bounds[1:-1] if high is not None)


@given(st.lists(st.integers(1, 1 << 40), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_percentile_is_in_the_bucket_of_the_true_one(durations: list[int], part: float) -> None:
    call = call_of(*durations)
    true = sorted(durations)[max(0, -int(-part * len(durations) // 1) - 1)]
    told = percentile_ns(call, part)
    low, high = bounds_ns(bucket_of(true))
    assert told is not None and min(durations) <= told <= max(durations)
    assert low <= told and (high is None or told <= high)


def test_percentiles_of_one_call_and_of_none() -> None:
    assert percentile_ns(call_of(777), 0.5) == percentile_ns(call_of(777), 0.99) == 777
    found = account(reading(under_way=Counter({(None, 0): 1})), NAMES, Reading(0))
    [call] = found.syscalls
    assert (call.calls, call.returned, call.unfinished) == (1, 0, 1)
    assert (percentile_ns(call, 0.5), call.min_ns, call.max_ns) == (None, None, None)


def test_an_account_of_a_trace() -> None:
    found = account(
        reading(
            5000,
            results={(None, 0): result(100, 200, 300), (None, 15): result(50)},
            outcomes={
                (None, 0): Counter({9: 2, 512: 1, UNFINISHED: 1}),
                (None, 15): Counter({4: 1}),
                (None, 59): Counter({UNFINISHED: 1}),
            },
            under_way=Counter({(None, 0): 2}),
            processes={WHO: process(8)},
        ),
        NAMES,
        Reading(1000),
    )
    assert found.duration_ns == 4000 and found.complete is True
    read, sigreturn, execve = found.syscalls
    assert (read.calls, read.unfinished, dict(read.errno)) == (6, 3, {"EBADF": 2, "ERESTARTSYS": 1})
    assert (read.total_ns, read.min_ns, read.max_ns) == (600, 100, 300)
    assert (sigreturn.calls, sigreturn.errors) == (1, 0)  # what it returns is another's register
    assert (execve.calls, execve.unfinished, execve.errors) == (1, 1, 0)
    assert (found.calls, found.errors, found.unfinished, found.entries) == (8, 3, 4, 8)


def test_what_is_lost_or_differs_is_not_complete() -> None:
    parts = {"results": {(None, 0): result(100)}, "processes": {WHO: process(1)}}
    assert account(reading(**parts), NAMES, Reading(0)).complete is True
    assert account(reading(**parts | {"processes": {WHO: process(2)}}), NAMES, Reading(0)).complete is False
    for name in ("missed", "overtaken", "results_lost"):
        one = reading(**parts)
        one.counters = {**COUNTERS, name: 1}
        found = account(one, NAMES, Reading(0))
        assert (found.lost, found.complete) == (1, False)
    assert account(reading(**parts), NAMES, Reading(0), moving=True).complete is None


def test_an_interval_is_the_difference() -> None:
    first = reading(
        1000,
        results={(None, 0): result(100, 9000)},
        outcomes={(None, 0): Counter({9: 1})},
        under_way=Counter({(None, 0): 1}),
        processes={WHO: process(3)},
    )
    last = reading(
        3000,
        results={(None, 0): result(100, 9000, 2000, 2100)},
        outcomes={(None, 0): Counter({9: 1, 2: 1})},
        processes={WHO: process(4, user_ns=90, runtime_ns=150)},
    )
    found = account(last, NAMES, first, moving=True)
    [call] = found.syscalls
    assert (call.returned, call.calls, call.unfinished, dict(call.errno)) == (2, 1, 0, {"ENOENT": 1})
    assert call.total_ns == 4100
    assert call.min_ns is not None and call.max_ns is not None
    assert 1792 <= call.min_ns <= 2000 and 2100 <= call.max_ns <= 2560  # as its buckets tell
    [seen] = found.processes
    assert (seen.calls, seen.user_ns, seen.runtime_ns) == (1, 20, 50)
    assert account(last, NAMES, last).syscalls == []


@pytest.mark.parametrize(
    ("sampled", "divided"),
    [
        ((100, 20, 20), (100, 50, 50)),
        ((100, 0, 0), (100, 100, 0)),
        ((100, 0, 9), (100, 0, 100)),
        ((100, None, 9), (100, None, None)),
        ((None, None, None), (None, None, None)),
    ],
)
def test_cpu_time_is_divided_as_it_was_sampled(
    sampled: tuple[int | None, int | None, int | None], divided: tuple[int | None, ...]
) -> None:
    assert syscalls.divided(*sampled) == divided


def test_names() -> None:
    assert syscall_names("x86_64")[39] == "getpid" and syscall_names("aarch64")[172] == "getpid"
    assert syscall_names("pdp11") == {}
    slots = (0, 500, OTHER_SLOT, COMPAT_SLOT)
    found = account(reading(results={(None, slot): result(1) for slot in slots}), NAMES, Reading(0))
    assert [(call.nr, call.name) for call in found.syscalls] == [
        (0, "read"),
        (500, "500"),
        (None, "(unknown numbers)"),
        (None, "(32-bit calls)"),
    ]
    assert [syscalls.error_name(n) for n in (2, 516, 999)] == ["ENOENT", "ERESTART_RESTARTBLOCK", "errno 999"]


def test_orders() -> None:
    calls = [
        call_of(500)._replace(name="b", errno={"ENOENT": 3}),
        call_of(10, 10, 10)._replace(name="c"),
        call_of(100, 450)._replace(name="a", errno={"EIO": 1}),
    ]
    orders = {by: "".join(c.name for c in sorted(calls, key=sort_key(by))) for by in syscalls.SORTS}
    assert orders == {"calls": "cab", "total": "abc", "errors": "bac", "max": "bac", "name": "abc"}


def test_json() -> None:
    parts = {"results": {(WHO, 0): result(10, 100)}, "outcomes": {(WHO, 0): Counter({2: 1})}}
    found = account(reading(**parts, processes={WHO: process(2)}), NAMES, Reading(0))
    told = json.loads(jsonl.line(syscalls_text.as_json(found, found.syscalls)))
    assert told["type"] == "summary" and told["complete"] is True
    [call] = told["syscalls"]
    assert call["histogram"] == [
        {"low_ns": 0, "high_ns": 40, "count": 1},
        {"low_ns": 96, "high_ns": 112, "count": 1},
    ]
    assert (call["pid"], call["start_time_ns"], call["errno"]) == (42, 5000, {"ENOENT": 1})
    assert told["processes"] == [
        {
            "pid": 42,
            "start_time_ns": 5000,
            "comm": "cat",
            "calls": 2,
            "user_ns": 70,
            "kernel_ns": 30,
            "runtime_ns": 100,
            "utime_ns": 50,
            "stime_ns": 50,
        }
    ]


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("by_process", [False, True])
def test_a_table_fits(width: int, by_process: bool) -> None:
    key = (WHO if by_process else None, 0)
    names = {0: "a_name_that_is_far_too_long"}
    durations = [10**n for n in range(1, 11)]
    parts = {"results": {key: result(*durations)}, "outcomes": {key: Counter({2: 3, 9: 1})}}
    found = account(reading(**parts), names, Reading(0))
    octaves = syscalls_text.octaves(found.syscalls)
    wide = syscalls_text.is_wide(width)
    columns = syscalls_text.columns(wide, by_process, syscalls_text.scale_ns(octaves))
    row = syscalls_text.row(found.syscalls[0], octaves, columns, {WHO: b"comm of 15 byte"})
    lines = [
        terminal.heading(columns, None, False),
        terminal.line(columns, row, None, False),
    ]
    assert all(len(line) <= width or wide for line in lines), lines
    assert "█" in lines[1] and ("ENOENT 3, EBADF 1" in lines[1]) == wide


def test_a_histogram_in_a_line() -> None:
    call = call_of(*[40] * 8, *[300] * 2, 5000)
    octaves = syscalls_text.octaves([call])
    assert len(octaves) == 8 and syscalls_text.scale_ns(octaves) == (32, 8192)
    assert syscalls_text.bar(call, octaves, 8) == "█  ▂   ▁"
    assert syscalls_text.bar(call, octaves, 4) == "█▂ ▁"
    assert syscalls_text.scale_ns(syscalls_text.octaves([])) is None


def test_times_of_a_thread(tmp_path: Path) -> None:
    folder = tmp_path / "7" / "task" / "8"
    folder.mkdir(parents=True)
    (folder / "schedstat").write_text("123456 0 1\n")
    (folder / "stat").write_text("8 (a) b) S 1 7 7 0 -1 0 0 0 0 0 3 4 0 0\n")
    assert syscalls_read.cpu_times_ns(7, 8, tmp_path) == (123456, 30_000_000, 40_000_000)
    assert syscalls_read.cpu_times_ns(7, 9, tmp_path) == (None, None, None)
