"""Events as columns, one structured numpy array for each kind: to save a session."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from kintro.sources.ring import WINDOW_NS, Reader
from kintro.sources.rows import Decode, Row

Batch = dict[str, np.ndarray]  # kind → structured array, each with a field ts_ns


class Columns:
    """Takes events from the rings in order of time, and has `save` keep them before they are shown."""

    def __init__(
        self, decode: Mapping[str, Decode], dtypes: Mapping[str, np.dtype], save: Callable[[Batch], None]
    ) -> None:
        """`dtypes`: of the kinds that are decoded, at least."""
        self._decode, self._dtypes, self._save = decode, dtypes, save
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

    def flush(self) -> Batch:
        """Everything still held, at the end of a trace."""
        return self._reorder.flush()

    def count(self, batch: Batch) -> int:
        return sum(map(len, batch.values()))

    def rows(self, batch: Batch) -> list[tuple[str, Row]]:
        """Saves a batch; then it is shown as rows."""
        self._save(batch)
        return list(in_time_order(batch))


@dataclass
class Reorder:
    """Puts the events of several rings and CPUs into one order, holding each back for WINDOW_NS."""

    _held: dict[str, list[np.ndarray]] = field(default_factory=dict)
    _released_ns: int = 0
    late: int = 0  # events that came after a younger one was released

    def push(self, batch: Batch, now_ns: int) -> Batch:
        """Takes a batch; returns what is older than the window, each kind sorted by time."""
        return self._release(batch, now_ns - WINDOW_NS)

    def flush(self) -> Batch:
        """Everything still held, at the end of a trace."""
        return self._release({}, (1 << 63) - 1)

    @property
    def holds(self) -> bool:
        return any(self._held.values())

    def _release(self, batch: Batch, until_ns: int) -> Batch:
        for kind, events in batch.items():
            held = self._held.setdefault(kind, [])  # in the order of the rings, also where there are none yet
            if len(events):
                held.append(events)
        released = {}
        for kind, parts in self._held.items():
            if not parts:
                continue
            events = np.concatenate(parts) if len(parts) > 1 else parts[0]
            times = events["ts_ns"]
            self.late += int(np.count_nonzero(times < self._released_ns))
            ripe = times <= until_ns
            self._held[kind] = [] if ripe.all() else [events[~ripe]]
            if ripe.any():
                events = events[ripe]
                released[kind] = events[np.argsort(events["ts_ns"], kind="stable")]
        self._released_ns = max([self._released_ns, *(int(e["ts_ns"][-1]) for e in released.values())])
        return released


def in_time_order(batch: Batch) -> Iterator[tuple[str, Row]]:
    """The rows of a batch, whose kinds are sorted each, in order of time; of one time, in order of kinds."""
    kinds = list(batch)
    if not kinds:
        return
    times = np.concatenate([batch[kind]["ts_ns"] for kind in kinds])
    owner = np.repeat(np.arange(len(kinds)), [len(batch[kind]) for kind in kinds])
    rows = [iter(batch[kind].tolist()) for kind in kinds]
    for index in owner[np.argsort(times, kind="stable")].tolist():
        yield kinds[index], next(rows[index])
