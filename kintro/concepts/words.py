"""The claims and all words about them, in every language, from words/*.json.

One file for each concept, common.json, report.json, and pictures.json for what stands inside of pictures.
Text has {names} of an experiment's facts in it; a name's ending says its unit: `cost_ns`, `size_bytes`,
`share_percent`, `start_address`; all else is counted, or told as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from kintro.renderers import text

CONCEPTS = ("process", "fork", "tree", "descriptor", "identity", "space", "syscall", "switch", "ipc")
VERDICTS = ("holds", "holds-with-nuance", "refuted", "not-observed")
_NUMBERS = ("pid", "tid", "inode", "signal", "level")  # names, not amounts
_FOLDER = Path(__file__).parent / "words"

Value = int | float | str | bool | None


class Text(NamedTuple):
    """The same in every language, by its code (ISO 639-1)."""

    en: str
    zh: str


LANGUAGES = Text._fields


class Claim(NamedTuple):
    """A claim of the document in our own words, and what is told about its experiment."""

    id: str
    concept: str
    claim: Text
    refuted_by: Text
    nuance: Text
    done: Text  # what the experiment does
    seen: Text  # what came of it, with {names} of facts
    seen_on: Text | None  # the same of a process that was there already
    reading: tuple[str, ...]  # manual pages and documentation of the kernel
    commands: tuple[str, ...]  # that show it again; {pid} is the process to look at


class Words(NamedTuple):
    """What is said of a concept."""

    title: Text
    claims: tuple[Claim, ...]
    terms: Mapping[str, Text]  # names of facts, captions of pictures, reasons for not having observed


@cache
def of_concept(concept: str) -> Words:
    """One of CONCEPTS, with the terms that are common to all."""
    found = _read(concept)
    claims = tuple(_claim(concept, claim) for claim in found["claims"])
    return Words(Text(**found["title"]), claims, common() | _texts(found["terms"]))


@cache
def common() -> dict[str, Text]:
    return _texts(_read("common"))


@cache
def of_reports() -> dict[str, Text]:
    """What a report says around the claims."""
    return _texts(_read("report"))


@cache
def in_pictures(language: str) -> Mapping[str, str]:
    """What heads, labels and units of pictures are called, by their English; `column: cell` is a cell's."""
    return {} if language == "en" else _read("pictures")


@cache
def claims() -> dict[str, Claim]:
    """All of them by their id, in the document's order."""
    return {claim.id: claim for concept in CONCEPTS for claim in of_concept(concept).claims}


def _read(name: str) -> Any:
    return json.loads((_FOLDER / f"{name}.json").read_text("utf-8"))


def _texts(found: Mapping[str, Any]) -> dict[str, Text]:
    return {name: Text(**text) for name, text in found.items()}


def _claim(concept: str, found: Mapping[str, Any]) -> Claim:
    words: dict[str, Any] = {
        name: Text(**found[name]) for name in ("claim", "refuted_by", "nuance", "done", "seen", "seen_on")
        if name in found
    }  # fmt: skip
    lists: dict[str, Any] = {name: tuple(found[name]) for name in ("reading", "commands")}
    return Claim(found["id"], concept, **{"seen_on": None, **words, **lists})


def filled(template: str, facts: Mapping[str, Value]) -> str:
    """A text with the facts in it, as people read them."""
    return template.format_map({name: shown(name, value) for name, value in facts.items()})


def shown(name: str, value: Value) -> str:
    """A fact as people read it; the ending of its name is its unit."""
    if value is None:
        return "?"
    if isinstance(value, bool):
        return "✓" if value else "✗"
    if isinstance(value, str):
        return text.printable(value)
    if name.endswith("_ns") and isinstance(value, float) and abs(value) < 100:
        return f"{value:.3g} ns"  # whole ones would not give the ratios that are told of them
    if name.endswith("_ns"):
        return text.duration(round(value)) if value >= 0 else f"-{text.duration(round(-value))}"
    if name.endswith("_bytes"):
        return text.size(round(value))
    if name.endswith("_address"):
        return f"0x{value:x}"
    if name.endswith("_percent"):
        return f"{value:.3g} %"
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value) if name.endswith(_NUMBERS) else f"{value:,}"
