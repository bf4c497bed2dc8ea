"""Which processes descend from one, and whether one has ended, from /proc/PID/stat (proc_pid_stat(5))."""

from __future__ import annotations

import os

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
