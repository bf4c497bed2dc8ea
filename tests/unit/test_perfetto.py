"""Traces as Perfetto's own trace_processor reads them."""

from __future__ import annotations

import random
import sys
from typing import Any

import pytest
from trace_processor import query

from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.renderers.perfetto import INTERNED_LENGTH, INTERNED_MAX, PACKETS, Timeline, Track

RELEASE = "6.1.0-18-amd64"
BEGIN_NS = 49_876_543_210_123  # a machine that is up for half a day

SLICES = """select ts, dur, depth, s.name, tid, t.name as thread, pid, p.name as process, utid, upid
    from slice s join thread_track tt on s.track_id = tt.id join thread t using (utid)
    left join process p using (upid) order by s.id"""
ARGUMENTS = """select s.name, key, value_type, int_value, real_value, string_value, display_value
    from slice s join args a on s.arg_set_id = a.arg_set_id where key glob 'debug.*' order by s.id, a.id"""

# Text from strangers, and what is shown of it.
HOSTILE = {
    b"\xff\xfe not UTF-8": r"\xff\xfe not UTF-8",
    b"": "",
    b"nul\0nul": r"nul\x00nul",
    b"two\nlines\x1b[31m": r"two\nlines\x1b[31m",
    "\u202eright to left": r"\u202eright to left",
    "\ud800 half": r"\ud800 half",
    "<script>alert(1)</script>": "<script>alert(1)</script>",
    "käse 名前": "käse 名前",
    b"%s%n ' \" -- ;": "%s%n ' \" -- ;",
    b"x" * (INTERNED_LENGTH + 1): "x" * (INTERNED_LENGTH + 1),
}


class Trace:
    """A timeline and what it has written."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.timeline = Timeline(self.writes.append, RELEASE)

    def query(self, *statements: str) -> list[list[dict[str, Any]]]:
        self.timeline.flush()
        return query(b"".join(self.writes), *statements)


@pytest.fixture
def trace() -> Trace:
    return Trace()


def a_thread(trace: Trace) -> Track:
    return trace.timeline.thread(0, trace.timeline.process(0, 1, "p"), 1, "t")


def picked(rows: list[dict[str, Any]], *columns: str) -> list[tuple]:
    return [tuple(row[column] for column in columns) for row in rows]


def test_slices_come_out_as_they_went_in(trace: Trace) -> None:
    line = trace.timeline
    shell = line.process(BEGIN_NS, 4000, b"bash")
    cat = line.process(BEGIN_NS, 4001, b"cat")
    threads = [
        line.thread(BEGIN_NS, process, tid, name)
        for process, tid, name in [(shell, 4000, b"bash"), (shell, 4005, b"helper"), (cat, 4001, b"cat")]
    ]
    line.slice(threads[0], BEGIN_NS, BEGIN_NS + 1, b"read", {"fd": 3, "buf": b"abc"})
    line.slice(threads[1], BEGIN_NS + 1, BEGIN_NS + 2_000_000_001, b"futex")
    line.slice(threads[2], BEGIN_NS + 2, BEGIN_NS + 7, "read", {"fd": 0, "buf": "abc", "error": None})
    slices, arguments, clock = trace.query(
        SLICES, ARGUMENTS, "select int_value from metadata where name = 'trace_time_clock_id'"
    )
    assert picked(slices, "ts", "dur", "name", "tid", "thread", "pid", "process") == [
        (BEGIN_NS, 1, "read", 4000, "bash", 4000, "bash"),
        (BEGIN_NS + 1, 2_000_000_000, "futex", 4005, "helper", 4000, "bash"),
        (BEGIN_NS + 2, 5, "read", 4001, "cat", 4001, "cat"),
    ]
    assert picked(arguments, "name", "key", "int_value", "string_value") == [
        ("read", "debug.fd", 3, None),
        ("read", "debug.buf", None, "abc"),
        ("read", "debug.fd", 0, None),
        ("read", "debug.buf", None, "abc"),
    ]
    assert clock == [{"int_value": 3}]  # BUILTIN_CLOCK_MONOTONIC


def test_nested_touching_empty_and_unfinished_slices(trace: Trace) -> None:
    line = trace.timeline
    thread = a_thread(trace)
    for begin, end, name in [
        (10, 20, "first"),
        (20, 20, "empty"),
        (20, 40, "touches both"),
        (22, 30, "inner"),  # comes before what it lies in, as it ends before
        (21, 35, "outer"),
        (50, 90, "begins with the next"),
        (50, 60, "begins with the one before"),
        (90, 90, "empty at an end"),
        (100, None, "unfinished"),
        (110, 120, "in the unfinished"),
    ]:
        line.slice(thread, begin, end, name)
    [slices] = trace.query(SLICES)
    assert picked(slices, "ts", "dur", "depth", "name") == [
        (10, 10, 0, "first"),
        (20, 0, 0, "empty"),
        (20, 20, 0, "touches both"),
        (21, 14, 1, "outer"),
        (22, 8, 2, "inner"),
        (50, 40, 0, "begins with the next"),
        (50, 10, 1, "begins with the one before"),
        (90, 0, 0, "empty at an end"),
        (100, -1, 0, "unfinished"),
        (110, 10, 1, "in the unfinished"),
    ]


def nested(rng: random.Random, begin: int, end: int, depth: int = 0) -> list[tuple[int, int, int]]:
    """(begin, end, depth) of a slice and of those in it, which touch each other."""
    found = [(begin, end, depth)]
    at = begin + 1
    while depth < 4 and end - at > 8 and rng.random() < 0.8:
        inner_end = rng.randrange(at + 1, end)
        found += nested(rng, at, inner_end, depth + 1)
        at = inner_end
    return found


def test_slices_of_many_threads_that_come_in_the_order_of_their_ends(trace: Trace) -> None:
    rng = random.Random(1)
    process = trace.timeline.process(0, 1, "p")
    tracks = {tid: trace.timeline.thread(0, process, tid, "t") for tid in range(1, 21)}
    wanted = [
        (tid, *one) for tid in tracks for at in range(0, 50_000, 999) for one in nested(rng, at, at + 999)
    ]
    assert {depth for *_, depth in wanted} == {0, 1, 2, 3, 4}
    for tid, begin, end, depth in sorted(wanted, key=lambda one: one[2]):
        trace.timeline.slice(tracks[tid], begin, end, f"depth {depth}", {"thread": tid})
    slices, arguments = trace.query(SLICES, ARGUMENTS)
    found = [(row["tid"], row["ts"], row["ts"] + row["dur"], row["depth"]) for row in slices]
    assert sorted(found) == sorted(wanted)
    assert all(row["name"] == f"depth {row['depth']}" for row in slices)
    assert [row["int_value"] for row in arguments] == [row["tid"] for row in slices]


def test_a_pid_and_tids_that_are_used_again(trace: Trace) -> None:
    line = trace.timeline
    for at, pid, name in [(0, 100, "one"), (100, 100, "two"), (200, 300, "three")]:
        process = line.process(at, pid, name)
        for tid in (pid, 101):
            line.slice(line.thread(at, process, tid, f"{name}/{tid}"), at + tid, at + tid + 5, "s")
    again = line.thread(400, process, 101, "three/101 again")  # in the same process
    line.slice(again, 400, 401, "s")
    [slices] = trace.query(SLICES)
    assert sorted(picked(slices, "process", "pid", "thread", "tid", "ts")) == [
        ("one", 100, "one/100", 100, 100),
        ("one", 100, "one/101", 101, 101),
        ("three", 300, "three/101", 101, 301),
        ("three", 300, "three/101 again", 101, 400),
        ("three", 300, "three/300", 300, 500),
        ("two", 100, "two/100", 100, 200),
        ("two", 100, "two/101", 101, 201),
    ]
    assert len({row["utid"] for row in slices}) == 7
    assert len({row["upid"] for row in slices}) == 3


def test_the_last_name_of_a_track_stays(trace: Trace) -> None:
    line = trace.timeline
    process = line.process(10, 5, "sh")
    thread = line.thread(10, process, 5, "sh")
    line.slice(thread, 10, 20, "execve")
    line.rename(20, process, "ls")
    line.rename(20, thread, "ls")
    line.slice(thread, 30, 40, "read")
    [slices] = trace.query(SLICES)
    assert picked(slices, "name", "thread", "process") == [("execve", "ls", "ls"), ("read", "ls", "ls")]
    assert len({row["utid"] for row in slices}) == 1


def test_hostile_names(trace: Trace) -> None:
    line = trace.timeline
    for number, name in enumerate(HOSTILE, 1):
        thread = line.thread(0, line.process(0, number, name), number, name)
        for again in range(2):
            line.slice(thread, 10 * number + again, 10 * number + again, name, {"text": name})
    keys = [name if isinstance(name, str) else name.decode("latin-1") for name in HOSTILE]
    line.slice(thread, 1000, 1001, "keys", dict.fromkeys(keys, 1))
    slices, arguments = trace.query(SLICES, ARGUMENTS)
    shown = [text for text in HOSTILE.values() for _ in range(2)]
    assert [row["name"] for row in slices[:-1]] == shown
    # An empty name is none.
    assert [row["thread"] or "" for row in slices[:-1]] == shown
    assert [row["process"] or "" for row in slices[:-1]] == shown
    texts = [row for row in arguments if row["key"] == "debug.text"]
    assert [row["string_value"] for row in texts] == shown
    assert len(arguments) == len(texts) + len(keys)


def test_arguments_of_each_type(trace: Trace) -> None:
    wanted: dict[Any, tuple] = {
        0: ("int", 0, "0"),
        -1: ("int", -1, "-1"),
        (1 << 63) - 1: ("int", (1 << 63) - 1, "9223372036854775807"),
        -(1 << 63): ("int", -(1 << 63), "-9223372036854775808"),
        1 << 63: ("pointer", -(1 << 63), "0x8000000000000000"),
        (1 << 64) - 1: ("pointer", -1, "0xffffffffffffffff"),
        1.5: ("real", None, "1.5"),
        "x": ("string", None, "x"),
        b"y": ("string", None, "y"),
    }
    thread = a_thread(trace)
    for value in (*wanted, True, False, None):
        trace.timeline.slice(thread, 1, 1, "s", {"value": value})
    [rows] = trace.query(ARGUMENTS)
    found = picked(rows, "value_type", "int_value", "display_value")
    assert found == [*wanted.values(), ("bool", 1, "true"), ("bool", 0, "false")]


def test_a_big_trace_is_complete_and_never_held(trace: Trace) -> None:
    line, count, names = trace.timeline, 200_000, ("read", "write", "openat", "futex", "mmap")
    process = line.process(BEGIN_NS, 1, "p")
    threads = [line.thread(BEGIN_NS, process, tid, f"thread {tid}") for tid in range(1, 9)]
    for number in range(count):
        begin = BEGIN_NS + 1000 * number
        line.slice(threads[number % 8], begin, begin + number % 999, names[number % 5], {"number": number})
    assert len(trace.writes) == (2 * count + 11) // PACKETS
    sums, by_name, by_thread = trace.query(
        "select count(*) as n, sum(dur) as dur, min(ts) as first, max(ts) as last from slice",
        "select name, count(*) as n from slice group by name order by name",
        """select tid, count(*) as n, sum(extract_arg(arg_set_id, 'debug.number')) as numbers
           from slice s join thread_track tt on s.track_id = tt.id join thread using (utid)
           group by tid order by tid""",
    )
    last = BEGIN_NS + 1000 * (count - 1)
    wanted = {"n": count, "dur": sum(n % 999 for n in range(count)), "first": BEGIN_NS, "last": last}
    assert sums == [wanted]
    assert by_name == [{"name": name, "n": count // 5} for name in sorted(names)]
    numbers = [sum(range(first, count, 8)) for first in range(8)]
    assert by_thread == [{"tid": i + 1, "n": count // 8, "numbers": numbers[i]} for i in range(8)]


def test_more_names_than_are_kept(trace: Trace) -> None:
    thread = a_thread(trace)
    count = INTERNED_MAX + 500
    for twice in range(2):
        for number in range(count):
            at = 10 * (twice * count + number)
            trace.timeline.slice(thread, at, at + 5, f"name {number}", {"text": f"text {number}"})
    [rows] = trace.query(
        "select name, extract_arg(arg_set_id, 'debug.text') as text, count(*) as n from slice group by 1, 2"
    )
    assert all(row["n"] == 2 and row["name"][5:] == row["text"][5:] for row in rows)
    assert len({row["name"] for row in rows}) == len(rows) == count


def test_what_was_written_before_a_kill_can_be_read(trace: Trace) -> None:
    thread = a_thread(trace)
    for number in range(PACKETS):
        trace.timeline.slice(thread, number * 10, number * 10 + 5, "s")
    assert len(trace.writes) == 2
    [[row]] = query(trace.writes[0], "select count(*) as n from slice where dur = 5")
    assert row["n"] == (PACKETS - 4) // 2


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "perfetto.protos.perfetto.trace", None)
    monkeypatch.delitem(sys.modules, "perfetto.protos.perfetto.trace.perfetto_trace_pb2", raising=False)
    with pytest.raises(KintroError, match="package perfetto") as caught:
        Timeline(bytearray().extend, RELEASE)
    assert caught.value.exit_code == EX_UNAVAILABLE
    assert "kintro[perfetto]" in str(caught.value.hint)
