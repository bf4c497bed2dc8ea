"""What probes/switches.c adds up: its constants, and the account of a trace that comes out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kintro.sources.probe_source import c_struct, probe_text

if TYPE_CHECKING:
    import numpy as np

PROBE = "switches"

# As in probes/switches.h.
USED, ASLEEP, WANTED, SHOWN, DEAD = 1, 2, 32, 64, 512

IDLE = 0  # stands for all CPUs' idle tasks in place of a slot; a tid, too
IDLE_COMM = b"swapper"

# In place of a state.
PREEMPTED, UNTOLD = 0x80000000, 0x40000000


class Turn(NamedTuple):
    """A turn of a task on a CPU, for a timeline."""

    ended_ns: int
    ts_ns: int  # when it began, or tracing did
    slot: int
    next_slot: int  # who came after it; 0: not known
    cpu: int
    state: int  # in which it left: PREEMPTED, UNTOLD, or TASK_… of include/linux/sched.h; 0 by its own will


class Waking(NamedTuple):
    """A task is about to be woken."""

    ts_ns: int
    slot: int
    waker_slot: int  # who ran there then
    cpu: int  # the waker's
    target_cpu: int  # where it was the last time


RECORDS = {"turn": Turn, "waking": Waking}  # sent for a timeline only
DECODE: dict[str, Any] = {}


def dtypes() -> dict[str, np.dtype]:
    text = probe_text(PROBE)
    return {kind: c_struct(text, f"{kind}_event").dtype for kind in RECORDS}


Pair = tuple[int, int]  # two slots: who left the CPU, who came; or who was woken, who woke


class Name(NamedTuple):
    """Who a task is."""

    tid: int
    pid: int
    start_time_ns: int  # since boot
    comm: bytes  # the last one known


class Task(NamedTuple):
    """A task's figures."""

    name: Name
    switches: int  # away from it
    voluntary: int
    unseen: int  # those beyond `switches` that the kernel counted
    migrations: int  # turns on another CPU than the one before
    on_cpu_ns: int
    blocked_ns: int  # from leaving a CPU until it was woken
    runnable_ns: int  # but not running
    runtime_ns: int  # on a CPU by the kernel's own count, until it last left one
    wait_max_ns: int  # of the waits in `waits`
    slice_max_ns: int
    waits: Sequence[int]  # for a CPU, those that began and ended in the trace: see buckets.bounds_ns
    slices: Sequence[int]  # turns on a CPU, the same

    @property
    def involuntary(self) -> int:
        return self.switches - self.voluntary


class Cpu(NamedTuple):
    """A CPU's figures."""

    switches: int
    kernel_switches: int | None  # the kernel's own count of them; None if it does not tell
    from_idle: int  # those of them away from its idle task
    busy_ns: int
    idle_ns: int


class Swaps(NamedTuple):
    """How often one task made way for another."""

    voluntary: int
    involuntary: int

    @property
    def times(self) -> int:
        return self.voluntary + self.involuntary


class Account(NamedTuple):
    """What was counted in a trace or an interval."""

    begin_ns: int  # CLOCK_MONOTONIC
    duration_ns: int
    whole_system: bool  # else only the tasks that the filters let through
    tasks: Mapping[int, Task]  # by slot, in no order
    cpus: Mapping[int, Cpu]  # the online ones, of the whole system
    names: Mapping[int, Name]  # of all that are in pairs and wakes
    pairs: Mapping[Pair, Swaps]  # those with one of `tasks`
    wakes: Mapping[Pair, int]  # of `tasks`
    sleeps: Sequence[int]  # of all tasks together: from leaving the CPU until being woken
    untold: int  # switches that the tracepoint did not tell of, known by who was there next
    untold_wakings: int  # wake-ups that it did not tell of, or at which the kernel ran no program
    losses: Mapping[str, int]  # what was seen but not counted, by the probe's counters; none is 0
    moving: bool = False  # read while switches went on: not all figures are of one moment

    @property
    def lost(self) -> int:
        return sum(self.losses.values())

    @property
    def switches(self) -> int:
        if self.whole_system:
            return sum(cpu.switches for cpu in self.cpus.values())
        return sum(task.switches for task in self.tasks.values())

    @property
    def kernel_switches(self) -> int | None:
        """The same by the kernel's count, of the CPUs or of filtered tasks. None if it does not tell."""
        if not self.whole_system:
            return sum(task.switches + task.unseen for task in self.tasks.values())
        told = [cpu.kernel_switches for cpu in self.cpus.values()]
        return None if None in told else sum(number or 0 for number in told)

    @property
    def voluntary(self) -> int:
        return sum(task.voluntary for task in self.tasks.values())

    @property
    def involuntary(self) -> int:
        return sum(task.involuntary for task in self.tasks.values())

    @property
    def from_idle(self) -> int:
        """Switches away from idle tasks: neither voluntary nor involuntary. 0 with filters."""
        return sum(cpu.from_idle for cpu in self.cpus.values()) if self.whole_system else 0

    @property
    def idle_share(self) -> float | None:
        """Of the CPUs' time, that of the idle tasks."""
        idle_ns = sum(cpu.idle_ns for cpu in self.cpus.values())
        total_ns = idle_ns + sum(cpu.busy_ns for cpu in self.cpus.values())
        return idle_ns / total_ns if total_ns else None

    @property
    def complete(self) -> bool | None:
        """Whether nothing was lost and all counts agree; None if that cannot be told."""
        if self.moving or self.kernel_switches is None:
            return None
        of_nobody = self.switches - self.voluntary - self.involuntary - self.from_idle
        return self.lost == 0 and self.switches == self.kernel_switches and 0 <= of_nobody <= self.untold
