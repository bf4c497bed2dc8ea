"""Two tasks that run compiled loops at the same time: two processes, or two threads of one process.

They are made once, inherit the CPU their maker is pinned to, and wait for work in between. Each tells of its
own loop the CPU time and the context switches away from it, as the kernel has them. No function of Python
runs inside of the loop, and ctypes holds no lock meanwhile: threads do not wait for each other there.

The CPU time of both together is what the loops cost, the switches between them included: the kernel counts
a switch for the one that leaves or the one that comes. What other programs take meanwhile is not in it.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.sources import c_stream

TIMEOUT_S = 60.0
BARRIER_BYTES = 64  # pthread_barrier_t has 32 with glibc; a cache line for each
_PROCESS_SHARED = 1  # pthread.h
_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h
_JOB, _RUN, _TID = struct.Struct("=QQQQ"), struct.Struct("=QQQ"), struct.Struct("=Q")


class Job(NamedTuple):
    """What a task is to do."""

    stream: int  # of c_stream
    calls: int
    text: int = 0  # the address of what is read before each call; 0: nothing
    before: int = 0  # calls beforehand that do not count


class Run(NamedTuple):
    """What that took."""

    cpu_ns: int
    voluntary: int  # switches away from it
    involuntary: int

    @property
    def switches(self) -> int:
        return self.voluntary + self.involuntary


class Pair:
    """Two tasks; a context manager that makes them and ends them.

    To be entered while there is no other thread, as it forks, and when all streams are there.
    """

    def __init__(self, threads: bool) -> None:
        self._threads = threads
        self._pids: list[int] = []
        self._sockets: list[socket.socket] = []
        self.tasks: list[tuple[int, int]] = []  # pid and tid of each

    def __enter__(self) -> Pair:
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
        try:
            everything = [end for pair in pairs for end in pair]
            shares = [pairs] if self._threads else [[pair] for pair in pairs]
            for share in shares:
                self._pids.append(forked([theirs for _, theirs in share], everything, _work))
            for ours, theirs in pairs:
                theirs.close()
                ours.settimeout(TIMEOUT_S)
                self._sockets.append(ours)
            pids = [self._pids[0], self._pids[-1]]
            self.tasks = [(pid, self._receive(number, _TID)[0]) for number, pid in enumerate(pids)]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for ours in self._sockets:
            ours.close()
        while self._pids:
            pid = self._pids.pop()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def run(self, *jobs: Job) -> list[Run]:
        """Has the first task do the first job, at the same time the second one the other, if there is one."""
        with suppress(OSError):  # one that is gone is told of below
            for number, job in enumerate(jobs):
                self._sockets[number].send(_JOB.pack(*job))
        return [Run(*self._receive(number, _RUN)) for number in range(len(jobs))]

    def _receive(self, number: int, form: struct.Struct) -> tuple[int, ...]:
        try:
            told = self._sockets[number].recv(form.size)
        except ConnectionError:
            told = b""
        except OSError as error:
            raise KintroError(f"the ping-pong does not end: {error}", None, EX_UNAVAILABLE) from error
        if not told:
            raise KintroError("a task of the ping-pong has ended before its time", None, EX_UNAVAILABLE)
        return form.unpack(told)

    def counts(self) -> list[tuple[int, int]]:
        """Of each task the voluntary and the involuntary switches since it began, once both are asleep.

        proc_pid_status(5).
        """
        found = []
        deadline = time.monotonic() + TIMEOUT_S
        for pid, tid in self.tasks:
            found.append(counts_asleep(pid, tid, deadline))
        return found


def counts_asleep(pid: int, tid: int, deadline: float) -> tuple[int, int]:
    """Voluntary and involuntary switches of a task once it is asleep, as proc_pid_status(5) has them."""
    while (status := _status(pid, tid))["State"][0] != "S":
        if time.monotonic() > deadline:
            raise KintroError("the ping-pong does not come to rest", None, EX_UNAVAILABLE)
        time.sleep(0.001)
    return int(status["voluntary_ctxt_switches"]), int(status["nonvoluntary_ctxt_switches"])


def _status(pid: int, tid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/task/{tid}/status").read_text()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def forked(
    sockets: Sequence[socket.socket],
    others: Sequence[socket.socket],
    work: Callable[[socket.socket], None],
) -> int:
    """The pid of a child with a thread that works for each socket; of the others it keeps none open."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all: the parent ends us
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        for other in set(others) - set(sockets):
            other.close()  # so that who is gone can be told by its socket
        if os.getppid() == parent:
            for more in sockets[1:]:
                threading.Thread(target=work, args=(more,)).start()
            work(sockets[0])
    finally:
        os._exit(1)


def _work(orders: socket.socket) -> None:
    try:
        orders.send(_TID.pack(threading.get_native_id()))
        while True:
            orders.send(_RUN.pack(*_done(Job(*_JOB.unpack(orders.recv(_JOB.size))))))
    finally:
        os._exit(1)  # the whole process, so that nobody waits for it


def _done(job: Job) -> Run:
    text = job.text or None
    if job.before:
        c_stream.turns(job.stream, text, job.before)
    before = resource.getrusage(resource.RUSAGE_THREAD)
    begin_ns = time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID)
    c_stream.turns(job.stream, text, job.calls)
    cpu_ns = time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID) - begin_ns
    after = resource.getrusage(resource.RUSAGE_THREAD)
    return Run(cpu_ns, after.ru_nvcsw - before.ru_nvcsw, after.ru_nivcsw - before.ru_nivcsw)


def make_barrier(address: int, parties: int, between_processes: bool) -> None:
    """pthread_barrier_init(3)."""
    libc = ctypes.CDLL(None)
    attributes = ctypes.create_string_buffer(BARRIER_BYTES)
    libc.pthread_barrierattr_init(attributes)
    libc.pthread_barrierattr_setpshared(attributes, _PROCESS_SHARED if between_processes else 0)
    if libc.pthread_barrier_init(ctypes.c_void_p(address), attributes, parties):
        raise KintroError("the C library makes no barrier", None, EX_UNAVAILABLE)
