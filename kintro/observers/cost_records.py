"""What a measurement of costs found: for each thing measured the spread of its runs, and on which machine."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from kintro.sources import cpu as cpus

CONFIDENCE = 0.95


class Runs(NamedTuple):
    """One thing that was done again and again."""

    what: str  # as in JSON
    label: str  # for people
    how: str  # what was done, in a few words
    calls: int  # in each run
    ns: list[float]  # of each run, for one call
    counted: int | None = None  # by the kernel, in all runs; None: it does not tell


class Cost(NamedTuple):
    what: str
    label: str
    how: str
    calls: int  # in all runs
    counted: int | None
    runs: int
    median_ns: float  # of the runs, for one call, as the others
    min_ns: float
    p10_ns: float
    p90_ns: float
    ratio: float  # median to median of the first


class Machine(NamedTuple):
    """On what it was measured. Unknown is None."""

    cpu: int
    cpu_model: str | None
    kernel: str
    clocksource: str | None
    mitigations: dict[str, str] | None  # weakness → state, in the kernel's words


class Report(NamedTuple):
    subject: str
    machine: Machine
    costs: tuple[Cost, ...]
    facts: Mapping[str, Any]  # what else is known of this subject, as in JSON
    findings: tuple[str, ...]  # what it comes to, in sentences


def machine(cpu: int) -> Machine:
    return Machine(cpu, cpus.model(), os.uname().release, cpus.clock_source(), cpus.mitigations())


def costs(measured: Iterable[Runs]) -> tuple[Cost, ...]:
    """The spread of each, and its ratio to the first."""
    found: list[Cost] = []
    for runs in measured:
        middle = percentile(runs.ns, 0.5)
        found.append(
            Cost(
                runs.what,
                runs.label,
                runs.how,
                runs.calls * len(runs.ns),
                runs.counted,
                len(runs.ns),
                middle,
                min(runs.ns),
                percentile(runs.ns, 0.1),
                percentile(runs.ns, 0.9),
                middle / found[0].median_ns if found else 1.0,
            )
        )
    return tuple(found)


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Between which two of the values the true median lies, with a probability of CONFIDENCE or more.

    By order statistics: of n values each is below the true median with probability 1/2, however they are
    spread, so that how many are is binomial. None: there are too few for that, fewer than 6.
    """
    ordered, number = sorted(values), len(values)
    outside, below = 0.0, 0
    while (outside := outside + math.comb(number, below) / 2**number) <= (1 - CONFIDENCE) / 2:
        below += 1
    return (ordered[below - 1], ordered[number - below]) if below else None


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which that part of them lies, on the line between its two neighbours."""
    ordered = sorted(values)
    low, rest = divmod(part * (len(ordered) - 1), 1)
    below, above = ordered[int(low)], ordered[min(int(low) + 1, len(ordered) - 1)]
    return below + (above - below) * rest
