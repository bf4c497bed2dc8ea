"""How the kernel gives out ids to processes and threads: from where, up to where, which it gave last.

Each pid namespace has a counter of its own that goes up to pid_max and then starts over; ids in use are
skipped (alloc_pid in kernel/pid.c). pid_max is that of the namespace since Linux 6.14, else one for all.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from kintro.sources.host import ROOT, forks_since_boot, read_int, read_text

RESERVED = 300  # RESERVED_PIDS of kernel/pid.c: once the counter has passed it, no lower id is given out

_CLONE_NEWPID = 0x20000000  # include/uapi/linux/sched.h
_NS_GET_PARENT = 0xB702  # ioctl_ns(2)
_POLL_S = 0.02


class Counter(NamedTuple):
    """Of one pid namespace. None: it may not be asked."""

    pid_max: int | None  # ids stay below
    last_pid: int | None  # given out last


class Moved(NamedTuple):
    """What was given out over a while."""

    duration_ns: int
    moved: int  # how far the counter went, over ids in use too; complete rounds between two looks are missed
    wraps: int
    tasks: int  # that the kernel created in all namespaces (proc_stat(5), processes)
    counter: Counter  # at the end


def read_counter(root: Path = ROOT) -> Counter:
    """Of this process's pid namespace (proc_loadavg(5), the last number; proc_sys_kernel(5), pid_max)."""
    words = (read_text("proc/loadavg", root) or "").split()
    return Counter(read_int("proc/sys/kernel/pid_max", root), int(words[-1]) if words else None)


def read_counter_of(pid: int) -> Counter:
    """That of the innermost pid namespace of a process. Takes CAP_SYS_ADMIN, and one id there: the last.

    These files tell of the namespace of who opens them, so a child enters it (setns(2)) and its child reads.
    """
    try:
        namespace = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return Counter(None, None)
    reader, writer = os.pipe()
    try:
        child = os.fork()
        if child == 0:
            _tell_from_inside(namespace, writer)
        os.close(writer)
        writer = -1
        said = b""
        while piece := os.read(reader, 4096):
            said += piece
        os.waitpid(child, 0)
    finally:
        for fd in (namespace, reader, writer):
            if fd >= 0:
                os.close(fd)
    words = said.split()
    return Counter(int(words[0]), int(words[1])) if len(words) == 2 else Counter(None, None)


def _tell_from_inside(namespace: int, writer: int) -> None:
    """In a child, which ends here."""
    try:
        if ctypes.CDLL(None).setns(namespace, _CLONE_NEWPID) == 0:
            inside = os.fork()
            if inside == 0:
                counter = read_counter()
                os.write(writer, f"{counter.pid_max} {counter.last_pid}".encode())
                os._exit(0)
            os.waitpid(inside, 0)
    finally:
        os._exit(0)


def parent_namespace(pid: int) -> int | None:
    """Inode of the pid namespace around a process's own; None if that may not be looked into, or is ours."""
    try:
        fd = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        above = fcntl.ioctl(fd, _NS_GET_PARENT)
    except OSError:
        return None
    finally:
        os.close(fd)
    number = os.fstat(above).st_ino
    os.close(above)
    return number


def read_tids(pid: int, root: Path = ROOT) -> list[int]:
    """The ids of a process's threads; empty if it has ended."""
    try:
        return list(map(int, os.listdir(root / f"proc/{pid}/task")))
    except OSError:
        return []


def in_use(number: int) -> bool:
    """Whether a process, a thread or a process group has this id in our pid namespace."""
    if os.path.lexists(f"/proc/{number}"):
        return True
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def measure(interval_s: float, told_to_end: Callable[[], bool] = lambda: False) -> Moved:
    """Watches the counter for so long, or until told to end."""
    begin_ns, tasks = time.monotonic_ns(), forks_since_boot()
    counter = read_counter()
    moved = wraps = 0
    end_ns = begin_ns + int(interval_s * 1e9)
    while (left_ns := end_ns - time.monotonic_ns()) > 0 and not told_to_end():
        time.sleep(min(_POLL_S, left_ns / 1e9))
        before, counter = counter, read_counter()
        step, wrapped = distance(before.last_pid or 0, counter.last_pid or 0, counter.pid_max or 0)
        moved, wraps = moved + step, wraps + wrapped
    return Moved(time.monotonic_ns() - begin_ns, moved, wraps, forks_since_boot() - tasks, counter)


def distance(before: int, after: int, pid_max: int) -> tuple[int, bool]:
    """How far the counter went from one id to another, and whether it started over in between."""
    if after >= before:
        return after - before, False
    return pid_max - before + max(0, after - RESERVED), True
