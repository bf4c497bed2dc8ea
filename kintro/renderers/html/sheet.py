"""A sheet as a page to read and to print, without any script."""

from __future__ import annotations

from kintro.renderers.html.page import page
from kintro.shapes import Sheet, Table


def sheet(shape: Sheet) -> str:
    """The page, in the sheet's language."""
    parts = [(part, [(_kind(block), block) for block in part.blocks]) for part in shape.parts]
    return page("sheet", (), shape=shape, parts=parts)


def _kind(block: str | tuple[str, ...] | Table) -> str:
    if isinstance(block, Table):
        return "table"
    return "text" if isinstance(block, str) else "commands"
