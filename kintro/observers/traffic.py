"""Inter-process communication as it happens: which call moved how much through which channel, who was woken,
how long it waited; and signals from sender to receiver.

Probe: probes/traffic.c. What it cannot see: what passes through shared memory without a call; calls by way of
io_uring; 32-bit calls (they are counted); a futex that neither waits nor wakes; futex_waitv.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from kintro.observers.syscalls import error_name
from kintro.observers.traffic_channels import Channels, Name
from kintro.observers.traffic_records import DIRECTIONS, Delivered, Generated, Operation
from kintro.observers.traffic_signals import Signal, Signals
from kintro.sources.trace import Account, is_number

CHUNK = 4096  # operations of a saved session that are added up together


class Seen(NamedTuple):
    """An operation with what is known of it."""

    operation: Operation
    name: str  # of the call
    channel: Name
    direction: str | None

    @property
    def error(self) -> str | None:
        returned = self.operation.returned
        return error_name(-returned) if returned is not None and -4095 <= returned < 0 else None


class Story:
    """Puts together what is sent. Feed it records in order of time."""

    def __init__(self, channels: Channels, calls: Mapping[int, str]) -> None:
        self._channels, self._calls = channels, calls
        self._signals = Signals()

    def events(self, records: Iterable[Any]) -> Iterator[Seen | Signal]:
        for record in records:
            if isinstance(record, Operation):
                yield self._seen(record)
            elif isinstance(record, (Generated, Delivered)):
                yield from self._signals.of(record)
            else:
                self._channels.add(record)
        yield from self._signals.rest()

    def _seen(self, one: Operation) -> Seen:
        name = self._channels.name(one.kind, one.channel, one.other, one.dev, one.flags, one.pid)
        direction = DIRECTIONS[one.direction] if one.direction < len(DIRECTIONS) else None
        return Seen(one, self._calls.get(one.nr, str(one.nr)), name, direction)


def in_chunks(records: Iterable[Any], add: Callable[[list[Operation]], None]) -> Iterator[Any]:
    """The records as they are; operations among them are also handed on, many at a time."""
    waiting: list[Operation] = []
    for record in records:
        if isinstance(record, Operation):
            waiting.append(record)
            if len(waiting) == CHUNK:
                add(waiting)
                waiting = []
        yield record
    add(waiting)


class Summary(NamedTuple):
    """What a run counted, by counters in the kernel. None: not known, as of a session that was cut off."""

    duration_ns: int | None
    operations: int  # that were told
    signals: int
    unfinished: int | None  # of these operations: they never returned, or not while the trace went on
    early: int | None  # of these: they had begun before the trace
    passed_over: int | None  # operations on a futex that neither waited nor woke
    calls_32_bit: int | None  # calls of 32-bit programs: not looked at
    lost: int | None
    complete: bool  # nothing was lost, and as many operations were told as had begun


_COUNTERS = ("operation_sent", "entered", "died", "early", "passed_over", "compat")
_TALLY = ("duration_ns", "lost", "under_way", *_COUNTERS)


def tally(account: Account, under_way: int) -> dict[str, int]:
    """What a session keeps of an Account. `under_way`: operations that went on when the trace had ended."""
    counters = account.counters
    lost = account.lost + counters["overtaken"] + counters["threads_lost"]
    kept = {name: counters[name] for name in _COUNTERS}
    return {"duration_ns": account.duration_ns, "lost": lost, "under_way": under_way} | kept


def is_tally(found: object) -> bool:
    """Whether this, from a session of any origin, has the form that `tally` gives."""
    return isinstance(found, dict) and set(found) == set(_TALLY) and all(map(is_number, found.values()))


def summary(operations: int, signals: int, counted: Mapping[str, int] | None) -> Summary:
    """From the kernel's counts (see `tally`) and from what was added up."""
    if counted is None:
        return Summary(None, operations, signals, None, None, None, None, None, False)
    c = counted
    told = c["operation_sent"] + c["under_way"]
    begun = c["entered"] + c["early"] - c["passed_over"]
    return Summary(
        c["duration_ns"],
        operations,
        signals,
        c["died"] + c["under_way"],
        c["early"],
        c["passed_over"],
        c["compat"],
        c["lost"],
        c["lost"] == 0 and operations == told == begun,
    )
