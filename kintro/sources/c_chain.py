"""Sequences of calls of the C library, run by compiled code that is there anyway; no compiler is needed.

tfind(3) searches a tree: at each node it calls a function with the key that is wanted and the node's own one,
and goes left or right by the sign of the result. So a list of nodes laid out in memory is a program: the
function is fputc(3), the wanted key a line feed, the keys of the nodes are streams. Of each stream writing is
done by a function of our choice (fopencookie(3), as in c_stream.py), and a line feed makes a stream that is
buffered by lines write at once. So each node is one call of

    function(argument, memory, 1)

where `memory` is the stream's buffer, which we lay where we like. Its first byte is a line feed at each call:
fputc puts it there. Both ways out of a node lead to the next one, so that it does not matter what a function
returns; nobody looks at errors.

That 1 makes readv(2) and writev(2) move as much as we like: memory is then a struct iovec, whose first byte
is the lowest of the address of the data on little-endian machines: data at an address that ends in 0x0a. For
functions with fewer arguments it does not matter.

Cost beside the function's own: about 16 ns for each call.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
import sys
from collections.abc import Sequence
from typing import NamedTuple

from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.sources import c_loop, c_stream

LINE_FEED = 0x0A  # the first byte of what functions get as memory
_NODE_WORDS = 4  # key, left, right of a node; before glibc 2.26 also a word for its colour
_IOVEC = struct.Struct("=QQ")  # readv(2)

_libc = ctypes.CDLL(None)
_tfind = _libc.tfind
_tfind.restype = ctypes.c_void_p
_tfind.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]


class Call(NamedTuple):
    """function(argument, memory, 1)"""

    function: str  # of the C library
    argument: int  # a number or an address
    memory: int  # address
    size: int = 64  # bytes there


class Chain:
    """Calls that are made in their order, all of them so many times. To be closed."""

    def __init__(self, calls: Sequence[Call], times: int) -> None:
        self._streams = [
            c_stream.opened(c_loop.address(call.function), call.argument, (call.memory, call.size))
            for call in calls
        ]
        number = len(calls) * times
        self._nodes = (ctypes.c_uint64 * (_NODE_WORDS * number))()
        first = ctypes.addressof(self._nodes)
        nodes = memoryview(self._nodes).cast("B").cast("Q")
        following = range(first + 8 * _NODE_WORDS, first + 8 * _NODE_WORDS * number, 8 * _NODE_WORDS)
        for word, values in enumerate((self._streams * times, (*following, 0), (*following, 0))):
            for place, value in enumerate(values):
                nodes[_NODE_WORDS * place + word] = value
        self._root = ctypes.c_uint64(first)
        self._function = c_loop.address("fputc_unlocked")

    def __call__(self) -> None:
        if _tfind(LINE_FEED, ctypes.addressof(self._root), self._function) is not None:
            raise ValueError("fputc returned 0")

    def close(self) -> None:
        for stream in self._streams:
            c_stream.close(stream)
        self._streams = []


class Shared:
    """Memory that processes share which are forked later: zeroes, in pages."""

    def __init__(self, size_bytes: int) -> None:
        self.view = mmap.mmap(-1, size_bytes)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.view))


class Message:
    """Memory for a message of some bytes that a process sends or takes, and its struct iovec.

    A message is a C string: a line feed and many an `x`; the NUL behind it is not sent.
    """

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._memory = Shared(mmap.PAGESIZE + LINE_FEED + size_bytes + 1)
        self._at = mmap.PAGESIZE + LINE_FEED
        self.address = self._memory.address + self._at
        self.iovec = self._memory.address
        self._memory.view[: _IOVEC.size] = _IOVEC.pack(self.address, size_bytes)

    @property
    def room(self) -> memoryview:
        return memoryview(self._memory.view)[self._at : self._at + self.size_bytes]

    @property
    def data(self) -> bytes:
        return self._memory.view[self._at : self._at + self.size_bytes]

    @data.setter
    def data(self, data: bytes) -> None:
        self._memory.view[self._at : self._at + self.size_bytes] = data

    def fill(self) -> None:
        self.data = text(self.size_bytes)

    def clear(self) -> None:
        self.data = bytes(self.size_bytes)


def text(size_bytes: int) -> bytes:
    return b"\n".ljust(size_bytes, b"x")


def require() -> None:
    """KintroError where the C library does not call as said above, as musl, or bytes lie otherwise."""
    source, target = Message(3), Message(3)
    source.fill()
    try:
        chain = Chain((Call("stpcpy", target.address, source.address, 4),), 2)
        chain()
        chain.close()
    except AttributeError:  # a function is not there
        pass
    if target.data != source.data or sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8:
        message = "this C library cannot be made to call its functions in turn"
        raise KintroError(message, "glibc on a 64-bit little-endian machine can", EX_UNAVAILABLE)
