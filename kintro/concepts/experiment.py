"""What an experiment is and what it finds: numbers, and the verdict that follows from them.

`observe` sets up a real situation and tells what was seen, as a named tuple of raw numbers. `judge` is pure:
from these alone it says whether the claim holds, so that a doctored observation changes its verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from kintro.concepts.words import Value
from kintro.shapes import Bars, Graph, Layout, Table, Timeline, Tree

Shape: TypeAlias = Layout | Tree | Timeline | Graph | Table | Bars


class Picture(NamedTuple):
    """A shape that shows what was seen."""

    caption: str  # a term of the concept's words
    shape: Shape


class Finding(NamedTuple):
    """What came of an experiment."""

    verdict: str  # one of words.VERDICTS
    facts: Mapping[str, Value]  # raw numbers; a name's ending is its unit
    pictures: tuple[Picture, ...] = ()
    reason: str = ""  # why it was not observed: a term of the concept's words, with {names} of facts


EVENTS_LOST = "events-lost"  # the reason of a NotObserved where it may be otherwise the next time


class NotObserved(Exception):
    """Raised by `observe` where a situation cannot be made or seen here."""

    def __init__(self, reason: str, **facts: Value) -> None:
        super().__init__(reason)
        self.reason, self.facts = reason, facts


class Experiment(NamedTuple):
    """A test of one claim. `on` observes the same on a process that is there already, by its pid."""

    id: str
    observe: Callable[[], Any]
    judge: Callable[[Any], Finding]
    root: bool = False  # `observe` takes it
    on: Callable[[int], Any] | None = None  # None: it would have to make that process do something
    judge_on: Callable[[Any], Finding] | None = None  # None: as `judge`
    on_root: bool = False


def judged(holds: bool, nuance: bool) -> str:
    """The verdict of a claim that holds or does not, and of which the subtler part was seen or not."""
    if not holds:
        return "refuted"
    return "holds-with-nuance" if nuance else "holds"
