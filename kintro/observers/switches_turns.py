"""Every turn of every task on each CPU, for a program that wants to look at them one by one.

The whole system, whatever the filters of a count would let through: who waits, waits for somebody. Some
hundred thousand turns have room; what finds none is counted as lost.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any, NamedTuple

from kintro.observers import switches_read
from kintro.observers.switches import NOBODY, Reading, account
from kintro.observers.switches_page import PageTimeline
from kintro.observers.switches_records import DECODE, PROBE, RECORDS, Account, Name, Turn, Waking, dtypes
from kintro.shapes import Timeline
from kintro.sources.bpf import Loading
from kintro.sources.columns import Columns
from kintro.sources.filters import Filters
from kintro.sources.rows import records
from kintro.sources.trace import Trace


class Recorded(NamedTuple):
    """What ran while it was looked at."""

    begin_ns: int  # CLOCK_MONOTONIC, as all times
    end_ns: int
    events: tuple[Turn | Waking, ...]  # turns by their end, wakings by their time; idle tasks' turns too
    names: Mapping[int, Name]  # by slot; idle tasks are NOBODY
    lost: int  # events that there was no room for
    account: Account

    @property
    def turns(self) -> list[Turn]:
        """Without those of idle tasks."""
        turns = (event for event in self.events if isinstance(event, Turn))
        return [turn for turn in turns if self.names[turn.slot] != NOBODY]


def record(duration_s: float | None = None, during: Callable[[], Any] | None = None) -> Recorded:
    """Records all turns for a while, or until `during` returns, which is called when all is attached.

    Raises KintroError for whatever stands against it, as the command line tells it.
    """
    loading = Loading(PROBE, Filters(), switches_read.defines() | {"TIMELINE": 1})
    moments_ns: list[int] = []
    with Trace(loading, Columns(DECODE, dtypes()), None, duration_s=duration_s, during=during) as trace:
        trace.around(
            lambda: moments_ns.append(switches_read.begin(trace.probe, None)),
            lambda: moments_ns.append(switches_read.end(trace.probe)),
        )
        trace.at_end(lambda _: switches_read.under_way(trace.probe, moments_ns[1]))
        events = tuple(records(trace.rows(), RECORDS))
        begin_ns, end_ns = moments_ns
        now = switches_read.read(trace.probe, end_ns)
        name = switches_read.names_of(trace.probe)
        slots = {event.slot for event in events} | {e.waker_slot for e in events if isinstance(e, Waking)}
        assert trace.account is not None  # the rows have come to their end
        found = account(now, Reading(begin_ns), loading.filters.whole_system)
        names = {slot: name(slot) for slot in slots}
        return Recorded(begin_ns, now.ts_ns, events, names, trace.account.lost, found)


def timeline(found: Recorded, cpus: Container[int]) -> Timeline:
    """Some CPUs' turns as lanes."""
    page = PageTimeline(lambda _: None, found.begin_ns, lambda slot: found.names.get(slot, NOBODY))
    for event in found.events:
        if isinstance(event, Waking) or event.cpu in cpus:
            page.add(event)
    return page.timeline()
