"""The costs of inter-process communication as tables for people, and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kintro.observers.cost_ipc_findings import findings
from kintro.observers.cost_ipc_records import TWO_CPUS, Counted, Latency, Report, Throughput
from kintro.observers.cost_records import CONFIDENCE
from kintro.observers.cost_switch_text import span
from kintro.observers.cost_text import is_wide, machine_json, on_which, rounded
from kintro.renderers.text import printable, size
from kintro.shapes import Cell, Column

Row = tuple[Cell, ...]
Told = tuple[tuple[Column, ...], list[Row]]

NAME = 21
_LATENCY = (
    Column("A MESSAGE OF 1 B", NAME),
    Column("MEDIAN", 8, right=True),
    Column("FROM", 8, right=True),
    Column("TO", 8, right=True),
    Column("LOOP", 8, right=True),
    Column("CALLS", 6, right=True),
    Column("SWITCHES", 8, right=True),
)
_MORE = (
    Column("MIN", 8, right=True),
    Column("P10", 8, right=True),
    Column("P90", 8, right=True),
    Column("MESSAGES", 10, right=True),
)
_FIRST = 11  # cells for kinds, in tables with a column for each size
_PLACES = 6  # columns for sizes beside each other; the rest below
ASSUMED = (
    "a message takes as long as its answer: half of both",
    "what the loop around the calls takes is not subtracted, as part of it is done while the other one wakes",
    "of shared memory each message is copied in and copied out, as the kernel does for the others; who works "
    "on it where it lies saves a copy",
    "runs are independent of each other: the confidence interval follows from that",
)


def tables(report: Report, width: int | None) -> Iterator[Told]:
    """Columns and rows of each table."""
    wide = is_wide(width)
    yield (*_LATENCY, *_MORE) if wide else _LATENCY, [_latency(one, wide) for one in report.latency]
    yield from _by_size(report, "MB/S", lambda one: number(one.bytes_per_s / 1e6))
    yield from _by_size(report, "A MESSAGE", lambda one: span(one.spread.median_ns))
    if report.uncounted is None:
        yield from _by_size(report, "CALLS", lambda one: each(one.counted, "calls_each"))
        yield from _by_size(report, "SWITCHES", lambda one: each(one.counted, "switches_each"))


def _latency(one: Latency, wide: bool) -> Row:
    of = one.spread
    texts = [f"{one.kind}, {one.place}", span(of.median_ns)]
    texts += ["?" if ns is None else span(ns) for ns in (of.low_ns, of.high_ns)]
    texts += [span(one.loop_ns), each(one.counted, "calls_each"), each(one.counted, "switches_each")]
    if wide:
        texts += [span(of.min_ns), span(of.p10_ns), span(of.p90_ns), f"{one.messages:,}"]
    return tuple(map(Cell, texts))


def _by_size(report: Report, title: str, cell: Callable[[Throughput], str]) -> Iterator[Told]:
    found = {(one.kind, one.bytes): one for one in report.throughput}
    kinds = [kind for kind in report.kinds if any(kind == of for of, _ in found)]
    for begin in range(0, len(report.sizes) if kinds else 0, _PLACES):
        sizes = report.sizes[begin : begin + _PLACES]
        columns = (Column(title, _FIRST), *(Column(size(each), 10, right=True) for each in sizes))
        rows = [
            (Cell(kind), *(Cell(cell(found[kind, of]) if (kind, of) in found else "-") for of in sizes))
            for kind in kinds
        ]
        yield columns, rows


def each(counted: Counted | None, what: str) -> str:
    """What the probes counted for one message."""
    return "?" if counted is None else number(getattr(counted, what))


def number(value: float) -> str:
    """In three digits, with commas; two places below ten."""
    return f"{value:,.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def summary_lines(report: Report) -> list[str]:
    """What it was measured on, what it comes to, and what is assumed."""
    return [
        on_which(report.machine, report.latency[0].runs) + _second(report),
        f"FROM and TO: where the median is with a probability of {CONFIDENCE:.0%}; LOOP: how much of it is, "
        "at most, the loop around the calls; CALLS and SWITCHES: system calls and context switches of both "
        "for one message, by kintro's probes; MB: 1,000,000 bytes",
        *findings(report),
        *limits(report),
        *(
            f"{printable(kind)} could not be measured: {printable(why)}"
            for kind, why in report.missing.items()
        ),
        _counted(report),
        "assumed: " + "; ".join(ASSUMED),
    ]


def _second(report: Report) -> str:
    if len(report.cpus) < 2:
        return "; kintro may use no second CPU"
    cores = {True: ", another thread of its core", False: ", another core", None: ""}[report.siblings]
    return f"; the second of two CPUs is {report.cpus[1]}{cores}"


def limits(report: Report) -> Iterator[str]:
    """What queues have room for, in a sentence."""
    told = []
    for kind, of in report.limits.items():
        parts = []
        if of.message_bytes and of.message_bytes > 8:
            parts.append(f"a message of at most {of.message_bytes:,} bytes")
        if of.queue_bytes:
            parts.append(f"room for {of.queue_bytes:,} bytes")
        if of.queue_messages:
            parts.append(f"room for {of.queue_messages:,} messages")
        if parts:
            told.append(f"{kind} has " + ", ".join(parts))
    if told:
        yield "limits: " + "; ".join(told)


def _counted(report: Report) -> str:
    if report.uncounted is not None:
        return f"kintro's probes could not count: {printable(report.uncounted)}"
    found = [*(one.counted for one in report.latency), *(one.counted for one in report.throughput)]
    every = [counted for counted in found if counted is not None]
    ours, kernels = sum(one.switches for one in every), sum(one.kernel_switches for one in every)
    return f"in runs that were not timed kintro's probe saw {ours:,} switches, the kernel {kernels:,}" + (
        "" if all(one.switches == one.kernel_switches for one in every) else ": they do not agree"
    )


def as_json(report: Report) -> dict[str, Any]:
    return {
        "type": "cost",
        "subject": "ipc",
        **machine_json(report.machine),
        "cpus": list(report.cpus),
        "siblings": report.siblings,
        "confidence": CONFIDENCE,
        "latency": [_one_json(one) for one in report.latency],
        "throughput": [
            {**_one_json(one), "bytes_per_s": round(one.bytes_per_s)} for one in report.throughput
        ],
        "limits": {kind: of._asdict() for kind, of in report.limits.items()},
        "missing": report.missing,
        "no_probe": report.uncounted,
        "findings": findings(report),
        "assumed": list(ASSUMED),
        "mitigations": report.machine.mitigations,
    }


def _one_json(one: Latency | Throughput) -> dict[str, Any]:
    fields = one._asdict()
    del fields["spread"], fields["counted"]
    if "place" in fields:
        fields["place"] = "two" if fields["place"] == TWO_CPUS else "one"
    fields["cpus"] = list(one.cpus)
    return {**rounded({**fields, **one.spread._asdict()}), "counted": _counted_json(one.counted)}


def _counted_json(counted: Counted | None) -> dict[str, Any] | None:
    if counted is None:
        return None
    more = {"calls_each": counted.calls_each, "switches_each": counted.switches_each}
    return {**counted._asdict(), **rounded(more)}
