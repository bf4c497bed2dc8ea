"""Takes out of probes/syscalls.c what it has added up."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kintro.observers import thread_records
from kintro.observers.buckets import BUCKETS
from kintro.observers.syscalls import Key, Reading, Result
from kintro.observers.syscalls_records import SLOTS, Process, ProcessKey
from kintro.sources.bpf_syscall import wait_for_programs
from kintro.sources.probe_source import c_struct
from kintro.sources.procfs import read_comm

if TYPE_CHECKING:
    import numpy as np

    from kintro.sources.probe import Probe

COARSE_NS = 1 << 16  # unit of `utime` and `stime` in probes/syscalls.h


def defines(by_process: bool = False) -> dict[str, int]:
    """Parameters of the probe on this machine."""
    return thread_records.defines() | ({"BY_PROCESS": 1} if by_process else {})


def begin(probe: Probe, command_pid: int | None) -> int:
    """To be called before the probe is attached; returns the time, CLOCK_MONOTONIC."""
    if command_pid is not None:
        thread_records.hold(probe, command_pid)
    now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    probe.switch("begun")[0] = now_ns
    return now_ns


def read(probe: Probe, by_process: bool, end_ns: int | None = None) -> Reading:
    """What the probe has now. `end_ns`: it is detached, and has been since."""
    import numpy as np

    if end_ns is not None:
        wait_for_programs()
    reading = Reading(end_ns or time.clock_gettime_ns(time.CLOCK_MONOTONIC), counters=probe.counters())
    names = c_struct(probe.text, "result").names
    shape = np.dtype([*((name, np.uint64) for name in names), ("buckets", np.uint64, (BUCKETS,))])
    keys_dtype = c_struct(probe.text, "result_key").dtype
    places: list[Key]
    place: Key
    if by_process:
        keys, values = probe.read_all("results")
        table = np.frombuffer(values, shape)
        places = [(process_key(key), int(key["slot"])) for key in np.frombuffer(keys, keys_dtype)]
    else:
        table = np.frombuffer(probe.array("results"), shape)
        used = np.flatnonzero(table["max_ns"])
        table, places = table[used], [(None, int(place) % SLOTS) for place in used]
    merged: dict[Key, list[int]] = {}
    for number, place in enumerate(places):
        merged.setdefault(place, []).append(number)
    reading.results = {place: summed(table[rows]) for place, rows in merged.items()}
    keys, values = probe.read_all("outcomes")
    for key, count in zip(np.frombuffer(keys, keys_dtype), np.frombuffer(values, np.uint64).tolist()):
        place = process_key(key) if by_process else None, int(key["slot"])
        reading.outcomes.setdefault(place, Counter())[int(key["place"])] += count
    _read_processes(probe, reading, by_process, np)
    return reading


def process_key(row: Any) -> ProcessKey:
    return ProcessKey(int(row["start_ns"]), int(row["tgid"]))


def summed(rows: np.ndarray) -> Result:
    """The results of several CPUs in one."""
    least = rows["min_ns"][rows["min_ns"] > 0]
    return Result(
        int(rows["total_ns"].sum()),
        int(least.min()) if len(least) else 0,
        int(rows["max_ns"].max()),
        rows["buckets"].sum(axis=0).tolist(),
    )


def _read_processes(probe: Probe, reading: Reading, by_process: bool, np: Any) -> None:
    keys, values = probe.read_all("ended")
    sums = np.frombuffer(values, c_struct(probe.text, "process_sums").dtype)
    for key, row in zip(np.frombuffer(keys, c_struct(probe.text, "process_key").dtype), sums):
        process = process_key(key)
        figures = (int(row[name]) for name in ("calls", "user_ns", "kernel_ns", "runtime_ns"))
        times = (int(row[name]) * COARSE_NS for name in ("utime", "stime"))
        reading.processes[process] = Process(process, thread_records.comm_of(row), *figures, *times)
    records, tids = thread_records.read_threads(probe)
    for tid, record in zip(tids.tolist(), records):
        if record["tgid"] and not record["flags"] & thread_records.HELD:
            _add_thread(reading, tid, record, by_process)


def _add_thread(reading: Reading, tid: int, record: Any, by_process: bool) -> None:
    """A thread that lives, with what is under way in it."""
    key = ProcessKey(int(record["process_start_ns"]), int(record["tgid"]))
    user_ns, kernel_ns = int(record["user_ns"]), int(record["kernel_ns"])
    since_ns = max(0, reading.ts_ns - int(record["stamp_ns"])) if record["stamp_ns"] else 0
    if record["slot"]:
        kernel_ns += since_ns
        reading.under_way[key if by_process else None, int(record["slot"]) - 1] += 1
    else:
        user_ns += since_ns
    known = reading.processes.get(key, Process(key, None, 0, 0, 0, 0, 0, 0))
    times = cpu_times_ns(key.pid, tid)
    begun = int(record["runtime_ns"]), *(int(record[name]) * COARSE_NS for name in ("utime", "stime"))
    used = [
        None if now is None or before is None else before + max(0, now - first)
        for first, before, now in zip(begun, known[5:], times)
    ]
    reading.processes[key] = Process(
        key,
        read_comm(key.pid) or known.comm,
        known.calls + int(record["calls"]),
        known.user_ns + user_ns,
        known.kernel_ns + kernel_ns,
        *used,
    )


def cpu_times_ns(pid: int, tid: int, root: Path = Path("/proc")) -> tuple[int | None, ...]:
    """Run, user and system time of a thread; None if it is gone.

    /proc/PID/task/TID/schedstat in ns, and stat in ticks of 10 ms (proc_pid_stat(5)).
    """
    folder = root / str(pid) / "task" / str(tid)
    try:
        runtime_ns = int((folder / "schedstat").read_bytes().split()[0])
        fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
    except (OSError, IndexError):
        return None, None, None
    tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return runtime_ns, int(fields[14 - 3]) * tick_ns, int(fields[15 - 3]) * tick_ns
