"""Labs as lines for a terminal and as JSON: the list of all, and the check of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kintro.concepts.words import filled
from kintro.labs import catalogue, session, words
from kintro.labs.lab import Grade, told
from kintro.labs.session import Session
from kintro.labs.sheet import Told, last_of
from kintro.labs.state import Kept
from kintro.renderers import terminal
from kintro.renderers.text import cells, wrap
from kintro.shapes import Cell, Column

_LINE_MAX = 100  # cells of a line that is easy to read


def entries(kept: list[Kept]) -> list[Told]:
    """All labs, with the last that was done of each."""
    return [last_of(name, kept) for name in catalogue.NAMES]


def columns(language: str) -> tuple[Column, ...]:
    own = words.spoken(language)
    titles = (own["lab"], own["root"], own["marks"], own["title"])
    widths = (max(map(len, catalogue.NAMES)), cells(titles[1]), cells(own["not-checked"]), None)
    return tuple(Column(title.upper(), width) for title, width in zip(titles, widths))


def row(entry: Told, language: str) -> tuple[Cell, ...]:
    own = words.spoken(language)
    marks, meaning = "-", "faint"
    if entry.marks is not None:
        right, all_marks = entry.marks
        marks, meaning = f"{right}/{all_marks}", "good" if right == all_marks else "changed"
    elif entry.kept is not None:
        marks = own["not-checked"]
    root = own["yes" if catalogue.lab(entry.name).root else "no"]
    return Cell(entry.name), Cell(root), Cell(marks, meaning), Cell(getattr(entry.said.title, language))


def list_json(found: Sequence[Told], language: str) -> dict[str, Any]:
    """null: not done, or answers are missing."""
    labs = [
        {
            "name": entry.name,
            "title": getattr(entry.said.title, language),
            "question": getattr(entry.said.question, language),
            "root": catalogue.lab(entry.name).root,
            "taken_at": entry.kept.session.taken_at if entry.kept is not None else None,
            "right": entry.marks[0] if entry.marks is not None else None,
            "marks": entry.marks[1] if entry.marks is not None else None,
        }
        for entry in found
    ]
    return {"type": "labs", "labs": labs}


def check(done: Session, language: str, width: int, colour: bool) -> Iterator[str]:
    """Predictions and observations beside what happened, the marks, and the explanation."""
    said, own = words.of_lab(done.lab), words.spoken(language)
    room = min(width, _LINE_MAX)
    graded = session.graded(said, done)
    parts = (
        (own["predictions"], session.foreseen(said, done), "expected", "happened"),
        (own["observations"], graded, "yours", "kernel"),
    )
    for title, grades, given, fact in parts:
        yield ""
        yield terminal.styled(title, "title", colour)
        for grade in grades:
            yield from _grade(grade, done, language, given, fact, room, colour)
    right, all_marks = session.marks(graded)
    yield ""
    meaning = "good" if right == all_marks else "changed"
    yield terminal.styled(f"{own['marks']}{own['colon']}{right}/{all_marks}", meaning, colour)
    yield ""
    yield terminal.styled(own["explanation"], "title", colour)
    yield from wrap(filled(getattr(said.explanation, language), {**done.shown, **done.facts}), room)
    yield from wrap(f"{own['reading']}{own['colon']}{', '.join(said.reading)}", room)


def _grade(
    grade: Grade, done: Session, language: str, given: str, fact: str, room: int, colour: bool
) -> Iterator[str]:
    question = grade.question
    sign, meaning = ("✓", "good") if grade.right else ("✗", "bad")
    text = wrap(filled(getattr(question.text, language), done.shown), room - 2)
    yield f"{terminal.styled(sign, meaning, colour)} {text[0]}"
    yield from (f"  {line}" for line in text[1:])
    answer = "-" if grade.answer is None else told(question, grade.answer, language)
    own, fact_told = words.spoken(language), told(question, grade.fact, language)
    beside = f"{own[given]}{own['colon']}{answer} · {own[fact]}{own['colon']}{fact_told}"
    for line in wrap(beside, room - 2):
        yield f"  {line}"


def check_json(done: Session, language: str) -> dict[str, Any]:
    said = words.of_lab(done.lab)
    graded = session.graded(said, done)
    right, all_marks = session.marks(graded)
    return {
        "type": "check",
        "lab": done.lab,
        "taken_at": done.taken_at,
        "sha256": session.digest(done),
        "predictions": [_grade_json(grade) for grade in session.foreseen(said, done)],
        "observations": [_grade_json(grade) for grade in graded],
        "right": right,
        "marks": all_marks,
        "explanation": filled(getattr(said.explanation, language), {**done.shown, **done.facts}),
    }


def _grade_json(grade: Grade) -> dict[str, Any]:
    return {
        "name": grade.question.name,
        "answer": grade.answer,
        "fact": grade.fact,
        "right": grade.right,
    }
