"""All that labs say, in every language, from words/*.json: one file for each lab, and common.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from kintro.concepts.words import Text
from kintro.labs.lab import Question, Step, Words

_FOLDER = Path(__file__).parent / "words"


@cache
def of_lab(name: str) -> Words:
    """What the lab of that name says."""
    found = _read(name)
    texts = {part: Text(**found[part]) for part in ("title", "question", "situation", "explanation")}
    return Words(
        **texts,
        predictions=tuple(map(_question, found["predictions"])),
        steps={
            step: Step(Text(**told["text"]), tuple(told.get("commands", ())))
            for step, told in found["steps"].items()
        },
        observations=tuple(map(_question, found["observations"])),
        reading=tuple(found["reading"]),
    )


@cache
def common() -> Mapping[str, Text]:
    """What is said around labs."""
    return {name: Text(**text) for name, text in _read("common").items()}


def spoken(language: str) -> dict[str, str]:
    """The same in one language."""
    return {name: getattr(text, language) for name, text in common().items()}


def _read(name: str) -> Any:
    return json.loads((_FOLDER / f"{name}.json").read_text("utf-8"))


def _question(found: Mapping[str, Any]) -> Question:
    choices = {name: Text(**text) for name, text in found.get("choices", {}).items()}
    return Question(
        found["name"],
        found["kind"],
        Text(**found["text"]),
        choices,
        found.get("step", ""),
        found.get("times", 1.0),
        found.get("plus", 0.0),
    )
