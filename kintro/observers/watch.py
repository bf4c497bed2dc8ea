"""A process's mappings watched: what changed between two snapshots, and the page faults behind it.

Probe: probes/faults.c, which counts faults by kind and page. Here they are assigned to the mappings of the
snapshots before and after. Where the kernel does not tell of faults, or not us, the changes are still seen.

Exact: the number of faults by kind, of user space and of the kernel working for the process; how many were
major; on which page each was. The kernel's own counts of the process (/proc/PID/stat) are compared with
them: see Interval.unseen.

A fault that maps more than its page, as with huge pages, counts for the page that was touched.

What it cannot see: the mapping of a fault, if it came and went between two snapshots (`elsewhere`); which
faults mapped nothing, if the kernel answered them without a signal (EFAULT of a system call); a fault by
another process in the same address space, as between vfork and exec. In an interval with an exec, faults
from before it count for whatever lies at their addresses now.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from kintro.errors import KintroError
from kintro.observers import changes as diff
from kintro.observers.changes import Change
from kintro.observers.faults import (
    MappingFaults,
    Reading,
    Totals,
    added,
    begun,
    between,
    faults_by_mapping,
    pages_of,
    summed,
    why_not,
)
from kintro.observers.faults_records import PROBE, Fault, FaultPages
from kintro.sources import bpf_syscall, host
from kintro.sources.bpf import Loading
from kintro.sources.descendants import open_target
from kintro.sources.fault_totals import read_fault_totals
from kintro.sources.filters import Filters
from kintro.sources.mappings import Mapping
from kintro.sources.probe import Probe
from kintro.sources.ring import Reader

LOOK_S = 0.1  # between two looks at how full the map is
ROOM = 4096  # blocks: a quarter of the map; taken out then
_QUIET, _TRIES = 3, 50


class Interval(NamedTuple):
    """What happened between two snapshots."""

    ts_ns: int  # when it ended, CLOCK_MONOTONIC
    before: Sequence[Mapping]
    after: Sequence[Mapping]  # the same as before, if the process has ended
    changes: list[Change]
    faults: list[MappingFaults]  # of mappings with any, by address; by what they were if they are gone
    elsewhere: FaultPages | None  # faults on pages that no snapshot has a mapping for
    totals: Totals
    events: list[Fault]  # each fault, if asked for
    ended: bool  # the process is gone: this is the last


class Watch:
    """A watch on a process; a context manager to iterate over. See `watch`.

    `no_faults` says why faults cannot be seen; None if they can.

    `unseen` of Totals is what /proc/PID/stat counted beyond the faults seen here and not refused. More than
    0: memory that the kernel filled without anybody touching it (MAP_POPULATE, mlock, O_DIRECT, futex, the
    arguments of an exec).
    Less than 0: faults that mapped nothing (EFAULT), or are under way. Both may meet and cancel each other.
    """

    def __init__(
        self,
        pid: int,
        read: Callable[[int], Sequence[Mapping]],
        interval_s: float = 1.0,
        events: bool = False,
    ) -> None:
        self._pid, self._read, self._interval_s, self._events = pid, read, interval_s, events
        self._stack = ExitStack()
        self._calls: dict[int, Callable[[], None]] = {}
        self._probe: Probe | None = None
        self._reader: Reader  # once the watch has begun
        self._generation = 0
        self._drained: list[FaultPages] = []
        self._rows: list[Fault] = []
        self._emptied = 0  # the counter `inserted` when a map was emptied last
        self._stopped = self._ended = False
        self.no_faults: str | None = None
        self._seen: Counter[str] = Counter()  # kinds of changes

    def __enter__(self) -> Watch:
        with self._stack as stack:
            self._pidfd = open_target(self._pid)
            stack.callback(os.close, self._pidfd)
            self._begin(stack)
            self._reader.wake_on(self._pidfd)
            self._before = self._read(self._pid)
            discard = self._turn()
            self._first = self._last = self._now()
            discard()
            self._drained = []
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _begin(self, stack: ExitStack) -> None:
        """Attaches the probe, or finds out why there are no faults to see."""
        self.no_faults = why_not()
        if self.no_faults is None and not host.in_initial_pid_namespace():
            self.no_faults = (
                "this is a container with pids of its own, and the kernel's events carry the host's"
            )
        if self.no_faults is None:
            filters = Filters(pid=self._pid, follow=False)
            try:
                with ExitStack() as attaching:
                    loading = Loading(PROBE, filters, {"EVENTS": 1} if self._events else {})
                    attaching.callback(loading.close)
                    probe = attaching.enter_context(Probe(loading))
                    probe.attach(self._pid)
                    stack.push(attaching.pop_all())
            except KintroError as error:
                self.no_faults = error.message
            else:
                self._switch = probe.switch("generation")
                self._probe, self._reader = probe, probe.reader
                return
        self._reader = stack.enter_context(Reader({}))

    def when_readable(self, fd: int, call: Callable[[], None]) -> None:
        """Calls a function whenever the descriptor is readable while an iteration waits."""
        self._reader.wake_on(fd)
        self._calls[fd] = call

    def stop(self) -> None:
        """Makes the iteration come to its end, with one more interval."""
        self._stopped = True

    def __iter__(self) -> Iterator[Interval]:
        while not self._ended:
            self._sleep(time.monotonic() + self._interval_s)
            yield self.take()
            if self._stopped:
                break

    def _sleep(self, until: float) -> None:
        """Until then, or until stopped, or until the process has ended."""
        while not self._stopped and (left := until - time.monotonic()) > 0:
            ready = self._reader.wait(min(left, LOOK_S) if self._probe else left)
            for fd in ready & self._calls.keys():
                self._calls[fd]()
            self._look()
            if self._pidfd in ready:
                break

    def _look(self) -> None:
        """Takes events out of the ring, and makes room in the map where it gets scarce."""
        if self._probe is None:
            return
        if self._events:
            self._rows += [Fault(*row) for row in self._reader.rows()[0]["fault"]]
        if self._probe.counter("inserted") - self._emptied > ROOM:
            self._turn()()

    def _turn(self) -> Callable[[], None]:
        """Turns the programs to the other map; what is returned takes all out of this one."""
        probe, full = self._probe, self._generation
        if probe is None:
            return lambda: None
        self._emptied = probe.counter("inserted")
        self._generation = self._switch[0] = 1 - full

        def empty() -> None:
            bpf_syscall.wait_for_programs()
            self._drained.append(pages_of(*probe.take_all(f"blocks_{full}")))

        return empty

    def take(self) -> Interval:
        """What happened since the last one, or since the watch began; to be called at any time."""
        after = self._snapshot()
        empty = self._turn()
        now = self._now()
        empty()
        self._look()
        events, self._rows = self._rows, []
        totals = between(self._last, now, self._probe is not None)
        faults: list[MappingFaults] = []
        elsewhere: FaultPages | None = None
        if self._probe is not None:
            pages, self._drained = added(self._drained), []
            totals = totals._replace(counts=summed(pages.counts))
            faults, elsewhere = faults_by_mapping(pages, after, self._before)
        found = diff.changes(self._before, after)
        self._seen.update(change.kind for change in found)
        interval = Interval(
            now.time_ns, self._before, after, found, faults, elsewhere, totals, events, self._ended
        )
        self._before, self._last = after, now
        return interval

    def _snapshot(self) -> Sequence[Mapping]:
        """Of one that has ended, the last: that it is all gone is no news."""
        if not self._gone():
            try:
                after = self._read(self._pid)
            except (KintroError, OSError):
                if not self._gone():
                    raise
            else:
                return after or self._before  # none: it is on its way out
        return self._before

    def _gone(self) -> bool:
        self._ended = self._ended or self._pidfd in self._reader.wait(0)
        return self._ended

    @property
    def begin_ns(self) -> int:
        """When the watch began, CLOCK_MONOTONIC."""
        return self._first.time_ns

    @property
    def summary(self) -> Totals:
        """Of all intervals so far together."""
        return between(self._first, self._last, self._probe is not None)

    @property
    def changed(self) -> Counter[str]:
        """How many changes of each kind there were so far."""
        return self._seen

    def _now(self) -> Reading:
        """The counters now, and those of the kernel."""
        time_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        if self._probe is None:
            return Reading(time_ns, {}, read_fault_totals(self._pid), None)
        probe, kernel = self._probe, None
        quiet = []
        for _ in range(_TRIES):  # both of one moment in which no fault began
            refused, before = probe.counter("refused"), begun(probe.counter)
            kernel = read_fault_totals(self._pid)
            if kernel is not None and begun(probe.counter) == before:
                quiet.append(kernel.total - before + refused)
                if len(quiet) == _QUIET:
                    break
        # One may have begun before and not have been counted yet by the kernel: then it is too small.
        offset = max(quiet, default=None)
        majors = probe.perf_count("page_faults_maj")  # first: else one in between seems missed
        counters = probe.counters()
        counters["missed"] += max(0, majors - counters["all_major"])
        return Reading(time_ns, counters, kernel, offset)


def watch(
    pid: int,
    read: Callable[[int], Sequence[Mapping]],
    interval_s: float = 1.0,
    events: bool = False,
) -> Watch:
    """Watches a process: `with watch(pid, read) as w: for interval in w: …`, until it ends or w.stop().

    `read(pid)` gives the mappings by address; none or an OSError if the process is gone. With `events`
    each interval has every single fault as well, at a cost of its own.

    Raises KintroError (66) if there is no such process; what stands against seeing faults is in `no_faults`.
    """
    return Watch(pid, read, interval_s, events)
