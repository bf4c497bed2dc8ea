"""Shapes as text for a terminal, a pipe or a file."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from kintro.renderers.text import cells, fit, pad
from kintro.shapes import Cell, Column, Table, Tree, TreeRow

# ANSI SGR codes that are readable on dark and on light backgrounds.
_SGR = {"good": "32", "bad": "31", "new": "36", "changed": "33", "faint": "2", "title": "1"}


def styled(text: str, meaning: str, colour: bool) -> str:
    return f"\x1b[{_SGR[meaning]}m{text}\x1b[0m" if colour and meaning in _SGR and text else text


def line(columns: Sequence[Column], row: Sequence[Cell], width: int | None, colour: bool) -> str:
    """One row of a table with fixed columns, cut to `width` cells if there is one."""
    parts, used = [], 0
    for column, cell in zip(columns, row, strict=True):
        text = cell.text if column.width is None else pad(cell.text, column.width, column.right)
        if width is not None:
            text = fit(text, max(0, width - used))
        used += cells(text) + 1
        parts.append(styled(text, cell.meaning, colour))
    return " ".join(parts).rstrip()


def heading(columns: Sequence[Column], width: int | None, colour: bool) -> str:
    return line(columns, [Cell(column.title, "title") for column in columns], width, colour)


def lines(
    columns: Sequence[Column], rows: Iterable[Sequence[Cell]], width: int | None, colour: bool
) -> Iterator[str]:
    """A heading and the rows."""
    yield heading(columns, width, colour)
    for row in rows:
        yield line(columns, row, width, colour)


def sentence(text: str, width: int | None) -> list[str]:
    """A sentence as lines of at most `width` cells if there is a width; it has no wide characters."""
    return [text] if width is None else textwrap.wrap(text, width)


def tree(shape: Tree, width: int | None, colour: bool) -> Iterator[str]:
    """The tree's lines: facts in columns on the left, the tree on the right."""
    columns = (*shape.columns, Column(shape.title, None))
    yield heading(columns, width, colour)
    open_branches: list[bool] = []  # for each depth, whether more siblings follow
    for row in shape.rows:
        del open_branches[row.depth :]
        yield line(columns, (*row.cells, Cell(_branch(row, open_branches) + row.label)), width, colour)
        open_branches.append(not row.last)


def _branch(row: TreeRow, open_branches: Sequence[bool]) -> str:
    if row.depth == 0:
        return ""
    stem = "".join("│  " if more else "   " for more in open_branches[1 : row.depth])
    return stem + ("└─ " if row.last else "├─ ")


def table(shape: Table) -> str:
    from tabulate import tabulate  # 48 ms, only where a table is shown

    return tabulate(shape.rows, headers=shape.columns, tablefmt="plain", disable_numparse=True)
