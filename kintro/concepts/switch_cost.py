"""An experiment with the price of a context switch, and with what it leaves as it was."""

from __future__ import annotations

import os
import random
import resource
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from typing import NamedTuple

from kintro.concepts.experiment import Experiment, Finding, Picture, judged
from kintro.concepts.scene import Actor, Play
from kintro.concepts.words import Value
from kintro.observers import cost_switch
from kintro.observers.cost_switch_records import Report
from kintro.shapes import Bar, Bars


class Price(NamedTuple):
    """What a switch costs, and that nothing gets lost by it."""

    report: Report
    expected: int  # the result of a computation that was left alone
    results: tuple[int, ...]  # of those who were switched away from
    switches: int  # meanwhile


_RUNS, _LEAST_RUNS = 20, 6
_PATIENCE_S = 3.0
_STEPS = 200_000


def _compute(seed: int) -> int:
    """A number that depends on every step on the way."""
    for _ in range(_STEPS):
        seed = (seed * 6364136223846793005 + 1442695040888963407) % (1 << 64)
    return seed


def _computing(cpu: int, seed: int) -> Play:
    os.sched_setaffinity(0, {cpu})
    yield None
    before = resource.getrusage(resource.RUSAGE_SELF)
    result = _compute(seed)
    after = resource.getrusage(resource.RUSAGE_SELF)
    yield result, after.ru_nivcsw + after.ru_nvcsw - before.ru_nivcsw - before.ru_nvcsw


def _enough() -> Callable[[], bool]:
    """Asked after each run: whether it has taken long, and there are enough for a confidence interval."""
    begin_s, runs = time.monotonic(), count(1)
    return lambda: next(runs) >= _LEAST_RUNS and time.monotonic() - begin_s > _PATIENCE_S


def observe_price() -> Price:
    report = cost_switch.measure(_RUNS, stop=_enough())
    seed = random.randrange(1 << 64)
    with ExitStack() as stack:
        actors = [stack.enter_context(Actor(_computing, report.machine.cpu, seed)) for _ in range(3)]
        for actor in actors:
            actor.step()
        for actor in actors:
            actor.go_on()
        results, switches = zip(*(actor.told() for actor in actors))
    return Price(report, _compute(seed), results, sum(switches))


def judge_price(seen: Price) -> Finding:
    by_way = {(direct.what, direct.between): direct for direct in seen.report.direct}
    processes, threads = by_way["futex", "processes"].spread, by_way["futex", "threads"].spread
    # Those of one round are compared: what disturbs one of them mostly disturbs the other as well.
    more = next(apart.more for apart in seen.report.apart if apart.what == "futex")
    restored = seen.switches > 0 and set(seen.results) == {seen.expected}
    facts: dict[str, Value] = {
        "process_ns": processes.median_ns,
        "process_low_ns": processes.low_ns,
        "process_high_ns": processes.high_ns,
        "thread_ns": threads.median_ns,
        "thread_low_ns": threads.low_ns,
        "thread_high_ns": threads.high_ns,
        "switches": by_way["futex", "processes"].switches,
        "more_ns": more.median_ns,
        "more_low_ns": more.low_ns,
        "more_high_ns": more.high_ns,
        "runs": by_way["futex", "processes"].runs,
        "computing_switches": seen.switches,
        "same_result": restored,
    }
    costs = all((direct.spread.low_ns or 0) > 0 for direct in seen.report.direct)
    bars = [
        Bar(f"{way.what}, {way.between}", way.spread.median_ns, way.spread.low_ns, way.spread.high_ns)
        for way in seen.report.direct
    ]
    picture = Picture("switch-costs", Bars("a context switch", "ns", False, tuple(bars)))
    return Finding(judged(costs and restored, (more.low_ns or 0) > 0), facts, (picture,))


EXPERIMENTS = (Experiment("C3", observe_price, judge_price),)
