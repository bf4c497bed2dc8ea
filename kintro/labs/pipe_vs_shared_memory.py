"""The lab pipe-vs-shared-memory: what the kernel has to do for each message."""

from __future__ import annotations

from collections.abc import Iterator

from kintro.labs.lab import Lab
from kintro.labs.stage import Stage
from kintro.observers import cost_ipc, syscalls
from kintro.observers.cost_ipc_records import ONE_CPU
from kintro.observers.memory_diff import diff
from kintro.sources.filters import Filters
from kintro.sources.mappings import read_maps

RUNS, MESSAGE_BYTES = 5, 1024


def play(stage: Stage) -> Iterator[str]:
    messages = stage.draw(1_000, 20_000)
    told = stage.begin("pipe_vs_shared_memory", messages, stage.draw(5, 60))
    parent, child, address = stage.pid, told["child_pid"], told["memory_address"]
    stage.shown.update(parent_pid=parent, child_pid=child, memory_address=address)
    yield "trace-pipe"
    stage.facts["pipe_writes"] = _writes(stage)
    yield "pipe"
    yield "trace-memory"
    writes = _writes(stage)
    stage.facts.update(memory_writes=writes, enters=writes >= messages)
    yield "memory"
    parts = ([m for m in read_maps(pid) if m.start <= address < m.end] for pid in (parent, child))
    of_parent, of_child = parts
    stage.facts["same_frames"] = diff(parent, of_parent, child, of_child).total.same_frame or 0
    yield "frames"
    report = cost_ipc.measure(RUNS, kinds=("pipe", "shm-futex"), sizes=(MESSAGE_BYTES,))
    for name, kind in (("pipe_ns", "pipe"), ("memory_ns", "shm-futex")):
        median_ns = report.median_ns(kind, ONE_CPU)
        if median_ns is not None:
            stage.facts[name] = round(median_ns)
    yield "cost"


def _writes(stage: Stage) -> int:
    """Of the parent alone, while the program goes through a step."""
    counted = syscalls.count(filters=Filters(pid=stage.pid, follow=False), during=stage.step)
    return sum(call.calls for call in counted.syscalls if call.name == "write")


LAB = Lab("pipe-vs-shared-memory", play, root=True, traces=True)
