"""Records of process life for tests: all fields given, those that matter by name."""

from __future__ import annotations

from typing import Any

from kintro.observers.lifecycle_records import Exec, Exit, Fork, Orphan, Reaper, Reparent


def fork(pid: int = 11, ppid: int = 10, **other: Any) -> Fork:
    """A new process, start time 1000 × pid unless told, of a parent with the same rule."""
    start = other.get("start_time_ns", 1000 * pid)
    values = dict(
        ts_ns=start + 5, start_time_ns=start, process_start_time_ns=start, parent_start_time_ns=1000 * ppid,
        clone_flags=0, pid=pid, tid=pid, ppid=ppid, creator_pid=ppid, creator_tid=ppid, ns_pid=pid,
        task_flags=0, comm=b"sh",
    )  # fmt: skip
    return Fork(**(values | other))


def thread(tid: int, pid: int = 11, **other: Any) -> Fork:
    """A new thread; its start time is its own, that of its process 1000 × pid."""
    values = dict(
        start_time_ns=1000 * tid, process_start_time_ns=1000 * pid, clone_flags=0x003D0F00, pid=pid, tid=tid,
        creator_pid=pid, creator_tid=pid, ns_pid=tid,
    )  # fmt: skip
    return fork(**(values | other))


def exec_(pid: int = 11, *argv: bytes, **other: Any) -> Exec:
    values = dict(
        ts_ns=1000 * pid + 50, start_time_ns=1000 * pid, pid=pid, tid=pid, ppid=10, uid=1000, comm=b"ls",
        filename=b"/bin/ls", argv=list(argv), argv_truncated=False,
    )  # fmt: skip
    return Exec(**(values | other))


def exit_(pid: int = 11, wait_status: int = 0, **other: Any) -> Exit:
    start = other.get("start_time_ns", 1000 * pid)
    values = dict(
        ts_ns=start + 100, start_time_ns=start, utime_ns=4, stime_ns=6, runtime_ns=50, told_utime_ns=0,
        told_stime_ns=0, voluntary_switches=3,
        involuntary_switches=2, minor_faults=90, major_faults=1, pid=pid, tid=pid, ppid=10, process=1,
        wait_status=wait_status, exit_state=32, comm=b"ls",
    )  # fmt: skip
    return Exit(**(values | other))


def orphan(pid: int = 12, parent: int = 11, **other: Any) -> Orphan:
    values = dict(
        ts_ns=5000, start_time_ns=1000 * pid, parent_start_time_ns=1000 * parent, pid=pid, tid=pid,
        parent_pid=parent, parent_tid=parent, exit_state=0, comm=b"sleep",
    )  # fmt: skip
    return Orphan(**(values | other))


def reaper(parent: int = 11, new: int = 1, **other: Any) -> Reaper:
    values = dict(
        ts_ns=6000, parent_start_time_ns=1000 * parent, new_start_time_ns=1000 * new, parent_pid=parent,
        parent_tid=parent, outcome=1, new_ppid=new, new_tid=new, new_ns_pid=new, new_ns_level=0,
    )  # fmt: skip
    return Reaper(**(values | other))


def reparent(pid: int = 12, **other: Any) -> Reparent:
    values = dict(
        ts_ns=6000, start_time_ns=1000 * pid, pid=pid, tid=pid, comm=b"sleep", old_ppid=11, new_ppid=1,
        new_parent_start_time_ns=1000, reason="init", zombie=False,
    )  # fmt: skip
    return Reparent(**(values | other))
