"""Tells probes/traffic.c which calls to look at, and takes out of it what is under way at the end."""

from __future__ import annotations

import os
import struct
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.observers import traffic_records as records
from kintro.observers.calls_read import ARGUMENT_REGISTERS
from kintro.observers.thread_records import HELD, hold, read_threads
from kintro.observers.traffic_channels import Channels
from kintro.observers.traffic_records import (
    ADDRESS,
    ARGUMENT_2,
    CALLS,
    HEADER,
    IN_VECTOR,
    MQUEUE,
    NOTHING,
    ON_DESCRIPTORS,
    ON_FUTEX,
    ON_SEGMENT,
    ON_SIGNALS,
    ON_SYSV,
    OPEN,
    RETURNED,
    SYSV_MSG,
    SYSV_SEM,
    SYSV_SHM,
    UNFINISHED,
    WAIT,
    WAKE,
)
from kintro.sources import netlink, setns, sysvipc
from kintro.sources.bpf_syscall import wait_for_programs
from kintro.sources.syscall_names import syscall_names

if TYPE_CHECKING:
    from kintro.sources.probe import Probe
    from kintro.sources.trace import Account, Trace

_PEEK, _COPY = 1, 14  # bits: MSG_PEEK of include/linux/socket.h, MSG_COPY of include/uapi/linux/msg.h

# struct spec of probes/traffic.h; places of arguments count from 1:
# works on, bytes in, from, to, flags, bit that peeks, kind, how it names whom it sends to
SPECS = {
    "read": (ON_DESCRIPTORS, RETURNED, 1, 0, 0, 0, 0, 0),
    "readv": (ON_DESCRIPTORS, RETURNED, 1, 0, 0, 0, 0, 0),
    "preadv2": (ON_DESCRIPTORS, RETURNED, 1, 0, 0, 0, 0, 0),
    "recvfrom": (ON_DESCRIPTORS, RETURNED, 1, 0, 4, _PEEK, 0, 0),
    "recvmsg": (ON_DESCRIPTORS, RETURNED, 1, 0, 3, _PEEK, 0, 0),
    "recvmmsg": (ON_DESCRIPTORS, IN_VECTOR, 1, 0, 4, _PEEK, 0, 0),
    "write": (ON_DESCRIPTORS, RETURNED, 0, 1, 0, 0, 0, 0),
    "writev": (ON_DESCRIPTORS, RETURNED, 0, 1, 0, 0, 0, 0),
    "pwritev2": (ON_DESCRIPTORS, RETURNED, 0, 1, 0, 0, 0, 0),
    "sendto": (ON_DESCRIPTORS, RETURNED, 0, 1, 0, 0, 0, ADDRESS),
    "sendmsg": (ON_DESCRIPTORS, RETURNED, 0, 1, 0, 0, 0, HEADER),
    "sendmmsg": (ON_DESCRIPTORS, IN_VECTOR, 0, 1, 0, 0, 0, HEADER),
    "accept": (ON_DESCRIPTORS, NOTHING, 1, 0, 0, 0, 0, 0),
    "accept4": (ON_DESCRIPTORS, NOTHING, 1, 0, 0, 0, 0, 0),
    "splice": (ON_DESCRIPTORS, RETURNED, 1, 3, 0, 0, 0, 0),
    "tee": (ON_DESCRIPTORS, RETURNED, 0, 2, 0, 0, 0, 0),
    "vmsplice": (ON_DESCRIPTORS, RETURNED, 1, 1, 0, 0, 0, 0),
    "sendfile": (ON_DESCRIPTORS, RETURNED, 2, 1, 0, 0, 0, 0),
    "mq_timedsend": (ON_DESCRIPTORS, ARGUMENT_2, 0, 1, 0, 0, MQUEUE, 0),
    "mq_timedreceive": (ON_DESCRIPTORS, RETURNED, 1, 0, 0, 0, MQUEUE, 0),
    "msgsnd": (ON_SYSV, ARGUMENT_2, 0, 1, 0, 0, SYSV_MSG, 0),
    "msgrcv": (ON_SYSV, RETURNED, 1, 0, 5, _COPY, SYSV_MSG, 0),
    "semop": (ON_SYSV, NOTHING, 0, 0, 0, 0, SYSV_SEM, 0),
    "semtimedop": (ON_SYSV, NOTHING, 0, 0, 0, 0, SYSV_SEM, 0),
    "shmat": (ON_SYSV, NOTHING, 0, 0, 0, 0, SYSV_SHM, 0),
    "shmdt": (ON_SEGMENT, NOTHING, 0, 0, 0, 0, 0, 0),
    "futex": (ON_FUTEX, NOTHING, 0, 0, 2, 0, 0, 0),  # the operation tells the direction
    "futex_wait": (ON_FUTEX, NOTHING, 0, 0, 4, WAIT, 0, 0),
    "futex_wake": (ON_FUTEX, NOTHING, 0, 0, 4, WAKE, 0, 0),
    "rt_sigtimedwait": (ON_SIGNALS, NOTHING, 0, 0, 0, 0, 0, 0),
}


class Request:
    """What is to be told; and how much went on when the trace had ended."""

    settled = None  # nothing is under way in the kernel once a process has ended

    def __init__(self, channels: Channels) -> None:
        """`channels` learns what this machine lists of itself. KintroError on an unknown machine."""
        machine = os.uname().machine
        if machine not in ARGUMENT_REGISTERS:
            raise KintroError(f"the registers of {machine} are not known here", None, EX_UNAVAILABLE)
        self._channels = channels
        self._under_way = 0

    def prepare(self, trace: Trace) -> None:
        """To be called before anything is traced. Of a command nothing is told before its first exec."""
        for number, name in syscall_names().items():
            if name in SPECS and number < CALLS:
                trace.probe.update("specs", number, struct.pack("=8B", *SPECS[name]))
        if trace.command is not None:
            hold(trace.probe, trace.command.pid)
        self._look()
        trace.at_end(partial(self._rest, trace))

    def _look(self) -> None:
        """Sockets whose other end is not traced, and the keys of System V's objects."""
        try:
            _, inet = netlink.sockets()
            self._channels.add_listed(setns.own("net"), inet)
        except KintroError:
            pass  # then they are told by the end that is seen
        space = setns.own("ipc")
        for kind, listed in (
            (SYSV_MSG, sysvipc.read_msg()),
            (SYSV_SEM, sysvipc.read_sem()),
            (SYSV_SHM, sysvipc.read_shm()),
        ):
            for one in listed:
                self._channels.keys[kind, space, one.id] = one.key

    def _rest(self, trace: Trace, end_ns: int) -> dict[str, np.ndarray]:
        """What goes on, as records that end with the trace."""
        self._look()
        found = under_way(trace.probe, end_ns)
        self._under_way = len(found)
        return {"operation": found}

    def tally(self, account: Account) -> dict[str, int]:
        """What a session keeps of an Account."""
        from kintro.observers.traffic import tally

        return tally(account, self._under_way)


def under_way(probe: Probe, end_ns: int) -> np.ndarray:
    """The operations that go on, as records without a result. To be called when the probe is detached."""
    wait_for_programs()
    table, tids = read_threads(probe)
    rows = np.flatnonzero((table["flags"] & (OPEN | HELD)) == OPEN)
    parts = []
    for place in range(2):
        end = np.frombuffer(table["ends"][rows][:, 4 * place : 4 * place + 4].tobytes(), _END)
        there = np.flatnonzero(end["kind"])
        found, end = table[rows][there], end[there]
        part = np.zeros(len(there), records.dtypes()["operation"])
        part["ended_ns"], part["tid"] = end_ns, tids[rows][there]
        part["blocked_ns"] = found["blocked_ns"] + np.where(found["since_ns"], end_ns - found["since_ns"], 0)
        for name in ("ts_ns", "pid", "nr", "wakes"):
            part[name] = found[name]
        for name in ("channel", "other", "dev", "fd", "kind", "direction"):
            part[name] = end[name]
        part["flags"] = end["flags"] | UNFINISHED
        part["comm"] = [_comm(pid, tid) for pid, tid in zip(part["pid"].tolist(), part["tid"].tolist())]
        parts.append(part)
    return np.concatenate(parts)


def _comm(pid: int, tid: int) -> bytes:
    from kintro.sources.procfs import read_comm

    return read_comm(pid, tid) or b"?"


# struct end of probes/traffic.h
_END = np.dtype(
    [(name, code) for name, code in zip(
        ("channel", "other", "dev", "fd", "flags", "kind", "direction"),
        ("u8", "u8", "u4", "i4", "u2", "u1", "u1"),
        strict=True,
    )],
    align=True,
)  # fmt: skip
