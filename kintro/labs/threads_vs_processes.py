"""The lab threads-vs-processes: what a new task shares with the one that made it."""

from __future__ import annotations

from collections.abc import Iterator

from kintro.labs.lab import Lab
from kintro.labs.stage import Stage
from kintro.observers import lifecycle
from kintro.observers.lifecycle_records import Fork, clone_flag_names
from kintro.sources.filters import Filters


def play(stage: Stage) -> Iterator[str]:
    number = stage.draw(2, 6)
    stage.begin("threads_vs_processes", number, number + stage.draw(1, 4))
    program = stage.pid
    stage.shown["program_pid"] = program
    yield "trace"
    told: list[dict[str, int]] = []
    with lifecycle.trace(
        filters=Filters(pid=program), threads=True, during=lambda: told.append(stage.step())
    ) as run:
        forks = [event for event in run if isinstance(event, Fork)]
    threads = [fork for fork in forks if fork.kind == "thread"]
    processes = [fork for fork in forks if fork.kind != "thread"]
    count = told[0]["count"]
    adders = {len(threads): "threads", len(processes): "processes", len(forks): "all"}
    stage.facts.update(
        threads=len(threads),
        processes=len(processes),
        count=count,
        adders=adders.get(count, "none"),
        own_pid=any(fork.pid != program for fork in threads),
        shares_memory=all("CLONE_VM" in clone_flag_names(fork.clone_flags) for fork in threads),
    )
    yield "told"


LAB = Lab("threads-vs-processes", play, root=True, traces=True)
