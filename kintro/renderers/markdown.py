"""A report as Markdown: CommonMark with tables, as GitHub and most other readers know it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from kintro.renderers import terminal
from kintro.renderers.figures import brief, described
from kintro.renderers.text import duration, printable
from kintro.shapes import Account, Figure, Report, Table, Tree

ROWS_MAX = 16  # of a picture's table; the rest is counted
_FENCE = "```"


def report(shape: Report) -> str:
    """One section for each chapter, and in it one for each claim. It ends with a newline."""
    return "\n".join(_lines(shape)) + "\n"


def _lines(shape: Report) -> Iterator[str]:
    words = shape.words
    accounts = [account for chapter in shape.chapters for account in chapter.accounts]
    yield f"# {escaped(shape.title)}"
    yield ""
    yield escaped(shape.subtitle)
    yield ""
    # The host's name is nobody's business where such a text is published.
    yield " · ".join(
        f"{fact.label}{words['colon']}{escaped(fact.text)}" for fact in shape.facts if fact.name != "host"
    )
    if shape.note:
        yield from ("", f"**{escaped(shape.note)}**")
    yield from ("", f"## {words['verdicts']}", "")
    yield " · ".join(f"{told}{words['colon']}{number}" for _, told, number in shape.verdicts)
    yield ""
    head = tuple(words[name] for name in ("id", "claim", "verdict", "seconds"))
    rows = tuple((a.id, a.claim, a.told, duration(a.duration_ns)) for a in accounts)
    yield from lines_of(Table(head, rows))
    for chapter in shape.chapters:
        yield from ("", f"## {escaped(chapter.title)}")
        for account in chapter.accounts:
            yield from _account(account, words)


def _account(told: Account, words: Mapping[str, str]) -> Iterator[str]:
    yield from ("", f"### {told.id}{words['colon']}{escaped(told.claim)}", "")
    yield f"**{words['verdict']}{words['colon']}{told.told}**"
    parts = {
        "done": told.done, "refuted_by": told.refuted_by, "reason": told.reason, "seen": told.seen,
        "nuance": told.nuance,
    }  # fmt: skip
    for name, text in parts.items():
        if text:
            yield from ("", f"*{words[name]}{words['colon'].rstrip()}* {escaped(text)}")
    if told.facts:
        yield ""
        head = (words["numbers"], words["value"])
        yield from lines_of(Table(head, tuple((fact.label, fact.text) for fact in told.facts)))
    for figure in told.figures:
        yield from _figure(figure, words)
    yield from (
        "",
        f"*{words['repeat']}{words['colon'].rstrip()}*",
        "",
        _FENCE,
        f"sudo kintro report {told.id}",
    )
    yield from map(printable, told.commands)
    yield from (_FENCE, "")
    yield f"*{words['reading']}{words['colon'].rstrip()}* {', '.join(map(escaped, told.reading))}"


def _figure(figure: Figure, words: Mapping[str, str]) -> Iterator[str]:
    table, description = brief(figure, words), described(figure, words)
    yield from ("", f"**{escaped(figure.caption)}**", "")
    if description:
        yield from (escaped(description), "")
    if table.rows:
        yield from lines_of(table._replace(rows=table.rows[:ROWS_MAX]))
    if len(table.rows) > ROWS_MAX:
        yield from ("", words["all-rows"].format(rows=len(table.rows)))
    # A longer one is of the whole machine, whose processes are nobody's business either.
    if isinstance(figure.shape, Tree) and len(figure.shape.rows) <= ROWS_MAX:
        yield _FENCE
        # A fence is not closed by a line that begins with four spaces, whatever a process is called.
        yield from (f"    {printable(line)}".rstrip() for line in terminal.tree(figure.shape, None, False))
        yield _FENCE


def lines_of(shape: Table) -> Iterator[str]:
    """A table's lines."""
    yield f"| {' | '.join(map(escaped, shape.columns))} |"
    yield "|" + "---|" * len(shape.columns)
    for row in shape.rows:
        yield f"| {' | '.join(map(escaped, row))} |"


def escaped(text: str) -> str:
    """Text of which nothing is markup, neither Markdown's nor HTML's, and that has no line break."""
    one_line = printable(" ".join(text.split()))
    return re.sub(r"([\\`*_\[\]<>|~&$])", r"\\\1", one_line)
