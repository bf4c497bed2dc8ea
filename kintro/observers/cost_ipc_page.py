"""The costs of inter-process communication as a shape that a page draws."""

from __future__ import annotations

import math
from collections.abc import Iterable

from kintro.observers.cost_ipc_findings import findings
from kintro.observers.cost_ipc_records import ONE_CPU, TWO_CPUS, Latency, Report, Throughput
from kintro.observers.cost_ipc_text import number, summary_lines, tables
from kintro.observers.cost_switch_text import span
from kintro.observers.cost_text import WIDE
from kintro.renderers.text import size
from kintro.shapes import Comparison, Length, Point, Series, Table

_ROOM = 2  # the shortest bar is to be seen: it is so many times as long as nothing
_TITLES = (
    "Latency of a message of one byte",
    "Throughput in MB (1,000,000 bytes) for a second, by the size of messages",
    "Time for a message of a stream",
    "System calls of both for a message of a stream",
    "Context switches of both for a message of a stream",
)


def comparison(report: Report) -> Comparison:
    notes = [line for line in summary_lines(report) if line not in findings(report)]
    return Comparison(
        "What a message between two processes costs",
        f"measured on Linux {report.machine.kernel}, {report.machine.cpu_model or 'an unknown CPU'}",
        (("CPUs", ", ".join(map(str, report.cpus))), ("Runs", str(report.latency[0].runs))),
        tuple(findings(report)),
        "Latency of a message of one byte",
        tuple(place for place in (ONE_CPU, TWO_CPUS) if any(one.place == place for one in report.latency)),
        tuple(
            Length(
                one.kind, one.place, one.spread.median_ns, one.spread.low_ns, one.spread.high_ns, _text(one)
            )
            for one in report.latency
        ),
        tuple(
            (value, span(value))
            for value in tens([ns / part for ns in _reach(report) for part in (1, _ROOM)])
        ),
        "Throughput by the size of a message",
        tuple(
            Series(kind, tuple(_point(one) for one in report.throughput if one.kind == kind))
            for kind in report.kinds
            if any(one.kind == kind for one in report.throughput)
        ),
        tuple((float(each), size(each)) for each in report.sizes),
        tuple(
            (value, f"{value:,.10g} MB/s")
            for value in tens([one.bytes_per_s / 1e6 for one in report.throughput])
        ),
        tuple(_tables(report)),
        tuple(notes),
    )


def _reach(report: Report) -> list[float]:
    spreads = [one.spread for one in report.latency]
    return [ns for of in spreads for ns in (of.median_ns, of.low_ns, of.high_ns) if ns is not None]


def tens(values: Iterable[float]) -> list[float]:
    """The powers of ten from the one below all values to the one above."""
    known = [value for value in values if value > 0]
    if not known:
        return []
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    return [10.0**power for power in range(low, max(high, low + 1) + 1)]


def _text(one: Latency) -> str:
    of = one.spread
    if of.low_ns is None or of.high_ns is None:
        return span(of.median_ns)
    return f"{span(of.median_ns)}, {span(of.low_ns)} to {span(of.high_ns)}"


def _point(one: Throughput) -> Point:
    text = f"{number(one.bytes_per_s / 1e6)} MB/s, {span(one.spread.median_ns)} for a message"
    if one.counted is not None:
        text += (
            f", {number(one.counted.calls_each)} system calls and {number(one.counted.switches_each)} "
            "context switches"
        )
    return Point(float(one.bytes), one.bytes_per_s / 1e6, size(one.bytes), text)


def _tables(report: Report) -> Iterable[tuple[str, Table]]:
    """Those of the terminal, with all columns; those of more than some sizes in several."""
    titles = iter(_TITLES)
    title, before = "", ""
    for columns, rows in tables(report, WIDE):
        if columns[0].title != before:
            title, before = next(titles), columns[0].title
        names = ("Kind", *(column.title for column in columns[1:]))
        yield title, Table(names, tuple(tuple(cell.text for cell in row) for row in rows))
