"""Shapes as pages for a browser: an address space to scale, a graph."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from kintro.renderers.clusters import TOP, clusters, halves
from kintro.renderers.graph_layout import Place, places
from kintro.renderers.html.page import page
from kintro.renderers.kinds import KINDS, SHARES, UNKNOWN
from kintro.renderers.text import cells, fit, printable, size
from kintro.shapes import Band, Graph, Layout, Line

OPEN_MAX = 2000  # rows of a table that is open at once; 20 000 take a browser some seconds
LABEL_MAX = 34  # cells
MARGIN = 24  # pixels around a graph
PLACES_MAX = 12  # buttons to jump to a place; the table names the rest


def address_space(layout: Layout) -> str:
    """The page that shows an address space to scale, and as a table.

    The table is also the data of the drawing: the script reads it, so that nothing is there twice.
    """
    fact_names = tuple(dict.fromkeys(name for band in layout.bands for name, _ in band.facts))
    compared = any(band.share is not None for band in layout.bands)
    return page(
        "address_space.html",
        ("address_space.css",),
        ("drawing.js", "labels.js", "moving.js"),
        layout=layout,
        open_max=OPEN_MAX,
        compared=compared,
        legend=_legend(layout, compared),
        fact_names=fact_names,
        rows=_rows(layout, fact_names, compared),
        places=_places(layout),
        halves=[(f"{start:x}", f"{end:x}") for start, end in halves(layout)],
    )


def _legend(layout: Layout, compared: bool) -> list[tuple[str, str, str, str]]:
    """Class, name, meaning and weave of everything that the drawing can show."""
    present = {band.kind for band in layout.bands if not compared or band.share is None}
    entries = [(name, name, kind.meaning, kind.weave) for name, kind in KINDS.items() if name in present]
    if present - KINDS.keys():
        entries.append(("other", "other", UNKNOWN.meaning, UNKNOWN.weave))
    if not compared:
        return entries
    a, b = layout.sides
    shares = [(key, k.name.format(a=a, b=b), k.meaning, k.weave) for key, k in SHARES.items()]
    return shares + entries


def _rows(layout: Layout, fact_names: tuple[str, ...], compared: bool) -> Iterator[tuple[str, ...]]:
    """The cells of each band: addresses, size, kind, what it is, pages of either side, facts."""
    for band in layout.bands:
        facts = dict(band.facts)
        yield (
            f"{band.start:x}",
            f"{band.end:x}",
            size(band.end - band.start),
            band.kind,
            band.label,
            *(_pages(band) if compared else ()),
            *(facts.get(name, "") for name in fact_names),
        )


def _pages(band: Band) -> tuple[str, ...]:
    return ("", "", "", "") if band.share is None else tuple(str(pages) for pages in band.share)


def _places(layout: Layout) -> list[tuple[str, str, str, str]]:
    """Name, addresses and size of what one may want to jump to, from the bottom to the top."""
    (user_start, user_end), (kernel_start, kernel_end) = halves(layout)
    found = clusters(layout.bands)
    large = sorted(found, key=lambda place: len(place.bands), reverse=True)[:PLACES_MAX]
    return [
        (name, f"{start:x}", f"{end:x}", size(end - start))
        for name, start, end in (
            ("whole space", 0, TOP),
            ("user half", user_start, user_end),
            *((place.name, place.start, place.end) for place in found if place in large),
            ("kernel half", kernel_start, kernel_end),
        )
    ]


class Drawn(NamedTuple):
    """A line of a graph between the middles of two boxes, moved aside from others of the same two."""

    line: Line
    x1: float
    y1: float
    x2: float
    y2: float


def graph(shape: Graph) -> str:
    """The page that draws a graph, and tells in a table what its lines stand for."""
    sizes = {node.id: (cells(_short(node.label)) * 7.4 + 22, 26.0) for node in shape.nodes}
    places_of, width, height = places(sizes, [(line.source, line.target) for line in shape.lines])
    nodes = sorted(shape.nodes, key=lambda node: (places_of[node.id].y, places_of[node.id].x))
    rows_of: dict[str, set[int]] = {node.id: set() for node in shape.nodes}
    for line in shape.lines:
        for end in (line.source, line.target):
            rows_of[end].update(line.rows)
    return page(
        "graph.html",
        ("graph.css",),
        ("graph.js",),
        graph=shape,
        nodes=[(node, _short(node.label), places_of[node.id], sorted(rows_of[node.id])) for node in nodes],
        lines=_drawn(shape, places_of),
        width=round(width) + 2 * MARGIN,
        height=round(height) + 2 * MARGIN,
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
