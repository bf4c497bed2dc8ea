"""What a process got when it began, and what it may use: /proc/PID/auxv and /proc/PID/limits."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import NamedTuple

from kintro.sources.host import ROOT
from kintro.sources.procfs import read_file, read_mm_file

UNLIMITED = (1 << 64) - 1  # RLIM_INFINITY of getrlimit(2)


class Limit(NamedTuple):
    """A resource limit; UNLIMITED for none."""

    soft: int  # what holds
    hard: int  # how far the process may raise it


class Limits(NamedTuple):
    """getrlimit(2) of another process: proc_pid_limits(5). None: this kernel does not tell."""

    cpu_s: Limit | None  # RLIMIT_CPU
    file_size_bytes: Limit | None  # RLIMIT_FSIZE
    data_bytes: Limit | None  # RLIMIT_DATA
    stack_bytes: Limit | None  # RLIMIT_STACK
    core_bytes: Limit | None  # RLIMIT_CORE
    resident_bytes: Limit | None  # RLIMIT_RSS, without effect
    processes: Limit | None  # RLIMIT_NPROC, threads of the user
    open_files: Limit | None  # RLIMIT_NOFILE
    locked_bytes: Limit | None  # RLIMIT_MEMLOCK
    address_space_bytes: Limit | None  # RLIMIT_AS
    file_locks: Limit | None  # RLIMIT_LOCKS, without effect
    pending_signals: Limit | None  # RLIMIT_SIGPENDING, of the user
    message_queue_bytes: Limit | None  # RLIMIT_MSGQUEUE, of the user
    nice_ceiling: Limit | None  # RLIMIT_NICE: 20 - nice
    realtime_priority: Limit | None  # RLIMIT_RTPRIO
    realtime_us: Limit | None  # RLIMIT_RTTIME


# In the order of Limits; fs/proc/base.c, lnames.
_LIMIT_NAMES = (
    b"cpu time", b"file size", b"data size", b"stack size", b"core file size", b"resident set", b"processes",
    b"open files", b"locked memory", b"address space", b"file locks", b"pending signals", b"msgqueue size",
    b"nice priority", b"realtime priority", b"realtime timeout",
)  # fmt: skip

_LIMIT = re.compile(rb"^Max (.*?) +(unlimited|\d+) +(unlimited|\d+) *(?:[a-z]+ *)?$", re.MULTILINE)


class Auxv(NamedTuple):
    """The auxiliary vector that the kernel gave the program (getauxval(3)). None: not in it.

    Addresses as they were when the program began; page_bytes and clock_ticks are what sysconf(3) tells.
    """

    word_bytes: int  # 4 for a program of 32 bits, else 8
    sysinfo: int | None  # AT_SYSINFO, address of the system call entry (i386)
    sysinfo_ehdr: int | None  # AT_SYSINFO_EHDR, address of the vDSO
    minsigstksz: int | None  # AT_MINSIGSTKSZ, bytes of stack that a signal takes at least
    hwcap: int | None  # AT_HWCAP, bit mask of the CPU's abilities
    hwcap2: int | None
    page_bytes: int | None  # AT_PAGESZ
    clock_ticks: int | None  # AT_CLKTCK, per second
    phdr: int | None  # AT_PHDR, address of the program headers
    phent_bytes: int | None  # AT_PHENT, size of one
    phnum: int | None  # AT_PHNUM
    base: int | None  # AT_BASE, address of the program interpreter, 0: a static program
    flags: int | None
    entry: int | None  # AT_ENTRY, address where the program itself begins
    uid: int | None
    euid: int | None
    gid: int | None
    egid: int | None
    secure: bool | None  # AT_SECURE: set-user-ID and the like
    random: int | None  # AT_RANDOM, address of 16 random bytes
    execfn: int | None  # AT_EXECFN, address of the path given to execve(2)
    platform: int | None  # AT_PLATFORM, address of a string such as `x86_64`


# Types in the order of Auxv behind word_bytes; include/uapi/linux/auxvec.h, asm/auxvec.h.
_AUXV_TYPES = (32, 33, 51, 16, 26, 6, 17, 3, 4, 5, 7, 8, 9, 11, 12, 13, 14, 23, 25, 31, 15)
_AT_NULL, _AT_SECURE = 0, 23


def parse_limits(data: bytes) -> Limits:
    """/proc/PID/limits. Lines may come in any order and number."""

    def amount(word: bytes) -> int:
        return UNLIMITED if word == b"unlimited" else int(word)

    found = {name: Limit(amount(soft), amount(hard)) for name, soft, hard in _LIMIT.findall(data)}
    return Limits._make(map(found.get, _LIMIT_NAMES))


def parse_auxv(data: bytes) -> Auxv:
    """/proc/PID/auxv, pairs of type and value as words of the program: 4 bytes for a program of 32 bits.

    They are told apart by the types, which are small numbers: two words of 4 bytes read as one of 8 are not,
    unless the second is 0. Of what comes twice, the first holds.
    """
    pairs = _pairs(data, "Q")
    word_bytes = 8
    if any(kind >> 32 for kind, _ in pairs):
        pairs, word_bytes = _pairs(data, "I"), 4
    found: dict[int, int] = {}
    for kind, value in pairs:
        found.setdefault(kind, value)
    values = [found.get(kind) for kind in _AUXV_TYPES]
    secure = found.get(_AT_SECURE)
    auxv = Auxv._make((word_bytes, *values))
    return auxv._replace(secure=None if secure is None else bool(secure))


def read_limits(pid: int, root: Path = ROOT) -> Limits:
    """Raises KintroError as the readers of procfs.py do."""
    return parse_limits(read_file(pid, "limits", root))


def read_auxv(pid: int, root: Path = ROOT) -> Auxv | None:
    """None for a process without an address space: a kernel thread, a zombie. Raises as read_limits does."""
    data = read_mm_file(pid, "auxv", root, in_pieces=False)
    return parse_auxv(data) if data else None


def _pairs(data: bytes, word: str) -> list[tuple[int, int]]:
    """Type and value up to the first AT_NULL."""
    pair = struct.Struct(f"={word}{word}")
    found = []
    for kind, value in pair.iter_unpack(data[: len(data) // pair.size * pair.size]):
        if kind == _AT_NULL:
            break
        found.append((kind, value))
    return found
