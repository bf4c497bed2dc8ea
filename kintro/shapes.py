"""What a result can be, free of how it is shown: named tuples, nothing else."""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """A column of a table that is written line by line: its width is fixed beforehand."""

    title: str
    width: int | None  # in terminal cells; None: as long as it is, the last column
    right: bool = False


class Cell(NamedTuple):
    """A text and what it means: `good`, `bad`, `new`, `changed`, `faint`, or nothing in particular."""

    text: str
    meaning: str = ""


class Table(NamedTuple):
    """A finite table; cells are text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class TreeRow(NamedTuple):
    """A node of a tree in depth-first order, parents before children."""

    depth: int
    last: bool  # the last among its siblings
    cells: tuple[Cell, ...]  # facts shown in columns beside the tree
    label: str


class Tree(NamedTuple):
    columns: tuple[Column, ...]  # of the cells
    title: str  # of the tree itself
    rows: tuple[TreeRow, ...]
