"""Events as rows, plain tuples, to be shown one by one: no numpy here, which takes long to import."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any

from kintro.sources.ring import WINDOW_NS, Reader

Row = tuple  # of an event, its time first
Decode = Callable[[Row], Row]  # what a ring holds → what is recorded

PUMP_EVERY = 1000  # events handled between two looks at the rings
ROW_BYTES = 500  # of memory, for most
_FOREVER_NS = 1 << 63


class Rows:
    """Takes events from the rings and brings them into one order, holding each back for WINDOW_NS."""

    def __init__(self, decode: Mapping[str, Decode]) -> None:
        self._decode = decode
        self._held: list[tuple[int, int, str, Row]] = []  # time, place of its ring, kind, row
        self._released_ns = 0
        self.late = 0  # events that came after a younger one was released

    @property
    def holds(self) -> bool:
        return bool(self._held)

    def take(self, reader: Reader) -> list[tuple[str, Row]]:
        """What is ripe of what the rings hold, in order of time; of one time, in order of the rings."""
        batch, now_ns = reader.rows()
        for kind, decode in self._decode.items():
            batch[kind] = list(map(decode, batch[kind]))
        return self.push(batch, now_ns)

    def push(self, batch: Mapping[str, list[Row]], now_ns: int) -> list[tuple[str, Row]]:
        """Takes a batch; returns what is older than the window."""
        new = [(row[0], place, kind, row) for place, kind in enumerate(batch) for row in batch[kind]]
        self.late += sum(1 for time_ns, *_ in new if time_ns < self._released_ns)
        self._held += new
        self._held.sort(key=itemgetter(0, 1))
        ripe = bisect_right(self._held, now_ns - WINDOW_NS, key=itemgetter(0))
        released, self._held = self._held[:ripe], self._held[ripe:]
        if released:
            self._released_ns = max(self._released_ns, released[-1][0])
        return [(kind, row) for _, _, kind, row in released]

    def flush(self, last: Mapping[str, list[Row]] | None = None) -> list[tuple[str, Row]]:
        """Everything still held, at the end of a trace, and some more."""
        return self.push(last or {}, _FOREVER_NS + WINDOW_NS)

    def size_bytes(self, released: list[tuple[str, Row]]) -> int:
        """About how much memory these take."""
        return ROW_BYTES * len(released)

    def rows(self, released: list[tuple[str, Row]]) -> list[tuple[str, Row]]:
        return released


def records(batches: Iterable[list[tuple[str, Row]]], kinds: Mapping[str, type]) -> Iterator[Any]:
    """The rows of batches, each as what stands for its kind."""
    for batch in batches:
        for kind, row in batch:
            yield kinds[kind](*row)


def pumped(stream: Iterator[Any], drain: Callable[[], bool]) -> Iterator[Any]:
    """The stream as it is; between its items the trace goes on, however slowly they are used.

    It ends early if `drain` says that nobody wants the rest.
    """
    for number, item in enumerate(stream):
        yield item
        if number % PUMP_EVERY == PUMP_EVERY - 1 and drain():
            return
