"""Whether a lab works on this machine: it is played through, and graded with its own facts as answers."""

from __future__ import annotations

import time
from typing import NamedTuple

from kintro.errors import KintroError
from kintro.labs import catalogue, words
from kintro.labs.lab import Answer, Question, Words, changed, grades
from kintro.labs.session import unrecorded
from kintro.labs.stage import Stage
from kintro.renderers.text import duration


class Verified(NamedTuple):
    """What came of it. `problem` empty: it works."""

    lab: str
    problem: str
    observations: int
    duration_ns: int

    @property
    def works(self) -> bool:
        return not self.problem

    @property
    def told(self) -> str:
        took = duration(self.duration_ns)
        return self.problem or f"ok: {self.observations} observations, {took}"


def verify(name: str) -> Verified:
    """Plays a lab; all steps are gone through at once."""
    said, begin_ns = words.of_lab(name), time.monotonic_ns()
    try:
        problem = _problem(said, _facts(name, said))
    except KintroError as error:
        problem = error.message
    return Verified(name, problem, len(said.observations), time.monotonic_ns() - begin_ns)


def _facts(name: str, said: Words) -> dict[str, Answer]:
    lab = catalogue.lab(name)
    catalogue.require(lab)
    with Stage() as stage:
        steps = list(lab.play(stage))
    if steps != list(said.steps):
        raise KintroError(f"it went through the steps {', '.join(steps)}")
    return stage.facts


def _problem(said: Words, facts: dict[str, Answer]) -> str:
    """Empty if right answers get full marks, and each wrong one costs its mark."""
    missing = unrecorded(said, facts)
    if missing:
        return f"{missing[0]} was not recorded"
    answers = {question.name: facts[question.name] for question in said.observations}
    if not all(grade.right for grade in grades(said.observations, answers, facts)):
        return "right answers do not get full marks"
    for question in said.observations:
        wrong = {**answers, question.name: changed(question, answers[question.name])}
        found = {grade.question.name for grade in grades(said.observations, wrong, facts) if not grade.right}
        if found != {question.name}:
            return f"a wrong answer to {question.name} gets its mark"
    return _unasked(said.observations, said)


def _unasked(questions: tuple[Question, ...], said: Words) -> str:
    lost = [question.name for question in questions if question.step not in said.steps]
    return f"{lost[0]} is asked at no step" if lost else ""
