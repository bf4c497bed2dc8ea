"""What a lab is, what is asked in it, and whether an answer is right. Pure.

A question is answered by the fact of the same name, which the lab recorded; a name's ending is its unit, as
in concepts/words.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from kintro.concepts.words import Text, Value, shown

if TYPE_CHECKING:
    from kintro.labs.stage import Stage

Answer: TypeAlias = int | float | str | bool

NUMBER, CHOICE, YES_NO = "number", "choice", "yes-no"
KINDS = (NUMBER, CHOICE, YES_NO)
_UNITS: dict[str, dict[str, float]] = {
    "_ns": {"": 1, "ns": 1, "us": 1e3, "µs": 1e3, "μs": 1e3, "ms": 1e6, "s": 1e9},
    "_bytes": {
        "": 1, "b": 1, "k": 2**10, "kb": 2**10, "kib": 2**10, "m": 2**20, "mb": 2**20, "mib": 2**20,
        "g": 2**30, "gb": 2**30, "gib": 2**30,
    },
    "_percent": {"": 1, "%": 1},
}  # fmt: skip
_MOST = 1e30  # larger numbers are no answers: of what is asked none is, and a float has to hold them
_YES, _NO = ("y", "yes", "true", "是", "对"), ("n", "no", "false", "否", "不")


class Question(NamedTuple):
    """What is to be predicted or observed. An answer is right if it is as near to the fact as said here."""

    name: str  # of the fact
    kind: str  # one of KINDS
    text: Text
    choices: Mapping[str, Text]
    step: str  # at which it is asked; empty for a prediction
    times: float  # by so much a number may be larger or smaller
    plus: float  # or by so much in its unit


class Step(NamedTuple):
    """Something to do or to look at, with the commands for that."""

    text: Text
    commands: tuple[str, ...]


def traces(command: str) -> bool:
    """Whether a command of a step traces until Ctrl-C: what happens before it has begun it does not see."""
    words = command.split()
    return bool({"syscalls", "ctxswitch", "trace-fork", "--watch"} & set(words))


class Words(NamedTuple):
    """All that a lab says. Texts have {names} of what the lab shows; the explanation also those of facts."""

    title: Text
    question: Text
    predictions: tuple[Question, ...]
    situation: Text
    steps: Mapping[str, Step]
    observations: tuple[Question, ...]
    explanation: Text
    reading: tuple[str, ...]


class Lab(NamedTuple):
    """`play` sets all up on a stage and yields the names of the steps, at which it waits for the student.

    What is asked at a step has been recorded before it is yielded.
    """

    name: str
    play: Callable[[Stage], Iterator[str]]
    root: bool = False  # what is recorded takes it
    traces: bool = False  # probes, which know pids of the initial pid namespace only


class Grade(NamedTuple):
    """What became of an answer. `answer` None: there is none yet."""

    question: Question
    answer: Answer | None
    fact: Answer
    right: bool


def parsed(question: Question, typed: str) -> Answer:
    """What somebody typed as an answer. ValueError if it is none."""
    found = _parsed(question, typed)
    if not is_answer(question, found):
        raise ValueError(typed)
    return found


def _parsed(question: Question, typed: str) -> Answer:
    word = " ".join(typed.split()).casefold()
    if question.kind == YES_NO:
        if word not in (*_YES, *_NO):
            raise ValueError(typed)
        return word in _YES
    if question.kind == CHOICE:
        names = list(question.choices)
        if word.isascii() and word.isdigit() and 0 < int(word) <= len(names):
            return names[int(word) - 1]
        return names[[name.casefold() for name in names].index(word)]
    return _number(question.name, word)


def _number(name: str, word: str) -> int | float:
    if re.fullmatch(r"0x[0-9a-f]{1,16}", word) or (name.endswith("_address") and _is_hex(word)):
        return int(word, 16)
    found = re.fullmatch(r"(-?(?:\d+|\d{1,3}(?:[_, ]\d{3})+)(?:\.\d+)?) ?([a-zµμ%]*)", word)
    if found is None:
        raise ValueError(word)
    units = next((units for ending, units in _UNITS.items() if name.endswith(ending)), {"": 1.0})
    if found[2] not in units:
        raise ValueError(word)
    digits = re.sub("[_, ]", "", found[1])
    factor = units[found[2]]
    if "." in digits:
        return float(digits) * factor
    return int(digits) * int(factor)


def _is_hex(word: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{1,16}", word) is not None


def is_answer(question: Question, answer: object) -> bool:
    """Whether this, from a file of any origin, is an answer of the kind that is asked for."""
    if question.kind == YES_NO:
        return isinstance(answer, bool)
    if question.kind == CHOICE:
        return isinstance(answer, str) and answer in question.choices
    return isinstance(answer, (int, float)) and not isinstance(answer, bool) and abs(answer) <= _MOST


def is_right(question: Question, answer: Answer, fact: Answer) -> bool:
    """Whether an answer is the fact, or a number near enough to it."""
    if question.kind != NUMBER or isinstance(answer, str) or isinstance(fact, str):
        return answer == fact
    if abs(answer - fact) <= question.plus:
        return True
    return answer * fact > 0 and max(answer / fact, fact / answer) <= question.times


def changed(question: Question, answer: Answer) -> Answer:
    """Another answer, which is not right where this one is the fact."""
    if isinstance(answer, bool):
        return not answer
    if isinstance(answer, str):
        return next(name for name in question.choices if name != answer)
    return abs(answer) * question.times * 3 + question.plus * 2 + 7


def grades(
    questions: Sequence[Question], answers: Mapping[str, Answer], facts: Mapping[str, Any]
) -> tuple[Grade, ...]:
    """One for each question. A question without a fact is a fault of the lab: KeyError."""
    found = []
    for question in questions:
        answer, fact = answers.get(question.name), facts[question.name]
        right = answer is not None and is_right(question, answer, fact)
        found.append(Grade(question, answer, fact, right))
    return tuple(found)


def told(question: Question, value: Value, language: str) -> str:
    """An answer or a fact as people read it."""
    if isinstance(value, str) and value in question.choices:
        return str(getattr(question.choices[value], language))
    if isinstance(value, bool):
        return {"en": ("no", "yes"), "zh": ("否", "是")}[language][value]
    return shown(question.name, value)
