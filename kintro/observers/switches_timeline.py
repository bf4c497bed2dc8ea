"""Turns on CPUs as timelines: for Perfetto, and as Chrome's trace events.

A timeline shows all tasks of all CPUs, whatever the filters let through: who waits, waits for somebody.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from kintro.observers.switches import NOBODY
from kintro.observers.switches_records import PREEMPTED, UNTOLD, Name, Turn, Waking
from kintro.renderers import perfetto
from kintro.renderers.text import printable

BATCH = 1000  # events of a CPU that are handed on together
_PRIORITY = 120  # the default's: a turn does not tell it
# include/linux/sched.h: what of a state is told, and as what (__trace_sched_switch_state of
# include/trace/events/sched.h)
_DEAD, _IDLE_STATE, _TOLD, _AS_IDLE, _AS_PREEMPTED, _AS_DEAD = 0x80, 0x402, 0x7F, 0x80, 0x100, 0x10

Names = Callable[[int], Name]  # slot → who it is


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


class PerfettoTimeline:
    """Scheduler events, from which Perfetto makes its own view of the CPUs."""

    def __init__(self, write: Callable[[bytes], object], release: str, begin_ns: int, names: Names) -> None:
        """`release`: uname(2)'s of the kernel. KintroError if the package perfetto is missing."""
        self._out = perfetto.Timeline(write, release)
        self._begin_ns, self._names = begin_ns, names
        self._known: dict[int, Name] = {}
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
            self._hand_on(event.cpu)
            self._out.ends(event.cpu, [perfetto.End(event.ended_ns, prev.tid, prev.comm, _PRIORITY)])
        elif len(self._switches[event.cpu]) >= BATCH:
            self._hand_on(event.cpu)

    def flush(self) -> None:
        for cpu in {*self._switches, *self._wakings}:
            self._hand_on(cpu)
        self._out.flush()

    def _hand_on(self, cpu: int) -> None:
        self._out.switches(cpu, self._switches.get(cpu, []))
        self._out.wakings(cpu, self._wakings.pop(cpu, []))
        self._switches[cpu] = []

    def _name(self, slot: int, ts_ns: int) -> Name:
        found = self._known.get(slot)
        if found is None:
            found = self._known[slot] = self._names(slot)
            if found.tid:
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

    def __init__(self, write: Callable[[bytes], object], begin_ns: int, names: Names) -> None:
        self._write, self._begin_ns, self._names = write, begin_ns, names
        self._woken: dict[int, Waking] = {}  # by slot
        self._lanes: set[int] = set()
        self._arrows = 0
        write(b'{"displayTimeUnit":"ns","traceEvents":[\n')
        self._put({"ph": "M", "pid": 0, "name": "process_name", "args": {"name": "CPUs"}}, first=True)

    def add(self, event: Turn | Waking) -> None:
        if isinstance(event, Waking):
            self._woken[event.slot] = event
            return
        if event.cpu not in self._lanes:
            self._lanes.add(event.cpu)
            lane = {"ph": "M", "pid": 0, "tid": event.cpu, "name": "thread_name"}
            self._put(lane | {"args": {"name": f"CPU {event.cpu}"}})
        name, waking = self._names(event.slot), self._woken.pop(event.slot, None)
        if not name.tid:
            return
        turn = {"ph": "X", "pid": 0, "tid": event.cpu, "ts": self._us(event.ts_ns)}
        turn |= {"dur": (event.ended_ns - event.ts_ns) / 1000, "name": printable(name.comm), "cat": "turn"}
        self._put(turn | {"args": {"pid": name.pid, "tid": name.tid, "left": left(event.state)}})
        if waking is not None and waking.ts_ns <= event.ts_ns:
            self._arrows += 1
            arrow = {"pid": 0, "cat": "wake-up", "name": "wakes", "id": self._arrows}
            self._put(arrow | {"ph": "s", "tid": waking.cpu, "ts": self._us(waking.ts_ns)})
            self._put(arrow | {"ph": "f", "bp": "e", "tid": event.cpu, "ts": self._us(event.ts_ns)})

    def flush(self) -> None:
        self._write(b"\n]}\n")

    def _us(self, ts_ns: int) -> float:
        return (ts_ns - self._begin_ns) / 1000

    def _put(self, event: Mapping[str, Any], first: bool = False) -> None:
        text = json.dumps(event, separators=(",", ":"))
        self._write(text.encode() if first else b",\n" + text.encode())


def left(state: int) -> str:
    """Why a task left its CPU, in a word."""
    if state & UNTOLD:
        return "unknown"
    if state & PREEMPTED:
        return "preempted"
    if state & _DEAD:
        return "ended"
    return "blocked" if state else "yielded"


def made(
    path: str, write: Callable[[bytes], object], begin_ns: int, names: Names
) -> PerfettoTimeline | ChromeTimeline:
    """The kind of timeline that a path's ending asks for."""
    if path.endswith(".json"):
        return ChromeTimeline(write, begin_ns, names)
    return PerfettoTimeline(write, os.uname().release, begin_ns, names)
