"""What is seen of inter-process communication: the records that probes/traffic.c sends, field by field.

Times are CLOCK_MONOTONIC in ns; ids are those of the initial pid namespace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kintro.observers.calls_records import File

if TYPE_CHECKING:
    import numpy as np

PROBE = "traffic"

# As in probes/traffic.h.
CALLS = 512
ON_DESCRIPTORS, ON_SYSV, ON_SEGMENT, ON_FUTEX, ON_SIGNALS = 1, 2, 3, 4, 5
NOTHING, RETURNED, ARGUMENT_2, IN_VECTOR = 0, 1, 2, 3
ADDRESS, HEADER = 1, 2
PIPE, FIFO, UNIX, TCP, UDP, SOCKET, MQUEUE, SYSV_MSG, SYSV_SEM, SYSV_SHM, EVENTFD, FUTEX = range(1, 13)
NEITHER, SEND, RECEIVE, WAIT, WAKE = 0, 1, 2, 3, 4
UNFINISHED, EARLY, PAIRED, ADDRESSED, SHARED, DATAGRAMS, PEEKED, TOWARDS = 1, 2, 4, 8, 16, 32, 64, 128
TO_PROCESS, WANTED, TAKEN, FATAL = 1, 2, 4, 8
OPEN = 32  # of a thread's record

KINDS = (
    "", "pipe", "fifo", "unix", "tcp", "udp", "socket", "mqueue", "sysv-msg", "sysv-sem", "sysv-shm",
    "eventfd", "futex",
)  # fmt: skip
DIRECTIONS = (None, "send", "receive", "wait", "wake")


class Socket(NamedTuple):
    """A socket that was not known yet, or has other addresses now."""

    ts_ns: int
    inode: int
    other: int  # of a UNIX socket: inode of its peer; 0: none, or not accepted yet, or closed
    net: int  # inode of its network namespace
    family: int
    type: int
    protocol: int
    local_port: int
    remote_port: int
    data: bytes  # UNIX: its name; else local and remote address, 16 bytes each


class Address(NamedTuple):
    """Where a datagram is sent to."""

    ts_ns: int
    number: int
    data: bytes  # network namespace and protocol, 4 bytes each, and a struct sockaddr


class Generated(NamedTuple):
    """A signal that is sent."""

    ts_ns: int
    comm_low: int  # of the receiver: 16 bytes as two words
    comm_high: int
    from_pid: int  # in whose context it was generated
    from_tid: int
    pid: int
    tid: int
    number: int
    code: int  # si_code
    result: int  # TRACE_SIGNAL_…, include/trace/events/signal.h
    flags: int  # TO_PROCESS, WANTED
    comm: bytes


class Delivered(NamedTuple):
    """A signal that arrives, or is taken."""

    ts_ns: int
    handler: int  # 0 the default action, 1 ignore
    pid: int
    tid: int
    number: int
    code: int
    flags: int  # WANTED, TAKEN, FATAL
    comm: bytes


class Operation(NamedTuple):
    """What a call did on one channel."""

    ended_ns: int  # when it returned; if it did not, when that was certain
    ts_ns: int  # when it began; 0 if that was before the trace
    ret: int
    size_bytes: int  # moved
    blocked_ns: int  # asleep, from when it left its CPU until it was woken
    channel: int  # inode, id, address
    other: int  # see PAIRED, ADDRESSED, SHARED; of a FIFO or queue `file` of a File
    dev: int
    tid: int
    pid: int
    fd: int  # -1: none
    nr: int
    messages: int
    wakes: int
    flags: int
    kind: int
    direction: int
    comm: bytes

    @property
    def duration_ns(self) -> int | None:
        """None if it did not return, or began before the trace."""
        return None if self.flags & (UNFINISHED | EARLY) else self.ended_ns - self.ts_ns

    @property
    def returned(self) -> int | None:
        """What it returned, errors as negative numbers; None if it did not."""
        return None if self.flags & UNFINISHED else self.ret


# In this order where the times are the same, as the probe's rings are.
RECORDS = {
    "file": File,
    "socket": Socket,
    "address": Address,
    "generated": Generated,
    "delivered": Delivered,
    "operation": Operation,
}
DECODE: dict[str, Any] = {}  # all as the rings hold it


def dtypes() -> dict[str, np.dtype]:
    """Kind → dtype of what is recorded."""
    from kintro.sources.columns import recorded_dtypes

    return recorded_dtypes(PROBE, RECORDS)
