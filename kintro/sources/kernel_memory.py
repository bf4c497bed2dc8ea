"""The kernel's records of a task, read in its memory through probes/task.c.

What is to be read are places that BTF gives (members.py); the probe knows none of them. A task is found in
one step from its pid, as the kernel does it, and not by walking a list of all.

It is done by a program at the tracepoint of system calls, which acts on the next one of the thread that asks:
kernels from 5.8 on have that, with and without kprobes. An iterator of BPF over tasks (5.8 too) would visit
all of them until 6.1, would need a way of loading of its own, and never shows the idle task. Running a
program at will (BPF_PROG_TEST_RUN) came with 5.10, bpf_task_from_pid with 6.2.

Cost: what task.c says; 30 to 60 ms to load and attach, besides.

What it cannot see: more than one moment at a time. A run takes microseconds and locks nothing: a struct that
another CPU frees meanwhile is read as what has become of it. The task itself is not freed.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Sequence
from contextlib import ExitStack

from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.sources import host
from kintro.sources.bpf import Loading
from kintro.sources.members import Place
from kintro.sources.probe import Probe

IDLE = 0  # the tid of the task that runs where nothing else does, the first of all

READS = 256  # of one run, and the bytes they may take together; probes/task.c
ROOM = 1 << 14
_ATTEMPTS = 20
_READ = struct.Struct("=IIIIi4x")  # from, offset, to, bytes, error
_REQUEST = struct.Struct("=QQQQQ")  # asker, number, done, found, tid

Wanted = tuple[tuple[int, ...], int, int]  # offsets of pointers, offset, bytes


class TaskMemory:
    """Reads the records of tasks; a context manager.

    KintroError where tracing cannot work at all, and in a container with pids of its own.
    """

    def __init__(self) -> None:
        if not host.in_initial_pid_namespace():
            raise KintroError(
                "this is a container with pids of its own, and the kernel's records carry the host's",
                "run kintro on the host",
                EX_UNAVAILABLE,
            )
        self._number = 0
        with ExitStack() as stack:
            loading = Loading("task")
            stack.callback(loading.close)
            probe = stack.enter_context(Probe(loading))
            self._request = stack.enter_context(probe.array("request"))
            self._reads = stack.enter_context(probe.array("reads"))
            self._copied = stack.enter_context(probe.array("copied"))
            probe.attach()
            self._stack = stack.pop_all()

    def __enter__(self) -> TaskMemory:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, tid: int, wanted: Sequence[Place | Wanted]) -> list[bytes | None] | None:
        """The bytes of each place, all read in one run; None for one that a null pointer leads to.

        None: there is no such task. IDLE is the idle task.
        """
        starts: dict[tuple[int, ...], int] = {(): 0}  # pointers → where the address is that they lead to
        table, targets = list[bytes](), list[tuple[int, int]]()
        room = 8

        def add(start: int, offset: int, size: int) -> int:
            nonlocal room
            to, room = room, room + -(-size // 8) * 8
            table.append(_READ.pack(start, offset, to, size, 0))
            targets.append((to, size))
            return to

        places = []
        for pointers, offset, size, *_ in wanted:
            for depth in range(1, len(pointers) + 1):
                if pointers[:depth] not in starts:
                    starts[pointers[:depth]] = add(starts[pointers[: depth - 1]], pointers[depth - 1], 8)
            add(starts[pointers], offset, size)
            places.append(len(table) - 1)
        if len(table) >= READS or room > ROOM:
            raise ValueError("more than one run can read")
        self._reads[: len(table) * _READ.size] = b"".join(table)
        self._reads[len(table) * _READ.size : (len(table) + 1) * _READ.size] = bytes(_READ.size)
        if not self._run(tid):
            return None
        errors = [_READ.unpack_from(self._reads, at * _READ.size)[4] for at in range(len(table))]
        return [
            None if errors[place] else bytes(self._copied[to : to + size])
            for place in places
            for to, size in [targets[place]]
        ]

    def _run(self, tid: int) -> bool:
        """Whether the task was found. More than once only if the program was skipped."""
        self._number += 1
        asker = os.getpid() << 32 | threading.get_native_id()
        _REQUEST.pack_into(self._request, 0, asker, 0, 0, 0, tid)
        struct.pack_into("=Q", self._request, 8, self._number)
        for _ in range(_ATTEMPTS):
            os.getppid()
            _, number, done, found, _ = _REQUEST.unpack_from(self._request)
            if done == number:
                return bool(found)
        raise KintroError("the kernel did not run the probe", "try again", EX_UNAVAILABLE)
