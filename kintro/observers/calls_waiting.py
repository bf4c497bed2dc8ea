"""Calls in which threads have been since before a trace began, and still are: /proc tells of them.

/proc/PID/task/TID/syscall (proc_pid_syscall(5)) has the number and the arguments of a call that waits. What
the arguments refer to is not read; of descriptors /proc/PID/fd tells what they are. A call that nobody waits
in any more when it is looked at is left out.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from kintro.errors import KintroError
from kintro.observers.calls import PIPEFS, SOCKFS, Names
from kintro.observers.calls_records import EARLY, UNFINISHED, Call, File, Thread
from kintro.observers.syscall_signatures import FD
from kintro.sources.descendants import descendants
from kintro.sources.host import ROOT
from kintro.sources.procfs import read_call, read_comm, thread_ids


def waiting(
    pid: int, follow: bool, known: Collection[int], names: Names, chosen: Collection[str] | None, end_ns: int
) -> Iterator[Thread | File | Call]:
    """The calls of a process and its descendants, as records; not of threads in `known`."""
    for process in [pid, *(descendants(pid) if follow else ())]:
        for tid in _threads(process):
            call = waits_in(process, tid, end_ns) if tid not in known else None
            if call is None or (chosen is not None and names.of(call) not in chosen):
                continue
            yield Thread(end_ns, 0, tid, process, 0, read_comm(process, tid) or b"?")
            places = (a for a in zip(names.signature(call).arguments, call.arguments) if a[0].capture == FD)
            told = [file_of(process, fd, tid * 2 + place, end_ns) for place, (_, fd) in enumerate(places)]
            yield from (file for file in told if file is not None)
            files = [file.file if file is not None else 0 for file in told[:2]]
            yield call._replace(**dict(zip(("file0", "file1"), files)))


def waits_in(pid: int, tid: int, end_ns: int, root: Path = ROOT) -> Call | None:
    """The call in which a thread waits; None if it does not, or nobody tells."""
    told = read_call(pid, tid, root)
    if told is None:
        return None
    number, *arguments = told
    return Call._make([end_ns, 0, 0, *arguments, 0, 0, tid, pid, 0, number, EARLY | UNFINISHED])


def file_of(pid: int, fd: int, number: int, ts_ns: int, root: Path = ROOT) -> File | None:
    """What a descriptor refers to. `number` stands for it; those of the probe are larger."""
    try:
        path = os.readlink(os.fsencode(root / "proc" / str(pid) / "fd" / str(fd)))
    except OSError:
        return None
    of_kernel = re.fullmatch(rb"(pipe|socket):\[(\d+)\]", path)
    if of_kernel:
        magic = PIPEFS if of_kernel[1] == b"pipe" else SOCKFS
        return File(ts_ns, number, int(of_kernel[2]), magic, stat.S_IFIFO, 0, 0, b"")
    names = path.split(b"/")[:0:-1] if path.startswith(b"/") else [path]
    return File(ts_ns, number, 0, 0, stat.S_IFREG, 0, 0, b"".join(name + b"\0" for name in names))


def _threads(pid: int) -> list[int]:
    """None of a process that is gone."""
    try:
        return thread_ids(pid)
    except KintroError:
        return []
