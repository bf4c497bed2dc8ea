"""The figures of a report in words and as tables: for who cannot see a picture, and where there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from kintro.renderers.clusters import TOP, clusters
from kintro.renderers.text import duration, printable, size
from kintro.shapes import Bar, Bars, Figure, Graph, Layout, Runner, Table, Timeline, Tree

Words: TypeAlias = Mapping[str, str]  # of a report, in its language

MEASURED = ("ns", "bytes", "percent")  # units of bars; all others are plurals of what is counted


def described(figure: Figure, words: Words) -> str:
    """What the picture shows, in a sentence or two; empty for a table, which says it itself."""
    found: tuple[Callable[[Any, Words], str], object] = _OF[type(figure.shape)]
    return found[0](figure.shape, words)


def table_of(figure: Figure, words: Words) -> Table:
    """All that the picture shows."""
    found: tuple[object, Callable[[Any, Words], Table]] = _OF[type(figure.shape)]
    return found[1](figure.shape, words)


# An address space


def _layout(shape: Layout, words: Words) -> str:
    mapped = [band for place in clusters(shape.bands) for band in place.bands]
    bands = mapped or shape.bands
    if not bands:
        return words["unused"]
    told = words["layout"].format(
        bands=f"{len(bands):,}",
        places=len(clusters(shape.bands)) or 1,
        start=f"0x{min(band.start for band in bands):x}",
        end=f"0x{max(band.end for band in bands):x}",
    )
    shares = [band.share for band in bands if band.share is not None]
    if not shares:
        return told
    same, copied, only_a, only_b = (sum(pages) for pages in zip(*shares))
    pages = same + copied + only_a + only_b
    return f"{told} " + words["layout-shared"].format(
        pages=f"{pages:,}", same=f"{same:,}", copied=f"{copied:,}"
    )


def _layout_table(shape: Layout, words: Words) -> Table:
    head = [words[name] for name in ("from", "to", "size", "kind", "what")]
    compared = any(band.share is not None for band in shape.bands)
    head += _share_names(shape, words) if compared else []
    rows = []
    for band in shape.bands:
        top = "2^64" if band.end == TOP else f"{band.end:x}"
        row = [f"{band.start:x}", top, size(band.end - band.start), band.kind, band.label]
        if compared:
            row += [f"{pages:,}" for pages in band.share] if band.share is not None else [""] * 4
        rows.append(tuple(row))
    return Table(tuple(head), tuple(rows))


def brief(figure: Figure, words: Words) -> Table:
    """What the picture shows, in few rows: an address space by place and kind; of a tree nothing."""
    shape = figure.shape
    if isinstance(shape, Tree):
        return Table((), ())
    if not isinstance(shape, Layout):
        return table_of(figure, words)
    compared = any(band.share is not None for band in shape.bands)
    head = [words[name] for name in ("place", "kind", "number", "size")]
    head += _share_names(shape, words) if compared else []
    rows = []
    for place in clusters(shape.bands):
        for kind in dict.fromkeys(band.kind for band in place.bands):
            bands = [band for band in place.bands if band.kind == kind]
            row = [place.name, kind, f"{len(bands):,}", size(sum(band.end - band.start for band in bands))]
            if compared:
                shares = [band.share or (0, 0, 0, 0) for band in bands]
                row += [f"{sum(pages):,}" for pages in zip(*shares)]
            rows.append(tuple(row))
    return Table(tuple(head), tuple(rows))


def _share_names(shape: Layout, words: Words) -> list[str]:
    return [
        words["same-pages"],
        words["copied-pages"],
        *(words["only"].format(side=side) for side in shape.sides),
    ]


# A timeline


def task_name(runner: Runner) -> str:
    """As people call a task: name and tid."""
    return f"{printable(runner.name)} ({runner.tid})"


def _timeline(shape: Timeline, words: Words) -> str:
    told = words["timeline"].format(
        lanes=len(shape.lanes),
        duration=duration(shape.duration_ns),
        turns=f"{sum(lane.turns for lane in shape.lanes):,}",
        tasks=len(shape.runners),
    )
    if not shape.runners:
        return told
    first = shape.runners[0]
    return f"{told} " + words["timeline-first"].format(
        task=task_name(first), busy=duration(first.busy_ns), turns=f"{first.turns:,}"
    )


def _timeline_table(shape: Timeline, words: Words) -> Table:
    head = ("task", "turns", "busy", "waited")
    rows = ((task_name(r), f"{r.turns:,}", duration(r.busy_ns), duration(r.waited_ns)) for r in shape.runners)
    return Table(tuple(words[name] for name in head), tuple(rows))


# A graph, a tree, a table


def _graph(shape: Graph, words: Words) -> str:
    return words["graph"].format(nodes=len(shape.nodes), lines=len(shape.lines))


def _graph_table(shape: Graph, words: Words) -> Table:
    return shape.table


def _tree(shape: Tree, words: Words) -> str:
    depth = max((row.depth for row in shape.rows), default=-1) + 1
    return words["tree"].format(rows=f"{len(shape.rows):,}", depth=depth)


def _tree_table(shape: Tree, words: Words) -> Table:
    head = (words["level"], shape.title, *(column.title for column in shape.columns))
    rows = ((str(row.depth), row.label, *(cell.text for cell in row.cells)) for row in shape.rows)
    return Table(head, tuple(rows))


def _table(shape: Table, words: Words) -> str:
    return ""


def _table_table(shape: Table, words: Words) -> Table:
    return shape


# Bars


def amount(value: float, unit: str) -> str:
    """An amount as people read it, with its unit if that is one of measurement."""
    if unit == "ns" and abs(value) < 100:
        return f"{value:.3g} ns"
    if unit == "ns":
        return duration(round(value)) if value >= 0 else f"-{duration(round(-value))}"
    if unit == "bytes":
        return size(round(value))
    if unit == "percent":
        return f"{value:.3g} %"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def is_ranged(bar: Bar) -> bool:
    return bar.low is not None and bar.high is not None


def _bars(shape: Bars, words: Words) -> str:
    if not shape.bars:
        return ""
    least, most = (pick(shape.bars, key=lambda bar: bar.amount) for pick in (min, max))
    return words["bars"].format(
        bars=len(shape.bars),
        least=amount(least.amount, shape.unit),
        first=least.label,
        most=amount(most.amount, shape.unit),
        last=most.label,
    )


def _bars_table(shape: Bars, words: Words) -> Table:
    head = [shape.title or words["what"], words["amount"] if shape.unit in MEASURED else shape.unit]
    ranged = any(map(is_ranged, shape.bars))
    if ranged:
        head += [words["low"], words["high"]]
    rows = []
    for bar in shape.bars:
        row = [bar.label, amount(bar.amount, shape.unit)]
        if ranged:
            row += ["" if end is None else amount(end, shape.unit) for end in (bar.low, bar.high)]
        rows.append(tuple(row))
    return Table(tuple(head), tuple(rows))


_OF: dict[type, Any] = {
    Layout: (_layout, _layout_table),
    Timeline: (_timeline, _timeline_table),
    Graph: (_graph, _graph_table),
    Tree: (_tree, _tree_table),
    Table: (_table, _table_table),
    Bars: (_bars, _bars_table),
}
