"""The lab time-slices: how the scheduler divides a CPU between two that want all of it."""

from __future__ import annotations

from collections.abc import Iterator

from kintro.labs.lab import Lab
from kintro.labs.stage import Stage
from kintro.observers import switches
from kintro.observers.switches_records import Task
from kintro.sources.filters import Filters
from kintro.sources.proc_status import read_status
from kintro.sources.procfs import read_stat

SECONDS = 3
NOTHING_PERCENT, SAME_PERCENT = 2, 45  # a share below, and one from there on


def play(stage: Stage) -> Iterator[str]:
    told = stage.begin("time_slices", stage.draw(2, 7), SECONDS)
    first, nicer = told["first_pid"], told["nicer_pid"]
    cpus = read_status(nicer).cpus_allowed
    stage.shown.update(program_pid=stage.pid, first_pid=first, nicer_pid=nicer, cpu=cpus)
    stage.facts["nice"] = read_stat(nicer).nice
    yield "trace"
    counted = switches.count(filters=Filters(pid=stage.pid), during=stage.step)
    tasks = {task.name.pid: task for task in counted.tasks.values()}
    if {first, nicer} <= tasks.keys():
        stage.facts.update(_facts(tasks[first], tasks[nicer]))
    yield "told"


def _facts(first: Task, nicer: Task) -> dict[str, int | float | str]:
    share = nicer.on_cpu_ns / (first.on_cpu_ns + nicer.on_cpu_ns) * 100
    voluntary, involuntary = first.voluntary + nicer.voluntary, first.involuntary + nicer.involuntary
    return {
        "share_percent": round(share, 1),
        "gets": "nothing" if share < NOTHING_PERCENT else "same" if share >= SAME_PERCENT else "less",
        "involuntary": involuntary,
        "voluntary": voluntary,
        "most": "involuntary" if involuntary > voluntary else "voluntary",
    }


LAB = Lab("time-slices", play, root=True, traces=True)
