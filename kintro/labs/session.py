"""A lab as it was done once: what was drawn and recorded, what was predicted and observed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from string import Formatter
from typing import Any, NamedTuple

from kintro.concepts.words import Value
from kintro.labs.lab import Answer, Grade, Question, Words, grades, is_answer


class Session(NamedTuple):
    """Answers are by the names of their questions; those that are not given yet are missing."""

    lab: str
    taken_at: str  # ISO 8601
    kernel: str  # uname -sr
    shown: Mapping[str, Value]
    facts: Mapping[str, Answer]
    predictions: Mapping[str, Answer]
    observations: Mapping[str, Answer]


def digest(session: Session) -> str:
    """SHA-256 over all that is in a session, in hexadecimal digits."""
    text = json.dumps(session._asdict(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def missing(words: Words, session: Session) -> list[Question]:
    """The observations that are not made yet."""
    return [question for question in words.observations if question.name not in session.observations]


def graded(words: Words, session: Session) -> tuple[Grade, ...]:
    """The observations, which marks are given for."""
    return grades(words.observations, session.observations, session.facts)


def foreseen(words: Words, session: Session) -> tuple[Grade, ...]:
    """The predictions, beside what happened; they give no marks."""
    return grades(words.predictions, session.predictions, session.facts)


def unrecorded(words: Words, facts: Mapping[str, Answer]) -> list[str]:
    """The names of questions that no fact answers."""
    asked = (*words.predictions, *words.observations)
    return [question.name for question in asked if not is_answer(question, facts.get(question.name))]


def marks(found: tuple[Grade, ...]) -> tuple[int, int]:
    """How many are right, of how many."""
    return sum(grade.right for grade in found), len(found)


def fits(words: Words, session: Session) -> bool:
    """Whether a session, from a file of any origin, is one of the lab as it is now."""
    if unrecorded(words, session.facts) or not _tells_all(words, session):
        return False
    for questions, given in (
        (words.predictions, session.predictions),
        (words.observations, session.observations),
    ):
        known = {question.name: question for question in questions}
        if not all(name in known and is_answer(known[name], answer) for name, answer in given.items()):
            return False
    return True


def _tells_all(words: Words, session: Session) -> bool:
    """Whether it has all that the lab's texts name. They may be younger than the session."""
    steps, asked = words.steps.values(), (*words.predictions, *words.observations)
    texts = (words.situation, *(step.text for step in steps), *(question.text for question in asked))
    commands = [command for step in steps for command in step.commands]
    shown = _names([*(template for text in texts for template in text), *commands])
    told = _names(words.explanation)
    return shown <= session.shown.keys() and told <= {*session.shown, *session.facts}


def _names(templates: Iterable[str]) -> set[str]:
    return {name for template in templates for _, name, _, _ in Formatter().parse(template) if name}


def as_json(session: Session) -> dict[str, Any]:
    """As it is kept, with its digest."""
    return session._asdict() | {"sha256": digest(session)}
