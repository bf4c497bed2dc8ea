"""A timeline as a page for a browser."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kintro.renderers.html.page import page
from kintro.renderers.text import duration, printable
from kintro.shapes import Runner, Timeline, Turns

if TYPE_CHECKING:
    import numpy as np

COLOURS = ("dots", "rising", "falling", "", "crossed", "level", "upright", "")  # weaves of the busiest tasks
LISTED = 24  # tasks with a button to highlight them
OPEN_MAX = 2000  # rows of a table that is open at once
_LEVEL = 6  # of compression


def timeline(shape: Timeline) -> str:
    """The page that shows lanes with turns, and tables.

    The turns are in it once, as compressed columns, for the script. What all turns of a task and of a lane
    come to is told by tables, from which the script takes the names.
    """
    return page(
        "timeline",
        ("page.js", "turns.js", "lanes.js", "turn_facts.js", "along.js"),
        styles=("along.css", "tasks.css"),
        shape=shape,
        data=base64.b64encode(zlib.compress(packed(shape.turns), _LEVEL)).decode(),
        lengths=" ".join(map(str, _lengths(shape))),
        colours=COLOURS,
        listed=[(index, *row) for index, row in enumerate(_runners(shape.runners[:LISTED]))],
        lanes=_lanes(shape),
        runners=_runners(shape.runners),
        open_max=OPEN_MAX,
    )


def packed(turns: Turns) -> bytes:
    """The columns that turns.js reads one after the other: numbers of seven bits to the byte, lowest first.

    They are such that most are small: times since the end of the turn before, or before the turn's begin.
    """
    import numpy as np

    before_ns = np.zeros_like(turns.begin_ns)
    before_ns[1:] = np.where(turns.lane[1:] == turns.lane[:-1], turns.end_ns[:-1], 0)
    gap_ns = turns.begin_ns - before_ns
    woken = turns.waker != -1
    columns = (
        np.where(gap_ns < 0, -2 * gap_ns - 1, 2 * gap_ns),
        turns.end_ns - turns.begin_ns,
        turns.task + 1,
        turns.left,
        np.where(turns.since_ns < 0, 0, turns.begin_ns - turns.since_ns + 1),
        turns.waker + 2,
        turns.waker_lane + 1,
        np.where(woken, turns.begin_ns - turns.woken_ns, 0),
        turns.turns,
        turns.end_ns - turns.begin_ns - turns.busy_ns,
        turns.busy_ns - turns.task_ns,
    )
    return b"".join(map(_numbers, columns))


def _numbers(column: np.ndarray) -> bytes:
    import numpy as np

    bits = [column >> 7 * place for place in range(9)]
    used = max(1, sum(bool(part.any()) for part in bits))
    digits = np.stack(bits[:used], axis=1)
    more = np.zeros_like(digits, dtype=np.uint8)
    more[:, :-1] = np.where(digits[:, 1:] > 0, 0x80, 0)
    there = np.ones(digits.shape, bool)
    there[:, 1:] = digits[:, 1:] > 0
    return bytes(((digits & 0x7F).astype(np.uint8) | more)[there])


def _lengths(shape: Timeline) -> list[int]:
    """How many turns each lane has."""
    import numpy as np

    return np.bincount(shape.turns.lane, minlength=len(shape.lanes)).tolist()


def _lanes(shape: Timeline) -> Iterator[tuple[str, ...]]:
    """Name, turns, busy, idle and unknown time of each lane."""
    for name, turns, busy_ns, unknown_ns in shape.lanes:
        idle_ns = shape.duration_ns - busy_ns - unknown_ns
        unknown = duration(unknown_ns) if unknown_ns else ""
        yield name, f"{turns:,}", duration(busy_ns), duration(idle_ns), unknown


def _runners(runners: tuple[Runner, ...]) -> Iterator[tuple[str, ...]]:
    """Name, tid, pid, turns, time in lanes and time spent waiting of each task."""
    for runner in runners:
        times = duration(runner.busy_ns), duration(runner.waited_ns)
        yield printable(runner.name), str(runner.tid), str(runner.pid), f"{runner.turns:,}", *times
