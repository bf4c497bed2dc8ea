"""What a picture of a report is made of: it stands still and needs no script.

Across the page places are percents, so that a picture is as wide as there is room while its letters keep
their size; what has a width of its own is drawn in pixels. Down the page they are pixels.
"""

from __future__ import annotations

from typing import NamedTuple

WEAVE_MIN = 0.7  # percent: in what is narrower a weave could not be seen, and on paper it takes its time


class Box(NamedTuple):
    x: float
    y: float
    width: float
    height: float
    look: str = ""  # its CSS classes
    fill: str = ""  # the pattern that fills it; else its class does
    round: float = 0


def woven(x: float, y: float, width: float, height: float, pattern: str, plain: str) -> Box:
    """A box filled with a pattern, or if it is narrow with the plain colour of a class."""
    if width < WEAVE_MIN:
        return Box(x, y, width, height, plain)
    return Box(x, y, width, height, "", pattern)


class Stroke(NamedTuple):
    x1: float
    y1: float
    x2: float
    y2: float
    look: str


class Label(NamedTuple):
    x: float
    y: float  # of the baseline
    text: str
    look: str = ""
    anchor: str = "start"  # `middle` or `end`: which of its places `x` is


class Entry(NamedTuple):
    """Of a legend: how something is drawn, and what that means."""

    look: str
    fill: str
    name: str
    meaning: str = ""


class Drawing(NamedTuple):
    height: float
    boxes: tuple[Box, ...] = ()
    strokes: tuple[Stroke, ...] = ()
    labels: tuple[Label, ...] = ()
    legend: tuple[Entry, ...] = ()
    width: float | None = None  # pixels; None: as wide as the page, `x` in percent
