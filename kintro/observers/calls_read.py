"""Tells probes/calls.c what to look for, and takes out of it what is under way when the trace has ended."""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Container
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.observers import syscall_signatures as signatures
from kintro.observers.calls import UNKNOWN, WITHOUT_ERRORS, Names, tally
from kintro.observers.calls_records import (
    ARGUMENTS,
    AT_ENTRY,
    AT_EXIT,
    COMPAT,
    COMPAT_CALL,
    COMPAT_SLOT,
    LISTS,
    MOVES,
    NO_ERRORS,
    OPEN,
    OTHER_SLOT,
    RESULT_FD,
    SLOTS,
    TRACED,
    UNFINISHED,
    dtypes,
)
from kintro.observers.calls_waiting import waiting
from kintro.observers.syscall_signatures import Signature
from kintro.observers.thread_records import HELD, hold, read_threads
from kintro.sources.bpf_syscall import wait_for_programs

if TYPE_CHECKING:
    from kintro.sources.probe import Probe
    from kintro.sources.trace import Account, Trace

# Where the arguments are in `registers` of probes/calls.h.
ARGUMENT_REGISTERS = {"x86_64": (7, 6, 5, 0, 2, 1), "aarch64": (0, 1, 2, 3, 4, 5)}


# These give other paths to files that are open.
_MOVES = ("rename", "renameat", "renameat2", "mount", "umount2", "move_mount", "pivot_root")
_AT_EXIT = (signatures.BYTES_OUT, signatures.FIXED_OUT, signatures.BYTES_AT, signatures.SIZED_OUT)


def spec(name: str | None, signature: Signature, traced: bool) -> bytes:
    """What the probe is told of a call: struct spec of probes/calls.h."""
    flags, place_of_list, descriptors, arguments = TRACED if traced else 0, 0, 0, b""
    for place, argument in enumerate(signature.arguments[:ARGUMENTS]):
        kind, which = argument.capture, argument.which
        if kind in _AT_EXIT:
            flags |= AT_EXIT
        elif kind != signatures.NOTHING:
            flags |= AT_ENTRY
        if kind == signatures.STRINGS:
            flags, place_of_list = flags | LISTS, place
        if kind == signatures.FD:
            which, descriptors = min(descriptors, 1), descriptors + 1
        arguments += struct.pack("=BBH", kind, which, argument.size)
    if signature.new_fd:
        flags |= RESULT_FD
    if name in WITHOUT_ERRORS:
        flags |= NO_ERRORS
    if name in _MOVES:
        flags |= MOVES
    return struct.pack("=HH", flags, place_of_list) + arguments.ljust(4 * ARGUMENTS, b"\0")


def specs(names: Names, chosen: Container[str] | None) -> list[bytes]:
    """By slot, of all calls; `chosen`: the names of those to trace, None for all."""
    by_slot = []
    for slot in range(SLOTS):
        table = names.calls if slot < COMPAT_SLOT else names.compat
        number = slot % COMPAT_SLOT
        name = table.get(number) if number < OTHER_SLOT else None
        of_slot = {name} if number < OTHER_SLOT else {table[n] for n in table if n >= OTHER_SLOT}
        traced = chosen is None or any(name in chosen for name in of_slot)
        signature = names.signatures.get(name or "", UNKNOWN) if slot < COMPAT_SLOT else UNKNOWN
        by_slot.append(spec(name, signature, traced))
    return by_slot


class Request:
    """Which calls are to be told and how much of them; and how many went on when the trace had ended."""

    settled = None  # nothing is under way in the kernel once a process has ended

    def __init__(
        self,
        names: Names,
        chosen: Collection[str] | None,
        text_bytes: int = 32,
        failed: bool = False,
        slower_ns: int = 0,
    ) -> None:
        """`chosen`: names of calls; None for all. KintroError where arguments cannot be read."""
        machine = os.uname().machine
        if machine not in ARGUMENT_REGISTERS:
            raise KintroError(f"the registers of {machine} are not known here", None, EX_UNAVAILABLE)
        self._specs = specs(names, chosen)
        self._limits = struct.pack("=QQQ", text_bytes, failed, slower_ns)
        self._names, self._chosen = names, chosen
        self._under_way = self._waiting = 0

    def prepare(self, trace: Trace) -> None:
        """To be called before anything is traced. Of a command nothing is told before its first exec."""
        probe = trace.probe
        for slot, spec in enumerate(self._specs):
            probe.update("specs", slot, spec)
        probe.update("limits", 0, self._limits)
        if trace.command is not None:
            hold(probe, trace.command.pid)
        trace.at_end(partial(self._rest, trace))

    def _rest(self, trace: Trace, end_ns: int) -> dict[str, np.ndarray]:
        """What goes on, as records that end with the trace."""
        calls, known = under_way(trace.probe, end_ns)
        self._under_way = len(calls)
        found: dict[str, list[Any]] = {"thread": [], "file": [], "call": []}
        if trace.filters.pid is not None:
            told = waiting(trace.filters.pid, trace.filters.follow, known, self._names, self._chosen, end_ns)
            for record in told:
                found[type(record).__name__.lower()].append(tuple(record))
        self._waiting = len(found["call"])
        batch = {kind: np.array(rows, dtypes()[kind]) for kind, rows in found.items()}
        return batch | {"call": np.concatenate([calls, batch["call"]])}

    def tally(self, account: Account) -> dict[str, int]:
        """What a session keeps of an Account."""
        return tally(account, self._under_way, self._waiting)


def under_way(probe: Probe, end_ns: int) -> tuple[np.ndarray, frozenset[int]]:
    """The calls that go on, as records without a result, and the tids that the probe has seen.

    To be called when the probe is detached.
    """
    wait_for_programs()
    table, tids = read_threads(probe)
    rows = np.flatnonzero((table["flags"] & (OPEN | HELD)) == OPEN)
    calls, found = np.zeros(len(rows), dtypes()["call"]), table[rows]
    calls["ended_ns"], calls["tid"] = end_ns, tids[rows]
    for name in ("ts_ns", "pid", "number", "nr"):
        calls[name] = found[name]
    for place in range(ARGUMENTS):
        calls[f"arg{place}"] = found["registers"][:, ARGUMENT_REGISTERS[os.uname().machine][place]]
    calls["file0"], calls["file1"] = found["files"][:, 0], found["files"][:, 1]
    calls["flags"] = UNFINISHED + COMPAT * (found["flags"] & COMPAT_CALL != 0)
    return calls, frozenset(tids.tolist())
