"""Memory of known kinds, whose addresses are told; then it waits. Argument: which memory.

Writes one line of JSON to its stdout and then does what lines on its stdin ask, each answered by a line
`done`, until stdin ends. Each mapping lies between pages that may not be touched: it is one of its own.
"""

import ctypes
import json
import mmap
import os
import signal
import sys

PAGE, HUGE = mmap.PAGESIZE, 2 << 20
MADV_NOHUGEPAGE, MADV_HUGEPAGE, MADV_MERGEABLE, MADV_GUARD_INSTALL = 15, 14, 12, 102
PROT_RW, PRIVATE, SHARED, ANONYMOUS, FIXED, NORESERVE, HUGETLB = 3, 2, 1, 0x20, 0x10, 0x4000, 0x40000
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]
for name in ("munmap", "madvise", "mprotect"):
    getattr(LIBC, name).argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int][
        : 2 if name == "munmap" else 3
    ]


def mapped(size, prot=PROT_RW, flags=PRIVATE | ANONYMOUS, fd=-1, advice=MADV_NOHUGEPAGE):
    """The address of a new mapping on a boundary of 2 MiB."""
    room = LIBC.mmap(None, size + 2 * HUGE, 0, PRIVATE | ANONYMOUS | NORESERVE, -1, 0)
    start = (room + HUGE) // HUGE * HUGE
    got = LIBC.mmap(start, size, prot, flags | FIXED, fd, 0)
    if got != start:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    if advice is not None:
        LIBC.madvise(start, size, advice)
    return start


def touch(start, size, step=PAGE):
    for address in range(start, start + size, step):
        ctypes.memset(address, 1, 1)


def look(start, size, step=PAGE):
    for address in range(start, start + size, step):
        ctypes.string_at(address, 1)


def say(value):
    os.write(1, json.dumps(value).encode() + b"\n")


def obey(start):
    """`write N STEP`: bytes of N pages, each so many pages after the last; `unmap`; `exec`."""
    for line in iter(sys.stdin.readline, ""):
        command, *numbers = line.split()
        if command == "write":
            count, step = map(int, numbers)
            for number in range(count):
                ctypes.memset(start + number * step * PAGE, 2, 1)
        elif command == "unmap":
            LIBC.munmap(start, int(numbers[0]))
        elif command == "exec":
            os.execv("/bin/sleep", ["sleep", "60"])
        say("done")


def fork(start, size):
    """Tells both pids. The child obeys, the parent is still."""
    pid = os.fork()
    if pid == 0:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        say({"parent": os.getppid(), "pid": os.getpid(), "start": start, "size": size})
        obey(start)
        os._exit(0)
    os.waitpid(pid, 0)


def forks(flags, advice):
    start = mapped(64 << 20, flags=flags, advice=advice)
    touch(start, 64 << 20)
    fork(start, 64 << 20)


def one(start, size):
    say({"pid": os.getpid(), "start": start, "size": size})
    obey(start)


def kinds():
    """A mapping of each kind, by name."""
    size = 4 << 20
    made = {name: mapped(size) for name in ("touched", "untouched", "looked-at", "half", "guarded")}
    touch(made["touched"], size)
    look(made["looked-at"], size)
    touch(made["half"], size // 2)
    look(made["half"] + size // 2, size // 4)
    touch(made["guarded"], size)
    guards = LIBC.madvise(made["guarded"], 10 * PAGE, MADV_GUARD_INSTALL) == 0
    made["huge"] = mapped(size, advice=MADV_HUGEPAGE)
    touch(made["huge"], size)
    made["split"] = mapped(size, advice=MADV_HUGEPAGE)
    touch(made["split"], size)
    LIBC.munmap(made["split"], PAGE)
    made["split"] += PAGE
    made["huge-looked-at"] = mapped(size, advice=MADV_HUGEPAGE)
    look(made["huge-looked-at"], size, HUGE)
    made["shared"] = mapped(size, flags=SHARED | ANONYMOUS)
    touch(made["shared"], size // 2)
    fd = os.memfd_create("frames")
    os.ftruncate(fd, size)
    made["memfd"] = mapped(size, flags=SHARED, fd=fd)
    touch(made["memfd"], size)
    made["memfd-private"] = mapped(size, flags=PRIVATE, fd=fd)
    look(made["memfd-private"], size)
    touch(made["memfd-private"], 100 * PAGE)
    with open(sys.executable, "rb") as file:
        made["file"] = mapped(size, prot=1, flags=PRIVATE, fd=file.fileno())
    look(made["file"], size, 7 * PAGE)
    made["none"] = mapped(size, prot=0)
    say({"pid": os.getpid(), "made": made, "guards": guards})
    obey(made["touched"])


def merged():
    """64 pages of one content, to be merged by KSM."""
    start = mapped(64 * PAGE)
    for number in range(64):
        ctypes.memset(start + number * PAGE, 0x6B, PAGE)
    LIBC.madvise(start, 64 * PAGE, MADV_MERGEABLE)
    one(start, 64 * PAGE)


def hugetlb():
    """Two pages of 2 MiB, one of them touched."""
    start = mapped(2 * HUGE, flags=PRIVATE | ANONYMOUS | HUGETLB, advice=None)
    touch(start, HUGE, HUGE)
    one(start, 2 * HUGE)


def reservations():
    """50 GiB that may not be touched, and 50 GiB of which the page in the middle is."""
    size = 50 << 30
    none = mapped(size, prot=0, flags=PRIVATE | ANONYMOUS | NORESERVE)
    start = mapped(size, flags=PRIVATE | ANONYMOUS | NORESERVE)
    touch(start + size // 2, PAGE)
    say({"pid": os.getpid(), "none": none, "start": start, "size": size})
    obey(start)


def touched(size=1 << 20):
    start = mapped(size)
    touch(start, size)
    one(start, size)


{
    "fork": lambda: forks(PRIVATE | ANONYMOUS, MADV_NOHUGEPAGE),
    "fork-huge": lambda: forks(PRIVATE | ANONYMOUS, MADV_HUGEPAGE),
    "fork-shared": lambda: forks(SHARED | ANONYMOUS, MADV_NOHUGEPAGE),
    "untouched": lambda: one(mapped(64 << 20), 64 << 20),
    "kinds": kinds, "merged": merged, "hugetlb": hugetlb, "reservations": reservations, "touched": touched,
}[sys.argv[1]]()  # fmt: skip
