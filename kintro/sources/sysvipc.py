"""System V message queues, semaphores and shared memory: /proc/sysvipc (proc_sysvipc(5)) and semctl(2).

All are of the ipc namespace of the thread that reads. The kernel lists every one of them to everybody; what
is in a set of semaphores only whoever may read the set is told. A pid in here is 0 if it is none of the
reader's pid namespace, and stays when its process has ended.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import NamedTuple

from kintro.sources.host import ROOT

_GETPID, _GETVAL, _GETNCNT, _GETZCNT = 11, 12, 14, 15  # include/uapi/linux/sem.h
_SEMAPHORES_MAX = 256  # of one set that are read; a set may have 32 000
_libc = ctypes.CDLL(None, use_errno=True)


class Queue(NamedTuple):
    key: int  # that msgget(2) was given; 0: IPC_PRIVATE
    id: int
    perms: int
    bytes: int  # in all messages
    messages: int
    last_sender: int  # pid, 0: nobody yet
    last_receiver: int
    sent_s: int  # since the epoch, 0: never
    received_s: int


class SemaphoreSet(NamedTuple):
    key: int
    id: int
    perms: int
    size: int  # semaphores
    changed_s: int  # since the epoch: operated upon or set


class Segment(NamedTuple):
    key: int
    id: int
    perms: int
    size_bytes: int
    creator: int  # pid
    last: int  # pid that attached or detached it last
    attached: int  # mappings of it
    resident_bytes: int | None  # Linux 2.6.34
    created_s: int
    changed_s: int  # attached or detached


class Semaphore(NamedTuple):
    """One of a set, as semctl(2) tells."""

    value: int
    last: int  # pid of the last semop(2), 0: none
    waiting_more: int  # threads that wait for it to increase
    waiting_zero: int


def parse_msg(text: str) -> list[Queue]:
    return [
        Queue(
            _key(row["key"]),
            int(row["msqid"]),
            int(row["perms"], 8),
            int(row["cbytes"]),
            int(row["qnum"]),
            int(row["lspid"]),
            int(row["lrpid"]),
            int(row["stime"]),
            int(row["rtime"]),
        )
        for row in _rows(text)
    ]


def parse_sem(text: str) -> list[SemaphoreSet]:
    return [
        SemaphoreSet(
            _key(row["key"]),
            int(row["semid"]),
            int(row["perms"], 8),
            int(row["nsems"]),
            max(int(row["otime"]), int(row["ctime"])),
        )
        for row in _rows(text)
    ]


def parse_shm(text: str) -> list[Segment]:
    return [
        Segment(
            _key(row["key"]),
            int(row["shmid"]),
            int(row["perms"], 8),
            int(row["size"]),
            int(row["cpid"]),
            int(row["lpid"]),
            int(row["nattch"]),
            int(row["rss"]) if "rss" in row else None,
            int(row["ctime"]),
            max(int(row["atime"]), int(row["dtime"])),
        )
        for row in _rows(text)
    ]


def read_msg(root: Path = ROOT) -> list[Queue]:
    """Empty on a kernel without System V IPC, as of the other two."""
    return parse_msg(_text("msg", root))


def read_sem(root: Path = ROOT) -> list[SemaphoreSet]:
    return parse_sem(_text("sem", root))


def read_shm(root: Path = ROOT) -> list[Segment]:
    return parse_shm(_text("shm", root))


def read_semaphores(of: SemaphoreSet) -> list[Semaphore] | None:
    """The first 256 semaphores of a set of this ipc namespace; None if it is gone or not ours to read."""
    found = []
    for number in range(min(of.size, _SEMAPHORES_MAX)):
        told = [_libc.semctl(of.id, number, what) for what in (_GETVAL, _GETPID, _GETNCNT, _GETZCNT)]
        if min(told) < 0:
            return None
        found.append(Semaphore(*told))
    return found


def _text(name: str, root: Path) -> str:
    try:
        return (root / "proc/sysvipc" / name).read_text()
    except FileNotFoundError:
        return ""


def _rows(text: str) -> list[dict[str, str]]:
    """Lines by the words of the heading. ValueError for what has none of System V's."""
    lines = [line.split() for line in text.splitlines()]
    if lines and lines[0][:1] != ["key"]:
        raise ValueError("not the text of a file in /proc/sysvipc")
    return [dict(zip(lines[0], words, strict=True)) for words in lines[1:]]


def _key(word: str) -> int:
    """Printed as a signed number; ipcs(1) and the program say 0x…."""
    return int(word) & 0xFFFFFFFF
