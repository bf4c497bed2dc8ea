"""Turns on CPUs as a page for a browser, written when all are known."""

from __future__ import annotations

import os
from collections import Counter

import numpy as np

from kintro.observers.switches_records import Name, Turn, Waking
from kintro.observers.switches_stretches import (
    FIELDS,
    LANE,
    LEFT,
    NOBODY,
    ROOM,
    SEVERAL,
    TASK,
    TURNS,
    UNSEEN,
    WAKER,
    WAKER_LANE,
    Stretches,
)
from kintro.observers.switches_timeline import Names, Waits, Write, left
from kintro.renderers import html
from kintro.renderers.text import duration
from kintro.shapes import Lane, Runner, Timeline, Turns


class PageTimeline:
    """A lane for each CPU. Room and file are bounded: see switches_stretches."""

    def __init__(self, write: Write, begin_ns: int, names: Names, room: int = ROOM) -> None:
        self._write, self._begin_ns, self._names = write, begin_ns, names
        self._waits = Waits()
        self._stretches = Stretches(room)
        self._ends_ns: dict[int, int] = {}  # by CPU: up to when all is known
        self._endings = {"several": SEVERAL}
        self._idle: set[int] = set()  # slots
        self._turns: Counter[int] = Counter()  # by slot, as all of these
        self._busy_ns: Counter[int] = Counter()
        self._waited_ns: Counter[int] = Counter()
        self._lane_turns: Counter[int] = Counter()  # by CPU, as both of these
        self._lane_busy_ns: Counter[int] = Counter()
        self._unknown_ns: Counter[int] = Counter()

    def add(self, event: Turn | Waking) -> None:
        if isinstance(event, Waking):
            self._waits.woken(event)
            return
        ended_ns, ts_ns, slot, _, cpu, state = event
        self._unknown(cpu, self._ends_ns.get(cpu, self._begin_ns), ts_ns)
        self._ends_ns[cpu] = ended_ns
        if slot not in self._turns:
            if slot in self._idle:
                return
            if not self._names(slot).tid:
                self._idle.add(slot)
                return
        wait = self._waits.before(event)
        self._turns[slot] += 1
        self._busy_ns[slot] += ended_ns - ts_ns
        self._lane_turns[cpu] += 1
        self._lane_busy_ns[cpu] += ended_ns - ts_ns
        since_ns, waking, begin_ns = wait.since_ns, wait.waking, self._begin_ns
        if since_ns is not None:
            self._waited_ns[slot] += ts_ns - since_ns
            since_ns -= begin_ns
        woken = (UNSEEN, UNSEEN, UNSEEN)
        if waking is not None:
            woken = (waking.waker_slot, waking.cpu, waking.ts_ns - begin_ns)
        self._add(cpu, ts_ns, ended_ns, slot, left(state), -1 if since_ns is None else since_ns, woken)

    def flush(self) -> None:
        self._write(html.timeline(self.timeline()).encode())

    def timeline(self) -> Timeline:
        """All that was added. To be called once."""
        end_ns = max(self._ends_ns.values(), default=self._begin_ns)
        for cpu, known_ns in self._ends_ns.items():
            self._unknown(cpu, known_ns, end_ns)
        table = self._stretches.table().copy()
        slots = sorted(self._turns, key=lambda slot: -self._busy_ns[slot])
        wakers = set(np.unique(table[:, WAKER]).tolist()) - {UNSEEN, *slots}
        slots += sorted(slot for slot in wakers if self._names(slot).tid)
        named = {slot: self._names(slot) for slot in slots}
        for column in (TASK, WAKER):
            table[:, column] = _numbered(table[:, column], slots, NOBODY)
        cpus = sorted(self._ends_ns)
        for column in (LANE, WAKER_LANE):
            table[:, column] = _numbered(table[:, column], cpus, UNSEEN)
        duration_ns = end_ns - self._begin_ns
        turns = sum(self._turns.values())
        busy_ns = sum(self._busy_ns.values())
        return Timeline(
            f"{len(cpus)} CPU{'' if len(cpus) == 1 else 's'} for {duration(duration_ns)}",
            f"who ran when on {os.uname().nodename}, Linux {os.uname().release}",
            (
                ("Turns", f"{turns:,}"),
                ("Tasks", f"{len(self._turns):,}"),
                ("Busy", f"{busy_ns / max(1, duration_ns * len(cpus)):.1%}"),
            ),
            _note(table, turns, self._stretches.step_ns, sum(self._unknown_ns.values())),
            duration_ns,
            tuple(self._lane(cpu) for cpu in cpus),
            tuple(self._runner(slot, named[slot]) for slot in slots),
            tuple(self._endings),
            Turns(*(np.ascontiguousarray(table[:, column]) for column in range(FIELDS))),
        )

    def _unknown(self, cpu: int, from_ns: int, to_ns: int) -> None:
        if to_ns > from_ns:
            self._unknown_ns[cpu] += to_ns - from_ns
            self._add(cpu, from_ns, to_ns, UNSEEN, "unknown")

    def _add(
        self,
        cpu: int,
        ts_ns: int,
        ended_ns: int,
        slot: int,
        ending: str,
        since_ns: int = -1,
        woken: tuple[int, int, int] = (UNSEEN, UNSEEN, UNSEEN),
    ) -> None:
        code = self._endings.setdefault(ending, len(self._endings))
        begin_ns, end_ns, ran_ns = ts_ns - self._begin_ns, ended_ns - self._begin_ns, ended_ns - ts_ns
        number, busy_ns = (0, 0) if slot == UNSEEN else (1, ran_ns)
        self._stretches.add(cpu, begin_ns, end_ns, slot, code, since_ns, *woken, number, busy_ns, busy_ns)

    def _lane(self, cpu: int) -> Lane:
        return Lane(f"CPU {cpu}", self._lane_turns[cpu], self._lane_busy_ns[cpu], self._unknown_ns[cpu])

    def _runner(self, slot: int, name: Name) -> Runner:
        figures = self._turns[slot], self._busy_ns[slot], self._waited_ns[slot]
        return Runner(name.comm, name.tid, name.pid, *figures)


def _numbered(column: np.ndarray, known: list[int], unknown: int) -> np.ndarray:
    """Numbers as their places in a list; UNSEEN as it is."""
    places = {number: place for place, number in enumerate(known)} | {UNSEEN: UNSEEN}
    found, inverse = np.unique(column, return_inverse=True)
    return np.array([places.get(number, unknown) for number in found.tolist()], np.int64)[inverse.reshape(-1)]


def _note(table: np.ndarray, turns: int, step_ns: int, unknown_ns: int) -> str:
    stretches = table[table[:, LEFT] == SEVERAL]
    parts = []
    if len(stretches):
        inside = int(stretches[:, TURNS].sum())
        parts.append(
            f"{turns:,} turns are too many for one page: {inside:,} of them, each shorter than"
            f" {duration(step_ns)}, are put together in {len(stretches):,} stretches that begin and end with"
            " a turn and tell how many there were, for how long the CPU was busy, and who had most of that;"
            " their wake-ups are left out. All else is exact."
        )
    if unknown_ns:
        parts.append(f"Of {duration(unknown_ns)} nothing is known: events were lost.")
    return " ".join(parts)
