"""The lab ping-pong: how often two that wait for each other switch, and what a switch costs."""

from __future__ import annotations

from collections.abc import Iterator

from kintro.labs.lab import Lab
from kintro.labs.stage import Stage
from kintro.observers import cost_switch, switches
from kintro.sources.filters import Filters

RUNS = 10


def play(stage: Stage) -> Iterator[str]:
    told = stage.begin("ping_pong", stage.draw(2_000, 30_000))
    first, other = told["first_pid"], told["other_pid"]
    stage.shown.update(first_pid=first, other_pid=other)
    yield "trace"
    counted = switches.count(filters=Filters(pid=first), during=stage.step)
    tasks = {task.name.tid: task for task in counted.tasks.values()}
    if {first, other} <= tasks.keys():
        voluntary = tasks[first].voluntary
        stage.facts.update(
            voluntary=voluntary,
            other_voluntary=tasks[other].voluntary,
            most="voluntary" if voluntary > tasks[first].involuntary else "involuntary",
        )
    yield "counted"
    costs = {(cost.what, cost.between): cost for cost in cost_switch.measure(RUNS).direct}
    stage.facts.update(
        switch_ns=round(costs["pipe", "processes"].spread.median_ns),
        thread_switch_ns=round(costs["pipe", "threads"].spread.median_ns),
    )
    yield "cost"


LAB = Lab("ping-pong", play, root=True, traces=True)
