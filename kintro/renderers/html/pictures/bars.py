"""Amounts as bars, each with the range that it lies in; on a logarithmic scale if they differ that much."""

from __future__ import annotations

import math
from collections.abc import Callable

from kintro.renderers.figures import MEASURED, Words, amount, is_ranged
from kintro.renderers.html.pictures.drawing import Box, Drawing, Entry, Label, Stroke
from kintro.renderers.text import cells, fit
from kintro.shapes import Bar, Bars

BESIDE_MAX = 20  # cells of labels that stand beside their bars; longer ones stand above
LABEL_MAX = 36  # cells, of labels above
RIGHT = 86.0  # percent: where bars with labels beside end
CELL = 2.0  # percent of a narrow screen that a letter takes
TICKS_MAX = 5
LOG_ROOM = 0.1  # behind the longest bar: powers of ten


def bars(shape: Bars, words: Words) -> Drawing:
    """Bars from top to bottom, in the order that they have."""
    beside = all(cells(bar.label) <= BESIDE_MAX for bar in shape.bars)
    widest = max((cells(bar.label) for bar in shape.bars), default=0)
    left, right = (CELL * max(widest, 4) + 1.5, RIGHT) if beside else (0.0, 100.0)
    row, thick = (22.0, 14.0) if beside else (42.0, 16.0)
    place, ticks = _scale(shape)

    def x(value: float) -> float:
        return left + (right - left) * place(value)

    bottom = row * len(shape.bars) + 8
    strokes = [Stroke(x(tick), 0, x(tick), bottom, "tick") for tick in ticks]
    labels, boxes = [], []
    for number, bar in enumerate(shape.bars):
        top = row * number + (4 if beside else 22)
        end = x(bar.amount)
        boxes.append(Box(left, top, end - left, thick, "bar"))
        told = amount(bar.amount, shape.unit)
        if beside:
            labels.append(Label(left - 1.5, top + 11, bar.label, "", "end"))
            labels.append(Label(100, top + 11, told, "value", "end"))
        else:
            labels.append(Label(0, top - 5, fit(bar.label, LABEL_MAX)))
            labels.append(Label(100, top - 5, told, "value", "end"))
        strokes += _whisker(bar, x, top + thick / 2)
    for number, tick in enumerate(ticks):
        anchor = "start" if number == 0 and not beside else "end" if x(tick) > 95 else "middle"
        labels.append(Label(x(tick), bottom + 13, amount(_whole(tick), shape.unit), "scale", anchor))
    legend = [] if shape.unit in MEASURED else [Entry("bar", "", shape.unit)]
    legend += [Entry("whisker", "", words["range"])] if any(map(is_ranged, shape.bars)) else []
    if shape.log:
        legend.append(Entry("", "", words["log"]))
    return Drawing(bottom + 18, tuple(boxes), tuple(strokes), tuple(labels), tuple(legend))


def _whole(value: float) -> float:
    return int(value) if float(value).is_integer() else value


def _whisker(bar: Bar, x: Callable[[float], float], y: float) -> list[Stroke]:
    if bar.low is None or bar.high is None:
        return []
    low, high = x(bar.low), x(bar.high)
    ends = [Stroke(end, y - 4, end, y + 4, "whisker") for end in (low, high)]
    return [Stroke(low, y, high, y, "whisker"), *ends]


def _scale(shape: Bars) -> tuple[Callable[[float], float], list[float]]:
    """Amount → place from 0 to 1, and the amounts to be marked."""
    every = [
        value
        for bar in shape.bars
        for value in (bar.amount, bar.low, bar.high)
        if value is not None and math.isfinite(value)
    ]
    most = max(every, default=1.0)
    if shape.log:
        positive = [value for value in every if value > 0] or [1.0]
        first, last = math.floor(math.log10(min(positive))), math.log10(max(positive)) + LOG_ROOM
        step = math.ceil((last - first) / (TICKS_MAX - 1))

        def logarithmic(value: float) -> float:
            return min(1.0, max(0.0, (math.log10(value) - first) / (last - first))) if value > 0 else 0.0

        return logarithmic, [10.0**power for power in range(first, math.floor(last) + 1, step)]
    most = most if most > 0 else 1.0
    step_size = _step(most, shape.unit)
    end = math.ceil(most / step_size) * step_size

    def linear(value: float) -> float:
        return min(1.0, max(0.0, value / end))

    return linear, [number * step_size for number in range(round(end / step_size) + 1)]


def _step(most: float, unit: str) -> float:
    """A round number that is contained in `most` up to four times; of bytes, a power of two."""
    if unit == "bytes":
        return 2.0 ** math.ceil(math.log2(most / (TICKS_MAX - 1)))
    power: float = 10.0 ** math.floor(math.log10(most))
    return next(power * part for part in (0.25, 0.5, 1.0, 2.5) if most / (power * part) <= TICKS_MAX - 1)
