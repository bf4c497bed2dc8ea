"""One tracing run: a probe attached for a while, its events in order of time, and the account at the end.

How it ends: the command it runs has ended, the traced processes are all gone, the time is up, or `stop` was
called. It then waits for what is under way in the kernel, detaches, drains the rings, and compares the
number of events the kernel sent with the number that arrived.

While a caller is busy with a batch, `drain` takes events out of the rings into memory, up to BACKLOG;
beyond that the rings fill, and what finds no room there is counted as lost. It also ends the trace in time,
however much is still to be shown.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from kintro.errors import EX_NOINPUT, KintroError
from kintro.sources import host
from kintro.sources.bpf import Loading
from kintro.sources.command import Command
from kintro.sources.descendants import has_ended, open_target
from kintro.sources.probe import Probe
from kintro.sources.ring import WINDOW_NS
from kintro.sources.rows import Row, Rows

if TYPE_CHECKING:
    from kintro.sources.columns import Columns

BACKLOG = 1 << 30  # bytes of memory, about, for events that wait to be shown
SETTLE_S = 0.5  # at most: for the last events under way after the end


class Account(NamedTuple):
    """What a run saw, and what it did not."""

    duration_ns: int
    counters: Mapping[str, int]  # of the probe, summed over CPUs
    lost: int  # events the kernel counted but could not hand over
    kernel_forks: int | None  # tasks created by the kernel's own count; None unless the whole system
    late: int  # events out of order by more than the window


def is_number(found: object) -> TypeGuard[int]:
    """Whether this, from a session of any origin, is a number that an Account or a clock can have."""
    return isinstance(found, int) and abs(found) < 1 << 64


class Trace:
    """A context manager: the probe is loaded on entering, attached when `rows` begins."""

    def __init__(
        self,
        loading: Loading,
        order: Rows | Columns,
        settled: Callable[[Mapping[str, int]], bool] | None = None,
        ready: Callable[[], Command | None] = lambda: None,
        duration_s: float | None = None,
        during: Callable[[], Any] | None = None,
    ) -> None:
        """`ready` is called when the probe is loaded, and makes the command to run, with filters.command.

        `settled(counters)`: whether nothing is under way in the kernel that belongs to what was seen.
        `during` is called when all is attached; the trace ends when it returns.
        """
        self.filters = loading.filters
        self._settled = settled
        self._duration_s = duration_s
        self._during = during
        self._watched: dict[int, Callable[[], None]] = {}
        self._every_s: float | None = None
        self._around: tuple[Callable[[], None], Callable[[], None]] = (lambda: None, lambda: None)
        self._due_s = 0.0
        self._begin_ns = 0
        self._offset: int | None = None  # see _fork_offset
        self._stopped = self._ended = False
        self._abandoned = False  # what is not shown yet is not wanted any more
        self._last: Callable[[int], Any] = lambda end_ns: None
        self._order: Any = order
        self._backlog: deque[tuple[int, Any]] = deque()  # bytes of memory, what the order released
        self._backlog_bytes = 0
        self._target_ended = False
        self._pidfd: int | None = None
        self.command: Command | None = None
        self.account: Account | None = None  # once `rows` has come to its end
        with ExitStack() as stack:
            stack.callback(loading.close)
            if loading.filters.pid is not None:
                self._pidfd = open_target(loading.filters.pid)
                stack.callback(os.close, self._pidfd)
            self.probe = stack.enter_context(Probe(loading))
            self.command = ready()
            if self.command is not None:
                stack.enter_context(self.command)
            self._resources = stack.pop_all()

    def __enter__(self) -> Trace:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def stop(self) -> None:
        """Makes `rows` come to its end; once the trace has ended, without what is not shown yet."""
        self._abandoned = self._ended
        self._stopped = True

    def every(self, interval_s: float, call: Callable[[], None]) -> None:
        """Calls a function again and again while `rows` waits; never twice to make up for a delay."""
        self._every_s, self._at_interval = interval_s, call

    def around(self, attached: Callable[[], None], over: Callable[[], None]) -> None:
        """Calls one function when all is attached, before the command begins, one before it is detached."""
        self._around = attached, over

    def at_end(self, call: Callable[[int], Any]) -> None:
        """`call(end_ns)`, when the probe is detached, gives a last batch, such as what is still under way."""
        self._last = call

    def when_readable(self, fd: int, call: Callable[[], None]) -> None:
        """Calls a function whenever the descriptor is readable while `rows` waits."""
        self.probe.reader.wake_on(fd)
        self._watched[fd] = call

    def when_writable(self, fd: int, call: Callable[[], bool]) -> None:
        """The same when it can be written, until the function returns True."""
        if fd in self._watched:
            return

        def called() -> None:
            if call():
                self.probe.reader.stop_waking_on(fd)
                del self._watched[fd]

        self.probe.reader.wake_when_writable(fd)
        self._watched[fd] = called

    def rows(self) -> Iterator[list[tuple[str, Row]]]:
        """Traces; yields batches of (kind, row) in order of time."""
        probe = self.probe
        self._begin_ns = time.monotonic_ns()
        if self.command is not None:
            probe.attach(self.command.pid)
        else:
            probe.attach(self.filters.pid, scan=self.filters.pid is not None and self.filters.follow)
        self._require_target()
        self._around[0]()
        self._offset = self._fork_offset() if self.filters.whole_system else None
        if self.command is not None:
            self.when_readable(self.command.pidfd, self._command_ended)
            self.command.start()
        elif self._pidfd is not None:
            self.when_readable(self._pidfd, self._note_target_ended)
        if self._during is not None:
            self._during()
            self.stop()
        self._due_s = time.monotonic() + (self._every_s or 0)
        while not self._ended:
            self._advance(self._timeout_s())
            yield from self._take()
        yield from self._take()

    def drain(self) -> bool:
        """Goes on with the trace, to be called now and then by who is long over a batch.

        Whether what is not shown yet is not wanted any more.
        """
        if self._ended:
            self._wait(0.0)
        else:
            self._advance(0.0)
        return self._abandoned

    def _advance(self, timeout_s: float | None) -> None:
        """Waits, takes what the rings hold into memory, and ends the trace when it is over."""
        self._wait(timeout_s)
        if self._backlog_bytes < BACKLOG:
            self._collect()
        if self._over():
            self._end()

    def _collect(self) -> None:
        released = self._order.take(self.probe.reader)
        if released:
            self._append(released)

    def _append(self, released: Any) -> None:
        size_bytes = self._order.size_bytes(released)
        self._backlog.append((size_bytes, released))
        self._backlog_bytes += size_bytes

    def _wait(self, timeout_s: float | None) -> None:
        for fd in self.probe.reader.wait(timeout_s):
            if fd in self._watched:
                self._watched[fd]()

        if not self._ended and self._every_s is not None and time.monotonic() >= self._due_s:
            self._due_s += self._every_s * (1 + (time.monotonic() - self._due_s) // self._every_s)
            self._at_interval()

    def _take(self) -> Iterator[list[tuple[str, Row]]]:
        while self._backlog and not self._abandoned:
            size_bytes, released = self._backlog.popleft()
            self._backlog_bytes -= size_bytes
            yield self._order.rows(released)

    def _over(self) -> bool:
        if self._stopped:
            return True
        if self._duration_s is not None and time.monotonic_ns() - self._begin_ns >= self._duration_s * 1e9:
            return True
        return self._pidfd is not None and not self.probe.has_targets()

    def _timeout_s(self) -> float | None:
        waits = [WINDOW_NS / 1e9] if self._order.holds else []
        if self._stopped:
            waits.append(0.0)
        if self._duration_s is not None:
            waits.append(max(0.0, self._duration_s - (time.monotonic_ns() - self._begin_ns) / 1e9))
        if self._every_s is not None:
            waits.append(max(0.0, self._due_s - time.monotonic()))
        if self._target_ended:  # its descendants' ends may send no event: other filters can hold those back
            waits.append(0.1)
        return min(waits, default=None)

    def _note_target_ended(self) -> None:
        self._target_ended = True
        self.probe.reader.stop_waking_on(self._pidfd or 0)

    def _command_ended(self) -> None:
        if self.command is not None and self.command.poll() is not None:
            self.probe.reader.stop_waking_on(self.command.pidfd)
            self.stop()

    def _require_target(self) -> None:
        if self._pidfd is not None and has_ended(self.filters.pid or 0):
            ended = f"process {self.filters.pid} ended before it could be traced"
            raise KintroError(ended, None, EX_NOINPUT)

    def _end(self) -> None:
        """Waits for what is under way in the kernel, such as a dead parent's children being handed on.

        Then detaches, and takes the rest into memory.
        """
        probe, deadline = self.probe, time.monotonic() + SETTLE_S
        self._ended = True
        while self._settled and not self._settled(probe.counters()) and time.monotonic() < deadline:
            self._wait(0.01)
            self._collect()
        end_offset = self._fork_offset() if self.filters.whole_system else None
        self._around[1]()
        probe.detach()
        end_ns = time.monotonic_ns()
        deadline = time.monotonic() + SETTLE_S
        while True:
            sent = _sum(probe.counters(), "_sent")
            self._collect()
            if probe.reader.received >= sent or time.monotonic() > deadline:
                break
            time.sleep(0.001)
        rest = self._order.flush(self._last(end_ns))
        if rest:
            self._append(rest)
        self.account = self._reckon(end_ns - self._begin_ns, self._offset, end_offset)

    def _reckon(self, duration_ns: int, offset: int | None, end_offset: int | None) -> Account:
        counters = self.probe.counters()
        kernel_forks = None
        if offset is not None and end_offset is not None:
            kernel_forks = counters["tasks_created"] + end_offset - offset
        undelivered = _sum(counters, "_sent") - self.probe.reader.received
        lost = _sum(counters, "_lost") + counters["missed"] + undelivered
        return Account(duration_ns, counters, lost, kernel_forks, self._order.late)

    def _fork_offset(self) -> int | None:
        """The kernel's count of tasks created minus ours, both of one moment at which no fork was under way.

        Constant as long as no fork is missed. None if 200 tries found no such moment.
        """
        quiet: list[int] = []
        for _ in range(200):
            before = self.probe.counter("tasks_created")
            kernel = host.forks_since_boot()
            if self.probe.counter("tasks_created") == before:
                quiet.append(kernel - before)
                if len(quiet) == 3:
                    break
        return min(quiet, default=None)


def _sum(counters: Mapping[str, int], ending: str) -> int:
    return sum(value for name, value in counters.items() if name.endswith(ending))
