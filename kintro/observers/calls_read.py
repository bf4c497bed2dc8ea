"""Tells probes/calls.c what to look for, and takes out of it what is under way when the trace has ended."""

from __future__ import annotations

import os
import struct
from collections.abc import Container
from typing import TYPE_CHECKING

import numpy as np

from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.observers.calls import Names, specs
from kintro.observers.calls_records import (
    ARGUMENTS,
    COMPAT,
    COMPAT_CALL,
    HELD,
    OPEN,
    UNFINISHED,
    dtypes,
)
from kintro.sources.bpf_syscall import wait_for_programs
from kintro.sources.probe_source import c_struct

if TYPE_CHECKING:
    from kintro.sources.probe import Probe

# Where the arguments are in `registers` of probes/calls.h.
ARGUMENT_REGISTERS = {"x86_64": (7, 6, 5, 0, 2, 1), "aarch64": (0, 1, 2, 3, 4, 5)}


def require_machine() -> None:
    """KintroError (69) where the arguments of calls cannot be read."""
    machine = os.uname().machine
    if machine not in ARGUMENT_REGISTERS:
        raise KintroError(f"the registers of {machine} are not known here", None, EX_UNAVAILABLE)


def begin(
    probe: Probe,
    names: Names,
    chosen: Container[str] | None,
    command_pid: int | None,
    text_bytes: int,
    failed: bool,
    slower_ns: int,
) -> None:
    """To be called before the probe is attached. Of a command nothing is told before its first exec."""
    for slot, spec in enumerate(specs(names, chosen)):
        probe.update("specs", slot, spec)
    probe.update("limits", 0, struct.pack("=QQQ", text_bytes, failed, slower_ns))
    if command_pid is not None:
        held = np.zeros(1, c_struct(probe.text, "thread_record").dtype)
        held["flags"] = HELD
        probe.update("threads", command_pid, held.tobytes())


def under_way(probe: Probe, end_ns: int) -> dict[str, np.ndarray]:
    """The calls that go on, as records without a result. To be called when the probe is detached."""
    wait_for_programs()
    layout = c_struct(probe.text, "thread_record").dtype
    if probe.is_array("threads"):
        table = np.frombuffer(probe.array("threads"), layout)
        tids = np.arange(len(table), dtype=np.uint32)
    else:
        keys, values = probe.read_all("threads")
        table, tids = np.frombuffer(values, layout), np.frombuffer(keys, np.uint32)
    rows = np.flatnonzero((table["flags"] & (OPEN | HELD)) == OPEN)
    calls, found = np.zeros(len(rows), dtypes()["call"]), table[rows]
    calls["ended_ns"], calls["tid"] = end_ns, tids[rows]
    for name in ("ts_ns", "pid", "number", "nr"):
        calls[name] = found[name]
    for place in range(ARGUMENTS):
        calls[f"arg{place}"] = found["registers"][:, ARGUMENT_REGISTERS[os.uname().machine][place]]
    calls["file0"], calls["file1"] = found["files"][:, 0], found["files"][:, 1]
    calls["flags"] = UNFINISHED + COMPAT * (found["flags"] & COMPAT_CALL != 0)
    return {"call": calls}
