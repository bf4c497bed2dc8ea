"""A report as lines for a terminal: each claim in a few sentences, and all verdicts at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kintro.renderers import terminal
from kintro.renderers.text import cells, duration, pad, wrap
from kintro.shapes import Account, Cell, Column, Fact, Report

MEANINGS = {"holds": "good", "holds-with-nuance": "new", "refuted": "bad", "not-observed": "faint"}
_LINE_MAX = 100  # cells of a line that is easy to read


def heading(report: Report, width: int, colour: bool) -> Iterator[str]:
    """What is told before the first claim."""
    yield terminal.styled(report.title, "title", colour)
    yield from wrap(report.subtitle, min(width, _LINE_MAX))
    yield from wrap(
        " · ".join(_told(fact) for fact in report.facts if fact.name != "duration"), min(width, _LINE_MAX)
    )


def _told(fact: Fact) -> str:
    return f"{fact.label} {fact.text}" if fact.name == "version" else fact.text


def chapter_heading(title: str, colour: bool) -> Iterator[str]:
    yield ""
    yield terminal.styled(title, "title", colour)


def account(told: Account, words: Mapping[str, str], width: int, colour: bool) -> Iterator[str]:
    """What is told of one claim."""
    label = max(cells(words[name]) for name in words if name.startswith("short-"))
    room = min(width, _LINE_MAX) - label - 6
    yield ""
    for number, line in enumerate(wrap(told.claim, min(width, _LINE_MAX) - 4)):
        yield pad(told.id if number == 0 else "", 4) + terminal.styled(line, "title", colour)
    parts = [("done", told.done, ""), ("seen", told.seen, ""), ("reason", told.reason, "")]
    parts += [("verdict", told.told, MEANINGS[told.verdict]), ("nuance", told.nuance, "")]
    for name, text, meaning in parts:
        for number, line in enumerate(wrap(text, room) if text else ()):
            left = terminal.styled(pad(words[f"short-{name}"] if number == 0 else "", label), "faint", colour)
            yield f"    {left}  {terminal.styled(line, meaning, colour)}"


def verdicts(report: Report, width: int, colour: bool) -> Iterator[str]:
    """The table of all verdicts, and how many there are of each."""
    words, accounts = report.words, [told for chapter in report.chapters for told in chapter.accounts]
    if accounts:
        yield ""
        yield from terminal.lines(_columns(report), map(_row, accounts), width, colour)
        yield ""
    counted = [
        words["in-all"].format(claims=len(accounts)),
        *(f"{told} {n}" for _, told, n in report.verdicts),
    ]
    yield from wrap(" · ".join(counted), width)
    if report.note:
        yield from wrap(report.note, width)


def _columns(report: Report) -> tuple[Column, ...]:
    words = report.words
    told = [account.told for chapter in report.chapters for account in chapter.accounts]
    verdict = max(map(cells, [words["verdict"], *told]))
    return (
        Column(words["id"].upper(), max(4, cells(words["id"]))),
        Column(words["verdict"].upper(), verdict),
        Column(words["seconds"].upper(), 8, right=True),
        Column(words["claim"].upper(), None),
    )


def _row(told: Account) -> tuple[Cell, ...]:
    return (
        Cell(told.id),
        Cell(told.told, MEANINGS[told.verdict]),
        Cell(duration(told.duration_ns), "faint"),
        Cell(told.claim),
    )
