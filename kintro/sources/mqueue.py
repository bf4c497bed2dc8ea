"""POSIX message queues (mq_overview(7)): those of this thread's ipc namespace, and what is in one.

The list is that of /dev/mqueue; root needs none mounted. Without root, and without /dev/mqueue, only queues
that a process holds open are to be found, by their descriptors (descriptors.py).
"""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path
from typing import NamedTuple

from kintro.sources.detached_mount import mounted_apart
from kintro.sources.host import ROOT, mounts

MAGIC = 0x19800202  # MQUEUE_MAGIC of ipc/mqueue.c, statfs(2)'s f_type
_STATUS = re.compile(rb"(\w+):(-?\d+)")
_libc = ctypes.CDLL(None, use_errno=True)


class Attributes(ctypes.Structure):  # struct mq_attr of include/uapi/linux/mqueue.h
    _fields_ = [
        ("flags", ctypes.c_long),
        ("maxmsg", ctypes.c_long),
        ("msgsize", ctypes.c_long),
        ("curmsgs", ctypes.c_long),
        ("reserved", ctypes.c_long * 4),
    ]


class Contents(NamedTuple):
    bytes: int  # in all messages
    messages: int | None
    messages_max: int | None
    message_bytes_max: int | None
    notified: int  # pid that mq_notify(3) is to tell, 0: none


class MessageQueue(NamedTuple):
    name: bytes  # begins with a slash, as mq_open(3) wants it
    dev: int
    inode: int
    contents: Contents | None  # None: not ours to read


def parse_status(data: bytes) -> tuple[int, int]:
    """Bytes in a queue and the pid to be notified, of what reading a queue's file gives."""
    found = dict(_STATUS.findall(data))
    if b"QSIZE" not in found:
        raise ValueError("not the text of a file in /dev/mqueue")
    return int(found[b"QSIZE"]), int(found.get(b"NOTIFY_PID", 0))


def read_contents(path: str | bytes, dir_fd: int | None = None) -> Contents | None:
    """What is in a queue, by a path to it: in /dev/mqueue or as /proc/PID/fd/FD. None if it may not be
    read."""
    try:
        at = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
    except OSError:
        return None
    try:
        queued_bytes, notified = parse_status(os.read(at, 256))
        told = Attributes()
        # A descriptor of such a file is one that the mq_ functions take.
        if not hasattr(_libc, "mq_getattr") or _libc.mq_getattr(at, ctypes.byref(told)):
            return Contents(queued_bytes, None, None, None, notified)
        return Contents(queued_bytes, told.curmsgs, told.maxmsg, told.msgsize, notified)
    except (OSError, ValueError):
        return None
    finally:
        os.close(at)


def read_queues(root: Path = ROOT) -> list[MessageQueue] | None:
    """All queues of this ipc namespace; None if the kernel lets us list them nowhere."""
    mounted = mounted_apart(b"mqueue")
    if mounted is None:
        known = [mount.point for mount in mounts(root) or () if mount.kind == "mqueue"]
        if not known:
            return None
        mounted = os.open(known[-1], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    found = []
    try:
        folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mounted)
        try:
            for name in map(os.fsencode, os.listdir(folder)):
                try:
                    status = os.stat(name, dir_fd=folder)
                except FileNotFoundError:
                    continue
                contents = read_contents(name, folder)
                found.append(MessageQueue(b"/" + name, status.st_dev, status.st_ino, contents))
        finally:
            os.close(folder)
    except OSError:
        return None
    finally:
        os.close(mounted)
    return found
