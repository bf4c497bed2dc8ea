"""Watched memory: exact numbers of faults in each mapping, and the kernel's own count of them all."""

from __future__ import annotations

import mmap
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kintro.observers.changes import Change
from kintro.observers.faults_records import Counts
from kintro.observers.watch import Interval, Watch, watch
from kintro.sources.fault_totals import read_fault_totals
from kintro.sources.mappings import Mapping

from .harness import program, running, wait_for
from .maps import maps_of

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="only x86 tells when a fault begins"),
]

PAGE = mmap.PAGESIZE


class Touched:
    """The workload and the watch on it."""

    def __init__(self, process: subprocess.Popen[bytes], watched: Watch) -> None:
        self.pid, self.process, self.watch = process.pid, process, watched

    def tell(self, *words: Any) -> int:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(" ".join(map(str, words)).encode() + b"\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def does(self, *words: Any) -> tuple[int, Interval]:
        """The answer, and what was seen of it."""
        self.watch.take()
        answer = self.tell(*words)
        interval = self.watch.take()
        assert_reconciled(interval)
        return answer, interval


def assert_reconciled(interval: Interval, unseen: int = 0) -> None:
    """No fault is missing: the pages, the counters and the kernel's own counts agree."""
    totals, counts = interval.totals, interval.totals.counts
    assert counts is not None and totals.by_kernel is not None and interval.elsewhere is not None
    assert (totals.lost, totals.unplaced, totals.unseen) == (0, 0, unseen)
    assert counts.total - totals.refused + unseen == totals.by_kernel.total
    assert counts.major == totals.by_kernel.major
    in_mappings = sum(item.counts.total for item in interval.faults)
    assert in_mappings + int(interval.elsewhere.counts[:, :4].sum()) == counts.total


@contextmanager
def touching(**options: Any) -> Iterator[Touched]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with running(program("faults"), **pipes) as process:
        wait_for(lambda: b"python" in Path(f"/proc/{process.pid}/cmdline").read_bytes(), "the workload")
        with watch(process.pid, maps_of, **options) as watched:
            assert watched.no_faults is None
            touched = Touched(process, watched)
            touched.tell("read", touched.tell("map", 1), 1)  # so that Python has loaded what it needs
            yield touched


@pytest.fixture
def touched() -> Iterator[Touched]:
    with touching() as found:
        yield found


def faults_in(interval: Interval, start: int) -> Counts:
    found = [item.counts for item in interval.faults if item.mapping.start <= start < item.mapping.end]
    return found[0] if found else Counts()


def only(interval: Interval, start: int, end: int) -> Change:
    """The one change that has to do with these addresses."""
    [change] = [change for change in interval.changes if change.start < end and start < change.end]
    return change


def test_writes_to_fresh_pages(touched: Touched) -> None:
    start = touched.tell("map", 1000)
    _, interval = touched.does("write", start, 1000)
    assert faults_in(interval, start) == Counts(write=1000)
    _, interval = touched.does("write", start, 1000)
    assert faults_in(interval, start) == Counts()


def test_reads_of_fresh_pages_then_writes(touched: Touched) -> None:
    start = touched.tell("map", 500)
    _, interval = touched.does("read", start, 500)
    assert faults_in(interval, start) == Counts(read=500)
    # What was read is the page of zeros: it is there, but not to be written to.
    _, interval = touched.does("write", start, 500)
    assert faults_in(interval, start) == Counts(protection=500)


def test_a_mapping_that_appears_and_is_written_to_within_an_interval(touched: Touched) -> None:
    touched.watch.take()
    start, other = touched.tell("map", 37), touched.tell("map", 11)
    touched.tell("write", start, 37)
    touched.tell("read", other, 11)
    interval = touched.watch.take()
    assert_reconciled(interval)
    assert faults_in(interval, start) == Counts(write=37)
    assert faults_in(interval, other) == Counts(read=11)


def test_more_pages_than_the_map_holds(touched: Touched) -> None:
    """Emptied in time while an iteration goes on."""
    start = touched.tell("map", 300_000)  # 18 750 blocks
    touched.watch.take()
    touched.tell("write", start, 150_000)
    touched.watch._look()
    touched.tell("write", start + 150_000 * PAGE, 150_000)
    interval = touched.watch.take()
    assert_reconciled(interval)
    assert faults_in(interval, start) == Counts(write=300_000)


def test_what_finds_no_room_is_counted(touched: Touched) -> None:
    start = touched.tell("map", 300_000)
    touched.watch.take()
    touched.tell("write", start, 300_000)
    interval = touched.watch.take()
    assert interval.totals.unplaced and interval.totals.lost == interval.totals.unseen == 0
    assert faults_in(interval, start).write + interval.totals.unplaced >= 300_000
    summary = touched.watch.summary
    assert summary.counts is not None and summary.counts.write >= 300_000


def test_writes_after_a_fork(touched: Touched) -> None:
    start = touched.tell("map", 300)
    touched.tell("write", start, 300)
    touched.tell("fork")
    _, interval = touched.does("write", start, 300)
    assert faults_in(interval, start) == Counts(protection=300)


def test_writes_of_a_forked_child(touched: Touched) -> None:
    start = touched.tell("map", 300)
    touched.tell("write", start, 300)
    child = touched.tell("become-child")
    with watch(child, maps_of) as watched:
        in_child = Touched(touched.process, watched)
        in_child.tell("read", start, 1)
        _, interval = in_child.does("write", start, 200)
        assert faults_in(interval, start) == Counts(protection=200)
        _, interval = in_child.does("write", start, 300)
        assert faults_in(interval, start) == Counts(protection=100)
        os.kill(child, signal.SIGKILL)
        assert [interval.ended for interval in watched] == [True]


def test_four_threads_at_once(touched: Touched) -> None:
    start = touched.tell("map", 40_000)
    _, interval = touched.does("threads", start, 10_000)
    assert faults_in(interval, start) == Counts(write=40_000)


def test_a_process_that_faults_all_the_time() -> None:
    """Interval by interval, and in all: no fault falls between two."""
    with touching(interval_s=0.02) as touched:
        start = touched.tell("map", 20_000)
        first = touched.watch.take()
        assert touched.process.stdin is not None and touched.process.stdout is not None
        touched.process.stdin.write(b"write-again %d 20000 5\n" % start)
        touched.process.stdin.flush()
        touched.watch.when_readable(touched.process.stdout.fileno(), touched.watch.stop)
        intervals = list(touched.watch)
        assert len(intervals) > 2 and not first.ended
        assert sum(faults_in(interval, start).write for interval in intervals) == 5 * 20_000
        seen = sum(i.totals.counts.total for i in (first, *intervals) if i.totals.counts is not None)
        summary = touched.watch.summary
        assert summary.counts is not None and summary.counts.total == seen
        assert summary.unseen == summary.lost == summary.unplaced == 0


def test_another_program(touched: Touched) -> None:
    touched.watch.take()
    touched.tell("exec", 1)
    touched.tell("map", 1)
    interval = touched.watch.take()
    assert interval.totals.execs == 1
    # The kernel itself puts the arguments on the new stack, page by page.
    assert interval.totals.unseen in (1, 2)
    assert_reconciled(interval, interval.totals.unseen)
    assert {"appeared", "disappeared"} <= {change.kind for change in interval.changes}


def test_memory_touched_by_the_kernel(touched: Touched) -> None:
    start = touched.tell("map", 50)
    _, interval = touched.does("kernel-writes", start, 50)
    assert faults_in(interval, start) == Counts(write=50)
    assert interval.totals.of_kernel is not None and interval.totals.of_kernel >= 50


def test_memory_that_nobody_touched(touched: Touched) -> None:
    touched.watch.take()
    start = touched.tell("populate", 40)
    interval = touched.watch.take()
    assert_reconciled(interval, unseen=40)
    assert faults_in(interval, start) == Counts()


def test_a_system_call_that_fails_for_its_address(touched: Touched) -> None:
    start = touched.tell("map", 1)
    touched.tell("refused", start - PAGE)
    touched.watch.take()
    assert touched.tell("refused", start - PAGE) == 14  # EFAULT
    interval = touched.watch.take()
    assert interval.totals.refused == 0 and interval.totals.unseen is not None
    assert interval.totals.unseen < 0
    assert_reconciled(interval, interval.totals.unseen)
    assert faults_in(interval, start - PAGE).total == -interval.totals.unseen


def test_major_faults_of_a_file(touched: Touched, tmp_path: Path) -> None:
    path = tmp_path / "file"
    if subprocess.check_output(["stat", "-f", "-c", "%T", tmp_path]).strip() == b"tmpfs":
        pytest.skip("a file on tmpfs cannot be dropped from memory")
    start, interval = touched.does("file", path, 64)
    assert only(interval, start, start + 64 * PAGE).kind == "appeared"
    _, interval = touched.does("read", start, 64)
    assert faults_in(interval, start) == Counts(read=64, major=64)
    [mapping] = [item.mapping for item in interval.faults if item.mapping.start == start]
    assert mapping.path == os.fsencode(path)


def test_a_fault_that_ends_the_process(touched: Touched) -> None:
    start = touched.tell("map", 1)
    touched.watch.take()
    assert touched.process.stdin is not None
    touched.process.stdin.write(b"crash %d\n" % 0x10000)
    touched.process.stdin.flush()
    os.waitid(os.P_PID, touched.pid, os.WEXITED | os.WNOWAIT)
    interval = touched.watch.take()
    assert interval.ended and interval.changes == [] and interval.after == interval.before
    assert any(mapping.start == start for mapping in interval.after)
    assert interval.totals.refused == 1
    assert interval.elsewhere is not None and interval.elsewhere.addresses.tolist() == [0x10000]
    assert_reconciled(interval)


def test_the_whole_workload_by_the_kernels_own_count() -> None:
    with touching() as touched:
        begin = read_fault_totals(touched.pid)
        first = touched.watch.take()
        assert begin is not None and first.totals.counts is not None
        start = touched.tell("map", 2000)
        for _ in range(3):
            touched.tell("read", start, 700)
            touched.tell("write", start, 1300)
        interval = touched.watch.take()
        end = read_fault_totals(touched.pid)
        assert end is not None and interval.totals.by_kernel is not None
        assert interval.totals.by_kernel.total == end.total - begin.total
        assert_reconciled(interval)
        summary = touched.watch.summary
        assert summary.unseen == summary.refused == summary.lost == 0
        assert summary.counts is not None and summary.by_kernel is not None
        assert summary.counts.total == summary.by_kernel.total


def test_the_whole_process_by_getrusage() -> None:
    """Its faults before the watch, by /proc; those meanwhile, by us; all, by wait4(2)."""
    before: list[int] = []

    def read(pid: int) -> list[Mapping]:
        return maps_of(pid)

    with touching() as touched:
        start = touched.tell("map", 100)
        touched.watch.take()
        known = read_fault_totals(touched.pid)
        assert known is not None
        before.append(known.total)
        touched.tell("write", start, 100)
        assert touched.process.stdin is not None
        touched.process.stdin.close()
        os.waitid(os.P_PID, touched.pid, os.WEXITED | os.WNOWAIT)
        interval = touched.watch.take()
        assert interval.ended and interval.totals.counts is not None
        assert_reconciled(interval)
        _, _, usage = os.wait4(touched.pid, 0)
        touched.process.returncode = 0
        assert isinstance(usage, resource.struct_rusage)
        assert before[0] + interval.totals.counts.total == usage.ru_minflt + usage.ru_majflt


# Changes


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
    with (
        running(program("faults"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
        watch(process.pid, maps_of, interval_s=30) as watched,
    ):
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
