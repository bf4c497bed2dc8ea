"""Who had which CPU when: a lane for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kintro.renderers.figures import Words, task_name
from kintro.renderers.html.pictures.drawing import Box, Drawing, Entry, Label, Stroke
from kintro.renderers.html.timeline import COLOURS
from kintro.renderers.text import duration, printable
from kintro.shapes import Timeline

if TYPE_CHECKING:
    import numpy as np

LANE, HEAD, GAP = 28.0, 17.0, 8.0  # pixels
STEPS = 500  # a turn shorter than one of these parts is put together with its neighbours
LANES_MAX = 16
TICKS = 4


def timeline(shape: Timeline, words: Words) -> Drawing:
    """Of many CPUs, the busiest."""
    numbered = sorted(enumerate(shape.lanes), key=lambda lane: -lane[1].busy_ns)[:LANES_MAX]
    lanes = sorted(number for number, _ in numbered)
    boxes: list[Box] = []
    labels: list[Label] = []
    top = 0.0
    for number in lanes:
        lane = shape.lanes[number]
        labels.append(Label(0, top + 11, printable(lane.name), "name"))
        labels.append(
            Label(100, top + 11, f"{words['busy']} {duration(lane.busy_ns)}", "scale", anchor="end")
        )
        top += HEAD
        boxes.append(Box(0, top, 100, LANE, "track"))
        boxes += _turns(shape, number, top)
        top += LANE + GAP
    ticks = [100 * tick / TICKS for tick in range(TICKS + 1)]
    strokes = [Stroke(x, 0, x, top, "tick") for x in ticks]
    for x in ticks:
        anchor = "start" if x == 0 else "end" if x == 100 else "middle"
        labels.append(
            Label(x, top + 11, duration(round(shape.duration_ns * x / 100)), "scale", anchor)
        )
    return Drawing(top + 16, tuple(boxes), tuple(strokes), tuple(labels), tuple(_legend(shape, words)))


def _turns(shape: Timeline, lane: int, top: float) -> Iterator[Box]:
    turns, whole_ns = shape.turns, max(shape.duration_ns, 1)
    chosen = (turns.lane == lane).nonzero()[0]
    step_ns = max(whole_ns / STEPS, 1)
    steps: dict[int, int] = {}  # part of the time → busy_ns of the short turns in it
    for begin_ns, end_ns, task, several, busy_ns in zip(
        *(_list(column[chosen]) for column in (turns.begin_ns, turns.end_ns, turns.task)),
        _list(turns.turns[chosen] > 1),
        _list(turns.busy_ns[chosen]),
    ):
        if end_ns - begin_ns < step_ns:
            part = int(begin_ns / step_ns)
            steps[part] = steps.get(part, 0) + (busy_ns if task >= 0 else end_ns - begin_ns)
            continue
        left, width = 100 * begin_ns / whole_ns, 100 * (end_ns - begin_ns) / whole_ns
        if several:
            height = LANE * min(1.0, busy_ns / (end_ns - begin_ns))
            yield Box(left, top + LANE - height, width, height, "many")
        else:
            yield Box(left, top, width, LANE, *_look(task))
    for part, busy_ns in sorted(steps.items()):
        height = max(1.0, LANE * min(1.0, busy_ns / step_ns))
        yield Box(100 * part / STEPS, top + LANE - height, 100 / STEPS, height, "many")


def _list(column: np.ndarray) -> list[int]:
    return column.tolist()


def _look(task: int) -> tuple[str, str]:
    """Class and pattern of a task's turns; those with most time have a colour of their own."""
    if task < 0:
        return "turn", "unseen"
    return ("turn", str(task)) if task < len(COLOURS) else ("turn t-other", "")


def _legend(shape: Timeline, words: Words) -> Iterator[Entry]:
    for task, runner in enumerate(shape.runners[: len(COLOURS)]):
        yield Entry(*_look(task), task_name(runner), duration(runner.busy_ns))
    if len(shape.runners) > len(COLOURS):
        yield Entry("t-other", "", words["another-task"])
    yield Entry("many", "", words["turns-merged"])
    if any(lane.unknown_ns for lane in shape.lanes):
        yield Entry("filled", "unseen", words["unknown-time"])
    yield Entry("track", "", words["idle"])
