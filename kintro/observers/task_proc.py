"""What /proc and system calls tell of a thread and its process, with a reason for what they do not tell."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from kintro.errors import EX_NOINPUT, KintroError
from kintro.sources import procfs
from kintro.sources.proc_limits import Limits, parse_limits
from kintro.sources.proc_status import Status, parse_status
from kintro.sources.procfs import Stat, parse_stat

NAMESPACES = (
    "cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "time_for_children", "user", "uts",
)  # fmt: skip
_HEAP = re.compile(rb"^[0-9a-f]+-([0-9a-f]+) .*\[heap\]$", re.MULTILINE)
_VSYSCALL = b"[vsyscall]"

T = TypeVar("T")


class Facts(NamedTuple):
    """None: not told; `why` has the reason by the name of the file."""

    stat: Stat  # of the process
    thread: Stat
    status: Status  # of the thread
    limits: Limits | None  # None for a process whose threads have all been waited for
    nice: int | None  # getpriority(2)
    schedstat: tuple[int, ...] | None  # ns on a CPU, ns waiting for one, number of times it got one
    namespaces: dict[str, int]  # name → inode number
    open_files: int | None
    heap_end: int | None  # of the last [heap] mapping
    mappings: int | None
    cgroup: str | None  # path in the v2 hierarchy
    cgroup_inode: int | None
    oom_score_adj: int | None
    why: dict[str, str]


def read_facts(pid: int, tid: int) -> Facts:
    """KintroError (66) if there is no such process, or no such thread of it."""
    why = dict[str, str]()
    thread = f"task/{tid}"

    def told(name: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except KintroError as error:
            if error.exit_code == EX_NOINPUT:
                raise
            why[name] = error.message
        except OSError as error:
            if not procfs.exists(pid):
                raise procfs.refused(pid, name, error) from error
            why[name] = procfs.refused(pid, name, error).message
        return None

    def text(name: str) -> bytes | None:
        return told(name, lambda: procfs.read_file(pid, name))

    schedstat = text(f"{thread}/schedstat") or b""
    adjusted = text("oom_score_adj")
    maps = told("maps", lambda: procfs.read_mm_file(pid, "maps"))
    heaps = _HEAP.findall(maps or b"")
    cgroup = _v2_path(text(f"{thread}/cgroup") or b"")
    return Facts(
        parse_stat(procfs.read_file(pid, "stat")),
        parse_stat(procfs.read_file(pid, f"{thread}/stat")),
        parse_status(procfs.read_file(pid, f"{thread}/status")),
        parse_limits(procfs.read_file(pid, "limits")),
        told("getpriority", lambda: os.getpriority(os.PRIO_PROCESS, tid)),
        tuple(map(int, schedstat.split())) or None,
        _namespaces(pid, tid, why),
        told("fd", lambda: len(os.listdir(f"/proc/{pid}/fd")) - (pid == os.getpid())),  # but for this one
        int(heaps[-1], 16) if heaps else None,
        maps.count(b"\n") - maps.count(_VSYSCALL) if maps else None,
        cgroup,
        _inode_of(cgroup),
        int(adjusted) if adjusted else None,
        why,
    )


def _namespaces(pid: int, tid: int, why: dict[str, str]) -> dict[str, int]:
    found = {}
    for name in NAMESPACES:
        try:
            link = os.readlink(f"/proc/{pid}/task/{tid}/ns/{name}")
        except OSError as error:
            if isinstance(error, FileNotFoundError) and name == "pid_for_children":
                why[f"ns/{name}"] = "it has no process yet, or this task has ended"
            elif isinstance(error, FileNotFoundError):  # a zombie has most of them no more
                why[f"ns/{name}"] = "this task is in none, or the kernel has no such namespaces"
            else:
                why[f"ns/{name}"] = procfs.refused(pid, f"ns/{name}", error).message
            continue
        found[name] = int(link.partition("[")[2][:-1])
    return found


def _v2_path(text: bytes) -> str | None:
    """Of /proc/PID/cgroup (cgroups(7)): `0::/path`."""
    found = re.search(rb"^0::(/.*)$", text, re.MULTILINE)
    return os.fsdecode(found[1]) if found else None


def _inode_of(path: str | None) -> int | None:
    """Of a folder in the cgroup v2 hierarchy; None where that is not mounted, or it is gone."""
    mounts = Path("/proc/self/mounts").read_text(errors="replace")
    mounted = re.search(r"^\S+ (\S+) cgroup2 ", mounts, re.MULTILINE)
    if mounted is None or path is None:
        return None
    try:
        return os.stat(mounted[1] + path).st_ino
    except OSError:
        return None
