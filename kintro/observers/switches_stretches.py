"""Turns on CPUs kept in bounded room: where there are too many, short ones that lie together become one."""

from __future__ import annotations

from array import array

import numpy as np

from kintro.shapes import Turns

ROOM = 1 << 18  # turns that are kept: 25 MB
FIRST_STEP_NS = 1 << 10  # the shortest stretch that turns are put together in
FIELDS = len(Turns._fields)
SEVERAL = 0  # how a stretch of several turns ended
UNSEEN, NOBODY = -1, -2  # in place of a task

LANE, BEGIN, END, TASK, LEFT, SINCE, WAKER, WAKER_LANE, WOKEN, TURNS, BUSY, TASK_NS = range(FIELDS)


class Stretches:
    """Takes turns, each lane's in order of time, as many as there may be."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._rows = array("q")
        self.step_ns = 0  # turns shorter than that may have been put together

    def add(self, *row: int) -> None:
        """A row has the fields of Turns."""
        self._rows.extend(row)
        if len(self._rows) >= self._room * FIELDS:
            self._make_room()

    def table(self) -> np.ndarray:
        """All of them, by lane and then by time."""
        table = np.frombuffer(self._rows, np.int64).reshape(-1, FIELDS)
        return table[np.lexsort((table[:, BEGIN], table[:, LANE]))]

    def _make_room(self) -> None:
        self.step_ns = max(FIRST_STEP_NS, self.step_ns)
        table = together(self.table(), self.step_ns)
        while len(table) > self._room // 2:
            self.step_ns *= 2
            table = together(table, self.step_ns)
        self._rows = array("q", table.tobytes())


def together(table: np.ndarray, step_ns: int) -> np.ndarray:
    """Of each lane, turns shorter than a step that begin in the same step become one stretch.

    `table`: by lane and then by time. Only neighbours are put together.
    """
    short = table[:, END] - table[:, BEGIN] < step_ns
    first = np.ones(len(table), bool)
    steps = table[:, BEGIN] // step_ns
    alike = (table[1:, LANE] == table[:-1, LANE]) & (steps[1:] == steps[:-1])
    first[1:] = ~(alike & short[1:] & short[:-1])
    starts = np.flatnonzero(first)
    sizes = np.diff(starts, append=len(table))
    made = table[starts]
    made[:, END] = table[starts + sizes - 1, END]
    for column in (TURNS, BUSY):
        made[:, column] = np.add.reduceat(table[:, column], starts)
    several = sizes > 1
    made[:, TASK], made[:, TASK_NS] = _most(table, np.repeat(np.arange(len(starts)), sizes))
    made[several, LEFT] = SEVERAL
    for column in (SINCE, WAKER, WAKER_LANE, WOKEN):
        made[several, column] = -1
    return made


def _most(table: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each group the task that had most time, and how much; UNSEEN only if there is no other."""
    order = np.lexsort((table[:, TASK], group))
    groups, tasks, times = group[order], table[order, TASK], table[order, TASK_NS]
    new = np.ones(len(order), bool)
    new[1:] = (groups[1:] != groups[:-1]) | (tasks[1:] != tasks[:-1])
    starts = np.flatnonzero(new)
    groups, tasks, times = groups[starts], tasks[starts], np.add.reduceat(times, starts)
    by_time = np.lexsort((tasks != UNSEEN, times, groups))
    groups, tasks, times = groups[by_time], tasks[by_time], times[by_time]
    last = np.append(groups[1:] != groups[:-1], True)
    return tasks[last], times[last]
