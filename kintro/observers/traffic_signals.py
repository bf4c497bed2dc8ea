"""Signals from where they are generated to where they arrive: each delivery is found its generation.

How: the kernel takes a thread's own signals before those of its process, and those of one number in the order
in which they came (dequeue_signal, kernel/signal.c). A signal below 32 waits at most once: if another is
queued, the one before it was taken unseen. Memory: what waits, up to WAITING_MAX.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from kintro.observers.traffic_records import FATAL, TAKEN, TO_PROCESS, WANTED, Delivered, Generated

FIRST_REAL_TIME = 32
WAITING_MAX = 1 << 16
# include/trace/events/signal.h
_QUEUED, _IGNORED, _ALREADY_PENDING = 0, 1, 2
_SIGCHLD = 17
# include/uapi/asm-generic/siginfo.h
_CODES = {
    0: "SI_USER", 0x80: "SI_KERNEL", -1: "SI_QUEUE", -2: "SI_TIMER", -3: "SI_MESGQ", -4: "SI_ASYNCIO",
    -5: "SI_SIGIO", -6: "SI_TKILL", -7: "SI_DETHREAD", -60: "SI_ASYNCNL",
}  # fmt: skip
_BY_SENDER = (0, -1, -3, -6, -7)  # generated in the context of whoever sent it


class Party(NamedTuple):
    pid: int
    tid: int | None
    comm: bytes | None


class Signal(NamedTuple):
    """A signal; its generation or its arrival may be unknown, not both."""

    generated_ns: int | None  # None: before the trace
    delivered_ns: int | None  # None: it has not arrived, or nobody saw it taken
    number: int
    code: str | None  # si_code by name; numbers that depend on the signal as they are
    sender: Party | None  # None: the kernel, or not known
    receiver: Party  # tid: of the thread that took it, or for which it was meant
    to_process: bool | None  # else to one thread; None: not known
    action: str | None  # handler, default, ignored, waited (sigwaitinfo, signalfd), merged; None: not arrived

    @property
    def latency_ns(self) -> int | None:
        if self.generated_ns is None or self.delivered_ns is None:
            return None
        return self.delivered_ns - self.generated_ns


class Signals:
    """Puts generations and deliveries together. Feed it records in order of time."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[bool, int, int], deque[Generated]] = {}  # to a process or thread, number
        self._number = 0

    def of(self, record: Generated | Delivered) -> Iterator[Signal]:
        if isinstance(record, Generated):
            yield from self._generated(record)
        else:
            yield from self._delivered(record)

    def rest(self) -> Iterator[Signal]:
        """Those that have not arrived."""
        waiting = sorted(one for queue in self._waiting.values() for one in queue if one.flags & WANTED)
        self._waiting.clear()
        yield from (signal(one, None, None) for one in waiting)

    def _generated(self, one: Generated) -> Iterator[Signal]:
        if one.result in (_IGNORED, _ALREADY_PENDING):
            if one.flags & WANTED:
                yield signal(one, None, "ignored" if one.result == _IGNORED else "merged")
            return
        key = _key(one)
        if one.number < FIRST_REAL_TIME:
            yield from self._give_up(key)
        self._waiting.setdefault(key, deque()).append(one)
        self._number += 1
        if self._number > WAITING_MAX:
            yield from self._give_up(next(iter(self._waiting)))

    def _give_up(self, key: tuple[bool, int, int]) -> Iterator[Signal]:
        """What waits there has been taken unseen, or is not waited for any longer."""
        for one in self._waiting.pop(key, ()):
            self._number -= 1
            if one.flags & WANTED:
                yield signal(one, None, None)

    def _delivered(self, one: Delivered) -> Iterator[Signal]:
        for key in ((False, one.tid, one.number), (True, one.pid, one.number)):
            queue = self._waiting.get(key)
            if queue:
                first = queue.popleft()
                self._number -= 1
                if not queue:
                    del self._waiting[key]
                if (first.flags | one.flags) & WANTED:
                    yield signal(first, one, action_of(one))
                return
        if one.flags & WANTED and not one.flags & FATAL:
            yield signal(None, one, action_of(one))


def _key(one: Generated) -> tuple[bool, int, int]:
    to_process = bool(one.flags & TO_PROCESS)
    return to_process, one.pid if to_process else one.tid, one.number


def action_of(one: Delivered) -> str:
    if one.flags & TAKEN:
        return "waited"
    return {0: "default", 1: "ignored"}.get(one.handler, "handler")


def signal(sent: Generated | None, arrived: Delivered | None, action: str | None) -> Signal:
    """Of its generation and its arrival, one of which may be None."""
    number = sent.number if sent else arrived.number if arrived else 0
    code = sent.code if sent else arrived.code if arrived and not arrived.flags & (TAKEN | FATAL) else None
    if arrived is not None:
        receiver = Party(arrived.pid, arrived.tid, arrived.comm)
    else:
        assert sent is not None
        to_process = bool(sent.flags & TO_PROCESS)
        comm = struct.pack("=QQ", sent.comm_low, sent.comm_high).split(b"\0")[0]
        receiver = Party(sent.pid, None if to_process else sent.tid, comm)
    return Signal(
        sent.ts_ns if sent else None,
        arrived.ts_ns if arrived else None,
        number,
        None if code is None else _CODES.get(code, str(code)),
        Party(sent.from_pid, sent.from_tid, sent.comm) if sent and _has_sender(sent) else None,
        receiver,
        bool(sent.flags & TO_PROCESS) if sent else None,
        action,
    )


def _has_sender(sent: Generated) -> bool:
    """Else it was generated in whatever context the kernel was in."""
    return sent.code in _BY_SENDER or (sent.number == _SIGCHLD and 0 < sent.code < 0x80)
