"""What a measurement of context switches found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kintro.observers.cost_records import Machine, median_interval, percentile
from kintro.sources.ping_pong import Run

BETWEEN = ("processes", "threads")
WHAT = ("pipe", "futex", "yield")
SETS_BYTES = (0, 32 << 10, 1 << 20, 8 << 20)

Way = tuple[str, str]  # one of WHAT, one of BETWEEN


class Sample(NamedTuple):
    """One run of a ping-pong."""

    runs: tuple[Run, Run]  # of the two
    alone_ns: int  # CPU time of as many calls, each by one alone
    alone_switches: int = 0  # during those, to other programs

    @property
    def switches(self) -> int:
        return self.runs[0].switches + self.runs[1].switches

    @property
    def cpu_ns(self) -> int:
        return self.runs[0].cpu_ns + self.runs[1].cpu_ns

    @property
    def ns(self) -> float:
        """What a switch took: the time that the calls alone do not take, for each switch more than there."""
        return (self.cpu_ns - self.alone_ns) / (self.switches - self.alone_switches)

    @property
    def calls_ns(self) -> float:
        """What the calls took, for one switch."""
        return (self.alone_ns - self.alone_switches * self.ns) / self.switches


class Spread(NamedTuple):
    """Of the runs, for one switch."""

    median_ns: float
    low_ns: float | None  # of the confidence interval of the median; None: too few runs
    high_ns: float | None
    min_ns: float
    p10_ns: float
    p90_ns: float


class Direct(NamedTuple):
    """Switches by a ping-pong."""

    what: str
    between: str
    calls: int  # by each of the two, in all runs
    voluntary: int  # switches, by the kernel's counters
    involuntary: int
    runs: int
    calls_ns: float  # the median of what was subtracted, for one switch
    spread: Spread

    @property
    def switches(self) -> int:
        return self.voluntary + self.involuntary


class Indirect(NamedTuple):
    """Switches between two that each read memory of their own before each switch."""

    between: str
    bytes: int
    switches: int
    runs: int
    work_ns: float  # the median of reading it once, alone
    spread: Spread  # of a switch
    indirect: Spread  # of what a switch takes more than one without that memory


class Apart(NamedTuple):
    """What a switch between processes takes more than one between threads of the same round."""

    what: str
    more: Spread


class Check(NamedTuple):
    """Switches of one ping-pong, by kintro's probe and by the kernel's counters."""

    what: str
    between: str
    voluntary: int
    involuntary: int
    to_each_other: int  # those of them where the other one of the two came next
    kernel_voluntary: int
    kernel_involuntary: int

    @property
    def agrees(self) -> bool:
        return (self.voluntary, self.involuntary) == (self.kernel_voluntary, self.kernel_involuntary)


class Report(NamedTuple):
    machine: Machine
    direct: tuple[Direct, ...]
    apart: tuple[Apart, ...]
    indirect: tuple[Indirect, ...]
    checks: tuple[Check, ...] | None  # None: there was no probe
    unchecked: str | None  # why not


def spread(values: Sequence[float]) -> Spread:
    low, high = median_interval(values) or (None, None)
    middle = percentile(values, 0.5)
    return Spread(middle, low, high, min(values), percentile(values, 0.1), percentile(values, 0.9))


def direct(way: Way, calls: int, samples: Sequence[Sample]) -> Direct:
    """The account of a way's samples, of `calls` calls each."""
    runs = [run for sample in samples for run in sample.runs]
    return Direct(
        *way,
        calls * len(samples),
        sum(run.voluntary for run in runs),
        sum(run.involuntary for run in runs),
        len(samples),
        percentile([sample.calls_ns for sample in samples], 0.5),
        spread([sample.ns for sample in samples]),
    )


def apart(what: str, processes: Sequence[Sample], threads: Sequence[Sample]) -> Apart:
    """The samples of both by the same way, in order of the rounds."""
    return Apart(what, spread([one.ns - other.ns for one, other in zip(processes, threads, strict=True)]))


def indirect(
    between: str,
    size_bytes: int,
    samples: Sequence[Sample],
    none: Sequence[Sample],
    works_ns: Sequence[float],
) -> Indirect:
    """The account of a working set's samples. `none`: of the same rounds, without one."""
    return Indirect(
        between,
        size_bytes,
        sum(sample.switches for sample in samples),
        len(samples),
        percentile(works_ns, 0.5),
        spread([sample.ns for sample in samples]),
        spread([sample.ns - empty.ns for sample, empty in zip(samples, none)]),
    )
