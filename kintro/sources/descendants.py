"""Which processes descend from one, whether one has ended, and a hold of it: from proc_pid_stat(5)."""

from __future__ import annotations

import os
import re

from kintro.errors import EX_NOINPUT, KintroError
from kintro.sources import host


def _state_and_parent(pid: int | str) -> tuple[str, int] | None:
    """A process's state letter and its ppid; None if it is gone."""
    stat = host.read_text(f"proc/{pid}/stat")
    if stat is None:
        return None
    state, ppid = stat.rpartition(")")[2].split()[:2]  # the comm before may hold spaces and brackets
    return state, int(ppid)


def descendants(pid: int) -> list[int]:
    """All processes below one, parents first; what ends meanwhile is left out."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        known = _state_and_parent(entry) if entry.isdigit() else None
        if known is not None:
            children.setdefault(known[1], []).append(int(entry))
    found = list(children.get(pid, ()))
    for descendant in found:  # grows while it is walked
        found += children.get(descendant, ())
    return found


def has_ended(pid: int) -> bool:
    """Whether it is gone, or a zombie."""
    known = _state_and_parent(pid)
    return known is None or known[0] in "ZX"


def open_target(pid: int) -> int:
    """A pidfd of the process to trace. KintroError (66) if there is none."""
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        told = re.search(r"^Tgid:\s+(\d+)$", host.read_text(f"proc/{pid}/status") or "", re.MULTILINE)
        if told is not None and int(told[1]) != pid:
            message = f"{pid} is a thread of process {told[1]}"
            raise KintroError(message, f"trace that: -p {told[1]}", EX_NOINPUT) from error
        raise KintroError(
            f"cannot trace process {pid}: {error.strerror}",
            "see `ps -e` for the processes there are",
            EX_NOINPUT,
        ) from error
