"""Who had which CPU when: a lane for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kintro.renderers.figures import Words, task_name
from kintro.renderers.html.pictures.drawing import Box, Drawing, Entry, Label, Stroke, woven
from kintro.renderers.html.timeline import COLOURS
from kintro.renderers.text import duration, printable
from kintro.shapes import Timeline

LANE, HEAD, GAP, FOOT = 28.0, 17.0, 8.0, 16.0  # pixels
APART = 26.0  # between the whole and a part of it that is magnified
STEPS = 500  # a turn shorter than one of these parts is put together with its neighbours
LANES_MAX = 16
TICKS = 4
PART_TURNS = 60


class Window(NamedTuple):
    begin_ns: int
    end_ns: int


def timeline(shape: Timeline, words: Words) -> Drawing:
    """Of many CPUs, the busiest. Where turns are too short to be told apart, also a part of it magnified."""
    numbered = sorted(enumerate(shape.lanes), key=lambda lane: -lane[1].busy_ns)[:LANES_MAX]
    lanes = sorted(number for number, _ in numbered)
    whole = Window(0, max(shape.duration_ns, 1))
    drawing = _panel(shape, lanes, whole, 0.0, words)
    part = _part(shape, numbered[0][0], whole) if numbered else None
    if part is not None:
        top = drawing.height + APART
        span = duration(part.end_ns - part.begin_ns)
        title = words["magnified"].format(begin=duration(part.begin_ns), span=span)
        below = _panel(shape, lanes, part, top + HEAD, words)
        leaders = [
            Stroke(_percent(end_ns, whole), drawing.height - FOOT, edge, top - 4, "leader")
            for end_ns, edge in zip(part, (0.0, 100.0))
        ]
        drawing = Drawing(
            below.height,
            drawing.boxes + below.boxes,
            (*drawing.strokes, *leaders, *below.strokes),
            (*drawing.labels, Label(0, top + 11, title, "scale"), *below.labels),
        )
    return drawing._replace(legend=tuple(_legend(shape, words)))


def _panel(shape: Timeline, lanes: list[int], window: Window, top: float, words: Words) -> Drawing:
    boxes: list[Box] = []
    labels: list[Label] = []
    whole = window.end_ns - window.begin_ns >= shape.duration_ns
    begin = top
    for number in lanes:
        lane = shape.lanes[number]
        labels.append(Label(0, top + 11, printable(lane.name), "name"))
        if whole:
            busy = f"{words['busy']} {duration(lane.busy_ns)}"
            labels.append(Label(100, top + 11, busy, "scale", "end"))
        top += HEAD
        boxes.append(Box(0, top, 100, LANE, "track"))
        boxes += _turns(shape, number, window, top)
        top += LANE + GAP
    ticks = [100 * tick / TICKS for tick in range(TICKS + 1)]
    strokes = [Stroke(x, begin, x, top, "tick") for x in ticks]
    for x in ticks:
        anchor = "start" if x == 0 else "end" if x == 100 else "middle"
        at_ns = round((window.end_ns - window.begin_ns) * x / 100)
        labels.append(Label(x, top + 11, duration(at_ns), "scale", anchor))
    return Drawing(top + FOOT, tuple(boxes), tuple(strokes), tuple(labels))


def _percent(at_ns: float, window: Window) -> float:
    return 100 * (at_ns - window.begin_ns) / (window.end_ns - window.begin_ns)


def _part(shape: Timeline, lane: int, whole: Window) -> Window | None:
    """The middle turns of a lane, if most of its time is turns too short to be drawn one by one."""
    turns = shape.turns
    chosen = (turns.lane == lane).nonzero()[0]
    lengths = turns.end_ns[chosen] - turns.begin_ns[chosen]
    short = lengths < whole.end_ns / STEPS
    if len(chosen) <= PART_TURNS or lengths[short].sum() * 2 < lengths.sum():
        return None
    first = (len(chosen) - PART_TURNS) // 2
    part = chosen[first : first + PART_TURNS]
    return Window(int(turns.begin_ns[part[0]]), int(turns.end_ns[part[-1]]))


def _turns(shape: Timeline, lane: int, window: Window, top: float) -> Iterator[Box]:
    turns, step_ns = shape.turns, max((window.end_ns - window.begin_ns) / STEPS, 1)
    inside = (turns.lane == lane) & (turns.end_ns > window.begin_ns) & (turns.begin_ns < window.end_ns)
    chosen = inside.nonzero()[0]
    steps: dict[int, int] = {}  # part of the time → busy_ns of the short turns in it
    for begin_ns, end_ns, task, several, busy_ns in zip(
        turns.begin_ns[chosen].clip(min=window.begin_ns).tolist(),
        turns.end_ns[chosen].clip(max=window.end_ns).tolist(),
        turns.task[chosen].tolist(),
        (turns.turns[chosen] > 1).tolist(),
        turns.busy_ns[chosen].tolist(),
    ):
        if end_ns - begin_ns < step_ns:
            part = int((begin_ns - window.begin_ns) / step_ns)
            steps[part] = steps.get(part, 0) + (busy_ns if task >= 0 else end_ns - begin_ns)
            continue
        left = _percent(begin_ns, window)
        width = _percent(end_ns, window) - left
        if several:
            height = LANE * min(1.0, busy_ns / (end_ns - begin_ns))
            yield Box(left, top + LANE - height, width, height, "many")
        else:
            yield _turn(task, left, top, width)
    for part, busy_ns in sorted(steps.items()):
        height = max(1.0, LANE * min(1.0, busy_ns / step_ns))
        yield Box(100 * part / STEPS, top + LANE - height, 100 / STEPS, height, "many")


def _turn(task: int, left: float, top: float, width: float) -> Box:
    """Of tasks, those with most time have a colour of their own."""
    if task < 0:
        return woven(left, top, width, LANE, "unseen", "t-unseen")
    if task < len(COLOURS):
        return woven(left, top, width, LANE, str(task), f"t-{task}")
    return Box(left, top, width, LANE, "t-other")


def _legend(shape: Timeline, words: Words) -> Iterator[Entry]:
    for task, runner in enumerate(shape.runners[: len(COLOURS)]):
        yield Entry("filled", str(task), task_name(runner), duration(runner.busy_ns))
    if len(shape.runners) > len(COLOURS):
        yield Entry("t-other", "", words["another-task"])
    yield Entry("many", "", words["turns-merged"])
    if any(lane.unknown_ns for lane in shape.lanes):
        yield Entry("filled", "unseen", words["unknown-time"])
    yield Entry("track", "", words["idle"])
