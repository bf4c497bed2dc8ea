"""A tree: each node below its parent, with its facts beside it."""

from __future__ import annotations

from collections.abc import Iterator

from kintro.renderers.figures import Words
from kintro.renderers.html.pictures.drawing import Box, Drawing, Label, Stroke
from kintro.renderers.text import cells, fit, printable
from kintro.shapes import Tree

ROW, INDENT, LETTER, PAD = 26.0, 22.0, 7.3, 8.0  # pixels
LABEL_MAX = 60  # cells


def tree(shape: Tree, words: Words) -> Drawing:
    """As wide as its labels are."""
    names = [fit(printable(row.label), LABEL_MAX) for row in shape.rows]
    lefts = [row.depth * INDENT for row in shape.rows]
    rights = [left + 2 * PAD + cells(name) * LETTER for left, name in zip(lefts, names)]
    right = max(rights, default=0.0) + 24
    head = ROW if shape.columns else 6.0
    boxes, labels = [], []
    for number, (name, left) in enumerate(zip(names, lefts)):
        top = head + number * ROW
        boxes.append(Box(left, top, rights[number] - left, ROW - 6, "node", round=4))
        labels.append(Label(left + PAD, top + 14.5, name, "mono"))
    for number, column in enumerate(shape.columns):
        told = [printable(row.cells[number].text) for row in shape.rows]
        width = max(map(cells, [column.title, *told])) * LETTER
        x, anchor = (right + width, "end") if column.right else (right, "start")
        labels.append(Label(x, 14, printable(column.title), "scale mono", anchor))
        labels += [Label(x, head + row * ROW + 14.5, text, "mono", anchor) for row, text in enumerate(told)]
        right += width + 20
    strokes = tuple(_branches(shape, head))
    height = head + ROW * len(shape.rows)
    return Drawing(height, tuple(boxes), strokes, tuple(labels), width=right)


def _branches(shape: Tree, head: float) -> Iterator[Stroke]:
    """From each node down to its last child, and from there to each child."""
    parents: list[int] = []  # by depth: the row of the one that is open
    for number, row in enumerate(shape.rows):
        del parents[row.depth :]
        if parents:
            x, y = (row.depth - 1) * INDENT + 8, head + number * ROW + 10
            yield Stroke(x, y, row.depth * INDENT, y, "branch")
            if row.last:
                yield Stroke(x, head + parents[-1] * ROW + ROW - 6, x, y, "branch")
        parents.append(number)
