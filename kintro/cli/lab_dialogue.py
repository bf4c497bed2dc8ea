"""The talk with a student during a lab: what is asked, and what is said at each step."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from kintro.cli.output import as_calling_user
from kintro.concepts.words import filled
from kintro.errors import EX_NOINPUT, EX_UNAVAILABLE, EX_USAGE, KintroError
from kintro.labs import catalogue, session, state, words
from kintro.labs.lab import CHOICE, NUMBER, YES_NO, Answer, Question, Step, Words, is_answer, parsed, traces
from kintro.labs.session import Session
from kintro.labs.stage import Stage
from kintro.renderers import terminal
from kintro.renderers.text import printable, wrap

if TYPE_CHECKING:
    from kintro.cli.output import Output

WIDTH = 80  # where there is no terminal
LINE_MAX = 100  # cells of a line that is easy to read


class Dialogue:
    """Says things and asks for answers; with a file's `answers` it asks nobody and waits for nobody."""

    def __init__(
        self,
        output: Output,
        language: str,
        answers: Mapping[str, Mapping[str, Any]] | None,
        asked: TextIO,
        quiet: bool = False,
    ) -> None:
        self._output, self._language, self._answers, self._asked = output, language, answers, asked
        self._quiet = quiet
        self._begun = self._kept = False  # the situation; a session of it
        self._width = min(output.width or WIDTH, LINE_MAX)
        self.own = words.spoken(language)

    def play(self, name: str) -> Session:
        """Plays a lab through, keeps it, and returns it with the answers there are."""
        lab, said = catalogue.lab(name), words.of_lab(name)
        catalogue.require(lab)
        path = state.file_of(os.environ)
        with as_calling_user():
            state.keep(path)  # what cannot be kept need not be begun
        if self._answers is not None:
            self._require_answers(said)
        self._title(f"{name}: {self._in(said.title)}")
        self.say(self._in(said.question))
        self._title(self.own["predict"])
        predictions = self._ask_all("predictions", said.predictions, {}, needed=True)
        now = datetime.datetime.now().astimezone().isoformat(timespec="microseconds")
        system = os.uname()
        with Stage() as stage:
            # What is shown and recorded is the stage's, and grows.
            done = Session(
                name, now, f"{system.sysname} {system.release}", stage.shown, stage.facts, predictions, {}
            )
            for number, step in enumerate(lab.play(stage), 1):
                if number == 1:
                    self._begun = True
                    self._situation(said, stage)
                self._step(number, said.steps[step], stage)
                asked = [question for question in said.observations if question.step == step]
                if asked:
                    done = self._observe(path, done, asked)
                else:
                    self._wait()
            if session.unrecorded(said, stage.facts):
                hint = "start the lab again, and let its program do what it does"
                raise KintroError("what the lab is about did not happen", hint, EX_UNAVAILABLE)
            self._keep(path, done)
        return done

    def _observe(self, path: Path, done: Session, questions: Iterable[Question]) -> Session:
        """Asks for observations, and keeps each at once: a student may leave at any question."""
        self._keep(path, done)
        for question in questions:
            found = self._ask_all("observations", [question], done.shown)
            if found:
                done = done._replace(observations={**done.observations, **found})
                self._keep(path, done)
        return done

    def _keep(self, path: Path, done: Session) -> None:
        """Once all is recorded."""
        if not session.unrecorded(words.of_lab(done.lab), done.facts):
            with as_calling_user():
                state.keep(path, done)
            self._kept = True

    def left(self, name: str) -> None:
        """Says what becomes of a lab that its student has left."""
        if self._begun:
            self._output.line("")
            self.say(self.own["open" if self._kept else "left"].format(lab=name))
            self._output.flush()

    def _situation(self, said: Words, stage: Stage) -> None:
        self._title(self.own["situation"])
        self.say(filled(self._in(said.situation), stage.shown))
        self.say(self.own["program"])
        self._output.line(f"    {printable(str(stage.source))}")
        if self._answers is None:
            self.say(self.own["later"])

    def finish(self, begun: Session) -> Session:
        """Asks for the observations that are missing, and keeps the session."""
        missing = self.missing(begun)
        if not missing:
            if self._answers is not None and self._answers["observations"]:
                hint = f"what is answered stays so; do it again: {catalogue.beginning(begun.lab)}"
                raise KintroError(f"the lab {begun.lab} has been answered", hint, EX_USAGE)
            return begun
        if self._answers is not None:
            self._require_answers(words.of_lab(begun.lab))
        elif self._quiet:
            hint = "leave out --json to be asked, or give --answers FILE"
            raise KintroError(f"answers of the lab {begun.lab} are missing", hint, EX_USAGE)
        if self._answers is None:
            self.say(self.own["later"])
        return self._observe(state.file_of(os.environ), begun, missing)

    def missing(self, done: Session) -> list[Question]:
        return session.missing(words.of_lab(done.lab), done)

    def say(self, text: str, indent: int = 0) -> None:
        if self._quiet:
            return
        for line in wrap(text, self._width - indent):
            self._output.line(" " * indent + line)

    def _title(self, text: str) -> None:
        if not self._quiet:
            self._output.line("")
            self._output.line(terminal.styled(text, "title", self._output.colour))

    def _in(self, text: Any) -> str:
        return str(getattr(text, self._language))

    def _step(self, number: int, step: Step, stage: Stage) -> None:
        self._title(self.own["step"].format(number=number))
        self.say(filled(self._in(step.text), stage.shown))
        if step.commands:
            self.say(self.own["second"])
            for command in step.commands:
                self._output.line(f"    {filled(command, stage.shown)}")
        if any(map(traces, step.commands)):
            self.say(self.own["tracing"])

    def _ask_all(
        self,
        part: str,
        questions: Iterable[Question],
        shown: Mapping[str, Any],
        needed: bool = False,
    ) -> dict[str, Answer]:
        """Answers by name. `needed`: all of them; else an empty answer is one for later."""
        found: dict[str, Answer] = {}
        for question in questions:
            if self._answers is not None:
                given = self._answers[part]
                if question.name in given:
                    found[question.name] = _checked(question, given[question.name])
                elif needed:
                    raise KintroError(f"the answers have no {question.name} in {part}", None, EX_NOINPUT)
                continue
            answer = self._ask(question, shown)
            while answer is None and needed:
                answer = self._ask(question, shown)
            if answer is not None:
                found[question.name] = answer
        return found

    def _ask(self, question: Question, shown: Mapping[str, Any]) -> Answer | None:
        self._output.line("")
        self.say(filled(self._in(question.text), shown))
        for number, text in enumerate(question.choices.values(), 1):
            self.say(f"{number}) {self._in(text)}", indent=2)
        signs = {CHOICE: f"1-{len(question.choices)}", YES_NO: f"{self.own['yes']}/{self.own['no']}"}
        while True:
            typed = self._line(f"{signs.get(question.kind, '')}> ")
            if not typed.strip():
                return None
            try:
                return parsed(question, typed)
            except ValueError:
                self.say(self.own["no-number" if question.kind == NUMBER else "no-answer"])

    def _wait(self) -> None:
        if self._answers is None:
            self._line(f"{self.own['go-on']} ")

    def _line(self, prompt: str) -> str:
        self._output.flush()
        print(prompt, end="", flush=True)
        typed = self._asked.readline()
        if not typed:
            raise KintroError("nobody answers", "give answers with --answers FILE", EX_NOINPUT)
        return typed

    def _require_answers(self, said: Words) -> None:
        """Before anything is begun or kept: what a file has are answers to questions of the lab."""
        assert self._answers is not None
        parts: Mapping[str, Sequence[Question]] = {
            "predictions": said.predictions, "observations": said.observations
        }  # fmt: skip
        for part, questions in parts.items():
            given = self._answers[part]
            unknown = set(given) - {question.name for question in questions}
            if unknown:
                raise KintroError(f"nobody asks for {sorted(unknown)[0]} in {part}", None, EX_NOINPUT)
            for question in questions:
                if question.name in given:
                    _checked(question, given[question.name])


def _checked(question: Question, given: Any) -> Answer:
    """An answer from a file: a value, or what one would type."""
    if is_answer(question, given):
        return given
    try:
        return parsed(question, str(given))
    except ValueError:
        raise KintroError(f"{given!r} is no answer to {question.name}", None, EX_NOINPUT) from None
