"""Two processes that send each other messages: each runs its part of a program when it is told to.

They are forked once all programs are there, each may be kept on a CPU of its own, and they wait for orders in
between. A part that is played is compiled code (c_chain.py), or a loop of Python where that cannot be.

Before each program the two meet at a barrier, so that none begins long before the other. Time is by the
clock, which all CPUs share (CLOCK_MONOTONIC).
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.sources import ping_pong
from kintro.sources.c_chain import Shared

TIMEOUT_S = 20.0  # of one run; spinning on one CPU takes the longest, some 0.1 s
NOTHING = -1  # a program of which no part does anything
SIGNAL = signal.SIGUSR1  # blocked in both, for programs that send it
_ORDER, _DONE = struct.Struct("=q?"), struct.Struct("=QQQQQ")
_PIDS = 128  # where they lie in the memory of the barrier
_libc = ctypes.CDLL(None)


class Part(NamedTuple):
    """What one of the two does."""

    play: Callable[[], None]
    before: Callable[[], None] | None = None  # the same in short, before the clock is looked at


class Program(NamedTuple):
    one: Part
    other: Part


class Run(NamedTuple):
    """What one of them saw."""

    begin_ns: int  # CLOCK_MONOTONIC
    end_ns: int
    cpu_ns: int
    voluntary: int  # switches away from it
    involuntary: int


class Players:
    """A context manager that makes them and ends them.

    To be entered while there is no other thread, as it forks, and when all programs are there.
    """

    def __init__(self, programs: Sequence[Program], cpus: Sequence[int]) -> None:
        """`cpus`: one for each of the two."""
        self._programs, self.cpus = programs, tuple(cpus)
        self._memory = Shared(4096)
        self._sockets: list[socket.socket] = []
        self.pids: list[int] = []

    def __enter__(self) -> Players:
        ping_pong.make_barrier(self._memory.address, 2, True)
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
        everything = [end for pair in pairs for end in pair]
        try:
            for number, (ours, theirs) in enumerate(pairs):
                work = self._worker(number)
                self.pids.append(ping_pong.forked([theirs], everything, work))
                ours.settimeout(TIMEOUT_S)
                self._sockets.append(ours)
            self._memory.view[_PIDS : _PIDS + 8] = struct.pack("=ii", *self.pids)
        except BaseException:
            self.__exit__()
            raise
        finally:
            for _, theirs in pairs:
                theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        for ours in self._sockets:
            ours.close()
        while self.pids:
            pid = self.pids.pop()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def run(self, program: int, timed: bool = True) -> tuple[Run, Run]:
        """Has both play it, or NOTHING. Not `timed`: no system calls but those of the parts and two more."""
        try:
            for ours in self._sockets:
                ours.send(_ORDER.pack(program, timed))
            told = [ours.recv(_DONE.size) for ours in self._sockets]
        except ConnectionError:
            told = [b""]
        except OSError as error:
            raise KintroError(f"the two do not come to an end: {error}", None, EX_UNAVAILABLE) from error
        if not all(told):
            raise KintroError("one of the two has ended before its time", None, EX_UNAVAILABLE)
        one, other = (Run(*_DONE.unpack(each)) for each in told)
        return one, other

    def switches(self) -> int:
        """Of both since they began, once both are asleep, as the kernel counts them."""
        deadline = time.monotonic() + TIMEOUT_S
        return sum(sum(ping_pong.counts_asleep(pid, pid, deadline)) for pid in self.pids)

    def _worker(self, number: int) -> Callable[[socket.socket], None]:
        def work(orders: socket.socket) -> None:
            os.sched_setaffinity(0, {self.cpus[number]})
            signal.pthread_sigmask(signal.SIG_BLOCK, {SIGNAL})
            global _known  # of this process alone
            _known = self._memory, number
            while True:
                wanted, timed = _ORDER.unpack(orders.recv(_ORDER.size))
                part = _IDLE if wanted == NOTHING else self._programs[wanted][number]
                orders.send(_DONE.pack(*(self._timed(part) if timed else _untimed(part))))

        return work

    def _timed(self, part: Part) -> Run:
        _libc.pthread_barrier_wait(ctypes.c_void_p(self._memory.address))
        if part.before is not None:
            part.before()
        first = resource.getrusage(resource.RUSAGE_SELF)
        cpu_ns = time.clock_gettime_ns(time.CLOCK_PROCESS_CPUTIME_ID)
        begin_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        part.play()
        end_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        cpu_ns = time.clock_gettime_ns(time.CLOCK_PROCESS_CPUTIME_ID) - cpu_ns
        last = resource.getrusage(resource.RUSAGE_SELF)
        return Run(begin_ns, end_ns, cpu_ns, last.ru_nvcsw - first.ru_nvcsw, last.ru_nivcsw - first.ru_nivcsw)


def _untimed(part: Part) -> Run:
    part.play()
    return Run(0, 0, 0, 0, 0)


_IDLE = Part(lambda: None)
_known: tuple[Shared, int] | None = None


def peer() -> int:
    """In one of the two, the pid of the other one."""
    assert _known is not None
    memory, number = _known
    pids = struct.unpack("=ii", memory.view[_PIDS : _PIDS + 8])
    return int(pids[1 - number])
