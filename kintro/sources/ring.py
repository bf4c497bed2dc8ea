"""Reads BPF ring buffers without a copy in between, and brings their events into one order of time.

A ring is mapped as the kernel lays it out (kernel/bpf/ringbuf.c): a page with the consumer's position,
which we write; a page with the producer's, which we read; the data, mapped twice in a row so that a batch
never wraps. A record is a header of 8 bytes (length with a BUSY and a DISCARD bit, page offset) and the
payload padded to 8. Events of one size make an array with a fixed stride: one numpy copy fetches all that
are there. Events of several sizes are walked one by one.

Cost: the kernel wakes a reader only for an event that finds the ring empty; LINGER_S keeps us from asking
again at once, so that a storm of events is read about a hundred times a second.
"""

from __future__ import annotations

import mmap
import platform
import select
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

Batch = dict[str, np.ndarray]  # kind → structured array, each with a field ts_ns

BUSY, DISCARD = 1 << 31, 1 << 30  # BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT
HEADER = struct.Struct("=II")
LINGER_S = 0.01  # the least time between two reads
WINDOW_NS = 10_000_000  # how long an event may take from reading the clock to being readable in the ring

_STRONGLY_ORDERED = platform.machine() in ("x86_64", "i686", "s390x")
_lock = threading.Lock()


def _barrier() -> None:
    """Orders our reads and writes before this point against those behind it.

    x86 needs none: it reorders neither reads nor writes among themselves. Elsewhere a lock does it: to
    release it waits for all before, to take it again holds back all behind. (membarrier(2) would take
    milliseconds.)
    """
    if not _STRONGLY_ORDERED:
        for _ in range(2):
            _lock.acquire()
            _lock.release()


class Ring:
    """One ring buffer of a loaded probe; holds the mapping. `dtype` describes the event's struct.

    With `variable`, an event may be longer than the struct; what follows the struct is given as bytes in
    the field `data`.
    """

    def __init__(self, fd: int, size_bytes: int, dtype: np.dtype, variable: bool = False) -> None:
        page = mmap.PAGESIZE
        self._size = size_bytes
        self._dtype = dtype
        self._variable = variable
        self._consumer_map = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._data_map = mmap.mmap(fd, page + 2 * size_bytes, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._consumer = np.frombuffer(self._consumer_map, np.uint64, 1)
        self._producer = np.frombuffer(self._data_map, np.uint64, 1)
        self._stride = 8 + -(-dtype.itemsize // 8) * 8
        self._record = np.dtype(
            {
                "names": ["length", "event"],
                "formats": ["<u4", dtype],
                "offsets": [0, HEADER.size],
                "itemsize": self._stride,
            }
        )
        self.dtype = np.dtype([*_fields(dtype), ("data", "O")]) if variable else dtype
        self.received = 0

    def read(self) -> np.ndarray:
        """All events that are complete now, in the order of the ring; the ring is free for new ones."""
        begin, end = int(self._consumer[0]), int(self._producer[0])
        if begin == end:
            return np.empty(0, self.dtype)
        _barrier()
        events, begin = self._walk(begin, end) if self._variable else self._take(begin, end)
        _barrier()
        self._consumer[0] = begin
        self.received += len(events)
        return events

    def _take(self, begin: int, end: int) -> tuple[np.ndarray, int]:
        offset = mmap.PAGESIZE + begin % self._size
        count = (end - begin) // self._stride
        records = np.ndarray(count, self._record, self._data_map, offset)
        lengths = records["length"]
        busy = np.flatnonzero(lengths & BUSY)
        if busy.size:
            count = int(busy[0])
            records, lengths = records[:count], lengths[:count]
        events = records["event"]
        discarded = lengths & DISCARD != 0
        return (events[~discarded] if discarded.any() else events.copy()), begin + count * self._stride

    def _walk(self, begin: int, end: int) -> tuple[np.ndarray, int]:
        fixed = self._dtype.itemsize
        headers, payloads = [], []
        while begin < end:
            offset = mmap.PAGESIZE + begin % self._size
            length, _ = HEADER.unpack_from(self._data_map, offset)
            if length & BUSY:
                break
            size = length & ~DISCARD
            if not length & DISCARD:
                payload = self._data_map[offset + HEADER.size : offset + HEADER.size + size]
                headers.append(payload[:fixed])
                payloads.append(payload[fixed:])
            begin += HEADER.size + -(-size // 8) * 8
        events = np.empty(len(headers), self.dtype)
        if headers:
            rows = np.frombuffer(b"".join(headers), self._dtype)
            for name in self._dtype.names or ():
                events[name] = rows[name]
            events["data"] = payloads
        return events, begin


def _fields(dtype: np.dtype) -> list[tuple[str, np.dtype]]:
    return [(name, dtype[name]) for name in dtype.names or ()]


class Reader:
    """Waits for the rings of one probe and reads them together; a context manager."""

    def __init__(self, rings: Mapping[str, tuple[int, Ring]]) -> None:
        """`rings`: kind → (file descriptor, ring)."""
        self._rings = {kind: ring for kind, (_, ring) in rings.items()}
        self._epoll = select.epoll()
        for fd, _ in rings.values():
            self._epoll.register(fd, select.EPOLLIN)
        self._watched: set[int] = set()
        self._last_read = 0.0

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._epoll.close()

    def wake_on(self, fd: int) -> None:
        """Also end a wait, and at once, when this descriptor becomes readable."""
        self._watched.add(fd)
        self._epoll.register(fd, select.EPOLLIN)

    def stop_waking_on(self, fd: int) -> None:
        self._epoll.unregister(fd)

    @property
    def received(self) -> int:
        return sum(ring.received for ring in self._rings.values())

    def wait(self, timeout_s: float | None) -> set[int]:
        """Sleeps until a ring has events, a watched descriptor is readable or the time is up.

        Returns the readable descriptors.
        """
        ready = {fd for fd, _ in self._epoll.poll(timeout_s)}
        early = self._last_read + LINGER_S - time.monotonic()
        if ready and early > 0 and not ready & self._watched:
            time.sleep(early)
        return ready

    def read(self) -> tuple[Batch, int]:
        """What the rings hold, and a time: no event older than WINDOW_NS before it is still to come."""
        now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self._last_read = time.monotonic()
        return {kind: ring.read() for kind, ring in self._rings.items()}, now_ns


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
            if len(events):
                self._held.setdefault(kind, []).append(events)
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


def in_time_order(batch: Batch, ranks: Mapping[str, int]) -> Iterator[tuple[str, tuple]]:
    """The rows of a batch, whose kinds are sorted each, as (kind, tuple) in order of time.

    Of rows with one and the same time that of the lower rank comes first.
    """
    kinds = sorted(batch, key=lambda kind: ranks[kind])
    if not kinds:
        return
    times = np.concatenate([batch[kind]["ts_ns"] for kind in kinds])
    owner = np.repeat(np.arange(len(kinds)), [len(batch[kind]) for kind in kinds])
    rows = [iter(batch[kind].tolist()) for kind in kinds]
    for index in owner[np.argsort(times, kind="stable")].tolist():
        yield kinds[index], next(rows[index])


def map_size(fd: int) -> int:
    """max_entries of a BPF map: the size in bytes of a ring (fdinfo of bpf(2))."""
    with open(f"/proc/self/fdinfo/{fd}") as info:
        for line in info:
            if line.startswith("max_entries:"):
                return int(line.split()[1])
    raise OSError(f"descriptor {fd} is not a BPF map")
