"""The lab syscall-cost: which calls enter the kernel, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator

from kintro.labs.lab import Lab
from kintro.labs.stage import Stage
from kintro.observers import cost_syscall, syscalls
from kintro.sources.filters import Filters

RUNS = 200


def play(stage: Stage) -> Iterator[str]:
    stage.begin("syscall_cost", stage.draw(10_000, 90_000), stage.draw(10_000, 90_000))
    stage.shown["program_pid"] = stage.pid
    yield "trace"
    counted = syscalls.count(filters=Filters(pid=stage.pid), during=stage.step)
    calls = {call.name: call.calls for call in counted.syscalls}
    stage.facts.update(
        getppid_calls=calls.get("getppid", 0),
        clock_calls=calls.get("clock_gettime", 0),
        clock_enters=calls.get("clock_gettime", 0) > 0,
    )
    yield "counted"
    costs = {cost.what: cost for cost in cost_syscall.measure(RUNS).costs}
    stage.facts.update(
        syscall_ns=round(costs["syscall"].median_ns),
        function_ns=round(costs["function"].median_ns, 1),
        vdso_ns=round(costs["vdso"].median_ns, 1),
        ratio=round(costs["syscall"].ratio, 1),
    )
    yield "cost"


LAB = Lab("syscall-cost", play, root=True, traces=True)
