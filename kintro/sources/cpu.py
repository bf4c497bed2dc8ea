"""The CPU: which model, what it is protected against, its clock, and staying on one of them.

Readers take a root path so that tests can lay out another machine. Unknown is None.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kintro.errors import EX_USAGE, KintroError
from kintro.sources.host import ROOT, read_text

_VULNERABILITIES = "sys/devices/system/cpu/vulnerabilities"
_CLOCK_SOURCE = "sys/devices/system/clocksource/clocksource0/current_clocksource"


def model(root: Path = ROOT) -> str | None:
    """The name of the first CPU's model (proc_cpuinfo(5)); arm64 does not tell one there."""
    match = re.search(r"^model name\s*: (.*)$", read_text("proc/cpuinfo", root) or "", re.MULTILINE)
    return match[1].strip() if match else None


def mitigations(root: Path = ROOT) -> dict[str, str] | None:
    """Weakness → state in the kernel's words, `Not affected`, `Vulnerable…` or `Mitigation: …`, by name.

    Documentation/ABI/testing/sysfs-devices-system-cpu. None where the kernel does not tell (before 4.15).
    """
    try:
        names = sorted(path.name for path in (root / _VULNERABILITIES).iterdir())
    except OSError:
        return None
    states = {name: read_text(f"{_VULNERABILITIES}/{name}", root) for name in names}
    return {name: state for name, state in states.items() if state is not None}


def clock_source(root: Path = ROOT) -> str | None:
    """What the kernel reads the time from: `tsc`, `arch_sys_counter`, `hpet`, …"""
    return read_text(_CLOCK_SOURCE, root)


def possible_cpus(root: Path = ROOT) -> int:
    """One more than the highest CPU number that may ever be used (sysfs-devices-system-cpu, possible)."""
    ranges = read_text("sys/devices/system/cpu/possible", root) or "0"
    return 1 + max(map(int, re.findall(r"\d+", ranges)))


def siblings(one: int, other: int, root: Path = ROOT) -> bool | None:
    """Whether two CPUs are hardware threads of one core (sysfs-devices-system-cpu, core_cpus_list)."""
    folder = f"sys/devices/system/cpu/cpu{one}/topology"
    told = read_text(f"{folder}/core_cpus_list", root) or read_text(f"{folder}/thread_siblings_list", root)
    if told is None:
        return None
    ranges = [part.partition("-") for part in told.split(",")]
    return any(int(low) <= other <= int(high or low) for low, _, high in ranges)


@contextmanager
def pinned(cpu: int | None) -> Iterator[int]:
    """Keeps this thread on a CPU, by default on the one where it is, and yields its number.

    KintroError (2) for one that is not in service or not for this process (sched_setaffinity(2)).
    """
    before = os.sched_getaffinity(0)
    chosen = ctypes.CDLL(None).sched_getcpu() if cpu is None else cpu
    try:
        os.sched_setaffinity(0, {chosen})
    except OSError as error:
        hint = f"allowed are: {', '.join(map(str, sorted(before)))}"
        raise KintroError(f"cannot run on CPU {chosen}: {error.strerror}", hint, EX_USAGE) from error
    try:
        yield chosen
    finally:
        os.sched_setaffinity(0, before)
