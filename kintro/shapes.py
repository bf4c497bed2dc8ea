"""What a result can be, free of how it is shown: frozen dataclasses, nothing else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table that is written line by line: its width is fixed beforehand."""

    title: str
    width: int | None  # in terminal cells; None: as long as it is, the last column
    right: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A text and what it means: `good`, `bad`, `new`, `changed`, `faint`, or nothing in particular."""

    text: str
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A finite table; cells are text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class TreeRow:
    """A node of a tree in depth-first order, parents before children."""

    depth: int
    last: bool  # the last among its siblings
    cells: tuple[Cell, ...]  # facts shown in columns beside the tree
    label: str


@dataclass(frozen=True, slots=True)
class Tree:
    columns: tuple[Column, ...]  # of the cells
    title: str  # of the tree itself
    rows: tuple[TreeRow, ...]
