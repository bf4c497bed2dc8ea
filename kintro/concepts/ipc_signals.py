"""Experiments with signals: where in a program they strike, and how it may take them otherwise.

A process runs a loop of compiled code and makes no call. Of each signal that is sent to it the kernel puts a
frame on a stack that the process has set apart for handlers (sigaltstack(2)): in it are the address of the
instruction that was to come next, and the number that was sent along (sigqueue(3)). As that stack is in
shared memory, the sender reads it there.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import random
import signal
import socket
import struct
import time
from collections import Counter
from typing import NamedTuple

from kintro.concepts.experiment import Experiment, Finding, NotObserved, Picture, judged
from kintro.concepts.ipc_sight import channel, may_trace, ours
from kintro.concepts.scene import STEP_S, Actor, Play
from kintro.concepts.words import Value
from kintro.observers import calls, syscalls
from kintro.observers.ipc import read_inventory
from kintro.renderers import text
from kintro.shapes import Bar, Bars
from kintro.sources import c_loop
from kintro.sources.filters import Filters
from kintro.sources.mappings import read_maps
from kintro.sources.proc_status import read_status

SIGNALS, PAUSE_S = (80, 120), 0.001  # at most between two
POLL_S = 0.00002
PLACES_MIN = 5
RANGE_BYTES, DURATION_S = 256, 0.5
STACK_BYTES = 64 << 10
ASKED = {signal.SIGUSR1, signal.SIGIO}
LOOP, CALLED, HANDLER = "lfind", "fnmatch", "abs"  # of the C library; none makes a system call
PATTERN, TEXT = b"*b*d*f*h", b"abcdefgxabcdefgx"  # that do not match: fnmatch(3) returns 1
_NEAR_BYTES = 64  # so long is LOOP at least
# From ss_sp of a frame's uc_stack to where the instruction pointer is (arch/*/include/uapi/asm/sigcontext.h).
_POINTER_BYTES = {"x86_64": 152, "aarch64": 424}
_FOREVER = 1 << 62
_SA_FLAGS = 0x4 | 0x08000000 | 0x10000000  # SA_SIGINFO, SA_ONSTACK, SA_RESTART, asm-generic/signal-defs.h
_WORD = struct.Struct("=Q")
_libc = ctypes.CDLL(None, use_errno=True)


class _Action(ctypes.Structure):  # struct sigaction of glibc
    _fields_ = [
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ulong * 16),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    ]


class _Stack(ctypes.Structure):  # stack_t of sigaltstack(2)
    _fields_ = [("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


class Struck(NamedTuple):
    """Signals that were sent to a process that runs a loop, each at a moment of the sender's choice."""

    receiver_pid: int
    sent: int
    places: list[int]  # of each that was handled: the address of the instruction that was next
    code: tuple[int, int]  # of the library that the loop and all that it calls lie in: from, to
    calls: dict[str, int] | None  # that the receiver made meanwhile, by name; None: no root
    taken_ns: list[int]  # from the sender's call until the handler was done


class Asked(NamedTuple):
    """Signals that a process keeps back until it asks for them."""

    pending: list[str]  # by the inventory
    taken: list[str]  # when it asked
    left: list[str]  # by the inventory, then


class Signals(NamedTuple):
    struck: Struck
    asked: Asked


def _loop(stack: mmap.mmap) -> Play:
    action = _Action(c_loop.address(HANDLER), (ctypes.c_ulong * 16)(), _SA_FLAGS, None)
    own = _Stack(_address(stack), 0, STACK_BYTES)
    if _libc.sigaltstack(ctypes.byref(own), None) or _libc.sigaction(
        signal.SIGUSR1, ctypes.byref(action), None
    ):
        raise OSError(ctypes.get_errno(), "sigaction")
    yield
    pattern, against = ctypes.create_string_buffer(PATTERN), ctypes.create_string_buffer(TEXT)
    c_loop.calls(c_loop.address(CALLED), ctypes.addressof(pattern), ctypes.addressof(against), _FOREVER)
    yield


def _address(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def _strike(pid: int, stack: mmap.mmap, pointer_bytes: int) -> int:
    """Sends a signal and waits until it is handled: the address where that was."""
    token = random.getrandbits(63) | 1
    if _libc.sigqueue(pid, signal.SIGUSR1, ctypes.c_void_p(token)):
        raise OSError(ctypes.get_errno(), "sigqueue")
    deadline = time.monotonic() + STEP_S
    while stack.find(_WORD.pack(token)) < 0:
        if time.monotonic() > deadline:
            raise NotObserved("not-handled")
        time.sleep(POLL_S)  # the two may have to share a CPU
    frame = stack.rfind(_WORD.pack(_address(stack)) + bytes(8) + _WORD.pack(STACK_BYTES))
    if frame < 0:
        raise NotObserved("no-frame")
    return int(_WORD.unpack_from(stack, frame + pointer_bytes)[0])


def _wait_until_done(pid: int) -> None:
    """Until no handler runs there: meanwhile its signal is blocked."""
    deadline = time.monotonic() + STEP_S
    while (read_status(pid).signals_blocked or 0) >> (signal.SIGUSR1 - 1) & 1:
        if time.monotonic() > deadline:
            raise NotObserved("not-handled")
        time.sleep(POLL_S)


def _struck() -> Struck:
    pointer_bytes = _POINTER_BYTES.get(os.uname().machine)
    if pointer_bytes is None:
        raise NotObserved("unknown-machine", machine=os.uname().machine)
    stack = mmap.mmap(-1, STACK_BYTES)
    loop = c_loop.address(LOOP)
    places: list[int] = []
    with Actor(_loop, stack) as receiver:
        receiver.step()
        [code] = [(m.start, m.end) for m in read_maps(receiver.pid) if m.start <= loop < m.end]
        sent = random.randint(*SIGNALS)
        window_ns: list[int] = []

        def strike() -> None:
            receiver.go_on()
            deadline = time.monotonic() + STEP_S
            while not 0 <= _strike(receiver.pid, stack, pointer_bytes) - loop < _NEAR_BYTES:
                if time.monotonic() > deadline:
                    raise NotObserved("not-handled")
            _wait_until_done(receiver.pid)
            window_ns.append(time.monotonic_ns())
            for _ in range(sent):
                time.sleep(random.uniform(0, PAUSE_S))
                places.append(_strike(receiver.pid, stack, pointer_bytes))
            _wait_until_done(receiver.pid)
            window_ns.append(time.monotonic_ns())

        if not may_trace():
            strike()
            return Struck(receiver.pid, sent, places, code, None, [])
        with calls.trace(filters=ours(), during=strike) as run:
            traced = [(seen.call.ts_ns, seen.call.pid, seen.name) for seen in run]
        made = sorted(one for one in traced if window_ns[0] <= one[0] <= window_ns[1])
        names = Counter(name for _, pid, name in made if pid == receiver.pid)
        begun_ns = [ts_ns for ts_ns, pid, name in made if (pid, name) == (os.getpid(), "rt_sigqueueinfo")]
        done_ns = [ts_ns for ts_ns, pid, name in made if (pid, name) == (receiver.pid, "rt_sigreturn")]
        taken_ns = [done - begun for begun, done in zip(begun_ns, done_ns)]
        return Struck(receiver.pid, sent, places, code, dict(names), taken_ns)


def _keep_back(ours: socket.socket, theirs: socket.socket) -> Play:
    theirs.close()
    signal.pthread_sigmask(signal.SIG_BLOCK, ASKED)
    fcntl.fcntl(ours, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(ours, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
    yield
    yield sorted(signal.Signals(signal.sigwait(ASKED)).name for _ in ASKED)
    yield


def _asked() -> Asked:
    ours, theirs = socket.socketpair()
    with ours, theirs, Actor(_keep_back, ours, theirs) as receiver:
        receiver.step()
        os.kill(receiver.pid, signal.SIGUSR1)
        theirs.send(b"!")  # of which the kernel makes the other signal
        before = channel(read_inventory(), "signal", lambda one: one.id == str(receiver.pid))
        taken = receiver.step()
        after = [
            one for one in read_inventory().channels if (one.kind, one.id) == ("signal", str(receiver.pid))
        ]
        left = [name for one in after for name in one.facts["signals"]]
        return Asked(sorted(before.facts["signals"]), taken, left)


def observe_signals() -> Signals:
    return Signals(_struck(), _asked())


def judge_signals(seen: Signals) -> Finding:
    struck, asked = seen.struck, seen.asked
    places = Counter(struck.places)
    others = sum(number for name, number in (struck.calls or {}).items() if name != "rt_sigreturn")
    facts: dict[str, Value] = {
        "receiver_pid": struck.receiver_pid,
        "sent": struck.sent,
        "handled": len(struck.places),
        "places": len(places),
        "code_bytes": max(places, default=0) - min(places, default=0),
        "returns": struck.calls.get("rt_sigreturn", 0) if struck.calls is not None else None,
        "other_calls": others if struck.calls is not None else None,
        "taken_ns": sorted(struck.taken_ns)[len(struck.taken_ns) // 2] if struck.taken_ns else None,
        "pending": " ".join(asked.pending),
        "taken": " ".join(asked.taken),
    }
    anywhere = len(places) >= PLACES_MIN and all(struck.code[0] <= place < struck.code[1] for place in places)
    # It was in its loop all the time, and did not ask: the only calls are those that a handler ends with.
    unasked = struck.calls is None or (facts["returns"], others) == (struck.sent, 0)
    names = sorted(one.name for one in ASKED)
    kept_back = asked.pending == asked.taken == names and not asked.left
    holds = len(struck.places) == struck.sent and anywhere and unasked
    pictures = [Picture("where", _places(struck, places))]
    if struck.taken_ns:
        pictures.append(Picture("signal-latency", _durations(struck.taken_ns)))
    return Finding(judged(holds, kept_back), facts, tuple(pictures))


def _places(struck: Struck, places: Counter[int]) -> Bars:
    """By address, counted from the library's beginning."""
    ranges: Counter[int] = Counter()
    for place, number in places.items():
        ranges[(place - struck.code[0]) // RANGE_BYTES * RANGE_BYTES] += number
    bars = tuple(Bar(f"0x{start:x}–0x{start + RANGE_BYTES:x}", ranges[start]) for start in sorted(ranges))
    return Bars("", "signals", False, bars)


def _durations(taken_ns: list[int]) -> Bars:
    """A histogram with ranges by powers of two."""
    found = Counter(taken.bit_length() for taken in taken_ns)
    ranges = range(min(found), max(found) + 1)
    labels = [f"{text.duration(1 << bits >> 1)}–{text.duration(1 << bits)}" for bits in ranges]
    return Bars("", "signals", False, tuple(Bar(label, found[bits]) for label, bits in zip(labels, ranges)))


class Prepared(NamedTuple):
    """What a process that is there already does about signals."""

    handlers: int  # signals that it has a handler for
    open: int  # of those, that are not blocked
    pending: int
    returns: int | None  # handlers that ended in DURATION_S; None: no root
    asked: int | None  # calls that wait for signals


def observe_on(pid: int) -> Prepared:
    status = read_status(pid)
    caught, blocked = status.signals_caught or 0, status.signals_blocked or 0
    if not caught & ~blocked:
        raise NotObserved("no-handlers", on_pid=pid)
    pending = (status.signals_pending or 0) | (status.signals_shared_pending or 0)
    figures = caught.bit_count(), (caught & ~blocked).bit_count(), pending.bit_count()
    if not may_trace():
        return Prepared(*figures, None, None)
    found = syscalls.count(filters=Filters(pid=pid, follow=False), duration_s=DURATION_S).syscalls
    returns, asked = (
        sum(call.calls for call in found if call.name in names)
        for names in (("rt_sigreturn",), ("rt_sigtimedwait", "rt_sigsuspend"))
    )
    return Prepared(*figures, returns, asked)


def judge_on(seen: Prepared) -> Finding:
    facts: dict[str, Value] = {
        "handlers": seen.handlers,
        "open_handlers": seen.open,
        "pending_now": seen.pending,
        "returns": seen.returns,
        "asked": seen.asked,
    }
    return Finding(judged(seen.open > 0, False), facts)


EXPERIMENTS = (Experiment("M4", observe_signals, judge_signals, on=observe_on, judge_on=judge_on),)
