"""A BPF ring buffer made in memory, laid out as kernel/bpf/ringbuf.c maps it to user space."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from kintro.sources.probe_source import Layout
from kintro.sources.ring import Ring

PAGE = mmap.PAGESIZE
BUSY_BIT, DISCARD_BIT = 31, 30  # BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT in include/uapi/linux/bpf.h


class RingImage:
    """The kernel's side of a ring. The file holds the data twice, as the kernel maps it twice."""

    def __init__(self, size_bytes: int = PAGE, position: int = 0) -> None:
        self.size = size_bytes
        self.fd = os.memfd_create("ring")
        os.ftruncate(self.fd, 2 * PAGE + 2 * size_bytes)
        self.map = mmap.mmap(self.fd, 0)
        self._put_u64(0, position)
        self._put_u64(PAGE, position)

    def close(self) -> None:
        os.close(self.fd)

    def _put_u64(self, at: int, value: int) -> None:
        self.map[at : at + 8] = struct.pack("=Q", value)

    @property
    def consumer(self) -> int:
        return struct.unpack_from("=Q", self.map, 0)[0]

    @property
    def producer(self) -> int:
        return struct.unpack_from("=Q", self.map, PAGE)[0]

    def free(self) -> int:
        return self.size - (self.producer - self.consumer)

    def _write(self, position: int, data: bytes) -> None:
        for i, byte in enumerate(data):
            first = 2 * PAGE + (position + i) % self.size
            self.map[first] = self.map[first + self.size] = byte

    def reserve(self, payload: bytes) -> int:
        """A record that is BUSY until `commit`. Returns where it begins."""
        position = self.producer
        self._write(position, struct.pack("=II", len(payload) | 1 << BUSY_BIT, 2) + payload)
        end = position + 8 + -(-len(payload) // 8) * 8
        assert end - self.consumer <= self.size, "the kernel would have refused this record"
        self._put_u64(PAGE, end)
        return position

    def commit(self, position: int, discard: bool = False) -> None:
        at = 2 * PAGE + position % self.size
        (length,) = struct.unpack_from("=I", self.map, at)
        length = length & ~(1 << BUSY_BIT) | discard << DISCARD_BIT
        self._write(position, struct.pack("=I", length))

    def add(self, payload: bytes, discard: bool = False) -> None:
        self.commit(self.reserve(payload), discard)


def layout_of(dtype: np.dtype, variable: bool = False) -> Layout:
    """The Layout whose dtype this is."""
    codes = {"<u8": "Q", "<u4": "I", "|u1": "B"}
    own = [dtype[name].str for name in dtype.names or ()]
    return Layout(tuple(dtype.names or ()), tuple(codes.get(o, f"{o[2:]}s") for o in own), variable)


@contextmanager
def ring_of(
    dtype: np.dtype, size_bytes: int = PAGE, position: int = 0, variable: bool = False
) -> Iterator[tuple[RingImage, Ring]]:
    image = RingImage(size_bytes, position)
    try:
        yield image, Ring(image.fd, size_bytes, layout_of(dtype, variable))
    finally:
        image.close()
