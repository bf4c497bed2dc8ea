"""What describes a field of a task, and how what /proc tells becomes comparable with what the kernel keeps.

Units: `bytes`, `ns`, `ticks`, `address`, `inode`; sets as bit masks: `signals`, `capabilities`, `flags`;
`limit` (soft and hard); numbers with names: `state`, `policy`, `seccomp`, `device`; `octal`; `cpus`; `text`;
`answer`; `number`, of one or several.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from kintro.observers.task_proc import Facts
from kintro.observers.task_records import Value
from kintro.sources.cpu import possible_cpus

PAGE = mmap.PAGESIZE
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
ALONE = "only the kernel's record has it"
NO_MEMORY = "no address space: a kernel thread or a zombie"
SAMPLED = "the kernel samples it at clock ticks and corrects what it shows by sum_exec_runtime"
PER_CPU = "the kernel counts pages for each CPU first: the member lags behind the exact sum"
HEAP = "/proc has the end of the last [heap] mapping: brk in whole pages, or more if another is joined"


class Source(NamedTuple):
    """Where a field comes from.

    `how`: `same`, `grows` (it lies between what the kernel had before and after), `begins` (the kernel's is
    the beginning of the other), `about` (not to be compared).
    """

    group: str
    name: str
    unit: str
    proc: Callable[[Facts], Any]
    paths: tuple[
        str, ...
    ]  # from task_struct on; ` | ` between alternatives; task_kernel.py knows those with *
    kernel: Callable[..., Value | None] = lambda value: value  # of the values at `paths`
    how: str = "same"
    note: str | None = None
    file: str = ""  # whose reason in Facts.why holds if /proc does not tell
    absent: Value | None = None  # the kernel's value where a pointer is null


def in_ticks(ns: int) -> int:
    return ns // TICK_NS


def in_bytes(pages: int) -> int:
    return pages * PAGE


def text_of(data: bytes) -> bytes:
    return data.partition(b"\0")[0]


def handled(actions: bytes, ignored: bool) -> int:
    """The signals of a sighand_struct's `action` whose handler is SIG_IGN, or a function of the program."""
    size = len(actions) // 64
    mask = 0
    for number in range(64):
        handler = int.from_bytes(actions[number * size : number * size + 8], "little")
        if handler == 1 if ignored else handler > 1:
            mask |= 1 << number
    return mask


def cpu_list(mask: int | bytes) -> str:
    """`0-3,8`, of the CPUs that this machine may ever have."""
    bits = mask if isinstance(mask, int) else int.from_bytes(mask, "little")
    cpus = [cpu for cpu in range(possible_cpus()) if bits >> cpu & 1]
    starts = [cpu for cpu in cpus if cpu - 1 not in cpus]
    ends = [cpu for cpu in cpus if cpu + 1 not in cpus]
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends))


def device(major: int, first: int, index: int) -> int:
    """A device number as proc_pid_stat(5) encodes it: new_encode_dev of tty_devnum."""
    minor = first + index
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12
