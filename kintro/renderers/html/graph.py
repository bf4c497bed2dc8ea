"""A graph as a page for a browser: who is connected with whom, and a table of what the lines stand for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from kintro.renderers.graph_layout import Place, places
from kintro.renderers.html.page import page
from kintro.renderers.text import cells, fit, printable
from kintro.shapes import Graph, Line, Node

OPEN_MAX = 2000  # rows of a table that is open at once; 20 000 take a browser some seconds
LABEL_MAX = 34  # cells
MARGIN = 24  # pixels around a graph


class Drawn(NamedTuple):
    """A line of a graph between the middles of two boxes, moved aside from others of the same two."""

    line: Line
    x1: float
    y1: float
    x2: float
    y2: float


class Arranged(NamedTuple):
    """A graph whose boxes have their places: those first that are read first."""

    nodes: tuple[tuple[Node, str, Place, list[int]], ...]  # with a short label, and the rows of its lines
    lines: tuple[Drawn, ...]
    groups: tuple[tuple[str, str], ...]
    width: int  # pixels, with its margins
    height: int


def arranged(shape: Graph) -> Arranged:
    sizes = {node.id: (cells(_short(node.label)) * 7.4 + 22, 26.0) for node in shape.nodes}
    places_of, width, height = places(sizes, [(line.source, line.target) for line in shape.lines])
    nodes = sorted(shape.nodes, key=lambda node: (places_of[node.id].y, places_of[node.id].x))
    rows_of: dict[str, set[int]] = {node.id: set() for node in shape.nodes}
    for line in shape.lines:
        for end in (line.source, line.target):
            rows_of[end].update(line.rows)
    return Arranged(
        tuple((node, _short(node.label), places_of[node.id], sorted(rows_of[node.id])) for node in nodes),
        tuple(_drawn(shape, places_of)),
        shape.groups,
        round(width) + 2 * MARGIN,
        round(height) + 2 * MARGIN,
    )


def graph(shape: Graph) -> str:
    """The page that draws a graph, and tells in a table what its lines stand for."""
    drawn = arranged(shape)
    return page(
        "graph",
        ("graph.js",),
        styles=("groups.css",),
        shape=shape,
        nodes=drawn.nodes,
        lines=drawn.lines,
        width=drawn.width,
        height=drawn.height,
        margin=MARGIN,
        open_max=OPEN_MAX,
    )


def _short(label: str) -> str:
    """At most as much of a label as a box of 300 pixels takes; the table has all of it."""
    return fit(printable(label), LABEL_MAX)


def _drawn(shape: Graph, places_of: dict[str, Place]) -> Iterator[Drawn]:
    beside: dict[tuple[str, str], list[Line]] = {}
    for line in shape.lines:
        beside.setdefault((line.source, line.target), []).append(line)
    for (source, target), lines in beside.items():
        a, b = places_of[source], places_of[target]
        length = math.hypot(b.x - a.x, b.y - a.y) or 1.0
        aside_x, aside_y = (a.y - b.y) / length, (b.x - a.x) / length
        for number, line in enumerate(lines):
            shift = (number - (len(lines) - 1) / 2) * 7
            dx, dy = aside_x * shift, aside_y * shift
            start, end = _border(a, b), _border(b, a)
            yield Drawn(line, start[0] + dx, start[1] + dy, end[0] + dx, end[1] + dy)


def _border(of: Place, towards: Place) -> tuple[float, float]:
    """Where the line from the middle of a box to another one leaves it."""
    dx, dy = towards.x - of.x, towards.y - of.y
    share = min(of.width / 2 / abs(dx) if dx else math.inf, of.height / 2 / abs(dy) if dy else math.inf, 1.0)
    return of.x + dx * share, of.y + dy * share
