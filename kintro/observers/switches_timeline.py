"""Turns on CPUs as timelines: for Perfetto, as Chrome's trace events; what a turn tells beside its times.

A timeline shows all tasks of all CPUs, whatever the filters let through: who waits, waits for somebody.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import NamedTuple, Protocol

from kintro.observers.switches import NOBODY
from kintro.observers.switches_records import PREEMPTED, UNTOLD, Name, Turn, Waking
from kintro.renderers import perfetto
from kintro.renderers.text import printable

BATCH = 1000  # events of a CPU that are handed on together
_PRIORITY = 120  # the default's: a turn does not tell it
# include/linux/sched.h: what of a state is told, and as what (__trace_sched_switch_state of
# include/trace/events/sched.h)
_DEAD, _IDLE_STATE, _TOLD, _AS_IDLE, _AS_PREEMPTED, _AS_DEAD = 0x80, 0x402, 0x7F, 0x80, 0x100, 0x10

# By told_state; in what else a task leaves its CPU it is blocked.
_LEFT = {0: "made way", _AS_PREEMPTED: "preempted", _AS_DEAD: "ended", 0x20: "ended"}
_LEFT |= {2: "blocked, uninterruptible", 4: "stopped", 8: "stopped by a tracer", 0x40: "parked"}
_LEFT |= {_AS_IDLE: "blocked, idle"}

Write = Callable[[bytes], object]
Names = Callable[[int], Name]  # slot → who it is


class Timeline(Protocol):
    """Takes turns by their end and wakings by their time, in that order; flush() writes the rest."""

    def add(self, event: Turn | Waking) -> None: ...

    def flush(self) -> None: ...


def told_state(state: int) -> int:
    """The state in which a task leaves its CPU as the tracepoint sched_switch prints it."""
    if state & (PREEMPTED | UNTOLD):
        return _AS_PREEMPTED
    if state & _DEAD:
        return _AS_DEAD
    if state & _IDLE_STATE == _IDLE_STATE:
        return _AS_IDLE
    told = state & _TOLD
    return 1 << told.bit_length() - 1 if told else 0


def left(state: int) -> str:
    """Why a task left its CPU, in a word or two."""
    return "unknown" if state & UNTOLD else _LEFT.get(told_state(state), "blocked")


class Wait(NamedTuple):
    """What came before a turn."""

    since_ns: int | None  # from when on the task could have run; None if that was not seen
    waking: Waking | None  # what made it so; None if it had not slept, or that was not seen


class Waits:
    """Brings each turn together with the waking that led to it."""

    def __init__(self) -> None:
        self._wakings: dict[int, list[Waking]] = {}  # by slot: those since its last turn, or in it
        self._left: dict[int, tuple[int, int]] = {}  # by slot: when and how it left a CPU

    def woken(self, waking: Waking) -> None:
        self._wakings.setdefault(waking.slot, []).append(waking)

    def before(self, turn: Turn) -> Wait:
        """Who is woken when it is about to sleep, but is still there, has waited from its leaving on.

        A switch that the tracepoint did not tell of is made up for, and may seem to come after the next turn.
        """
        wakings = self._wakings.pop(turn.slot, [])
        out_ns, state = self._left.get(turn.slot, (0, UNTOLD))
        self._left[turn.slot] = turn.ended_ns, turn.state
        during = [waking for waking in wakings if waking.ts_ns > turn.ts_ns]
        if during and not turn.state & PREEMPTED and turn.state:
            self._wakings[turn.slot] = during[-1:]
        if not state & UNTOLD and (state & PREEMPTED or not state):
            return Wait(min(out_ns, turn.ts_ns), None)
        waking = wakings[-1 - len(during)] if len(wakings) > len(during) else None
        return Wait(None if waking is None else min(max(out_ns, waking.ts_ns), turn.ts_ns), waking)


class PerfettoTimeline:
    """Scheduler events, from which Perfetto makes its own view of the CPUs."""

    def __init__(self, write: Write, release: str, begin_ns: int, names: Names) -> None:
        """`release`: uname(2)'s of the kernel. KintroError if the package perfetto is missing."""
        self._out = perfetto.Timeline(write, release)
        self._begin_ns, self._names = begin_ns, names
        self._known: dict[int, Name] = {}
        self._living: dict[int, set[int]] = {}  # by pid, the slots of its threads
        self._first_ended: dict[int, Name] = {}  # by pid: its first thread, while there are others
        self._switches: dict[int, list[perfetto.Switch]] = {}
        self._wakings: dict[int, list[perfetto.Waking]] = {}

    def add(self, event: Turn | Waking) -> None:
        if isinstance(event, Waking):
            woken, waker = self._name(event.slot, event.ts_ns), self._name(event.waker_slot, event.ts_ns)
            waking = perfetto.Waking(
                event.ts_ns, waker.tid, woken.tid, woken.comm, _PRIORITY, event.target_cpu
            )
            self._wakings.setdefault(event.cpu, []).append(waking)
            return
        prev, following = self._name(event.slot, event.ts_ns), self._name(event.next_slot, event.ended_ns)
        if event.cpu not in self._switches:  # who was there when tracing began came from nobody
            self._switches[event.cpu] = [_switch(event.ts_ns, NOBODY, 0, prev)] if prev.tid else []
        self._switches[event.cpu].append(_switch(event.ended_ns, prev, told_state(event.state), following))
        if event.state & _DEAD and not event.state & (PREEMPTED | UNTOLD):
            self._end(event, prev)
        elif len(self._switches[event.cpu]) >= BATCH:
            self._hand_on(event.cpu)

    def _end(self, event: Turn, name: Name) -> None:
        """A process ends with the last of its threads: for Perfetto it does with the one that has its pid."""
        self._hand_on(event.cpu)
        living = self._living.get(name.pid, set())
        living.discard(event.slot)
        if living and name.tid == name.pid:
            self._first_ended[name.pid] = name
            return
        ended = [name] if living else [name, *filter(None, [self._first_ended.pop(name.pid, None)])]
        ends = [perfetto.End(event.ended_ns, one.tid, one.comm, _PRIORITY) for one in ended]
        self._out.ends(event.cpu, ends)

    def flush(self) -> None:
        for cpu in {*self._switches, *self._wakings}:
            self._hand_on(cpu)
        self._out.flush()

    def _hand_on(self, cpu: int) -> None:
        self._out.switches(cpu, self._switches.get(cpu, []))
        self._out.wakings(cpu, self._wakings.pop(cpu, []))
        self._switches[cpu] = []

    def _name(self, slot: int, ts_ns: int) -> Name:
        found = self._names(slot)
        if self._known.get(slot) != found:  # new, or an exec has renamed it
            self._known[slot] = found
            if found.tid:
                self._living.setdefault(found.pid, set()).add(slot)
                leader = found.comm if found.tid == found.pid else b""
                self._out.task(max(self._begin_ns, ts_ns), found.pid, found.tid, found.comm, leader)
        return found


def _switch(ts_ns: int, prev: Name, state: int, following: Name) -> perfetto.Switch:
    return perfetto.Switch(
        ts_ns, prev.tid, prev.comm, _PRIORITY, state, following.tid, following.comm, _PRIORITY
    )


class ChromeTimeline:
    """Trace events as JSON, a lane for each CPU, for chrome://tracing and whatever else reads them.

    Times are microseconds since tracing began. Arrows lead from who woke a task to its turn.
    """

    def __init__(self, write: Write, begin_ns: int, names: Names) -> None:
        self._write, self._begin_ns, self._names = write, begin_ns, names
        self._waits = Waits()
        self._lanes: set[int] = set()
        self._arrows = 0
        self._texts: dict[Name, str] = {}
        self._lines = ['{"displayTimeUnit":"ns","traceEvents":[\n']
        self._lines += ['{"ph":"M","pid":0,"name":"process_name","args":{"name":"CPUs"}}']

    def add(self, event: Turn | Waking) -> None:
        if isinstance(event, Waking):
            self._waits.woken(event)
            return
        cpu = event.cpu
        if cpu not in self._lanes:
            self._lanes.add(cpu)
            name = f'"name":"thread_name","args":{{"name":"CPU {cpu}"}}'
            self._lines.append(f',\n{{"ph":"M","pid":0,"tid":{cpu},{name}}}')
        task = self._text(self._names(event.slot))
        if not task:
            return
        wait, begin = self._waits.before(event), self._us(event.ts_ns)
        waited = "null" if wait.since_ns is None else event.ts_ns - wait.since_ns
        times = f'"ts":{begin},"dur":{_us(event.ended_ns - event.ts_ns)}'
        more = f'"waited_ns":{waited},"left":"{left(event.state)}"'
        self._lines.append(f',\n{{"ph":"X","pid":0,"tid":{cpu},{times},"cat":"turn",{task},{more}}}}}')
        if wait.waking is not None:
            self._arrows += 1
            arrow = f'"pid":0,"cat":"wake-up","name":"wakes","id":{self._arrows}'
            woken = self._us(wait.waking.ts_ns)
            self._lines.append(f',\n{{"ph":"s",{arrow},"tid":{wait.waking.cpu},"ts":{woken}}}')
            self._lines.append(f',\n{{"ph":"f","bp":"e",{arrow},"tid":{cpu},"ts":{begin}}}')
        if len(self._lines) >= BATCH:
            self._hand_on()

    def flush(self) -> None:
        self._lines.append("\n]}\n")
        self._hand_on()

    def _hand_on(self) -> None:
        lines, self._lines = self._lines, []
        self._write("".join(lines).encode())

    def _us(self, ts_ns: int) -> str:
        return _us(ts_ns - self._begin_ns)

    def _text(self, name: Name) -> str:
        """A task's part of its turns; none of the idle task."""
        text = self._texts.get(name)
        if text is None:
            comm = json.dumps(printable(name.comm))
            text = f'"name":{comm},"args":{{"pid":{name.pid},"tid":{name.tid}' if name.tid else ""
            self._texts[name] = text
        return text


def _us(ns: int) -> str:
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    return f"{sign}{ns // 1000}.{ns % 1000:03}"


def require(path: str) -> None:
    """Imports what `made` needs, before anything is traced. KintroError if a package is missing."""
    if path.endswith(".html"):
        from kintro.observers import switches_page  # noqa: F401
    elif not path.endswith(".json"):
        perfetto.schema()


def made(path: str, write: Write, begin_ns: int, names: Names) -> Timeline:
    """The kind of timeline that a path's ending asks for."""
    if path.endswith(".json"):
        return ChromeTimeline(write, begin_ns, names)
    if path.endswith(".html"):
        from kintro.observers.switches_page import PageTimeline

        return PageTimeline(write, begin_ns, names)
    return PerfettoTimeline(write, os.uname().release, begin_ns, names)
