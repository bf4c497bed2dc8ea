"""An experiment with the price of a system call, and with what it is paid for."""

from __future__ import annotations

from statistics import median
from typing import NamedTuple

from kintro.concepts.experiment import Experiment, Finding, Picture, judged
from kintro.concepts.words import Value
from kintro.observers import cost_syscall
from kintro.observers.cost_records import Cost
from kintro.shapes import Bar, Bars
from kintro.sources import c_loop, cpu
from kintro.sources.syscall_names import syscall_names


class Costs(NamedTuple):
    """What calls cost, in ns for one."""

    costs: tuple[Cost, ...]  # function, vdso, syscall, …
    work_ns: tuple[float, ...]  # of runs: a call that looks up a number
    empty_ns: tuple[float, ...]  # of runs: of one that does not exist, where nothing is done
    vdso_answers: bool | None
    mitigations: int | None  # weaknesses of the CPU that the kernel does something against


_RUNS, _CALLS = 60, 2000
_NO_CALL = 1 << 20  # above all numbers of system calls: ENOSYS


def observe_costs() -> Costs:
    found = cost_syscall.measure(_RUNS)
    getpid = next(nr for nr, name in syscall_names().items() if name == "getpid")
    runs: dict[int, list[float]] = {getpid: [], _NO_CALL: []}
    with cpu.pinned(found.machine.cpu):
        for _ in range(_RUNS):
            for nr, taken in runs.items():
                taken.append((c_loop.calls_ns(c_loop.address("syscall"), nr, 1, _CALLS) or 0) / _CALLS)
    states = found.machine.mitigations
    return Costs(
        found.costs,
        tuple(runs[getpid]),
        tuple(runs[_NO_CALL]),
        found.facts["vdso_answers"],
        None if states is None else sum(state.startswith("Mitigation") for state in states.values()),
    )


def judge_costs(seen: Costs) -> Finding:
    by_what = {cost.what: cost for cost in seen.costs}
    function, call, vdso = (by_what[what].median_ns for what in ("function", "syscall", "vdso"))
    work, empty = median(seen.work_ns), median(seen.empty_ns)
    share = 100 * empty / work if work else 0.0
    facts: dict[str, Value] = {
        "function_ns": function,
        "vdso_ns": vdso,
        "syscall_ns": call,
        "ratio": call / function if function else None,
        "calls": by_what["syscall"].calls,
        "vdso_answers": seen.vdso_answers,
        "work_ns": work,
        "empty_ns": empty,
        "way_percent": share,
        "mitigations": seen.mitigations,
    }
    bars = [Bar(cost.label, cost.median_ns, cost.p10_ns, cost.p90_ns) for cost in seen.costs]
    bars.append(Bar("syscall that does not exist", empty, min(seen.empty_ns), max(seen.empty_ns)))
    holds = call > 2 * function and by_what["syscall"].p10_ns > by_what["function"].p90_ns
    picture = Picture("costs", Bars("one call", "ns", True, tuple(bars)))
    return Finding(judged(holds, share > 50), facts, (picture,))


EXPERIMENTS = (Experiment("S2", observe_costs, judge_costs),)
