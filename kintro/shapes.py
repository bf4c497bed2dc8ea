"""What a result can be, free of how it is shown: named tuples, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np


class Column(NamedTuple):
    """A column of a table that is written line by line: its width is fixed beforehand."""

    title: str
    width: int | None  # in terminal cells; None: as long as it is, the last column
    right: bool = False


class Cell(NamedTuple):
    """A text and what it means: `good`, `bad`, `new`, `changed`, `faint`, or nothing in particular."""

    text: str
    meaning: str = ""


class Table(NamedTuple):
    """A finite table; cells are text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class TreeRow(NamedTuple):
    """A node of a tree in depth-first order, parents before children."""

    depth: int
    last: bool  # the last among its siblings
    cells: tuple[Cell, ...]  # facts shown in columns beside the tree
    label: str


class Tree(NamedTuple):
    columns: tuple[Column, ...]  # of the cells
    title: str  # of the tree itself
    rows: tuple[TreeRow, ...]


class Share(NamedTuple):
    """What two processes have of one stretch of addresses, in pages."""

    same: int  # the same frame in both
    copied: int  # a frame of its own in each
    only_a: int
    only_b: int


class Band(NamedTuple):
    """A stretch of an address space: a mapping, a region of the kernel, or the hole between the halves."""

    start: int
    end: int  # exclusive; 1 << 64 at the top
    kind: str  # of a mapping, or `kernel`, or `hole` for addresses that the CPU cannot translate
    label: str  # `libc.so.6, code`: what it is, a comma, which part of it
    facts: tuple[tuple[str, str], ...] = ()  # name and value; one name means the same for every band
    share: Share | None = None  # of two processes that are compared


class Mark(NamedTuple):
    """An address that bounds others, such as TASK_SIZE."""

    address: int
    name: str
    source: str  # how it is known


class Layout(NamedTuple):
    """An address space, from 0 to 1 << 64."""

    title: str
    subtitle: str
    bands: tuple[Band, ...]  # by start, ascending
    marks: tuple[Mark, ...]
    facts: tuple[tuple[str, str], ...]  # of the whole: name and value
    totals: Table  # for instance by kind; without rows if there is nothing to sum up
    sides: tuple[str, str] = ("A", "B")  # the two processes, where bands have a share


class Runner(NamedTuple):
    """A task that had turns in lanes, and what it comes to in all."""

    name: bytes
    tid: int
    pid: int
    turns: int
    busy_ns: int
    waited_ns: int  # for its turns, as far as that is known


class Lane(NamedTuple):
    """What all turns in a lane come to."""

    name: str
    turns: int
    busy_ns: int
    unknown_ns: int  # of which nothing is known; what is missing to the duration was idle


class Turns(NamedTuple):
    """Turns in lanes as columns of int64, by lane and then by time. None overlaps another of its lane.

    A stretch of several turns that were put together has the time of all, and the task that had most of it.
    """

    lane: np.ndarray
    begin_ns: np.ndarray  # since the timeline's beginning, as all times
    end_ns: np.ndarray
    task: np.ndarray  # whose turn; -1: nothing is known of that time
    left: np.ndarray  # how it ended; 0: it is several turns
    since_ns: np.ndarray  # from when on it waited for its turn; -1: not known
    waker: np.ndarray  # who woke it for that turn: a task; -2: no task's doing; -1: not known, or nobody
    waker_lane: np.ndarray
    woken_ns: np.ndarray
    turns: np.ndarray  # how many there are in this one; 0: nothing is known
    busy_ns: np.ndarray  # of the whole stretch; what is missing was idle
    task_ns: np.ndarray  # the part of it that `task` had


class Timeline(NamedTuple):
    """Who had which lane when."""

    title: str
    subtitle: str
    facts: tuple[tuple[str, str], ...]
    note: str  # what is not in it as it was; empty if there is no such thing
    duration_ns: int
    lanes: tuple[Lane, ...]
    runners: tuple[Runner, ...]  # `task` and `waker` of turns count them; those with most time first
    endings: tuple[str, ...]  # what `left` of turns means
    turns: Turns


class Bar(NamedTuple):
    """An amount, with the range that it lies in if that is known."""

    label: str
    amount: float
    low: float | None = None
    high: float | None = None


class Bars(NamedTuple):
    """Amounts side by side: costs, or a histogram, whose labels are the ranges of its buckets."""

    title: str
    unit: str  # `ns`, `bytes`, `percent`, or a plural of what is counted
    log: bool  # drawn on a logarithmic scale
    bars: tuple[Bar, ...]


class Node(NamedTuple):
    """What lines of a graph lead to: a process, or what more than two processes share."""

    id: str  # unique in its graph
    label: str
    group: str  # `process`, or as of a line


class Line(NamedTuple):
    """All of one group that two nodes have in common."""

    source: str  # id of a node
    target: str
    group: str
    forward: bool  # something can pass from source to target
    back: bool  # and the other way
    rows: tuple[int, ...]  # of the graph's table: what it stands for


class Graph(NamedTuple):
    title: str
    subtitle: str
    nodes: tuple[Node, ...]
    lines: tuple[Line, ...]
    groups: tuple[tuple[str, str], ...]  # of lines, each with its meaning
    table: Table
    facts: tuple[tuple[str, str], ...]  # of the whole: name and value


class Length(NamedTuple):
    """A value of somebody, beside those of others; all of one unit and above 0."""

    label: str
    group: str  # bars of one label have each another one
    value: float
    low: float | None  # where the value truly is; None: not known
    high: float | None
    text: str  # the value with its unit


class Point(NamedTuple):
    x: float  # above 0, as y
    y: float
    x_text: str
    text: str  # what both are, and what else there is to say


class Series(NamedTuple):
    label: str
    points: tuple[Point, ...]  # by x, ascending


class Comparison(NamedTuple):
    """Things beside each other: a value of each as bars, and how another one goes as lines."""

    title: str
    subtitle: str
    facts: tuple[tuple[str, str], ...]
    findings: tuple[str, ...]
    bars_title: str
    groups: tuple[str, ...]
    bars: tuple[Length, ...]
    bar_ticks: tuple[
        tuple[float, str], ...
    ]  # value and text, ascending: the axis is logarithmic from first to last
    lines_title: str
    series: tuple[Series, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    tables: tuple[tuple[str, Table], ...]  # with what they tell; all figures are in them
    notes: tuple[str, ...]


class Fact(NamedTuple):
    name: str
    label: str
    text: str  # as people read it


class Figure(NamedTuple):
    """A shape in a report."""

    caption: str
    shape: Layout | Tree | Timeline | Graph | Table | Bars


class Account(NamedTuple):
    """Of a claim: what it says, how it was put to the test, and what came of that."""

    id: str
    claim: str
    verdict: str  # `holds`, `holds-with-nuance`, `refuted` or `not-observed`
    told: str  # the verdict in words
    refuted_by: str
    done: str
    seen: str  # empty if it was not observed, and then `reason` says why
    reason: str
    nuance: str
    facts: tuple[Fact, ...]
    figures: tuple[Figure, ...]
    commands: tuple[str, ...]
    reading: tuple[str, ...]
    duration_ns: int


class Chapter(NamedTuple):
    id: str
    title: str
    accounts: tuple[Account, ...]


class Report(NamedTuple):
    """Claims with what was found out about them."""

    language: str  # ISO 639-1
    title: str
    subtitle: str
    note: str  # what is missing in it; empty if nothing is
    facts: tuple[Fact, ...]  # of the whole
    verdicts: tuple[tuple[str, str, int], ...]  # each verdict, in words, and how many there are
    chapters: tuple[Chapter, ...]
    words: Mapping[str, str]  # what a page says around all that, in its language


class Part(NamedTuple):
    """A heading and what is below it: paragraphs, commands to type, tables."""

    level: int  # 2 and more; the sheet's own title is 1
    title: str
    blocks: tuple[str | tuple[str, ...] | Table, ...]


class Sheet(NamedTuple):
    """A text to hand in."""

    title: str
    subtitle: str
    language: str  # ISO 639-1
    parts: tuple[Part, ...]
