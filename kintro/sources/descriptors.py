"""The open descriptors of a process that lead to others: /proc/PID/fd and fdinfo (proc_pid_fd(5)).

Pipes, FIFOs, sockets, memory files, POSIX message queues, eventfd, signalfd, pidfd; ordinary files are left
out. Cost: 3 µs for each descriptor, 5 µs more for those that are kept, 10 µs where fdinfo is asked.

Not to be seen: the tables of threads that have one of their own (CLONE_FILES of clone(2) left out).
"""

from __future__ import annotations

import ctypes
import os
import re
import stat
from typing import NamedTuple

from kintro.sources.mqueue import MAGIC as MQUEUE_MAGIC
from kintro.sources.procfs import DELETED

_INODE = re.compile(rb"(pipe|socket):\[(\d+)\]")
# Those of Linux 6.9 and newer say [pidfd] as the older ones do: fs/pidfs.c.
_ASKED = {
    b"anon_inode:[eventfd]": "eventfd",
    b"anon_inode:[signalfd]": "signalfd",
    b"anon_inode:[pidfd]": "pidfd",
}
_LINE = re.compile(rb"^([\w-]+):[ \t]*(\S*)", re.MULTILINE)
_READS, _WRITES = stat.S_IRUSR, stat.S_IWUSR  # of the link: what it was opened for, fs/proc/fd.c
_libc = ctypes.CDLL(None, use_errno=True)


class Descriptor(NamedTuple):
    fd: int
    kind: str  # `pipe`, `fifo`, `socket`, `eventfd`, `signalfd`, `pidfd`, `memfd`, `shm`, `mqueue`
    access: str  # `read`, `write`, `read-write`
    dev: int  # st_dev; 0 for a pipe, a socket and what is asked of fdinfo
    inode: int
    name: bytes  # of a file, as the process's mount namespace has it; empty for none
    size_bytes: int | None  # of memory
    info: dict[str, str]  # what fdinfo tells, of eventfd, signalfd and pidfd


def parse_fdinfo(data: bytes) -> dict[str, str]:
    """The lines of /proc/PID/fdinfo/FD as name and first word; of a name that comes twice the last counts."""
    return {key.decode(): word.decode() for key, word in _LINE.findall(data)}


def read_descriptors(at: int) -> list[Descriptor]:
    """By an open /proc/PID. FileNotFoundError if the process has ended, PermissionError if it is not ours.

    A descriptor that is closed meanwhile is left out.
    """
    folder = os.open("fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=at)
    try:
        found = (_descriptor(name, folder, at) for name in os.listdir(folder))
        return [descriptor for descriptor in found if descriptor is not None]
    finally:
        os.close(folder)


def _descriptor(name: str, folder: int, at: int) -> Descriptor | None:
    try:
        target = os.readlink(os.fsencode(name), dir_fd=folder)
        match = _INODE.fullmatch(target)
        if match is not None:
            access = _access(name, folder)
            return Descriptor(int(name), match[1].decode(), access, 0, int(match[2]), b"", None, {})
        if target in _ASKED:
            info = parse_fdinfo(_read(f"fdinfo/{name}", at))
            return Descriptor(int(name), _ASKED[target], _access(name, folder), 0, 0, b"", None, info)
        if not target.startswith(b"/"):
            return None
        status = os.stat(name, dir_fd=folder)
        kind = _kind(target, status.st_mode, name, folder)
        if kind is None:
            return None
        path = target.removesuffix(DELETED) if status.st_nlink == 0 else target
        size = status.st_size if kind in ("memfd", "shm") else None
        access = _access(name, folder)
        return Descriptor(int(name), kind, access, status.st_dev, status.st_ino, path, size, {})
    except OSError:  # closed meanwhile, or on a file system that is out of order
        return None


def _kind(target: bytes, mode: int, name: str, folder: int) -> str | None:
    if stat.S_ISFIFO(mode):
        return "fifo"
    if not stat.S_ISREG(mode):
        return None
    if target.startswith(b"/memfd:"):
        return "memfd"
    if target.startswith(b"/dev/shm/"):
        return "shm"
    # A queue's path is its name, whatever is mounted where.
    in_root = b"/" not in target[1:] or target.startswith(b"/dev/mqueue/")
    return "mqueue" if in_root and _file_system(name, folder) == MQUEUE_MAGIC else None


def _access(name: str, folder: int) -> str:
    mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    if mode & _READS and mode & _WRITES:
        return "read-write"
    return "write" if mode & _WRITES else "read"


def _file_system(name: str, folder: int) -> int:
    """f_type of statfs(2), its first word on all 64-bit machines."""
    buffer = (ctypes.c_long * 32)()
    path = b"/proc/self/fd/%d/%s" % (folder, os.fsencode(name))
    return buffer[0] if _libc.statfs(path, buffer) == 0 else 0


def _read(name: str, at: int) -> bytes:
    with open(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=at), "rb", buffering=0) as file:
        return file.read()
