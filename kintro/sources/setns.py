"""Reading inside another network or ipc namespace (setns(2)), by a thread that enters it and ends there.

Other threads stay where they are: these two kinds of namespaces belong to a thread. It takes CAP_SYS_ADMIN.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from kintro.errors import EX_NOINPUT, EX_NOPERM, KintroError
from kintro.sources.host import ROOT

Read = TypeVar("Read")

KINDS = {"net": 0x40000000, "ipc": 0x08000000}  # CLONE_NEWNET, CLONE_NEWIPC; include/uapi/linux/sched.h
_libc = ctypes.CDLL(None, use_errno=True)


def own(kind: str, root: Path = ROOT) -> int:
    """Inode number of this thread's namespace of a kind (`net`, `ipc`)."""
    return os.stat(root / f"proc/thread-self/ns/{kind}").st_ino


def inside(kind: str, inode: int, pid: int, read: Callable[[], Read], root: Path = ROOT) -> Read:
    """What `read` returns when it is called in the namespace of that inode number, which a process is in.

    KintroError if the process is not in it any more (66), or if it may not be entered (77).
    """
    if inode == own(kind, root):
        return read()
    results: list[Read] = []
    failures: list[Exception] = []

    def enter() -> None:
        try:
            _enter(kind, inode, pid, root)
            results.append(read())
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=enter, name=f"in {kind} namespace {inode}")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def _enter(kind: str, inode: int, pid: int, root: Path) -> None:
    try:
        at = os.open(root / f"proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        message = f"cannot open the {kind} namespace of process {pid}: {error.strerror}"
        code = EX_NOPERM if error.errno in (errno.EACCES, errno.EPERM) else EX_NOINPUT
        raise KintroError(message, None, code) from error
    try:
        if os.fstat(at).st_ino != inode:
            raise KintroError(f"process {pid} has left its {kind} namespace", None, EX_NOINPUT)
        if _libc.setns(at, KINDS[kind]):
            reason = os.strerror(ctypes.get_errno())
            raise KintroError(f"cannot enter {kind} namespace {inode}: {reason}", None, EX_NOPERM)
    finally:
        os.close(at)
