"""Costs as a table for people, what the CPU is protected against, and all of it as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kintro.observers.cost_records import Cost, Machine, Report
from kintro.renderers.text import printable
from kintro.shapes import Cell, Column

WIDE = 120  # from that many cells on there is room for more columns

_COLUMNS = (
    Column("WHAT", 20),
    Column("MEDIAN", 8, right=True),
    Column("MIN", 8, right=True),
    Column("P10", 8, right=True),
    Column("P90", 8, right=True),
    Column("RATIO", 7, right=True),
    Column("CALLS", 11, right=True),
)
MITIGATIONS = (Column("MITIGATION", 26), Column("STATE", None))


def is_wide(width: int | None) -> bool:
    return width is None or width >= WIDE


def columns(wide: bool) -> tuple[Column, ...]:
    return (*_COLUMNS, Column("HOW", None)) if wide else _COLUMNS


def tables(report: Report, width: int | None) -> Iterator[tuple[tuple[Column, ...], list[tuple[Cell, ...]]]]:
    """Columns and rows of each table; here it is one."""
    wide = is_wide(width)
    yield columns(wide), [row(cost, wide) for cost in report.costs]


def row(cost: Cost, wide: bool) -> tuple[Cell, ...]:
    """Cells of `columns`."""
    spans = (cost.median_ns, cost.min_ns, cost.p10_ns, cost.p90_ns)
    texts = (cost.label, *(f"{digits(ns)} ns" for ns in spans), digits(cost.ratio), f"{cost.calls:,}")
    return tuple(map(Cell, (*texts, cost.how) if wide else texts))


def digits(value: float) -> str:
    """A number in three digits: `1.36`, `24.1`, `219`, `1950`; below 1 two places."""
    size = abs(value)
    return f"{value:.{2 if size < 9.995 else 1 if size < 99.95 else 0}f}"


def mitigations(machine: Machine) -> Iterator[tuple[Cell, Cell]]:
    """Cells of MITIGATIONS: those that are on, where one is missing, how many are not needed."""
    states = machine.mitigations
    if states is None:
        yield Cell("unknown", "faint"), Cell("this kernel does not tell")
        return
    needed = {name: state for name, state in states.items() if state != "Not affected"}
    for name, state in needed.items():
        kind, _, rest = state.partition(": ")
        on = kind == "Mitigation"
        yield Cell(printable(name)), Cell(printable(rest if on else state), "good" if on else "bad")
    yield Cell(f"{len(states) - len(needed)} others", "faint"), Cell("not affected", "faint")


def summary_lines(report: Report) -> list[str]:
    """What it was measured on, and what it comes to."""
    return [on_which(report.machine, report.costs[0].runs), *report.findings]


def on_which(machine: Machine, runs: int) -> str:
    where = f"CPU {machine.cpu}" + (f" ({printable(machine.cpu_model)})" if machine.cpu_model else "")
    first = f"{runs:,} {'run' if runs == 1 else 'runs'} of each, taking turns, on {where}"
    first += (
        f"; kernel {printable(machine.kernel)}, clock source {printable(machine.clocksource or 'unknown')}"
    )
    return first


def as_json(report: Report) -> dict[str, Any]:
    return {
        "type": "cost",
        "subject": report.subject,
        **machine_json(report.machine),
        **report.facts,
        "costs": [_cost_json(cost) for cost in report.costs],
        "mitigations": report.machine.mitigations,
    }


def machine_json(machine: Machine) -> dict[str, Any]:
    """All but the mitigations, which come last."""
    fields = machine._asdict()
    del fields["mitigations"]
    return fields


def _cost_json(cost: Cost) -> dict[str, Any]:
    fields = cost._asdict()
    del fields["label"], fields["how"]
    return rounded(fields)


def rounded(fields: dict[str, Any]) -> dict[str, Any]:
    """Picoseconds are enough."""
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in fields.items()}
