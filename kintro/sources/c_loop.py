"""Loops of compiled code that are there on every machine, so that no compiler is needed to have one.

lfind(3) of the C library calls a function for each element of an array until that returns 0. Given a function
of the C library and elements of no size, it is a loop that calls it again and again with the same two
arguments. The function must be content with two arguments and never return 0. Assigning to every n-th byte of
a mmap object is a loop of CPython's own.
"""

from __future__ import annotations

import ctypes
import mmap
import resource
import time
from typing import NamedTuple

_libc = ctypes.CDLL(None)
_lfind = _libc.lfind
_lfind.restype = ctypes.c_void_p
_lfind.argtypes = [
    ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t), ctypes.c_size_t, ctypes.c_void_p,
]  # fmt: skip


def address(name: str) -> int:
    """Where a function of the C library begins."""
    return ctypes.cast(getattr(_libc, name), ctypes.c_void_p).value or 0


def calls_ns(function: int, first: int, second: int, calls: int) -> int | None:
    """How long it takes to call the function at an address so often, with two arguments.

    In it are, for each call, a turn of lfind's loop (an addition, two comparisons), and once the way from
    Python to lfind, 1 or 2 µs. None: the function returned 0 and was not called further.
    """
    number = ctypes.c_size_t(calls)
    reference = ctypes.byref(number)
    begin_ns = time.perf_counter_ns()
    found = _lfind(first, second, reference, 0, function)
    taken_ns = time.perf_counter_ns() - begin_ns
    return taken_ns if found is None else None


def calls(function: int, first: int, second: int, number: int) -> None:
    """Calls the function at an address so often, with two arguments. It must never return 0.

    ValueError if it did; `second` must not be 0, for that to be seen.
    """
    if _lfind(first, second, ctypes.byref(ctypes.c_size_t(number)), 0, function) is not None:
        raise ValueError("the function returned 0")


class Touched(NamedTuple):
    """What it took to write a byte to each page of memory, and the page faults that the kernel counted."""

    first_ns: int  # while there is no page behind any address
    first_faults: int
    again_ns: int
    again_faults: int


def touch(pages: int) -> Touched:
    """Maps memory, writes to each page of it twice, and unmaps it. Huge pages are kept out.

    Faults: ru_minflt of getrusage(2).
    """
    size = mmap.PAGESIZE
    written = bytes(pages)
    spare = [(_faults(), time.perf_counter_ns()) for _ in range(8)]
    del spare  # room for the numbers to come: else the interpreter's own memory grows and faults in between
    with mmap.mmap(-1, pages * size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        try:
            memory.madvise(mmap.MADV_NOHUGEPAGE)
        except OSError:  # EINVAL: this kernel has no huge pages
            pass
        before = _faults()
        begin_ns = time.perf_counter_ns()
        memory[::size] = written
        first_ns = time.perf_counter_ns() - begin_ns
        between = _faults()
        begin_ns = time.perf_counter_ns()
        memory[::size] = written
        again_ns = time.perf_counter_ns() - begin_ns
        return Touched(first_ns, between - before, again_ns, _faults() - between)


def _faults() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
