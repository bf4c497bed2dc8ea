"""Reads BPF ring buffers without a copy in between, as rows or as arrays.

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
import os
import select
import struct
import threading
import time
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from kintro.sources.probe_source import Layout

if TYPE_CHECKING:
    import numpy as np

BUSY, DISCARD = 1 << 31, 1 << 30  # BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT
HEADER = struct.Struct("=II")
LINGER_S = 0.01  # the least time between two reads
WINDOW_NS = 10_000_000  # how long an event may take from reading the clock to being readable in the ring

_STRONGLY_ORDERED = os.uname().machine in ("x86_64", "i686", "s390x")
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
    """One ring buffer of a loaded probe; holds the mapping. `layout` describes the event's struct.

    Of a variable one, an event may be longer than the struct; what follows the struct is given as bytes in
    the last field, `data`. Two ways to take what is there: `rows`, and `read`, which imports numpy.
    """

    def __init__(self, fd: int, size_bytes: int, layout: Layout) -> None:
        page = mmap.PAGESIZE
        self._size = size_bytes
        self._layout = layout
        self._consumer_map = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._data_map = mmap.mmap(fd, page + 2 * size_bytes, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._consumer = memoryview(self._consumer_map).cast("Q")
        self._producer = memoryview(self._data_map).cast("Q")
        self._words = memoryview(self._data_map).cast("I")
        self._struct = struct.Struct(layout.format)
        self._record = struct.Struct(f"8x{layout.format}0Q")
        self._texts = [place for place, code in enumerate(layout.codes) if code[-1] == "s"]
        self.received = 0

    @cached_property
    def dtype(self) -> np.dtype:
        """Of what `read` gives."""
        import numpy as np

        own = self._layout.dtype
        fields = [(name, own[name]) for name in self._layout.names]
        return np.dtype([*fields, ("data", "O")]) if self._layout.variable else own

    def rows(self) -> list[tuple]:
        """All events that are complete now, in the order of the ring; the ring is free for new ones."""
        rows: list[tuple] = []
        begin, end = self._consumer[0], self._producer[0]
        if begin == end:
            return rows
        _barrier()
        if self._layout.variable:
            headers, payloads, begin = self._walked(begin, end)
            rows = [(*self._struct.unpack(head), data) for head, data in zip(headers, payloads, strict=True)]
        else:
            lengths = self._lengths(begin, end)
            at, stride = mmap.PAGESIZE + begin % self._size, self._record.size
            rows = list(self._record.iter_unpack(self._data_map[at : at + len(lengths) * stride]))
            if any(length & DISCARD for length in lengths):
                rows = [row for row, length in zip(rows, lengths, strict=True) if not length & DISCARD]
            begin += len(lengths) * stride
        for place in self._texts:
            rows = [(*row[:place], row[place].rstrip(b"\0"), *row[place + 1 :]) for row in rows]
        self._free(begin, len(rows))
        return rows

    def read(self) -> np.ndarray:
        """The same as an array: of events of one size by one copy."""
        import numpy as np

        begin, end = self._consumer[0], self._producer[0]
        events = np.empty(0, self.dtype)
        if begin == end:
            return events
        _barrier()
        if self._layout.variable:
            headers, payloads, begin = self._walked(begin, end)
            events = np.empty(len(headers), self.dtype)
            if headers:
                whole = np.frombuffer(b"".join(headers), self._layout.dtype)
                for name in self._layout.names:
                    events[name] = whole[name]
                events["data"] = payloads
        else:
            stride, at = self._record.size, mmap.PAGESIZE + begin % self._size
            record = np.dtype(
                {
                    "names": ["length", "event"],
                    "formats": ["u4", (np.void, self.dtype.itemsize)],  # bytes: faster to copy than fields
                    "offsets": [0, HEADER.size],
                    "itemsize": stride,
                }
            )
            whole = np.ndarray((end - begin) // stride, record, self._data_map, at)
            lengths = whole["length"].copy()
            busy = np.flatnonzero(lengths & BUSY)
            if len(busy):
                lengths = lengths[: busy[0]]
            _barrier()
            begin += len(lengths) * stride
            events = whole["event"][: len(lengths)]
            discarded = lengths & DISCARD != 0
            events = (events[~discarded] if discarded.any() else events.copy()).view(self.dtype)
        self._free(begin, len(events))
        return events

    def _free(self, begin: int, taken: int) -> None:
        _barrier()
        self._consumer[0] = begin
        self.received += taken

    def _lengths(self, begin: int, end: int) -> list[int]:
        """Of the records of one size up to the first that is still being written."""
        at, stride = (mmap.PAGESIZE + begin % self._size) // 4, self._record.size // 4
        lengths = self._words[at : at + (end - begin) // 4 : stride].tolist()
        busy = next((place for place, length in enumerate(lengths) if length & BUSY), len(lengths))
        _barrier()
        return lengths[:busy]

    def _walked(self, begin: int, end: int) -> tuple[list[bytes], list[bytes], int]:
        """Of records of several sizes: the structs, what is behind each, and where the rest begins."""
        fixed = self._struct.size
        headers, payloads = [], []
        while begin < end:
            at = mmap.PAGESIZE + begin % self._size
            length, _ = HEADER.unpack_from(self._data_map, at)
            if length & BUSY:
                break
            _barrier()
            size = length & ~DISCARD
            if not length & DISCARD:
                payload = self._data_map[at + HEADER.size : at + HEADER.size + size]
                headers.append(payload[:fixed])
                payloads.append(payload[fixed:])
            begin += HEADER.size + -(-size // 8) * 8
        return headers, payloads, begin


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
        self._rings.clear()  # and with them their mappings, which hold the maps

    def wake_on(self, fd: int) -> None:
        """Also end a wait, and at once, when this descriptor becomes readable."""
        self._watched.add(fd)
        self._epoll.register(fd, select.EPOLLIN)

    def wake_when_writable(self, fd: int) -> None:
        """The same, when it can be written."""
        self._watched.add(fd)
        self._epoll.register(fd, select.EPOLLOUT)

    def stop_waking_on(self, fd: int) -> None:
        self._watched.discard(fd)
        self._epoll.unregister(fd)

    @property
    def received(self) -> int:
        return sum(ring.received for ring in self._rings.values())

    def wait(self, timeout_s: float | None) -> set[int]:
        """Sleeps until a ring has events, a watched descriptor is readable or the time is up.

        Returns the ready descriptors.
        """
        ready = {fd for fd, _ in self._epoll.poll(timeout_s)}
        early = self._last_read + LINGER_S - time.monotonic()
        if ready and early > 0 and timeout_s != 0 and not ready & self._watched:
            time.sleep(early)
        return ready

    def rows(self) -> tuple[dict[str, list[tuple]], int]:
        """What the rings hold, and a time: no event older than WINDOW_NS before it is still to come."""
        now_ns = self._now_ns()
        return {kind: ring.rows() for kind, ring in self._rings.items()}, now_ns

    def read(self) -> tuple[dict[str, np.ndarray], int]:
        """The same as arrays."""
        now_ns = self._now_ns()
        return {kind: ring.read() for kind, ring in self._rings.items()}, now_ns

    def _now_ns(self) -> int:
        self._last_read = time.monotonic()
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC)
