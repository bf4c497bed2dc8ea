"""A sheet as Markdown: CommonMark with tables, as GitHub and most other readers know it."""

from __future__ import annotations

from collections.abc import Iterator

from kintro.renderers.markdown import escaped, lines_of
from kintro.renderers.text import printable
from kintro.shapes import Sheet, Table

_FENCE = "```"


def markdown(shape: Sheet) -> str:
    """It ends with a newline."""
    return "\n".join(_lines(shape)) + "\n"


def _lines(shape: Sheet) -> Iterator[str]:
    yield from (f"# {escaped(shape.title)}", "", escaped(shape.subtitle))
    for part in shape.parts:
        yield from ("", f"{'#' * part.level} {escaped(part.title)}")
        for block in part.blocks:
            yield ""
            if isinstance(block, str):
                yield escaped(block)
            elif isinstance(block, Table):
                yield from lines_of(block)
            else:
                yield from (_FENCE, *map(printable, block), _FENCE)
