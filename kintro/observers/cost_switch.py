"""What a context switch costs: ping-pongs of two processes and of two threads on one CPU.

How: each of the two runs a loop of compiled code around one function of the C library (c_stream.py), so that
nothing of Python runs between the switches and no compiler is needed.

- pipe: one writes, the other reads, a byte at a time. The pipe has room for one packet only (O_DIRECT of
  pipe(2), one page), so that the writer has to wait for the reader, as the reader for the writer.
- futex: both call pthread_barrier_wait(3) of a barrier for two. The first to come sleeps (FUTEX_WAIT), the
  second wakes it (FUTEX_WAKE).
- yield: both call sched_yield(2).

How many switches that makes is the scheduler's affair and differs by kernel: a task that is woken may take
the CPU at once or not. So it is not assumed but taken from the kernel's counters of the two tasks, and these
are compared with kintro's own probe (cost_switch_check.py).

The same calls are made by one task alone, where they find nobody to wait for: a byte written to and read from
a pipe with room, a barrier for one, a yield to nobody. Their time is subtracted. For the indirect part both
read memory of their own before each yield, and so does the one alone. If other programs take the CPU from
that one, these switches are counted too, and only what is beyond them is what a switch takes.

Time is CPU time of the two. In each round every one has its turn. Cost: 0.2 s of CPU time for a round.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import product

from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.observers import cost_switch_check
from kintro.observers.cost_records import machine
from kintro.observers.cost_switch_records import (
    BETWEEN,
    SETS_BYTES,
    WHAT,
    Report,
    Sample,
    Way,
    apart,
    direct,
    indirect,
)
from kintro.sources import c_loop, c_stream, cpu
from kintro.sources.ping_pong import BARRIER_BYTES, Job, Pair, make_barrier

RUNS = 50  # by default
CALLS = 2000  # in a run, by each
SET_CALLS = {0: 2000, 32 << 10: 1000, 1 << 20: 40, 8 << 20: 8}  # with a working set
PATIENCE_S = 20.0  # with others who switch on the CPU all the time
BEFORE = 2  # calls that bring a working set into the caches, as far as it stays there
_F_SETPIPE_SZ = 1031  # include/uapi/linux/fcntl.h


def measure(runs: int = RUNS, on: int | None = None, stop: Callable[[], bool] = lambda: False) -> Report:
    """Measures all on a CPU, by default the one where this thread is. `stop()` is asked after each round.

    To be called while there is no other thread: it forks.
    """
    with cpu.pinned(on) as chosen, ExitStack() as stack:
        courts = {between: stack.enter_context(Court(between == "threads")) for between in BETWEEN}
        checks, unchecked = cost_switch_check.checks(
            {(what, between): (courts[between].pair, courts[between].jobs(what)) for what, between in WAYS}
        )
        samples: dict[Way, list[Sample]] = {way: [] for way in WAYS}
        sets: dict[tuple[str, int], list[Sample]] = {one: [] for one in _SETS}
        works_ns: dict[tuple[str, int], list[float]] = {one: [] for one in _SETS}
        for _ in range(runs):
            for what, between in product(WHAT, BETWEEN):  # those that are compared, one after the other
                samples[what, between].append(courts[between].sample(what))
            for between, size_bytes in _SETS:
                sample = courts[between].with_set(size_bytes)
                sets[between, size_bytes].append(sample)
                works_ns[between, size_bytes].append(sample.alone_ns / (2 * SET_CALLS[size_bytes]))
            if stop():
                break
    bare = {between: works_ns[between, 0] for between in BETWEEN}
    return Report(
        machine(chosen),
        tuple(direct(way, CALLS, samples[way]) for way in WAYS),
        tuple(apart(what, samples[what, "processes"], samples[what, "threads"]) for what in WHAT),
        tuple(
            indirect(
                between,
                size_bytes,
                sets[between, size_bytes],
                sets[between, 0],
                [ns - call_ns for ns, call_ns in zip(works_ns[between, size_bytes], bare[between])],
            )
            for between, size_bytes in _SETS
        ),
        checks,
        unchecked,
    )


WAYS: tuple[Way, ...] = tuple((what, between) for between in BETWEEN for what in WHAT)
_SETS = tuple((between, size_bytes) for between in BETWEEN for size_bytes in SETS_BYTES)


class Court:
    """Two tasks and all they need to play; a context manager."""

    def __init__(self, threads: bool) -> None:
        self._stack = ExitStack()
        self.pair = Pair(threads)
        self._texts = [c_stream.Text(max(SETS_BYTES)) for _ in range(2)]
        self._shared = mmap.mmap(-1, mmap.PAGESIZE)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._shared))
        for number, parties in enumerate((2, 1)):
            make_barrier(base + number * BARRIER_BYTES, parties, not threads)
        self._streams: dict[str, list[int]] = {}
        try:
            self._open(base)
        except BaseException:
            self._stack.close()
            raise

    def _open(self, base: int) -> None:
        out, into = self._pipe(os.O_DIRECT)
        if fcntl.fcntl(out, _F_SETPIPE_SZ, mmap.PAGESIZE) != mmap.PAGESIZE:
            raise KintroError("this kernel has no pipes of one page", None, EX_UNAVAILABLE)
        wide_out, wide_into = self._pipe(0)
        for name, ends in {
            "pipe": (("write", into), ("read", out)),
            "pipe alone": (("write", wide_into), ("read", wide_out)),
            "futex": (("pthread_barrier_wait", base),) * 2,
            "futex alone": (("pthread_barrier_wait", base + BARRIER_BYTES),) * 2,
            "yield": (("sched_yield", 0),) * 2,
        }.items():
            self._streams[name] = [self._stream(*end) for end in ends]

    def _stream(self, function: str, argument: int) -> int:
        stream = c_stream.opened(c_loop.address(function), argument)
        self._stack.callback(c_stream.close, stream)
        return stream

    def _pipe(self, flags: int) -> tuple[int, int]:
        ends = os.pipe2(flags | os.O_CLOEXEC)
        for end in ends:
            self._stack.callback(os.close, end)
        return ends

    def __enter__(self) -> Court:
        with self._stack:  # closed if that fails
            self._stack.enter_context(self.pair)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def jobs(self, what: str) -> tuple[Job, Job]:
        one, other = self._streams[what]
        return Job(one, CALLS), Job(other, CALLS)

    def sample(self, what: str) -> Sample:
        """A ping-pong, and as many calls of each kind without it."""
        return self._played(self.jobs(what), self.jobs(what if what == "yield" else f"{what} alone"))

    def with_set(self, size_bytes: int) -> Sample:
        """The same by sched_yield, with a working set of that size for each."""
        # A string of one byte takes no time to read; one of none would call nothing.
        texts, calls = [text.address(max(size_bytes, 1)) for text in self._texts], SET_CALLS[size_bytes]
        one, other = (Job(stream, calls, text, BEFORE) for stream, text in zip(self._streams["yield"], texts))
        return self._played((one, other), (one, other))

    def _played(self, together: tuple[Job, Job], alone: tuple[Job, Job]) -> Sample:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            one, other = self.pair.run(*together)
            runs = [self.pair.run(job)[0] for job in alone]
            sample = Sample((one, other), sum(run.cpu_ns for run in runs), sum(run.switches for run in runs))
            if sample.switches > 2 * sample.alone_switches:
                return sample
            if time.monotonic() > deadline:
                message = "other programs want this CPU too often to measure there"
                raise KintroError(message, "choose another one with --cpu", EX_UNAVAILABLE)
            time.sleep(0.02)
