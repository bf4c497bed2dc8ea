"""A process and its ancestors, from /proc, and what to say of a pid that no process has."""

from __future__ import annotations

import os
import re
from pathlib import Path

from kintro.errors import EX_NOINPUT, KintroError
from kintro.sources import procfs
from kintro.sources.host import ROOT
from kintro.sources.processes import Process, inode, read_process

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")  # namespaces(7)

_ATTEMPTS = 5


def read_chain(pid: int, root: Path = ROOT) -> list[Process]:
    """A process, its parent, and so on up to one without; all of them lived at one moment.

    Empty if there is no such process. It ends early where /proc does not show a parent. KintroError if it may
    not be read, or if ancestors end faster than they can be read.
    """
    for _ in range(_ATTEMPTS):
        chain = _climbed(pid, root)
        if chain is not None:
            return chain
    raise KintroError(f"the ancestors of process {pid} end faster than they can be read", "try again", 1)


def missing(pid: int, root: Path = ROOT) -> KintroError:
    """What to say of a pid that no process has, or had when it was looked for."""
    try:
        require(pid, root)
    except KintroError as error:
        return error
    return KintroError(f"process {pid} began or ended while processes were read", "try again", EX_NOINPUT)


def require(pid: int, root: Path = ROOT) -> None:
    """KintroError (66) if no process has this pid: /proc also has a folder for the tid of each thread."""
    found = re.search(rb"^Tgid:\t(\d+)", procfs.read_file(pid, "status", root), re.MULTILINE)
    if found is not None and int(found[1]) != pid:
        raise KintroError(f"{pid} is a thread of process {int(found[1])}", "give its pid", EX_NOINPUT)


def read_namespaces(pid: int, root: Path = ROOT) -> dict[str, int | None]:
    """Inode numbers of a process's namespaces, by their names in /proc/PID/ns; None if not to be read.

    To read those of another user's process takes CAP_SYS_PTRACE (PTRACE_MODE_READ of ptrace(2)).
    """
    found: dict[str, int | None] = {}
    for name in NAMESPACES:
        try:
            found[name] = os.stat(root / f"proc/{pid}/ns/{name}").st_ino
        except OSError:
            found[name] = None
    return found


def _climbed(pid: int, root: Path) -> list[Process] | None:
    """None if one of them has ended meanwhile.

    A process changes its parent only when that ends: if all are there at the end, so they were one below the
    other. See processes.py about inodes.
    """
    chain: list[Process] = []
    inodes: list[int | None] = []
    wanted = pid
    while wanted:
        number = inode(wanted, root)
        try:
            process = read_process(wanted, root)
        except PermissionError as error:
            if not chain:
                raise procfs.refused(pid, "stat", error, root) from error
            break
        if process is None or process.pid != wanted:
            break
        chain.append(process)
        inodes.append(number)
        wanted = process.ppid
    if chain and wanted:
        again = read_process(chain[-1].pid, root)
        if again is None or again.ppid != wanted:
            return None
    return chain if [inode(process.pid, root) for process in chain] == inodes else None
