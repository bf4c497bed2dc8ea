"""Page faults of a watched process: exact numbers in each mapping, and the kernel's own count of them all."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from kintro.observers.faults_records import Counts
from kintro.observers.watch import watch
from kintro.sources.fault_totals import read_fault_totals

from .maps import maps_of
from .touching import PAGE, Touched, assert_reconciled, faults_in, only, touching

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="only x86 tells when a fault begins"),
]


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
    with touching() as touched:
        start = touched.tell("map", 100)
        touched.watch.take()
        known = read_fault_totals(touched.pid)
        assert known is not None and touched.process.stdin is not None
        touched.tell("write", start, 100)
        touched.process.stdin.close()
        os.waitid(os.P_PID, touched.pid, os.WEXITED | os.WNOWAIT)
        interval = touched.watch.take()
        assert interval.ended and interval.totals.counts is not None
        assert_reconciled(interval)
        _, _, usage = os.wait4(touched.pid, 0)
        touched.process.returncode = 0
        assert known.total + interval.totals.counts.total == usage.ru_minflt + usage.ru_majflt
