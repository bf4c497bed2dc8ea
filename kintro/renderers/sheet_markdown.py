"""A sheet as Markdown: CommonMark with tables, as GitHub and most other readers know it."""

from __future__ import annotations

import re
from collections.abc import Iterator

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
                yield from _table(block)
            else:
                yield from (_FENCE, *map(printable, block), _FENCE)


def _table(shape: Table) -> Iterator[str]:
    yield f"| {' | '.join(map(escaped, shape.columns))} |"
    yield "|" + "---|" * len(shape.columns)
    for row in shape.rows:
        yield f"| {' | '.join(map(escaped, row))} |"


def escaped(text: str) -> str:
    """Text of which nothing is markup, neither Markdown's nor HTML's, and that has no line break."""
    one_line = printable(" ".join(text.split()))
    return re.sub(r"([\\`*_{}\[\]<>#|~&$])", r"\\\1", one_line)
