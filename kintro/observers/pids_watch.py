"""Ids as the kernel gives them out: each one, those it skips, and where its counter starts over.

Records: forks of processes and threads, from probes/lifecycle.c. An id is taken a little before its fork is
told (alloc_pid in kernel/pid.c comes first), so that of two CPUs the later id may come first: one that was
just skipped and then comes is no gap, and one that is lower and was not skipped means a new round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from kintro.observers.lifecycle_records import Fork
from kintro.sources.pid_numbers import RESERVED

SETTLE_NS = 50_000_000  # how long a skipped id may come late; and before half a round has been given out


class Given(NamedTuple):
    """An id was given out; also of what followed it at once."""

    ts_ns: int
    id: int
    fork: Fork


class Gap(NamedTuple):
    """Ids that were skipped: in use, or taken for a task that then could not be created."""

    ts_ns: int
    first: int
    last: int
    in_use: int | None  # of them, when looked at a moment later; None if that cannot be told

    @property
    def ids(self) -> int:
        return self.last - self.first + 1


class Wrap(NamedTuple):
    """The counter started over."""

    ts_ns: int
    after: int  # the highest id before
    id: int  # the first that was told of the new round


Event = Given | Gap | Wrap


class Allocation:
    """Turns forks into events. `earlier`: an id given out before tracing began."""

    def __init__(
        self,
        earlier: int | None,
        number_of: Callable[[Fork], int],
        pid_max: Callable[[], int | None],
        in_use: Callable[[int], bool] | None,
    ) -> None:
        self._last: int | None = None
        self._unseen = range(0 if earlier is None else earlier + 1, 0)  # given out untraced, or seen late
        self._number_of = number_of
        self._pid_max = pid_max
        self._in_use = in_use
        self._skipped: list[tuple[int, Gap]] = []  # not settled yet, oldest first, and when: see _given
        self._given = 0  # so many ids until now

    def events(self, records: Iterable[Any]) -> Iterator[Event]:
        for record in records:
            if isinstance(record, Fork):
                self._given += 1
                yield from self._settled(record.ts_ns)
                yield from self._taken(record)
        while self._skipped:
            yield self._looked_at(self._skipped.pop(0)[1])

    def _taken(self, fork: Fork) -> Iterator[Event]:
        number = self._number_of(fork)
        last = self._last
        if last is None:
            self._last, self._unseen = number, range(self._unseen.start, number)
        elif number == last + 1:
            self._last = number
        elif self._came_late(number):
            pass
        elif number > last:
            self._skip(fork.ts_ns, last + 1, number - 1)
            self._last = number
        else:
            pid_max = self._pid_max()
            if pid_max is not None:
                self._skip(fork.ts_ns, last + 1, pid_max - 1)
            self._skip(fork.ts_ns, RESERVED, number - 1)
            self._last = number
            yield Wrap(fork.ts_ns, last, number)
        yield Given(fork.ts_ns, number, fork)

    def _skip(self, ts_ns: int, first: int, last: int) -> None:
        if first <= last:
            self._skipped.append((self._given, Gap(ts_ns, first, last, None)))

    def _came_late(self, number: int) -> bool:
        """Whether it had been skipped; then it no longer is."""
        if number in self._unseen and self._given <= self._half_round():
            return True
        for place, (given, gap) in enumerate(self._skipped):
            if gap.first <= number <= gap.last:
                parts = gap._replace(last=number - 1), gap._replace(first=number + 1)
                self._skipped[place : place + 1] = [(given, part) for part in parts if part.ids > 0]
                return True
        return False

    def _settled(self, now_ns: int) -> Iterator[Gap]:
        while self._skipped:
            given, gap = self._skipped[0]
            if now_ns - gap.ts_ns <= SETTLE_NS and self._given - given <= self._half_round():
                return
            yield self._looked_at(self._skipped.pop(0)[1])

    def _half_round(self) -> float:
        pid_max = self._pid_max()
        return (pid_max - RESERVED) / 2 if pid_max is not None else float("inf")

    def _looked_at(self, gap: Gap) -> Gap:
        used = self._in_use
        return gap._replace(in_use=sum(map(used, range(gap.first, gap.last + 1))) if used else None)


class Watched(NamedTuple):
    """What a watch counted. None: not known."""

    duration_ns: int | None
    ids: int
    processes: int
    threads: int
    gaps: int
    skipped: int  # ids in gaps
    skipped_in_use: int | None
    wraps: int
    lost: int | None
    kernel_forks: int | None  # tasks that the kernel counted, all namespaces; None: only a part was watched
    complete: bool  # nothing was lost, and as many ids as the kernel created tasks


class Tally:
    """Counts events as they pass."""

    def __init__(self) -> None:
        self._ids = self._threads = self._gaps = self._skipped = self._wraps = 0
        self._in_use: int | None = 0

    def passed(self, events: Iterable[Event]) -> Iterator[Event]:
        for event in events:
            if isinstance(event, Given):
                self._ids += 1
                self._threads += event.fork.kind == "thread"
            elif isinstance(event, Gap):
                self._gaps += 1
                self._skipped += event.ids
                known = self._in_use is not None and event.in_use is not None
                self._in_use = (self._in_use or 0) + (event.in_use or 0) if known else None
            else:
                self._wraps += 1
            yield event

    def result(self, counted: Any) -> Watched:
        """`counted`: see lifecycle.tally."""
        lost = counted["lost"] if counted else None
        kernel_forks = counted["kernel_forks"] if counted else None
        return Watched(
            duration_ns=counted["duration_ns"] if counted else None,
            ids=self._ids,
            processes=self._ids - self._threads,
            threads=self._threads,
            gaps=self._gaps,
            skipped=self._skipped,
            skipped_in_use=self._in_use,
            wraps=self._wraps,
            lost=lost,
            kernel_forks=kernel_forks,
            complete=lost == 0 and kernel_forks in (None, self._ids),
        )
