"""Shapes as pictures of a report: static SVG, for a reader who only reads."""

from __future__ import annotations

from typing import NamedTuple

from kintro.renderers.figures import Words, described, table_of
from kintro.renderers.html.graph import Arranged, arranged
from kintro.renderers.html.pictures.bars import bars
from kintro.renderers.html.pictures.drawing import Drawing
from kintro.renderers.html.pictures.layout import layout
from kintro.renderers.html.pictures.timeline import timeline
from kintro.renderers.html.pictures.tree import tree
from kintro.shapes import Bars, Figure, Graph, Layout, Table, Timeline, Tree


class Picture(NamedTuple):
    """A figure as a page shows it: drawn, arranged or neither, and in any case as a table."""

    caption: str
    description: str
    drawing: Drawing | None
    graph: Arranged | None
    table: Table


def picture(figure: Figure, words: Words) -> Picture:
    shape = figure.shape
    drawing = None
    if isinstance(shape, Layout):
        drawing = layout(shape, words)
    elif isinstance(shape, Timeline):
        drawing = timeline(shape, words)
    elif isinstance(shape, Tree):
        drawing = tree(shape, words)
    elif isinstance(shape, Bars):
        drawing = bars(shape, words)
    graph = arranged(shape) if isinstance(shape, Graph) else None
    return Picture(figure.caption, described(figure, words), drawing, graph, table_of(figure, words))


__all__ = ["Picture", "picture"]
