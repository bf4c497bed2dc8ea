"""What a measurement of inter-process communication found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kintro.observers.cost_records import Machine
from kintro.observers.cost_switch_records import Spread
from kintro.sources.messages import Limits

KINDS = (
    "pipe", "unix-stream", "unix-dgram", "tcp", "sysv-msg", "mqueue", "shm-futex", "shm-spin", "signal",
    "eventfd",
)  # fmt: skip
COPIED = KINDS[: KINDS.index("shm-futex")]  # those whose data the kernel copies in and out
ONE_CPU, TWO_CPUS = "one CPU", "two CPUs"
SIZES = (1, 64, 1 << 10, 8 << 10, 64 << 10, 1 << 20)
SIZE_MAX = 16 << 20


class Counted(NamedTuple):
    """By kintro's probes, in a run of its own that was not timed, of both processes."""

    messages: int
    calls: dict[str, int]  # system calls by name, without those that give and take the order to play
    switches: int  # context switches
    kernel_switches: int  # the same by the kernel's own counters

    @property
    def calls_each(self) -> float:
        """For one message."""
        return sum(self.calls.values()) / self.messages

    @property
    def switches_each(self) -> float:
        return self.switches / self.messages


class Latency(NamedTuple):
    """From one process to the other: half of a message and its answer."""

    kind: str
    place: str  # ONE_CPU or TWO_CPUS
    cpus: tuple[int, int]
    messages: int  # in all runs
    runs: int
    spread: Spread  # of the runs, for one message
    loop_ns: float  # what the loop around the calls takes, at most: it is in there
    counted: Counted | None


class Throughput(NamedTuple):
    """All from one process to the other."""

    kind: str
    bytes: int  # of a message
    cpus: tuple[int, int]
    messages: int  # in all runs
    runs: int
    spread: Spread  # of the runs, for one message
    counted: Counted | None

    @property
    def bytes_per_s(self) -> float:
        """Of the median."""
        return self.bytes / self.spread.median_ns * 1e9


class Report(NamedTuple):
    machine: Machine
    cpus: tuple[int, ...]  # one or two
    siblings: bool | None  # whether the two are threads of one core; None: not told, or there is one
    kinds: tuple[str, ...]
    sizes: tuple[int, ...]
    latency: tuple[Latency, ...]
    throughput: tuple[Throughput, ...]
    limits: dict[str, Limits]
    missing: dict[str, str]  # kind → why it could not be measured
    uncounted: str | None  # why the probes did not count

    def median_ns(self, kind: str, place: str) -> float | None:
        """The latency of a kind; None where it was not measured."""
        return next(
            (one.spread.median_ns for one in self.latency if (one.kind, one.place) == (kind, place)), None
        )


def fastest(report: Report, place: str, kinds: Sequence[str] | None = None) -> list[Latency]:
    """The latencies at a place, the lowest first."""
    found = [one for one in report.latency if one.place == place and (kinds is None or one.kind in kinds)]
    return sorted(found, key=lambda one: one.spread.median_ns)
