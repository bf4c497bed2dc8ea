"""Events as columns, one structured numpy array for each kind: to save them, or when there may be millions.

The first field of each is its time, by which they are ordered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from sys import getsizeof

import numpy as np

from kintro.sources.probe_source import c_struct, probe_text
from kintro.sources.ring import WINDOW_NS, Reader
from kintro.sources.rows import Decode, Row

Batch = dict[str, np.ndarray]  # kind → structured array


def recorded_dtypes(probe: str, kinds: Iterable[str]) -> dict[str, np.dtype]:
    """Kind → dtype of what is recorded: the probe's structs, and the data behind some."""
    from kintro.sources.session import BINARY

    text = probe_text(probe)
    found = {}
    for kind in kinds:
        layout = c_struct(text, f"{kind}_event")
        fields = [(name, layout.dtype[name]) for name in layout.names]
        found[kind] = np.dtype([*fields, ("data", BINARY)]) if layout.variable else layout.dtype
    return found


class Columns:
    """Takes events from the rings in order of time, and has `save` keep them before they are shown."""

    def __init__(
        self,
        decode: Mapping[str, Decode],
        dtypes: Mapping[str, np.dtype],
        save: Callable[[Batch], None] = lambda batch: None,
        shown: Collection[str] | None = None,
    ) -> None:
        """`dtypes`: of the kinds that are decoded, at least. `shown`: kinds wanted as rows; None: all."""
        self._decode, self._dtypes, self._save, self._shown = decode, dtypes, save, shown
        self._reorder = Reorder()

    @property
    def holds(self) -> bool:
        return self._reorder.holds

    @property
    def late(self) -> int:
        return self._reorder.late

    def take(self, reader: Reader) -> Batch:
        """What is ripe of what the rings hold."""
        batch, now_ns = reader.read()
        for kind, decode in self._decode.items():
            batch[kind] = np.array(list(map(decode, batch[kind].tolist())), self._dtypes[kind])
        return self._reorder.push(batch, now_ns)

    def flush(self, last: Batch | None = None) -> Batch:
        """Everything still held, at the end of a trace, and some more."""
        if last is not None:
            self._reorder.hold(last)
        return self._reorder.flush()

    def size_bytes(self, batch: Batch) -> int:
        """About how much memory a batch takes."""
        return sum(events.nbytes + _behind_bytes(events) for events in batch.values())

    def rows(self, batch: Batch) -> list[tuple[str, Row]]:
        """Saves a batch; then it is shown as rows."""
        self._save(batch)
        if self._shown is not None:
            batch = {kind: batch[kind] for kind in batch if kind in self._shown}
        return list(in_time_order(batch))


@dataclass
class Reorder:
    """Puts the events of several rings and CPUs into one order, holding each back for WINDOW_NS."""

    _held: dict[str, list[np.ndarray]] = field(default_factory=dict)
    _released_ns: int = 0
    late: int = 0  # events that came after a younger one was released

    def push(self, batch: Batch, now_ns: int) -> Batch:
        """Takes a batch; returns what is older than the window, each kind sorted by time."""
        self.hold(batch)
        return self._release(now_ns - WINDOW_NS)

    def flush(self) -> Batch:
        """Everything still held, at the end of a trace."""
        return self._release((1 << 63) - 1)

    @property
    def holds(self) -> bool:
        return any(self._held.values())

    def hold(self, batch: Batch) -> None:
        """Takes a batch and returns nothing yet."""
        for kind, events in batch.items():
            held = self._held.setdefault(kind, [])  # in the order of the rings, also where there are none yet
            if len(events):
                self.late += int(np.count_nonzero(_times(events) < self._released_ns))
                held.append(events)

    def _release(self, until_ns: int) -> Batch:
        released = {}
        for kind, parts in self._held.items():
            if not parts:
                continue
            events = _joined(parts)
            times = _times(events).copy()
            if (times[1:] < times[:-1]).any():  # of several CPUs
                order = np.argsort(times, kind="stable")
                events, times = events[order], times[order]
            ripe = int(np.searchsorted(times, until_ns, side="right"))
            self._held[kind] = [events[ripe:]] if ripe < len(events) else []
            if ripe:
                released[kind] = events[:ripe]
        self._released_ns = max([self._released_ns, *(int(_times(e)[-1]) for e in released.values())])
        return released


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """One array of several. As bytes, where there are no objects: else numpy copies field by field."""
    dtype = parts[0].dtype
    if len(parts) == 1:
        return parts[0]
    if dtype.hasobject:
        return np.concatenate(parts)
    raw = np.dtype((np.void, dtype.itemsize))
    return np.concatenate([part.view(raw) for part in parts]).view(dtype)


def _times(events: np.ndarray) -> np.ndarray:
    """The first field of each."""
    return events[(events.dtype.names or ())[0]]


def _behind_bytes(events: np.ndarray) -> int:
    """Of the objects that events refer to."""
    names = [name for name in events.dtype.names or () if events.dtype[name].hasobject]
    return sum(sum(map(getsizeof, events[name])) for name in names)


def in_time_order(batch: Batch) -> Iterator[tuple[str, Row]]:
    """The rows of a batch, whose kinds are sorted each, in order of time; of one time, in order of kinds."""
    kinds = list(batch)
    if not kinds:
        return
    times = np.concatenate([_times(batch[kind]) for kind in kinds])
    owner = np.repeat(np.arange(len(kinds)), [len(batch[kind]) for kind in kinds])
    rows = [iter(batch[kind].tolist()) for kind in kinds]
    for index in owner[np.argsort(times, kind="stable")].tolist():
        yield kinds[index], next(rows[index])
