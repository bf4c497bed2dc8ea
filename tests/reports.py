"""Reports to write: with every shape and every verdict, in both languages, with names from strangers."""

from __future__ import annotations

import layouts
import timelines

from kintro.concepts import report as words
from kintro.shapes import (
    Account,
    Bar,
    Bars,
    Cell,
    Chapter,
    Column,
    Fact,
    Figure,
    Graph,
    Layout,
    Line,
    Node,
    Report,
    Table,
    Timeline,
    Tree,
    TreeRow,
)

VERDICTS = ("holds", "holds-with-nuance", "refuted", "not-observed")
SHAPES = (Layout, Tree, Timeline, Graph, Bars, Table)


def tree(labels: tuple[str, ...]) -> Tree:
    """A first node with two branches, of which the second has all further nodes below each other."""
    columns = (Column("PID", 7, right=True), Column("STATE", 6))
    depths = [min(number, 1) if number < 3 else number - 1 for number in range(len(labels))]
    rows = tuple(
        TreeRow(depth, number != 1, (Cell(str(number)), Cell(label[:6])), label)
        for number, (depth, label) in enumerate(zip(depths, labels))
    )
    return Tree(columns, "PROCESS", rows)


def graph(labels: tuple[str, ...]) -> Graph:
    """Processes in a row, each with a channel to the next."""
    groups = tuple((name, name) for name in ("stream", "socket", "queue", "memory", "sync", "control"))
    nodes = tuple(Node(f"p{number}", label, "process") for number, label in enumerate(labels))
    lines = tuple(
        Line(f"p{n}", f"p{n + 1}", groups[n % 6][0], True, n % 2 == 0, (n,)) for n in range(len(labels) - 1)
    )
    rows = tuple(("pipe", str(n), labels[n]) for n in range(len(lines)))
    return Graph("Who", "a sample", nodes, lines, groups, Table(("Kind", "Id", "Name"), rows), ())


def costs(labels: tuple[str, ...], log: bool = True) -> Bars:
    amounts = [1.3 * 6**number for number in range(len(labels))]
    bars = (Bar(label, amount, amount * 0.9, amount * 1.4) for label, amount in zip(labels, amounts))
    return Bars("What it costs", "ns", log, tuple(bars))


def histogram() -> Bars:
    counts = (0, 3, 17, 120, 1000, 411, 66, 8, 1)
    return Bars(
        "Waits", "waits", False, tuple(Bar(f"{2**n} … {2 ** (n + 1)} µs", c) for n, c in enumerate(counts))
    )


def shapes(labels: tuple[str, ...]) -> dict[str, Layout | Tree | Timeline | Graph | Bars | Table]:
    hostile = labels == layouts.HOSTILE
    return {
        "space": layouts.hostile() if hostile else layouts.real(),
        "compared": layouts.compared(),
        "tree": tree(labels),
        "timeline": timelines.hostile() if hostile else timelines.few(),
        "many turns": timelines.timeline(timelines.turns(1, 3000, 12), timelines.named(12)),
        "graph": graph(labels),
        "costs": costs(labels),
        "histogram": histogram(),
        "table": Table(("field", "value"), tuple((label, label) for label in labels)),
    }


NAMES = ("init (1)", "bash (20)", "日本語の名前 (21)", "sleep (22)", "python3 (23)", "x (24)")


def sample(language: str = "en", labels: tuple[str, ...] = NAMES) -> Report:
    """One claim for each shape; every name in it is one of `labels`."""
    own = words.spoken(language)
    accounts = []
    for number, (name, shape) in enumerate(shapes(labels).items()):
        label = labels[number % len(labels)]
        verdict = VERDICTS[number % len(VERDICTS)]
        seen = verdict != "not-observed"
        accounts.append(
            Account(
                id=f"X{number}",
                claim=f"{label} {name}",
                verdict=verdict,
                told=own["verdict"],
                refuted_by=label,
                done=label,
                seen=label if seen else "",
                reason="" if seen else label,
                nuance=label,
                facts=(Fact("some_pid", label, label),),
                figures=(Figure(f"{name} {label}", shape),),
                commands=(f"kintro tree {label}",),
                reading=(label,),
                duration_ns=123_456_789,
            )
        )
    half = len(accounts) // 2
    return Report(
        language=language,
        title=labels[0],
        subtitle=labels[1],
        note=labels[2],
        facts=(Fact("kernel", own["kernel"], labels[3]), Fact("host", own["host"], "a-host")),
        verdicts=tuple((verdict, verdict, 2) for verdict in VERDICTS),
        chapters=(
            Chapter("fork", labels[0], tuple(accounts[:half])),
            Chapter("tree", labels[1], tuple(accounts[half:])),
        ),
        words=own,
    )


def hostile(language: str = "en") -> Report:
    return sample(language, layouts.HOSTILE)
