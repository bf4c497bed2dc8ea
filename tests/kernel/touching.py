"""A workload that touches memory as it is told (workloads/faults.py), and the watch on it."""

from __future__ import annotations

import mmap
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kintro.observers.changes import Change
from kintro.observers.faults_records import Counts
from kintro.observers.watch import Interval, Watch, watch

from .harness import program, running
from .maps import maps_of

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
def workload() -> Iterator[subprocess.Popen[bytes]]:
    """Once it waits for what to do."""
    with running(program("faults"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"0\n"
        yield process


@contextmanager
def touching(**options: Any) -> Iterator[Touched]:
    with workload() as process, watch(process.pid, maps_of, **options) as watched:
        assert watched.no_faults is None
        touched = Touched(process, watched)
        touched.tell("read", touched.tell("map", 1), 1)  # so that Python has loaded what it needs
        yield touched


def faults_in(interval: Interval, start: int) -> Counts:
    found = [item.counts for item in interval.faults if item.mapping.start <= start < item.mapping.end]
    return found[0] if found else Counts()


def only(interval: Interval, start: int, end: int) -> Change:
    """The one change that has to do with these addresses."""
    [change] = [change for change in interval.changes if change.start < end and start < change.end]
    return change
