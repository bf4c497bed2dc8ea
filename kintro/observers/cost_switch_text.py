"""The costs of context switches as tables for people, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kintro.observers.cost_records import CONFIDENCE
from kintro.observers.cost_switch_records import BETWEEN, Check, Direct, Indirect, Report, Spread
from kintro.observers.cost_text import is_wide, machine_json, on_which, rounded
from kintro.renderers.text import duration, printable, size
from kintro.shapes import Cell, Column

Row = tuple[Cell, ...]

_DIRECT = (
    Column("A SWITCH", 17),
    Column("MEDIAN", 8, right=True),
    Column("FROM", 8, right=True),
    Column("TO", 8, right=True),
    Column("CALLS", 8, right=True),
    Column("SWITCHES", 11, right=True),
    Column("EACH", 5, right=True),
)
_MORE = (
    Column("MIN", 8, right=True),
    Column("P10", 8, right=True),
    Column("P90", 8, right=True),
    Column("VOLUNTARY", 11, right=True),
    Column("INVOLUNTARY", 11, right=True),
)
_INDIRECT = (
    Column("WITH MEMORY", 17),
    Column("SWITCH", 8, right=True),
    Column("MORE", 8, right=True),
    Column("FROM", 8, right=True),
    Column("TO", 8, right=True),
    Column("READING", 8, right=True),
    Column("SWITCHES", 11, right=True),
)
ASSUMED = (
    "a call takes as long with a switch as without one; being woken, and sleeping, are part of the switch",
    "a FUTEX_WAIT takes as long as a FUTEX_WAKE that wakes nobody",
    "sched_yield goes through the scheduler also without a switch, and that is subtracted: "
    "by yield it is a lower bound",
    "runs are independent of each other: the confidence interval follows from that",
)


def tables(report: Report, width: int | None) -> Iterator[tuple[tuple[Column, ...], list[Row]]]:
    """Columns and rows of each table."""
    wide = is_wide(width)
    yield (*_DIRECT, *_MORE) if wide else _DIRECT, [_direct(one, wide) for one in report.direct]
    yield _INDIRECT, [_indirect(one) for one in report.indirect]


def _direct(one: Direct, wide: bool) -> Row:
    of = one.spread
    texts = [f"{one.between}, {one.what}", *_median(of), span(one.calls_ns), f"{one.switches:,}"]
    texts.append(f"{one.switches / one.calls:.2f}")
    if wide:
        texts += [span(of.min_ns), span(of.p10_ns), span(of.p90_ns)]
        texts += [f"{one.voluntary:,}", f"{one.involuntary:,}"]
    return tuple(map(Cell, texts))


def _indirect(one: Indirect) -> Row:
    texts = [f"{one.between}, {size(one.bytes) if one.bytes else '0'}", span(one.spread.median_ns)]
    texts += [*_median(one.indirect), span(one.work_ns)] if one.bytes else ["-"] * 4
    return tuple(map(Cell, (*texts, f"{one.switches:,}")))


def _median(of: Spread) -> list[str]:
    return [span(of.median_ns), *("?" if ns is None else span(ns) for ns in (of.low_ns, of.high_ns))]


def span(ns: float) -> str:
    """A time in three digits; one may be less than nothing, where it is a difference."""
    return ("-" if ns < -0.5 else "") + duration(round(abs(ns)))


def summary_lines(report: Report) -> list[str]:
    """What it was measured on, what it comes to, and what is assumed."""
    return [
        on_which(report.machine, report.direct[0].runs),
        f"FROM and TO: where the median is with a probability of {CONFIDENCE:.0%}; CALLS: system calls, "
        "subtracted; EACH: switches for each call of both; MORE: the indirect part, SWITCH less that without "
        "memory; READING: the memory once, subtracted",
        *findings(report),
        _checked(report),
        "assumed: " + "; ".join(ASSUMED),
    ]


def findings(report: Report) -> list[str]:
    """What the medians come to."""
    told = [f"{_more(one.more)} by {one.what}" for one in report.apart]
    found = [f"between processes, which changes the address space too, a switch takes {', '.join(told)}"]
    most = next(one for one in reversed(report.indirect) if one.between == BETWEEN[0])
    if (most.indirect.low_ns or 0) > 0:
        times = most.spread.median_ns / (most.spread.median_ns - most.indirect.median_ns)
        found.append(
            f"with {size(most.bytes)} each, a switch between processes takes {times:.1f} times as long as "
            "without: what the other one has driven out of the caches is fetched again"
        )
    return found


def _more(of: Spread) -> str:
    if of.low_ns is None or of.high_ns is None:
        return f"{span(of.median_ns)} more (too few runs to say from where to where)"
    return f"{span(of.median_ns)} more ({span(of.low_ns)} to {span(of.high_ns)})"


def _checked(report: Report) -> str:
    counted = "switches as the kernel counts them; "
    if report.checks is None:
        return f"{counted}kintro's probe could not count them too: {printable(report.unchecked or '')}"
    ours = sum(check.voluntary + check.involuntary for check in report.checks)
    kernels = sum(check.kernel_voluntary + check.kernel_involuntary for check in report.checks)
    agree = all(check.agrees for check in report.checks)
    return f"{counted}in runs that were not timed kintro's probe saw {ours:,}, the kernel {kernels:,}" + (
        "" if agree else ": they do not agree"
    )


def as_json(report: Report) -> dict[str, Any]:
    return {
        "type": "cost",
        "subject": "switch",
        **machine_json(report.machine),
        "confidence": CONFIDENCE,
        "switches": [_direct_json(one) for one in report.direct],
        "address_space": [{"what": one.what, **rounded(one.more._asdict())} for one in report.apart],
        "working_sets": [_indirect_json(one) for one in report.indirect],
        "probe": None if report.checks is None else [_check_json(check) for check in report.checks],
        "no_probe": report.unchecked,
        "assumed": list(ASSUMED),
        "mitigations": report.machine.mitigations,
    }


def _direct_json(one: Direct) -> dict[str, Any]:
    fields = one._asdict()
    del fields["spread"]
    return rounded({**fields, "switches": one.switches, **one.spread._asdict()})


def _indirect_json(one: Indirect) -> dict[str, Any]:
    fields = one._asdict()
    del fields["spread"], fields["indirect"]
    return {
        **rounded({**fields, **one.spread._asdict()}),
        "indirect": rounded(one.indirect._asdict()) if one.bytes else None,
    }


def _check_json(check: Check) -> dict[str, Any]:
    return {**check._asdict(), "agrees": check.agrees}
