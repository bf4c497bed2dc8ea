"""Takes out of probes/switches.c what it has added up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kintro.observers.buckets import BUCKETS
from kintro.observers.switches import NOBODY, Reading
from kintro.observers.switches_records import (
    ASLEEP,
    DEAD,
    IDLE,
    SHOWN,
    UNTOLD,
    WANTED,
    Cpu,
    Name,
    Swaps,
    Task,
    dtypes,
)
from kintro.observers.thread_records import comm_of
from kintro.sources import host
from kintro.sources.bpf_syscall import wait_for_programs
from kintro.sources.cpu import possible_cpus
from kintro.sources.probe_source import c_struct
from kintro.sources.procfs import read_comm

if TYPE_CHECKING:
    import numpy as np

    from kintro.sources.probe import Probe

TASKS = 1 << 14  # that many tasks can be told apart: 20 MiB
TASKS_PER_CPU = 128  # but at least so many for each CPU
TID_INDEX_MAX = 1 << 17  # up to that many tids each has its own place: 1 MiB
TIDS = 1 << 16  # else that many tasks at a time


def defines() -> dict[str, int]:
    """Parameters of the probe on this machine."""
    found = {"TASKS": max(TASKS, TASKS_PER_CPU * possible_cpus()), "TIDS": TIDS}
    limit = host.tid_limit()
    if limit is not None and limit <= TID_INDEX_MAX:
        found |= {"TIDS": limit, "TID_INDEX": 1}
    return found


def begin(probe: Probe, command_pid: int | None) -> int:
    """To be called when the probe is attached; returns the time, CLOCK_MONOTONIC.

    Of a command nothing counts before its first exec: until then it is kintro.
    """
    if command_pid is not None:
        probe.switch("held")[0] = command_pid
    now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    probe.switch("begun")[0] = now_ns
    probe.run("census")
    return now_ns


def end(probe: Probe) -> int:
    """To be called before the probe is detached; returns the time, CLOCK_MONOTONIC."""
    probe.run("census")
    now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    probe.switch("begun")[0] = 0
    wait_for_programs()
    return now_ns


def read(probe: Probe, end_ns: int | None = None) -> Reading:
    """What the probe has now. `end_ns`: what `end` told."""
    import numpy as np

    if end_ns is None:
        probe.run("census")
    cpus = np.frombuffer(probe.array("cpus"), c_struct(probe.text, "cpu_state").dtype).copy()
    table = _records(probe)
    slots = np.flatnonzero(table["flags"])
    rows = table[slots]
    now_ns = end_ns or time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    reading = Reading(_last_ns(cpus, now_ns), counters=_counters(probe))
    running = {int(cpu["slot"]): number for number, cpu in enumerate(cpus) if cpu["in_ns"]}
    idle = {1 + number: row for number, row in zip((slots - 1).tolist(), rows) if number < probe.cpus}
    for slot, row in zip(slots.tolist(), rows):
        if slot > probe.cpus:
            reading.names[slot] = _name(row)
            if row["flags"] & SHOWN:
                reading.tasks[slot] = task_of(row, reading.names[slot], running.get(slot), reading.ts_ns)
    for number, cpu in enumerate(cpus):
        if cpu["in_ns"]:
            from_idle = int(idle[1 + number]["switches"]) if 1 + number in idle else 0
            reading.cpus[number] = cpu_of(cpu, from_idle, reading.ts_ns)
    sleeps = np.frombuffer(probe.array("sleeps"), np.uint64).reshape(-1, BUCKETS)
    reading.sleeps = sleeps.sum(axis=0).tolist()
    _read_pairs(probe, reading, slots, rows, np)
    return reading


def _counters(probe: Probe) -> dict[str, int]:
    """Those of the probe. A wake-up that it missed is no switch lost, and is told apart."""
    counters = probe.counters()
    missed = probe.missed("tp_sched_waking")
    return counters | {"missed": counters["missed"] - missed, "wakings_missed": missed}


def _records(probe: Probe) -> np.ndarray:
    """Of all tasks, by slot, as they are at any moment."""
    import numpy as np

    layout = c_struct(probe.text, "task_record").dtype
    shape = np.dtype([*layout.descr, *((name, np.uint32, (BUCKETS,)) for name in ("waits", "slices"))])
    return np.frombuffer(probe.array("tasks"), shape)


def names_of(probe: Probe) -> Callable[[int], Name]:
    """Tells who has a slot, as soon as an event names it. The name is the one of then, or of a later exec."""
    table = _records(probe)
    tids, comms = table["tid"], table["comm"]
    known: dict[int, tuple[int, bytes, Name]] = {}

    def name(slot: int) -> Name:
        if slot <= probe.cpus:
            return NOBODY
        found = known.get(slot)
        if found is None or found[0] != tids[slot] or found[1] != comms[slot]:
            row = table[slot].copy()
            found = known[slot] = int(row["tid"]), bytes(row["comm"]), _name(row)
        return found[2]

    return name


def under_way(probe: Probe, end_ns: int) -> dict[str, np.ndarray]:
    """The turns that go on at the end, as records that end there."""
    import numpy as np

    cpus = np.frombuffer(probe.array("cpus"), c_struct(probe.text, "cpu_state").dtype)
    end_ns = _last_ns(cpus, end_ns)
    turns = [
        (end_ns, int(cpu["in_ns"]), int(cpu["slot"]), 0, number, UNTOLD)
        for number, cpu in enumerate(cpus)
        if cpu["in_ns"]
    ]
    return {"turn": np.array(turns, dtypes()["turn"])}


def _last_ns(cpus: np.ndarray, end_ns: int) -> int:
    """The end. A program that was at work then may have looked at the clock right after it."""
    return max(end_ns, int(cpus["in_ns"].max()))


def _name(row: Any) -> Name:
    tid, pid = int(row["tid"]), int(row["tgid"])
    comm = None if row["flags"] & DEAD else read_comm(pid, tid)
    return Name(tid, pid, int(row["start_ns"]), comm or comm_of(row))


def task_of(row: Any, name: Name, cpu: int | None, ts_ns: int) -> Task:
    """A task with what it does at that moment. `cpu`: on which it is; None if it is on none."""
    flags, out_ns = int(row["flags"]), int(row["out_ns"])
    on_cpu_ns, blocked_ns, runnable_ns = (int(row[of]) for of in ("on_cpu_ns", "blocked_ns", "runnable_ns"))
    migrations = int(row["migrations"])
    if not flags & WANTED or flags & DEAD:
        pass
    elif cpu is not None:
        on_cpu_ns += max(0, ts_ns - int(row["in_ns"]))
        blocked_ns += int(row["slept_ns"])
        runnable_ns += int(row["waited_ns"])
        migrations += int(row["cpu"]) not in (0, cpu + 1)
    else:
        woken_ns = min(ts_ns, int(row["woken_ns"]))
        sleeping = not woken_ns > out_ns
        runnable_since_ns = out_ns if not flags & ASLEEP else ts_ns if sleeping else woken_ns
        blocked_ns += max(0, runnable_since_ns - out_ns)
        runnable_ns += max(0, ts_ns - runnable_since_ns)
    return Task(
        name,
        int(row["switches"]),
        int(row["voluntary"]),
        int(row["unseen"]),
        migrations,
        on_cpu_ns,
        blocked_ns,
        runnable_ns,
        int(row["used_ns"]),
        int(row["wait_max_ns"]),
        int(row["slice_max_ns"]),
        row["waits"].tolist(),
        row["slices"].tolist(),
    )


def cpu_of(row: Any, from_idle: int, ts_ns: int) -> Cpu:
    """A CPU with the turn that goes on at that moment."""
    switches, open_ns = int(row["switches"]), max(0, ts_ns - int(row["in_ns"]))
    kernel = None
    if row["kernel_last"]:
        kernel = switches + int(row["kernel_last"]) - int(row["kernel_first"])
    busy_ns, idle_ns = int(row["busy_ns"]), int(row["idle_ns"])
    return Cpu(
        switches,
        kernel,
        from_idle,
        busy_ns + (open_ns if row["tid"] else 0),
        idle_ns + (0 if row["tid"] else open_ns),
    )


def _read_pairs(probe: Probe, reading: Reading, slots: np.ndarray, rows: np.ndarray, np: Any) -> None:
    """Those that lie in the maps, and the last ones of each task, which lie in its record."""

    def slot_of(slot: int) -> int:
        return IDLE if slot <= probe.cpus else slot

    keys, values = (np.frombuffer(part, np.uint64) for part in probe.read_all("pairs"))
    found = [(int(key) >> 32, int(key) & 0xFFFFFFFF, *both) for key, both in zip(keys, values.reshape(-1, 2))]
    cached = rows[["next_slot", "next_voluntary", "next_involuntary"]].tolist()
    found += [(slot, *counts) for slot, counts in zip(slots.tolist(), cached) if counts[0]]
    for prev, following, voluntary, involuntary in found:
        pair = slot_of(prev), slot_of(following)
        before = reading.pairs.get(pair, Swaps(0, 0))
        reading.pairs[pair] = Swaps(before.voluntary + int(voluntary), before.involuntary + int(involuntary))
    keys, values = (np.frombuffer(part, np.uint64) for part in probe.read_all("wakers"))
    wakes: Counter[tuple[int, int]] = reading.wakes
    for key, number in zip(keys.tolist(), values.tolist()):
        wakes[key >> 32, slot_of(key & 0xFFFFFFFF)] += number
    for slot, (waker, number) in zip(slots.tolist(), rows[["waker_slot", "wakes"]].tolist()):
        if number:
            wakes[slot, slot_of(waker)] += number
