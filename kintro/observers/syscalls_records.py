"""What probes/syscalls.c adds up: its constants, and the account of a trace that comes out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

PROBE = "syscalls"
RECORDS: dict[str, type] = {}  # it sends no events
DECODE: dict[str, Any] = {}

# As in probes/syscalls.h.
SLOTS, OTHER_SLOT, COMPAT_SLOT = 512, 510, 511
UNFINISHED = 0xFFFF

SLOT_NAMES = {OTHER_SLOT: "(unknown numbers)", COMPAT_SLOT: "(32-bit calls)"}


class ProcessKey(NamedTuple):
    """A pid is used again; with the start time it is not."""

    start_time_ns: int  # since boot
    pid: int


class Process(NamedTuple):
    """A process's share, of all its threads that made a call."""

    key: ProcessKey
    comm: bytes | None  # the last one known
    calls: int
    user_ns: int  # from an exit to the next entry: on a CPU or waiting for one
    kernel_ns: int  # from an entry to its exit
    runtime_ns: int | None  # on a CPU, by the kernel's own count
    utime_ns: int | None  # how the kernel divides that
    stime_ns: int | None


class Syscall(NamedTuple):
    """A system call's figures, of all processes or of one."""

    slot: int
    nr: int | None  # None for the calls of several numbers
    name: str
    process: ProcessKey | None
    returned: int
    unfinished: int  # not seen to return: the thread died in it, or it goes on
    carried: int  # of all these, how many had begun before the interval; 0 in a whole trace
    errno: Mapping[str, int]  # how often each error
    total_ns: int  # of those that returned, as the rest
    min_ns: int | None
    max_ns: int | None
    buckets: Sequence[int]  # how many of which duration: see syscalls.bounds_ns

    @property
    def calls(self) -> int:
        """Those that began."""
        return self.returned + self.unfinished - self.carried

    @property
    def errors(self) -> int:
        return sum(self.errno.values())


class Account(NamedTuple):
    """What was counted in a trace or an interval."""

    duration_ns: int
    syscalls: Sequence[Syscall]
    processes: Sequence[Process]
    early: int  # returns of calls that had begun before: in no other figure
    refused: int  # calls that seccomp, ptrace or the process itself answered: in no other figure
    lost: int
    levels: Mapping[int, int]  # threads by the privilege level that their first entry saved
    moving: bool = False  # read while calls went on: not all figures are of one moment

    @property
    def calls(self) -> int:
        return sum(call.calls for call in self.syscalls)

    @property
    def errors(self) -> int:
        return sum(call.errors for call in self.syscalls)

    @property
    def unfinished(self) -> int:
        return sum(call.unfinished for call in self.syscalls)

    @property
    def entries(self) -> int:
        """Entries as each thread counted them: the calls again, by another way."""
        return sum(process.calls for process in self.processes)

    @property
    def complete(self) -> bool | None:
        """Whether nothing was lost and both counts agree; None if that cannot be told."""
        return None if self.moving else self.lost == 0 and self.entries == self.calls
