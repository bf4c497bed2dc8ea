"""What ran where, as Perfetto's own trace_processor reads it."""

from __future__ import annotations

from typing import Any

import pytest
from trace_processor import query

from kintro.renderers.perfetto import PACKETS, End, Switch, Timeline, Waking

AT = 49_876_543_210_123
IDLE, SHELL, CAT, WORKER, KTHREAD = 0, 4000, 4001, 4005, 17
COMMS = {IDLE: b"swapper/0", SHELL: b"bash", CAT: b"cat", WORKER: b"worker", KTHREAD: b"kworker/0:1"}

RAN = """select ts, dur, cpu, end_state, priority, utid, tid, t.name as thread, upid, pid, p.name as process
    from sched join thread t using (utid) left join process p using (upid) order by cpu, ts"""
STATES = """select ts, dur, cpu, state, tid, (select tid from thread w where w.utid = s.waker_utid) as waker
    from thread_state s join thread using (utid) order by tid, ts"""


class Trace:
    def __init__(self, release: str = "6.1.0-18-amd64") -> None:
        self.writes: list[bytes] = []
        self.timeline = Timeline(self.writes.append, release)

    def query(self, *statements: str, complete: bool = True) -> list[list[tuple]]:
        self.timeline.flush()
        results = query(b"".join(self.writes), *statements, complete=complete)
        return [[tuple(row.values()) for row in rows] for rows in results]


def switch(at: int, prev: int, state: int, following: int, prio: int = 120) -> Switch:
    return Switch(AT + at, prev, COMMS[prev], prio, state, following, COMMS[following], prio)


def columns(rows: list[tuple], *wanted: int) -> list[tuple]:
    return [tuple(row[column] for column in wanted) for row in rows]


def test_what_ran_on_each_cpu() -> None:
    trace = Trace()
    line = trace.timeline
    line.task(AT, SHELL, SHELL, b"bash", b"/bin/bash -l")
    line.task(AT, SHELL, WORKER, b"helper", b"/bin/bash -l")
    line.switches(1, [switch(5, IDLE, 0, SHELL), switch(45, SHELL, 2, IDLE)])
    line.switches(
        0,
        [
            switch(10, IDLE, 0, WORKER),
            switch(20, WORKER, 0x100, KTHREAD, prio=100),
            switch(30, KTHREAD, 0x80, CAT),
            switch(31, CAT, 0x10, IDLE),
            switch(50, IDLE, 0, SHELL),
        ],
    )
    line.wakings(0, [Waking(AT + 47, IDLE, SHELL, b"bash", 120, 0)])
    ran, states = trace.query(RAN, STATES)
    assert [(row[0] - AT, *row[1:5], *row[6:8], *row[9:]) for row in ran] == [
        (10, 10, 0, "R+", 120, WORKER, "helper", SHELL, "/bin/bash -l"),
        (20, 10, 0, "I", 100, KTHREAD, "kworker/0:1", None, None),
        (30, 1, 0, "X", 120, CAT, "cat", None, None),
        (31, 19, 0, "R", 120, IDLE, "swapper", 0, None),
        (50, -1, 0, None, 120, SHELL, "bash", SHELL, "/bin/bash -l"),
        (5, 40, 1, "D", 120, SHELL, "bash", SHELL, "/bin/bash -l"),
        (45, -1, 1, None, 120, IDLE, "swapper", 0, None),
    ]
    assert [(row[0] - AT, *row[1:4], row[5]) for row in states if row[4] == SHELL] == [
        (5, 40, 1, "Running", None),
        (45, 2, None, "D", None),
        (47, 3, None, "R", IDLE),
        (50, -1, 0, "Running", None),
    ]
    assert [(row[0] - AT, *row[1:4]) for row in states if row[4] == WORKER] == [
        (10, 10, 0, "Running"),
        (20, -1, None, "R+"),
    ]


@pytest.mark.parametrize("release", ["5.8.0-generic", "6.18.44", "7.0.0-rc1+"])
def test_end_states_are_those_of_that_kernel(release: str) -> None:
    trace = Trace(release)
    wanted = {0: "R", 0x100: "R+", 1: "S", 2: "D", 4: "T", 8: "t", 0x10: "X", 0x20: "Z", 0x40: "P", 0x80: "I"}
    for at, state in enumerate(wanted):
        trace.timeline.switches(0, [switch(10 * at, IDLE, 0, CAT), switch(10 * at + 5, CAT, state, IDLE)])
    [rows] = trace.query(RAN)
    assert columns([row for row in rows if row[6] == CAT], 3) == [(state,) for state in wanted.values()]


def test_a_tid_that_is_used_again_at_once() -> None:
    trace = Trace()
    line = trace.timeline
    line.task(AT, CAT, CAT, b"first", b"first")
    line.switches(0, [switch(0, IDLE, 0, CAT), switch(10, CAT, 0x10, IDLE)])
    line.ends(0, [End(AT + 10, CAT, b"first", 120)])
    line.task(AT + 11, CAT, CAT, b"second", b"second")
    line.switches(1, [switch(11, IDLE, 0, CAT), switch(20, CAT, 1, IDLE)])
    line.ends(1, [End(AT + 21, CAT, b"second", 120)])
    line.task(AT + 22, SHELL, CAT, b"a thread", b"bash")
    line.switches(1, [switch(30, IDLE, 0, CAT), switch(40, CAT, 1, IDLE)])
    [rows] = trace.query(RAN)
    rows = [row for row in rows if row[6] == CAT]
    assert columns(rows, 0, 7, 9, 10) == [
        (AT, "first", CAT, "first"),
        (AT + 11, "second", CAT, "second"),
        (AT + 30, "a thread", SHELL, "bash"),
    ]
    assert len({row[5] for row in rows}) == len({row[8] for row in rows}) == 3


def test_a_task_that_gets_another_name() -> None:
    trace = Trace()
    trace.timeline.task(AT, CAT, CAT, b"bash", b"bash")
    trace.timeline.switches(0, [switch(1, IDLE, 0, CAT), switch(10, CAT, 0, IDLE)])
    trace.timeline.task(AT + 5, CAT, CAT, b"cat", b"cat /etc/passwd")
    [rows] = trace.query(RAN)
    assert columns(rows[:1], 7, 10) == [("cat", "cat /etc/passwd")]


def test_slices_and_switches_are_of_the_same_thread() -> None:
    trace = Trace()
    line = trace.timeline
    line.task(AT, SHELL, WORKER, b"worker", b"bash")
    thread = line.thread(AT, line.process(AT, SHELL, b"bash"), WORKER, b"worker")
    line.slice(thread, AT + 12, AT + 15, "read")
    line.switches(0, [switch(10, IDLE, 0, WORKER), switch(20, WORKER, 1, IDLE)])
    [both] = trace.query(
        """select ran.ts, ran.dur, slice.ts as begin, slice.dur as length, tid, pid from slice
           join thread_track track on track_id = track.id join thread using (utid) join process using (upid)
           join sched ran using (utid)"""
    )
    assert both == [(AT + 10, 10, AT + 12, 3, WORKER, SHELL)]


def test_a_gap_shows_as_a_thread_without_an_end() -> None:
    trace = Trace()
    trace.timeline.switches(
        0, [switch(0, IDLE, 0, CAT), switch(50, SHELL, 1, IDLE), switch(60, IDLE, 0, CAT)]
    )
    [rows] = trace.query(RAN, complete=False)
    assert [(row[0] - AT, row[1], row[6]) for row in rows] == [(0, -1, CAT), (50, 10, IDLE), (60, -1, CAT)]


def test_hostile_names() -> None:
    names: dict[Any, str] = {
        b"\xff\x80": r"\xff\x80",
        b"a\0b\n": r"a\x00b\n",
        "\u202ertl": r"\u202ertl",
        b"<b>%s": "<b>%s",
        b"": "",
    }
    trace = Trace()
    for tid, name in enumerate(names, 10):
        at = AT + 10 * tid
        trace.timeline.switches(0, [Switch(at, 0, name, 120, 0, tid, name, 120)])
        trace.timeline.switches(0, [Switch(at + 5, tid, name, 120, 1, 0, b"swapper/0", 120)])
        trace.timeline.wakings(0, [Waking(at + 6, 0, tid, name, 120, 0)])
        trace.timeline.task(at, 100 + tid, 100 + tid, name, name)
    found, tasks = trace.query(
        "select name from thread where tid between 1 and 99 order by tid",
        """select t.name as thread, p.name as process from thread t join process p using (upid)
           where tid > 99 order by tid""",
    )
    assert [name or "" for (name,) in found] == list(names.values())
    assert [tuple(name or "" for name in both) for both in tasks] == [(name, name) for name in names.values()]


def test_many_switches_are_complete_and_never_held() -> None:
    trace, count = Trace(), 100_000
    switches = (
        switch(1000 * n, IDLE if n % 2 == 0 else CAT, n % 2, CAT if n % 2 == 0 else IDLE)
        for n in range(count)
    )
    trace.timeline.switches(3, switches)
    assert max(map(len, trace.writes)) < 200 * PACKETS
    [[row]] = trace.query(
        "select count(*), sum(dur), min(ts), max(ts), min(cpu), max(cpu) from sched where dur >= 0"
    )
    assert row == (count - 1, 1000 * (count - 1), AT, AT + 1000 * (count - 2), 3, 3)
