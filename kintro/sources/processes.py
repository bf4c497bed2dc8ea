"""All processes of one moment, from /proc, such that they make up one tree.

How: processes are listed, then read one by one, then all are looked at once more. An inode of a folder of
/proc stands for one process and goes with it (fs/proc/base.c), so those whose number is still the same were
there all the time: at `taken_ns`, between the two passes, each of them lived, and the files read of it were
its own. A process changes its parent only when that ends: a child of one that lived on has no other parent.
A child of one that did not is read again, and then has the parent that the kernel gave it.

Cost: 50 to 80 µs for each process. stat, status and cmdline are read: with those three nothing is refused to
any user, except where /proc is mounted with hidepid.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from kintro.errors import EX_IOERR, KintroError
from kintro.sources import procfs
from kintro.sources.host import ROOT

ARGV_MAX = 32768  # bytes of a command line that are kept, as probes/lifecycle.c does
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class Thread(NamedTuple):
    """A thread that is not the first of its process."""

    tid: int
    comm: bytes
    state: str  # one letter, see procfs.Stat
    start_time_ns: int


class Process(NamedTuple):
    """Ids are those of the reader's pid namespace."""

    pid: int
    ppid: int  # 0: none, or one outside the reader's pid namespace
    pgid: int
    sid: int
    start_time_ns: int  # CLOCK_BOOTTIME, rounded down to a tick (10 ms), as /proc/PID/stat tells it
    state: str  # one letter, see procfs.Stat
    comm: bytes
    argv: tuple[bytes, ...]  # empty for a kernel thread and a zombie, and where a program has emptied it
    argv_truncated: bool  # there was more than ARGV_MAX
    uid: int
    euid: int
    threads: int
    is_kernel_thread: bool
    ns_pids: tuple[int, ...]  # its pid in each pid namespace, from the reader's inwards
    thread_list: tuple[Thread, ...] = ()  # where they were asked for

    @property
    def is_zombie(self) -> bool:
        return self.state in "ZX" and not self.first_thread_ended

    @property
    def first_thread_ended(self) -> bool:
        """Whether others of its threads go on without it: its state is that of the first one."""
        return self.state in "ZX" and self.threads > 1


class Snapshot(NamedTuple):
    """The processes that lived at one moment. All but `hidden_parents` have theirs among them, or none."""

    taken_ns: int  # CLOCK_MONOTONIC
    processes: dict[int, Process]  # by pid, ascending
    vanished: int  # listed, and ended before they were read
    unreadable: int  # listed, and not to be read by this user (hidepid=1)
    hidden_parents: frozenset[int]  # pids of those whose parent may not be seen (hidepid=2)


def read_snapshot(root: Path = ROOT, threads: bool = False) -> Snapshot:
    """`threads`: with the list of them, for processes that have more than one."""
    return _Reading(root, threads).snapshot()


def read_process(pid: int, root: Path = ROOT, threads: bool = False) -> Process | None:
    """None if there is no such process. PermissionError if /proc does not let it be read."""
    folder = f"{_proc(root)}/{pid}"
    try:
        stat = procfs.parse_stat(_content(f"{folder}/stat"))
        status = _content(f"{folder}/status")
        listed = _threads(folder, pid) if threads and stat.num_threads > 1 else ()
        line = b"" if stat.is_kernel_thread else _content(f"{folder}/cmdline", ARGV_MAX + 1)
    except (FileNotFoundError, ProcessLookupError):
        return None
    except PermissionError:
        raise
    except OSError as error:
        raise KintroError(f"cannot read {folder}: {error.strerror}", None, EX_IOERR) from error
    tgid, uid, euid, ns_pids = _ids(status)
    if tgid != pid:  # a thread's folder is there, though it is not listed
        return None
    return Process(
        pid=stat.pid,
        ppid=stat.ppid,
        pgid=stat.pgrp,
        sid=stat.session,
        start_time_ns=stat.starttime_ticks * TICK_NS,
        state=stat.state,
        comm=stat.comm,
        argv=tuple(line[:ARGV_MAX].removesuffix(b"\0").split(b"\0")) if line else (),
        argv_truncated=len(line) > ARGV_MAX,
        uid=uid,
        euid=euid,
        threads=stat.num_threads,
        is_kernel_thread=stat.is_kernel_thread,
        ns_pids=ns_pids or (stat.pid,),  # a kernel without pid namespaces does not tell
        thread_list=listed,
    )


def inode(pid: int, root: Path = ROOT) -> int | None:
    """A number that stands for the process which has this pid; None if there is none."""
    try:
        return os.stat(f"{_proc(root)}/{pid}").st_ino
    except OSError:
        return None


@cache
def _proc(root: Path) -> str:
    """As text: to join paths takes longer than the kernel takes to open a file."""
    return str(root / "proc")


class _Reading:
    """A snapshot in the making."""

    def __init__(self, root: Path, threads: bool) -> None:
        self._root = root
        self._with_threads = threads
        self._found: dict[int, Process] = {}
        self._inodes: dict[int, int | None] = {}
        self._hidden: set[int] = set()
        self._vanished = self._unreadable = 0

    def snapshot(self) -> Snapshot:
        for pid, number in _listed(self._root):
            self._inodes[pid] = number
            self._read(pid)
        taken_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        for pid in list(self._found):
            if inode(pid, self._root) != self._inodes[pid]:
                self._look_again(pid)
        while orphans := [
            process
            for process in self._found.values()
            if process.ppid and process.ppid not in self._found and process.pid not in self._hidden
        ]:
            for orphan in orphans:
                self._place(orphan)
        return Snapshot(
            taken_ns,
            dict(sorted(self._found.items())),
            self._vanished,
            self._unreadable,
            frozenset(self._hidden & self._found.keys()),
        )

    def _read(self, pid: int) -> None:
        try:
            process = read_process(pid, self._root, self._with_threads)
        except PermissionError:
            self._unreadable += 1
            return
        if process is None:
            self._vanished += 1
        else:
            self._found[pid] = process

    def _look_again(self, pid: int) -> None:
        """At one that has another inode: it has ended, or the kernel ran short of memory and forgot it."""
        number = inode(pid, self._root)
        process = read_process(pid, self._root, self._with_threads)
        if process is None or process.start_time_ns != self._found[pid].start_time_ns:
            self._drop(pid)
        else:
            self._found[pid], self._inodes[pid] = process, number

    def _drop(self, pid: int) -> None:
        del self._found[pid]
        self._vanished += 1

    def _place(self, orphan: Process) -> None:
        """Reads again a process whose parent is not among those found.

        That has ended, so there is another now; or has a lower pid than was listed last when it began (pids
        had wrapped around); or is not to be seen. In the order of the reads here, one that ended after it was
        looked for cannot be taken for the last.
        """
        parent, pid = orphan.ppid, orphan.pid
        number = inode(parent, self._root)
        try:
            above = read_process(parent, self._root, self._with_threads)
        except PermissionError:
            above = None
        again = read_process(pid, self._root, self._with_threads)
        if again is None or inode(pid, self._root) != self._inodes[pid]:
            self._drop(pid)
        elif again.ppid != parent:
            self._found[pid] = again
        elif above is None:
            self._hidden.add(pid)
        elif above.pid == parent and number == inode(parent, self._root):
            self._inodes[parent] = number
            self._found[parent] = above


def _listed(root: Path) -> Iterator[tuple[int, int]]:
    """(pid, inode) of every process that /proc shows."""
    with os.scandir(root / "proc") as entries:
        for entry in list(entries):
            if entry.name.isdigit():
                yield int(entry.name), entry.inode()


def _content(path: str, most: int = 1 << 24) -> bytes:
    """What a file of /proc holds, up to a limit. pathlib takes twice as long, and 30 000 files add up."""
    size = 4096
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(fd, size)
        if len(data) < size:
            return data
        while len(data) < most and (more := os.read(fd, min(1 << 16, most - len(data)))):
            data += more
        return data
    finally:
        os.close(fd)


def _ids(status: bytes) -> tuple[int, int, int, tuple[int, ...]]:
    """(tgid, uid, euid, ns_pids) of /proc/PID/status, without parsing the rest of it."""

    def numbers(key: bytes) -> list[int]:
        start = status.find(key)
        if start < 0:
            return []
        start += len(key)
        return list(map(int, status[start : status.find(b"\n", start)].split()))

    uids = numbers(b"\nUid:\t")
    return numbers(b"\nTgid:\t")[0], uids[0], uids[1], tuple(numbers(b"\nNSpid:\t"))


def _threads(folder: str, pid: int) -> tuple[Thread, ...]:
    """Those that are there when they are looked at: what begins or ends meanwhile may be there or not."""
    found = []
    for tid in sorted(map(int, os.listdir(f"{folder}/task"))):
        if tid == pid:
            continue
        try:
            stat = procfs.parse_stat(_content(f"{folder}/task/{tid}/stat"))
        except (FileNotFoundError, ProcessLookupError):
            continue
        found.append(Thread(tid, stat.comm, stat.state, stat.starttime_ticks * TICK_NS))
    return tuple(found)
