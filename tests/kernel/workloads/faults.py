"""Touches memory as it is told, a line at a time, and answers each line when it is done; at first, 0.

Memory lies between two pages that nobody may touch, so that the kernel merges it with nothing.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import threading

PAGE = mmap.PAGESIZE
PROT_NONE, READ, WRITE, PRIVATE, SHARED, ANONYMOUS, FIXED, POPULATE = 0, 1, 2, 2, 1, 0x20, 0x10, 0x8000
NOHUGEPAGE, RANDOM, DONTNEED = 15, 1, 4  # of madvise(2)

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.sbrk.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.mprotect.argtypes = libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.sbrk.argtypes = [ctypes.c_ssize_t]
libc.read.argtypes = libc.write.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]


def mapped(pages: int, more: int = 0, fd: int = -1) -> int:
    """Address of memory with a page of no access on either side."""
    around = libc.mmap(None, (pages + 2) * PAGE, PROT_NONE, PRIVATE | ANONYMOUS, -1, 0)
    kind = SHARED if fd >= 0 else PRIVATE | ANONYMOUS
    start = libc.mmap(around + PAGE, pages * PAGE, READ | WRITE, kind | FIXED | more, fd, 0)
    assert start == around + PAGE
    if fd < 0:
        assert libc.madvise(start, pages * PAGE, NOHUGEPAGE) == 0
    return start


def write(start: int, pages: int) -> None:
    for at in range(start, start + pages * PAGE, PAGE):
        ctypes.c_char.from_address(at).value = b"x"


def read(start: int, pages: int) -> None:
    for at in range(start, start + pages * PAGE, PAGE):
        ctypes.c_char.from_address(at).value  # noqa: B018


def kernel_writes(start: int, pages: int) -> None:
    """read(2) of zeros into it."""
    zeros = os.open("/dev/zero", os.O_RDONLY)
    assert libc.read(zeros, start, pages * PAGE) == pages * PAGE
    os.close(zeros)


def refused(start: int) -> int:
    """write(2) of memory that is none: the errno."""
    null = os.open("/tmp", os.O_TMPFILE | os.O_RDWR)
    assert libc.write(null, start, 1) == -1
    os.close(null)
    return ctypes.get_errno()


def file_mapped(path: str, pages: int) -> int:
    """A file that is in no page cache, to be read page by page."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, b"x" * pages * PAGE)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    start = mapped(pages, fd=fd)
    assert libc.madvise(start, pages * PAGE, RANDOM) == 0
    os.close(fd)
    return start


def forked() -> int:
    """The child waits until this process has ended."""
    begin, end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(end)
        os.read(begin, 1)
        os._exit(0)
    return child


def become_child() -> int:
    """Goes on in a child; this process only waits for it."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os._exit(0)
    return os.getpid()


def write_at_once(start: int, pages: int) -> None:
    """Four threads, each its own part."""
    places = [start + part * pages * PAGE for part in range(4)]
    threads = [threading.Thread(target=write, args=(place, pages)) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def write_again(start: int, pages: int, times: int) -> None:
    """Writes to all, and gives them back to the kernel."""
    for _ in range(times):
        write(start, pages)
        assert libc.madvise(start, pages * PAGE, DONTNEED) == 0


def execute(_: int) -> None:
    """This program again, which answers at its beginning."""
    os.execv(sys.executable, [sys.executable, "-S", "-E", __file__])


def crash(address: int) -> None:
    ctypes.c_char.from_address(address).value = b"x"


COMMANDS = {
    "map": mapped,
    "populate": lambda pages: mapped(pages, POPULATE),
    "write": write,
    "read": read,
    "unmap": lambda start, pages: libc.munmap(start, pages * PAGE),
    "protect": lambda start, pages, protection: libc.mprotect(start, pages * PAGE, protection),
    "brk": lambda size: (libc.sbrk(size), libc.sbrk(0))[1],
    "kernel-writes": kernel_writes,
    "refused": refused,
    "file": file_mapped,
    "fork": forked,
    "become-child": become_child,
    "threads": write_at_once,
    "write-again": write_again,
    "exec": execute,
    "crash": crash,
}


def main() -> None:
    print(0, flush=True)
    for line in sys.stdin:
        name, *arguments = line.split()
        result = COMMANDS[name](*[int(word) if word.isdigit() else word for word in arguments])
        print(result if result is not None else 0, flush=True)


if __name__ == "__main__":
    main()
