"""What experiments found, in one language: as the shape that renderers take, and as JSON.

The words of a report itself are in words/report.json; those with `k-` before a kind of mapping, or `g-`
before a group of channels, tell what these mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from kintro.concepts import words
from kintro.concepts.experiment import Shape
from kintro.concepts.runner import Result
from kintro.concepts.words import VERDICTS, Text
from kintro.renderers import text
from kintro.renderers.jsonl import plain
from kintro.shapes import Account, Bars, Chapter, Fact, Figure, Graph, Report, Table, Timeline, Tree

_MANUAL = "PID"  # what stands in a command for a process of the reader's


class Circumstances(NamedTuple):
    """Where and when the experiments were made."""

    kernel: str  # its release
    host: str
    machine: str  # its architecture
    cpu: str | None  # its model
    cpus: int
    taken_at: str  # ISO 8601
    version: str  # kintro's
    pid: int | None = None  # the process that was looked at, if it was one of the reader's
    comm: str = ""


@cache
def spoken(language: str) -> Mapping[str, str]:
    """The words of a report in a language."""
    return {name: getattr(word, language) for name, word in words.of_reports().items()}


def title(concept: str, language: str) -> str:
    return str(getattr(words.of_concept(concept).title, language))


def _terms(concept: str) -> Mapping[str, Text]:
    return words.of_concept(concept).terms


def account(result: Result, language: str, pid: int | None = None) -> Account:
    """What is told of one claim. `pid`: of a process that was there already."""
    claim, finding, duration_ns = result
    terms = {name: str(getattr(term, language)) for name, term in _terms(claim.concept).items()}

    def said(word: Text) -> str:
        return str(getattr(word, language))

    observed = finding.verdict != "not-observed"
    seen = claim.seen_on if pid is not None and claim.seen_on is not None else claim.seen
    facts = [
        Fact(name, terms.get(name, name), words.shown(name, value)) for name, value in finding.facts.items()
    ]
    return Account(
        id=claim.id,
        claim=said(claim.claim),
        verdict=finding.verdict,
        told=terms[finding.verdict],
        refuted_by=said(claim.refuted_by),
        done=said(claim.done) if pid is None else spoken(language)["done-on"].format(pid=pid),
        seen=words.filled(said(seen), finding.facts) if observed else "",
        reason="" if observed else words.filled(terms[finding.reason], finding.facts),
        nuance=said(claim.nuance) if observed else "",
        facts=tuple(facts),
        figures=tuple(
            Figure(
                terms.get(picture.caption, picture.caption),
                _translated(picture.shape, words.in_pictures(language)),
            )
            for picture in finding.pictures
        ),
        commands=tuple(
            command.replace("{pid}", _MANUAL if pid is None else str(pid)) for command in claim.commands
        ),
        reading=claim.reading,
        duration_ns=duration_ns,
    )


def _translated(shape: Shape, terms: Mapping[str, str]) -> Shape:
    """With the words of a language where an experiment put English ones. What strangers named stays."""

    def told(name: str) -> str:
        return terms.get(name, name)

    def table(found: Table) -> Table:
        rows = tuple(
            tuple(terms.get(f"{column}: {cell}", cell) for column, cell in zip(found.columns, row))
            for row in found.rows
        )
        return Table(tuple(map(told, found.columns)), rows)

    if isinstance(shape, Table):
        return table(shape)
    if isinstance(shape, Bars):
        bars = tuple(bar._replace(label=told(bar.label)) for bar in shape.bars)
        return shape._replace(title=told(shape.title), unit=told(shape.unit), bars=bars)
    if isinstance(shape, Tree):
        columns = tuple(column._replace(title=told(column.title)) for column in shape.columns)
        return shape._replace(title=told(shape.title), columns=columns)
    if isinstance(shape, Timeline):
        lanes = tuple(lane._replace(name=told(lane.name)) for lane in shape.lanes)
        runners = tuple(
            runner._replace(
                name=terms.get(f"task: {text.printable(runner.name)}", "").encode() or runner.name
            )
            for runner in shape.runners
        )
        return shape._replace(lanes=lanes, runners=runners)
    if isinstance(shape, Graph):
        return shape._replace(table=table(shape.table))
    return shape


def report(results: Sequence[Result], wanted: int, around: Circumstances, language: str) -> Report:
    """All of it; `wanted` is how many claims were to be tried."""
    own = spoken(language)
    tried = sum(result.finding.reason != "told-to-end" for result in results)
    count = {"claims": wanted, "tried": tried, "pid": around.pid, "comm": text.printable(around.comm)}
    subtitle = own["subtitle" if around.pid is None else "subtitle-on"].format(**count)
    concepts = dict.fromkeys(result.claim.concept for result in results)
    return Report(
        language=language,
        title=own["title"],
        subtitle=subtitle,
        note=own["cut"].format(**count) if tried < wanted else "",
        facts=_facts(results, around, own),
        verdicts=verdicts((result.finding.verdict for result in results), language),
        chapters=tuple(
            Chapter(
                concept,
                title(concept, language),
                tuple(account(r, language, around.pid) for r in results if r.claim.concept == concept),
            )
            for concept in concepts
        ),
        words=own,
    )


def verdicts(found: Iterable[str], language: str) -> tuple[tuple[str, str, int], ...]:
    """Each verdict that was found, in words, and how often."""
    counts = Counter(found)
    told = words.common()
    return tuple((name, getattr(told[name], language), counts[name]) for name in VERDICTS if counts[name])


def _facts(results: Sequence[Result], around: Circumstances, own: Mapping[str, str]) -> tuple[Fact, ...]:
    found = {
        "kernel": around.kernel,
        "machine": own["cpus"].format(cpu=text.printable(around.cpu or around.machine), cpus=around.cpus),
        "host": text.printable(around.host),
        "taken-at": around.taken_at,
        "duration": text.duration(sum(result.duration_ns for result in results)),
        "version": around.version,
    }
    return tuple(Fact(name, own[name], value) for name, value in found.items())


def as_json(results: Iterable[Result], around: Circumstances, language: str) -> dict[str, Any]:
    """One document. What is not known is null; addresses and ids are whole numbers."""
    return {
        "type": "report",
        "kintro": around.version,
        "kernel": around.kernel,
        "host": around.host,
        "machine": around.machine,
        "cpu": around.cpu,
        "cpus": around.cpus,
        "taken_at": around.taken_at,
        "language": language,
        "pid": around.pid,
        "claims": [_claim_json(result, language, around.pid) for result in results],
    }


def _claim_json(result: Result, language: str, pid: int | None) -> dict[str, Any]:
    told, finding = account(result, language, pid), result.finding
    evidence: list[dict[str, Any]] = [
        {"type": "fact", "name": fact.name, "label": fact.label, "value": plain(finding.facts[fact.name])}
        for fact in told.facts
    ]
    evidence += [
        {
            "type": "picture",
            "caption": figure.caption,
            "shape": type(figure.shape).__name__.lower(),
            "data": plain(figure.shape),
        }
        for figure in told.figures
    ]
    return {
        "id": told.id,
        "concept": result.claim.concept,
        "claim": told.claim,
        "verdict": told.verdict,
        "seen": told.seen or None,
        "reason": told.reason or None,
        "evidence": evidence,
        "refuted_by": told.refuted_by,
        "done": told.done,
        "nuance": told.nuance or None,
        "reading": list(told.reading),
        "commands": list(told.commands),
        "duration_ns": told.duration_ns,
    }
