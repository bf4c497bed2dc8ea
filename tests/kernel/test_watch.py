"""A watched process: what happens to its mappings is told as what it was, and when the watch ends."""

from __future__ import annotations

import mmap
import os

import pytest

from kintro.observers.watch import watch

from .maps import maps_of
from .touching import PAGE, Touched, faults_in, only, touching, workload

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="only x86 tells when a fault begins"),
]


def test_mappings_come_and_go(touched: Touched) -> None:
    start, interval = touched.does("map", 20)
    end = start + 20 * PAGE
    change = only(interval, start, end)
    assert (change.kind, change.start, change.end, change.before) == ("appeared", start, end, None)
    _, interval = touched.does("unmap", start, 20)
    change = only(interval, start, end)
    assert (change.kind, change.start, change.end) == ("disappeared", start, end)


def test_the_middle_protected_and_back(touched: Touched) -> None:
    start = touched.tell("map", 30)
    middle, end = (start + 10 * PAGE, start + 20 * PAGE), start + 30 * PAGE
    _, interval = touched.does("protect", middle[0], 10, mmap.PROT_READ)
    change = only(interval, start, end)
    assert (change.kind, change.start, change.end) == ("protected", *middle)
    assert change.before is not None
    assert (change.before.perms, change.mapping.perms) == ("rw-p", "r--p")
    _, interval = touched.does("protect", middle[0], 10, mmap.PROT_READ | mmap.PROT_WRITE)
    change = only(interval, start, end)
    assert (change.kind, change.start, change.end) == ("protected", *middle)


def test_a_hole_and_an_end_unmapped(touched: Touched) -> None:
    start = touched.tell("map", 30)
    _, interval = touched.does("unmap", start + 10 * PAGE, 5)
    change = only(interval, start, start + 30 * PAGE)
    assert (change.kind, change.start, change.size_bytes) == ("shrank", start + 10 * PAGE, 5 * PAGE)
    _, interval = touched.does("unmap", start + 25 * PAGE, 5)
    change = only(interval, start, start + 30 * PAGE)
    assert (change.kind, change.start, change.size_bytes) == ("shrank", start + 25 * PAGE, 5 * PAGE)


def test_the_heap_grows(touched: Touched) -> None:
    touched.watch.take()
    end, interval = touched.does("brk", 1 << 20)
    [change] = [change for change in interval.changes if change.mapping.path == b"[heap]"]
    assert (change.kind, change.end) == ("grew", end)
    assert change.before is not None and change.start == change.before.end
    assert change.size_bytes == change.mapping.size_bytes - change.before.size_bytes >= 1 << 20


def test_the_stack_grows_downwards(touched: Touched) -> None:
    [stack] = [mapping for mapping in maps_of(touched.pid) if mapping.path == b"[stack]"]
    _, interval = touched.does("write", stack.start - 64 * PAGE, 1)
    change = only(interval, stack.start - 64 * PAGE, stack.start)
    assert (change.kind, change.end, change.size_bytes) == ("grew", stack.start, 64 * PAGE)
    assert faults_in(interval, stack.start - 64 * PAGE).write >= 1


# The watch itself


def test_each_fault_as_an_event() -> None:
    with touching(events=True) as touched:
        start = touched.tell("map", 20)
        _, interval = touched.does("write", start, 20)
        own = [event for event in interval.events if start <= event.address < start + 20 * PAGE]
        assert [event.address for event in own] == list(range(start, start + 20 * PAGE, PAGE))
        assert {(event.tid, event.kind, event.user) for event in own} == {(touched.pid, "write", 1)}
        code = [m for m in maps_of(touched.pid) if m.start <= own[0].ip < m.end]
        assert [m.perms for m in code] == ["r-xp"]
        assert interval.totals.counts is not None
        assert len(interval.events) == interval.totals.counts.total


def test_the_iteration_ends_with_the_process() -> None:
    with touching(interval_s=30) as touched:
        touched.process.kill()
        intervals = list(touched.watch)
        assert [interval.ended for interval in intervals] == [True]


def test_an_iteration_can_be_ended_by_a_descriptor() -> None:
    begin, end = os.pipe()
    with touching(interval_s=0.05) as touched:
        touched.watch.when_readable(begin, touched.watch.stop)
        seen = 0
        for interval in touched.watch:
            seen += 1
            if seen == 3:
                os.write(end, b"x")
            assert not interval.ended and seen < 5
        assert seen >= 3
    os.close(begin)
    os.close(end)


def test_without_the_tracepoint_there_are_still_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kintro.observers.watch.why_not", lambda: "no such tracepoint")
    with workload() as process, watch(process.pid, maps_of, interval_s=30) as watched:
        assert watched.no_faults == "no such tracepoint"
        touched = Touched(process, watched)
        start = touched.tell("map", 3)
        interval = watched.take()
        assert only(interval, start, start + 3 * PAGE).kind == "appeared"
        assert interval.totals.counts is interval.totals.lost is interval.elsewhere is None
        process.kill()
        assert [interval.ended for interval in watched] == [True]


def test_nothing_is_left_open() -> None:
    with touching():
        pass
    before = sorted(os.listdir("/proc/self/fd"))
    with touching():
        pass
    assert sorted(os.listdir("/proc/self/fd")) == before
