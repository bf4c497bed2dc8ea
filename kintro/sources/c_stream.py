"""A loop of compiled code around any function of the C library, whatever it returns; no compiler is needed.

lfind(3) calls a function again and again as long as that does not return 0 (c_loop.py), with two arguments
that do not change. Many return 0: sched_yield(2), pthread_barrier_wait(3). So a stream is put in between:
fopencookie(3) makes a FILE of which writing is done by a function that it is given. Without a buffer each
fputc(3) is one call of that function, with an argument of our own, the address of the byte and the length 1;
which is also what read(2) and write(2) want. fputc returns the byte, or EOF where the function returned
anything but 1, and never 0.

fputs(3) in place of fputc first looks for the end of its text: it reads all of it, and then calls the
function once, with the text and its length. So it is a loop that reads some memory before each call. Here the
function must return 0 or its third argument: with an int of -1, which is 4,294,967,295 to who expects a
ssize_t, fputs would go on beyond the text.

Cost beside the function's own: about 12 ns for each call.
"""

from __future__ import annotations

import ctypes
import mmap

from kintro.sources import c_loop

BYTE = ord("x")  # what is written; not 0
_IOLBF, _IONBF = 1, 2  # stdio.h

_libc = ctypes.CDLL(None, use_errno=True)


class _Functions(ctypes.Structure):
    """cookie_io_functions_t"""

    _fields_ = [(name, ctypes.c_void_p) for name in ("read", "write", "seek", "close")]


_fopencookie = _libc.fopencookie
_fopencookie.restype = ctypes.c_void_p
_fopencookie.argtypes = [ctypes.c_void_p, ctypes.c_char_p, _Functions]
_setvbuf = _libc.setvbuf
_setvbuf.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
_fclose = _libc.fclose
_fclose.argtypes = [ctypes.c_void_p]


def opened(function: int, argument: int, buffer: tuple[int, int] | None = None) -> int:
    """The address of a FILE: `turns` on it calls the function at an address with that argument.

    One task at a time may use it. `buffer`: address and size of one by lines, for c_chain.py.
    """
    stream = _fopencookie(argument, b"w", _Functions(None, function, None, None))
    where, how, size = (None, _IONBF, 0) if buffer is None else (buffer[0], _IOLBF, buffer[1])
    if not stream or _setvbuf(stream, where, how, size):
        raise MemoryError("fopencookie")
    return int(stream)


def close(stream: int) -> None:
    _fclose(stream)


def turns(stream: int, text: int | None, calls: int) -> None:
    """Calls the stream's function so often. `text`: address of a C string that is read before each call."""
    name, first = ("fputc_unlocked", BYTE) if text is None else ("fputs_unlocked", text)
    c_loop.calls(c_loop.address(name), first, stream, calls)


class Text:
    """C strings of several lengths at the end of one stretch of memory: the longer ones contain the others.

    In pages of the smallest size, all of them there.
    """

    def __init__(self, most_bytes: int) -> None:
        self._memory = mmap.mmap(-1, most_bytes + 1, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        try:
            self._memory.madvise(mmap.MADV_NOHUGEPAGE)
        except OSError:  # EINVAL: this kernel has no huge pages
            pass
        self._memory[:most_bytes] = bytes([BYTE]) * most_bytes
        self._end = ctypes.addressof(ctypes.c_char.from_buffer(self._memory)) + most_bytes

    def address(self, size_bytes: int) -> int:
        """Where the string of that length begins."""
        return self._end - size_bytes
