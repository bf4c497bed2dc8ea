"""What a message from one process to another costs: latency and throughput of each kind of communication.

How: two processes, forked by kintro, run compiled code around functions of the C library, so that no compiler
is needed and nothing of Python runs between two messages; only message queues and signals, of which functions
have more arguments, are called by a loop of Python (kintro.sources.messages, message_loops, players).

- Latency: a message goes to the other one and one comes back; half of that. Of one byte (a signal has none,
  an eventfd's is a number of eight), with both on one CPU, and with each on a CPU of its own.
- Throughput: the first sends so many messages of a size, the second takes them, each on a CPU of its own.
- System calls and context switches of both, by kintro's probes, in a run of its own (cost_ipc_check.py).

Time is by the clock, from when both are there until the last one is done. In each round every one has its
turn. Cost: some 0.5 s for a round.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.observers import cost_ipc_check
from kintro.observers.cost_ipc_records import (
    KINDS,
    ONE_CPU,
    SIZES,
    TWO_CPUS,
    Counted,
    Latency,
    Report,
    Throughput,
)
from kintro.observers.cost_records import machine, percentile
from kintro.observers.cost_switch_records import spread
from kintro.sources import c_chain, cpu, message_loops, message_memory, messages
from kintro.sources.messages import Kind, Limits, Way
from kintro.sources.players import Players, Run

RUNS = 20  # by default
TURNS = 200  # to and fro in a run
TURNS_SPUN = 3  # on one CPU: each takes two time slices
MESSAGES_MAX, MESSAGES_MIN, BYTES = 2000, 8, 2 << 20  # of one way in a run
ROUND_S, ALL_S = 1.25, 10.0  # on average for a round at most, and beyond that; then there are fewer runs

MAKERS: dict[str, type[Kind]] = {
    "pipe": messages.Pipe,
    "unix-stream": messages.Sockets,
    "unix-dgram": messages.Datagrams,
    "tcp": messages.Tcp,
    "sysv-msg": message_loops.SystemVQueue,
    "mqueue": message_loops.PosixQueue,
    "shm-futex": message_memory.Memory,
    "shm-spin": message_memory.SpunMemory,
    "signal": message_loops.Signals,
    "eventfd": messages.EventFd,
}


class Trial(NamedTuple):
    """One line of the report."""

    kind: str
    place: str
    bytes: int | None  # None: a ping-pong
    way: Way


def measure(
    runs: int = RUNS,
    on: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    kinds: Sequence[str] = KINDS,
    sizes: Sequence[int] = SIZES,
    count: bool = True,
) -> Report:
    """Measures these kinds, with messages of these sizes for throughput.

    On a CPU, by default the one where this thread is, and for two the next one that is allowed. `stop()` is
    asked after each round, and before anything is counted; there is one round in any
    case. With 6 runs, 3 kinds and 2 sizes it takes 1 to 2 s. `count`: also with the probes.

    To be called while there is no other thread: it forks.
    """
    c_chain.require()
    ended = False

    def told() -> bool:
        nonlocal ended
        ended = ended or stop()
        return ended

    allowed = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        first = stack.enter_context(cpu.pinned(on))
        cpus = (first, *next_to(first, allowed))
        made, missing = _made(stack, kinds)
        trials = [*_ping_pongs(made, len(cpus)), *_streams(made, sizes, len(cpus))]
        programs = [trial.way.program for trial in trials]
        courts = {ONE_CPU: stack.enter_context(Players(programs, (first, first)))}
        if len(cpus) > 1:
            courts[TWO_CPUS] = stack.enter_context(Players(programs, cpus))
        where = [courts[trial.place] for trial in trials]
        counted: list[Counted | None] = [None] * len(trials)
        uncounted: str | None = "not asked for"
        if count:
            counted, uncounted = cost_ipc_check.counts(
                [(where[number], number, trial.way.messages) for number, trial in enumerate(trials)], told
            )
        end = time.monotonic() + max(ROUND_S * runs, ALL_S)  # what counting took leaves no fewer runs
        samples_ns: list[list[float]] = [[] for _ in trials]
        loops_ns: list[list[float]] = [[] for _ in trials]
        for _ in range(runs):
            for number, trial in enumerate(trials):
                samples_ns[number].append(_sample_ns(where[number], number, trial))
                loops_ns[number].append(_loop_ns(trial.way))
            if told() or time.monotonic() > end:
                break
        return _report(
            cpus,
            (tuple(kinds), tuple(sizes)),
            [
                (trial, where[number].cpus, samples_ns[number], loops_ns[number], counted[number])
                for number, trial in enumerate(trials)
            ],
            ({name: kind.limits for name, kind in made.items()}, missing),
            uncounted,
        )


def next_to(first: int, allowed: Sequence[int]) -> tuple[int, ...]:
    """Of CPUs the next one after the first, in a circle; none if there is no other."""
    others = sorted(allowed, key=lambda number: (number <= first, number))
    return tuple(number for number in others if number != first)[:1]


def _made(stack: ExitStack, kinds: Iterable[str]) -> tuple[dict[str, Kind], dict[str, str]]:
    """The kinds that there are here, and why there are not the others."""
    made: dict[str, Kind] = {}
    missing: dict[str, str] = {}
    for name in kinds:
        with ExitStack() as own:
            try:
                kind = MAKERS[name](own)
                kind.ping_pong(1)
            except (OSError, KintroError) as error:
                missing[name] = error.message if isinstance(error, KintroError) else error.strerror or "?"
                continue
        made[name] = MAKERS[name](stack)
    if not made:
        reasons = "; ".join(f"{name}: {why}" for name, why in missing.items())
        raise KintroError(f"none of these can be measured here: {reasons}", None, EX_UNAVAILABLE)
    return made, missing


def _ping_pongs(made: dict[str, Kind], cpus: int) -> list[Trial]:
    found = []
    for name, kind in made.items():
        for place in (ONE_CPU, TWO_CPUS)[:cpus]:
            spun = name == "shm-spin" and place == ONE_CPU
            found.append(Trial(name, place, None, kind.ping_pong(TURNS_SPUN if spun else TURNS)))
    return found


def _streams(made: dict[str, Kind], sizes: Sequence[int], cpus: int) -> list[Trial]:
    """Between two CPUs, where there are two. To spin on one would measure time slices."""
    found = []
    for name, kind in made.items():
        if name == "shm-spin" and cpus < 2:
            continue
        for size_bytes in sizes:
            way = kind.stream(size_bytes, max(MESSAGES_MIN, min(MESSAGES_MAX, BYTES // size_bytes)))
            if way is not None:
                found.append(Trial(name, (ONE_CPU, TWO_CPUS)[cpus - 1], size_bytes, way))
    return found


def _sample_ns(court: Players, number: int, trial: Trial) -> float:
    """How long one message took. A ping-pong's clock is that of the first one, who is also last."""
    trial.way.clear()
    one, other = court.run(number)
    if not trial.way.arrived:
        raise KintroError(f"what was sent by {trial.kind} did not arrive", None, EX_UNAVAILABLE)
    return taken_ns(one, other, trial.bytes is None) / trial.way.messages


def taken_ns(one: Run, other: Run, to_and_fro: bool) -> int:
    if to_and_fro:
        return one.end_ns - one.begin_ns
    return max(one.end_ns, other.end_ns) - min(one.begin_ns, other.begin_ns)


def _loop_ns(way: Way) -> float:
    """What the loop takes for one message: a turn of one of the two, which has part in two messages."""
    if way.empty is None:
        return 0.0
    begin_ns = time.perf_counter_ns()
    way.empty()
    return (time.perf_counter_ns() - begin_ns) / messages.IDLE


def _report(
    cpus: tuple[int, ...],
    asked: tuple[tuple[str, ...], tuple[int, ...]],
    found: Sequence[tuple[Trial, tuple[int, ...], list[float], list[float], Counted | None]],
    known: tuple[dict[str, Limits], dict[str, str]],
    uncounted: str | None,
) -> Report:
    latency, throughput = [], []
    for trial, where, samples_ns, loops_ns, counted in found:
        runs = len(samples_ns)
        pair = (where[0], where[1])
        number = trial.way.messages * runs
        if trial.bytes is None:
            loop_ns = percentile(loops_ns, 0.5)
            latency.append(
                Latency(trial.kind, trial.place, pair, number, runs, spread(samples_ns), loop_ns, counted)
            )
        else:
            throughput.append(
                Throughput(trial.kind, trial.bytes, pair, number, runs, spread(samples_ns), counted)
            )
    siblings = cpu.siblings(cpus[0], cpus[1]) if len(cpus) > 1 else None
    return Report(
        machine(cpus[0]), cpus, siblings, *asked, tuple(latency), tuple(throughput), *known, uncounted
    )
