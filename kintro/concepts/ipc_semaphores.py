"""Experiments with semaphores: who waits, who wakes whom, and when the kernel hears of it at all."""

from __future__ import annotations

import ctypes
import mmap
import random
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from kintro.concepts.experiment import Experiment, Finding, Picture, judged
from kintro.concepts.ipc_sight import (
    End,
    channel,
    ends,
    holdings,
    judge_held,
    may_trace,
    ours,
    picture,
)
from kintro.concepts.scene import STEP_S, Actor, Play
from kintro.concepts.words import Value
from kintro.observers import switches, syscalls
from kintro.observers.ipc import read_inventory
from kintro.observers.ipc_records import Channel, Inventory
from kintro.shapes import Bar, Bars, Graph
from kintro.sources.filters import Filters

LETTERS = b"ab"  # of two processes
ROUNDS, TIMES = (150, 250), (2000, 3000)
_IPC_CREAT, _IPC_RMID = 0o1000, 0  # include/uapi/linux/ipc.h
_SEM_BYTES = 64  # sem_t has 32 with glibc; a cache line for each
_NUMBER = struct.Struct("=Q")
_libc = ctypes.CDLL(None, use_errno=True)


class Semaphores(NamedTuple):
    """Two of them, by number, that are 0 at first."""

    wait: Callable[[int], int]
    post: Callable[[int], int]


class Turns(NamedTuple):
    """Two processes that wait for one another and post to one another."""

    rounds: int
    order: bytes  # who had its turn when: a, b
    blocked: int | None  # how often one of them left its CPU to wait; None: no root
    woken: int | None  # how often one woke the other
    blocked_ns: int | None


class Waiting(NamedTuple):
    """A process that waits at a System V semaphore, by the inventory."""

    waiting: int  # while its value was 0
    went_on_early: bool
    waiting_after: int  # when another one had posted
    ends: list[End]  # who did the last operation, as it is
    told_ends: list[End]
    graph: Graph


class Synchronised(NamedTuple):
    posix: Turns
    sysv: Turns
    waiting: Waiting
    times: int  # that one process posted to a semaphore and waited at it, with nobody else there
    posix_calls: int | None  # system calls that took; None: no root
    sysv_calls: int | None


@contextmanager
def _posix() -> Iterator[Semaphores]:
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    at = [ctypes.c_void_p(base + number * _SEM_BYTES) for number in range(2)]
    for one in at:
        if _libc.sem_init(one, 1, 0):
            raise OSError(ctypes.get_errno(), "sem_init")
    yield Semaphores(lambda number: _libc.sem_wait(at[number]), lambda number: _libc.sem_post(at[number]))


@contextmanager
def _sysv(told: Callable[[int], None] = lambda _: None) -> Iterator[Semaphores]:
    """`told` is called with the id of the set."""
    identity = _libc.semget(0, 2, 0o600 | _IPC_CREAT)
    if identity < 0:
        raise OSError(ctypes.get_errno(), "semget")
    told(identity)
    operations = {
        (number, amount): struct.pack("HhH", number, amount, 0) for number in range(2) for amount in (-1, 1)
    }

    def by(amount: int) -> Callable[[int], int]:
        return lambda number: _libc.semop(identity, operations[number, amount], ctypes.c_size_t(1))

    try:
        yield Semaphores(by(-1), by(1))
    finally:
        _libc.semctl(identity, 0, _IPC_RMID)


class _Log:
    """Who wrote one after the other, in shared memory. No two may write at once."""

    def __init__(self, size: int) -> None:
        self._memory = mmap.mmap(-1, _NUMBER.size + size)

    def write(self, who: int) -> None:
        [place] = _NUMBER.unpack_from(self._memory)
        self._memory[_NUMBER.size + place] = who
        _NUMBER.pack_into(self._memory, 0, place + 1)

    def read(self) -> bytes:
        [place] = _NUMBER.unpack_from(self._memory)
        return self._memory[_NUMBER.size : _NUMBER.size + place]


def _wait(semaphores: Semaphores, number: int) -> None:
    if semaphores.wait(number):
        raise OSError(ctypes.get_errno(), "a semaphore is not waited for")


def _take_turns(semaphores: Semaphores, log: _Log, own: int, rounds: int) -> Play:
    yield
    for _ in range(rounds):
        _wait(semaphores, own)
        log.write(LETTERS[own])
        semaphores.post(1 - own)
    yield


def _turns(semaphores: Semaphores) -> Turns:
    rounds = random.randint(*ROUNDS)
    log = _Log(2 * rounds)
    with (
        Actor(_take_turns, semaphores, log, 0, rounds) as a,
        Actor(_take_turns, semaphores, log, 1, rounds) as b,
    ):

        def run() -> None:
            for actor in (a, b):
                actor.go_on()
            semaphores.post(0)
            for actor in (a, b):
                actor.told()

        a.step()
        b.step()
        if not may_trace():
            run()
            return Turns(rounds, log.read(), None, None, None)
        found = switches.count(filters=ours(), during=run)
        slots = {slot for slot, name in found.names.items() if name.tid in (a.pid, b.pid)}
        tasks = [task for slot, task in found.tasks.items() if slot in slots]
        woken = sum(times for pair, times in found.wakes.items() if set(pair) == slots)
        blocked_ns = sum(task.blocked_ns for task in tasks)
        return Turns(rounds, log.read(), sum(task.voluntary for task in tasks), woken, blocked_ns)


def _wait_and_write(semaphores: Semaphores, log: _Log) -> Play:
    yield
    _wait(semaphores, 0)
    log.write(LETTERS[0])
    yield
    yield


def _post_both(semaphores: Semaphores) -> Play:
    yield semaphores.post(1), semaphores.post(0)
    yield


def _waiting() -> Waiting:
    ids: list[int] = []
    log = _Log(1)
    with (
        _sysv(ids.append) as semaphores,
        Actor(_wait_and_write, semaphores, log) as waiter,
        Actor(_post_both, semaphores) as poster,
    ):
        waiter.step()
        waiter.go_on()
        deadline = time.monotonic() + STEP_S
        while not (before := _set(read_inventory(), ids[0])).facts["waiting"] and time.monotonic() < deadline:
            time.sleep(0.001)
        early = log.read() != b""
        poster.step()
        waiter.told()
        found = read_inventory()
        after = _set(found, ids[0])
        who: list[End] = [(actor.pid, None, "last operator") for actor in (waiter, poster)]
        waiting = before.facts["waiting"] or 0, after.facts["waiting"] or 0
        graph = picture(found, [after])
        return Waiting(waiting[0], early, waiting[1], sorted(who, key=str), ends(after), graph)


def _set(found: Inventory, identity: int) -> Channel:
    return channel(found, "sysv-sem", lambda one: one.id == str(identity))


def _alone(kinds: Sequence[Semaphores], times: int) -> Play:
    yield
    for semaphores in kinds:
        for _ in range(times):
            semaphores.post(0)
            semaphores.wait(0)
    yield


def _calls(posix: Semaphores, sysv: Semaphores, times: int) -> tuple[int | None, int | None]:
    """System calls of one process that uses a semaphore alone, of either kind."""
    if not may_trace():
        return None, None
    with Actor(_alone, (posix, sysv), times) as actor:
        actor.step()
        found = syscalls.count(filters=Filters(pid=actor.pid), during=actor.step).syscalls
        calls = {call.name: call.calls for call in found}
        return calls.get("futex", 0), calls.get("semop", 0) + calls.get("semtimedop", 0)


def observe_semaphores() -> Synchronised:
    times = random.randint(*TIMES)
    with _posix() as posix, _sysv() as sysv:
        turns = _turns(posix), _turns(sysv)
        calls = _calls(posix, sysv, times)
    return Synchronised(*turns, _waiting(), times, *calls)


def judge_semaphores(seen: Synchronised) -> Finding:
    waiting = seen.waiting
    facts: dict[str, Value] = {
        "posix_rounds": seen.posix.rounds,
        "posix_blocked": seen.posix.blocked,
        "posix_woken": seen.posix.woken,
        "posix_blocked_ns": seen.posix.blocked_ns,
        "sysv_rounds": seen.sysv.rounds,
        "sysv_blocked": seen.sysv.blocked,
        "sysv_woken": seen.sysv.woken,
        "sysv_blocked_ns": seen.sysv.blocked_ns,
        "strict_order": _in_order(seen.posix) and _in_order(seen.sysv),
        "waiting": waiting.waiting,
        "went_on_early": waiting.went_on_early,
        "waiting_after": waiting.waiting_after,
        "operators": len(waiting.told_ends),
        "times": seen.times,
        "posix_calls": seen.posix_calls,
        "sysv_calls": seen.sysv_calls,
    }
    waited = waiting.waiting == 1 and not waiting.went_on_early and waiting.waiting_after == 0
    holds = waited and waiting.told_ends == waiting.ends and _held_back(seen.posix) and _held_back(seen.sysv)
    # With nobody to wait for, one kind is a number in shared memory, the other one a call each time.
    unnoticed = seen.posix_calls == 0 and seen.sysv_calls == 2 * seen.times
    pictures = [Picture("semaphore-graph", waiting.graph)]
    if seen.posix_calls is not None and seen.sysv_calls is not None:
        amounts = {"POSIX": seen.posix_calls, "System V": seen.sysv_calls}
        bars = tuple(Bar(label, amount) for label, amount in amounts.items())
        pictures.append(Picture("calls-alone", Bars("", "system calls", False, bars)))
    return Finding(judged(holds, unnoticed), facts, tuple(pictures))


def _in_order(turns: Turns) -> bool:
    return turns.order == LETTERS * turns.rounds


def _held_back(turns: Turns) -> bool:
    """Each had its turn after the other's; where that is known, by sleeping until the other woke it.

    One of the two may always find the other's post there already, for instance if they share a CPU.
    """
    slept = all(times is None or times >= turns.rounds / 2 for times in (turns.blocked, turns.woken))
    return _in_order(turns) and slept


EXPERIMENTS = (
    Experiment(
        "M5", observe_semaphores, judge_semaphores, on=holdings("sysv-sem", "sem"), judge_on=judge_held
    ),
)
