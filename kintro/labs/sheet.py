"""What was predicted, observed and found in labs, as a sheet to hand in. Pure.

Where nothing was done its fields are empty, so that it can be handed out, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from kintro.concepts.words import filled
from kintro.labs import session, state, words
from kintro.labs.lab import Question, Words, told
from kintro.labs.session import Session
from kintro.labs.state import Kept
from kintro.shapes import Part, Sheet, Table

BLANK = "…"  # for what is not known yet


class _Names(dict[str, str]):
    """Stands for names that nothing is known for: each is told as it is."""

    def __missing__(self, name: str) -> str:
        return name.upper()


class Told(NamedTuple):
    """A lab as far as it was done. `kept` None: not, or not as the lab is now."""

    name: str
    said: Words
    kept: Kept | None

    @property
    def done(self) -> Session | None:
        """The session, if all its questions are answered."""
        if self.kept is None or session.missing(self.said, self.kept.session):
            return None
        return self.kept.session

    @property
    def marks(self) -> tuple[int, int] | None:
        return session.marks(session.graded(self.said, self.done)) if self.done is not None else None


def last_of(name: str, kept: list[Kept]) -> Told:
    """A lab and the last that was done of it."""
    said, found = words.of_lab(name), state.last(kept, name)
    return Told(name, said, found if found is not None and session.fits(said, found.session) else None)


def sheet(names: Sequence[str], kept: list[Kept], language: str) -> Sheet:
    """Of these labs, the last session of each."""
    labs = [last_of(name, kept) for name in names]
    own = words.spoken(language)
    marks = [lab.marks for lab in labs if lab.marks is not None]
    subtitle = own["sheet-of"].format(
        labs=len(labs), done=len(marks), right=sum(a for a, _ in marks), all=sum(b for _, b in marks)
    )
    parts = [part for lab in labs for part in _parts(lab, own, language)]
    name = Part(2, own["name"], (BLANK,))
    return Sheet(own["sheet"], subtitle, language, (name, *parts))


def _parts(lab: Told, own: Mapping[str, str], language: str) -> Iterator[Part]:
    said, found = lab.said, lab.kept.session if lab.kept is not None else None

    def one(text: object) -> str:
        return str(getattr(text, language))

    def full(text: object) -> str:
        return _filled(one(text), found)

    yield Part(2, f"{lab.name}: {one(said.title)}", (_facts(lab, own),))
    yield Part(3, own["question"], (one(said.question),))
    yield Part(3, own["predictions"], (_predictions(lab, own, language),))
    yield Part(3, own["situation"], (full(said.situation),))
    for number, step in enumerate(said.steps.values(), 1):
        commands = tuple(_filled(command, found) for command in step.commands)
        text = full(step.text)
        yield Part(3, own["step"].format(number=number), (text, commands) if commands else (text,))
    yield Part(3, own["observations"], (_observations(lab, own, language),))
    if lab.done is not None:
        known = {**lab.done.shown, **lab.done.facts}
        yield Part(3, own["explanation"], (filled(one(said.explanation), known),))
    yield Part(3, own["reading"], (", ".join(said.reading),))


def _filled(template: str, found: Session | None) -> str:
    return filled(template, found.shown) if found is not None else template.format_map(_Names())


def _facts(lab: Told, own: Mapping[str, str]) -> Table:
    rows = [(own["marks"], own["not-done"])]
    if lab.kept is not None:
        one = lab.kept.session
        marks = f"{lab.marks[0]}/{lab.marks[1]}" if lab.marks is not None else own["not-checked"]
        digest = session.digest(one) if lab.kept.whole else own["not-whole"]
        rows = [
            (own["marks"], marks), (own["taken-at"], one.taken_at), (own["on-kernel"], one.kernel),
            (own["session"], digest),
        ]  # fmt: skip
    return Table((own["lab"], lab.name), tuple(rows))


def _predictions(lab: Told, own: Mapping[str, str], language: str) -> Table:
    head = (own["prediction"], own["expected"], own["happened"])
    rows = []
    for question in lab.said.predictions:
        given = lab.kept.session.predictions.get(question.name) if lab.kept is not None else None
        fact = lab.done.facts[question.name] if lab.done is not None else None
        rows.append((_asked(question, lab, language), _or_blank(question, given, language),
                     _or_blank(question, fact, language)))  # fmt: skip
    return Table(head, tuple(rows))


def _observations(lab: Told, own: Mapping[str, str], language: str) -> Table:
    head = (own["observation"], own["yours"], own["kernel"], own["right"])
    rows = []
    grades = {g.question.name: g for g in session.graded(lab.said, lab.done)} if lab.done is not None else {}
    for question in lab.said.observations:
        grade = grades.get(question.name)
        given = lab.kept.session.observations.get(question.name) if lab.kept is not None else None
        rows.append((
            _asked(question, lab, language),
            _or_blank(question, given, language),
            _or_blank(question, grade.fact if grade else None, language),
            BLANK if grade is None else own["yes" if grade.right else "no"],
        ))  # fmt: skip
    return Table(head, tuple(rows))


def _asked(question: Question, lab: Told, language: str) -> str:
    text = _filled(getattr(question.text, language), lab.kept.session if lab.kept is not None else None)
    choices = [getattr(choice, language) for choice in question.choices.values()]
    return f"{text} ({' / '.join(choices)})" if choices else text


def _or_blank(question: Question, value: int | float | str | bool | None, language: str) -> str:
    return BLANK if value is None else told(question, value, language)
