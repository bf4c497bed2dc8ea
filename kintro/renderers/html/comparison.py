"""Things beside each other as a page for a browser: bars, lines, and tables with all figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from kintro.renderers.html.page import page
from kintro.shapes import Comparison, Length, Point, Series

# How lines differ beside their colour: dashes, and the sign at each point in a square of 12.
DASHES = ("", "9 3", "2 3", "12 3 2 3", "5 4")
SIGNS = (
    "M6 1A5 5 0 1 0 6.01 1z", "M1 1H11V11H1z", "M6 0 12 11H0z", "M6 0 12 6 6 12 0 6z", "M0 1H12L6 12z",
)  # fmt: skip
LEFT, RIGHT, TOP, BOTTOM = 0.5, 99.5, 4.0, 96.0  # per cent of the drawing of lines


class Axis(NamedTuple):
    """Values on a logarithmic scale, between two per cents of a drawing."""

    low: float
    high: float
    begin: float
    end: float

    def at(self, value: float) -> float:
        reach = math.log(self.high / self.low) or 1.0
        share = math.log(value / self.low) / reach
        return round(self.begin + (self.end - self.begin) * min(1.0, max(0.0, share)), 2)


class Dot(NamedTuple):
    x: float  # per cent
    y: float
    point: Point


class Drawn(NamedTuple):
    label: str
    number: int  # of its colour
    dashes: str
    sign: str
    dots: tuple[Dot, ...]


class Stretch(NamedTuple):
    """A bar."""

    bar: Length
    group: int
    end: float  # per cent
    low: float | None
    high: float | None


def comparison(shape: Comparison) -> str:
    """The page that draws bars and lines, which can be gone through by the keys, and tells all in tables."""
    along = _axis(shape.bar_ticks, 0.0, 100.0)
    across, up = _axis(shape.x_ticks, LEFT + 3, RIGHT - 3), _axis(shape.y_ticks, BOTTOM, TOP)
    labels = list(dict.fromkeys([bar.label for bar in shape.bars]))
    lengths = [_length(bar, shape.groups, along) for bar in shape.bars]
    return page(
        "comparison",
        ("comparison.js",),
        shape=shape,
        rows=[(label, [each for each in lengths if each.bar.label == label]) for label in labels],
        bar_ticks=[(along.at(value), text) for value, text in shape.bar_ticks],
        x_ticks=[(across.at(value), text) for value, text in shape.x_ticks],
        y_ticks=[(up.at(value), text) for value, text in shape.y_ticks],
        series=[_drawn(number, series, across, up) for number, series in enumerate(shape.series)],
        edges=(LEFT, RIGHT, TOP, BOTTOM),
    )


def _axis(ticks: Sequence[tuple[float, str]], begin: float, end: float) -> Axis:
    values = [value for value, _ in ticks] or [1.0]
    return Axis(min(values), max(values), begin, end)


def _length(bar: Length, groups: Sequence[str], along: Axis) -> Stretch:
    low, high = (None if value is None else along.at(value) for value in (bar.low, bar.high))
    return Stretch(bar, groups.index(bar.group), along.at(bar.value), low, high)


def _drawn(number: int, series: Series, across: Axis, up: Axis) -> Drawn:
    dots = tuple(Dot(across.at(point.x), up.at(point.y), point) for point in series.points)
    return Drawn(series.label, number % 10, DASHES[number % len(DASHES)], SIGNS[number % len(SIGNS)], dots)
