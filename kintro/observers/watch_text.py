"""A watched process's changes and page faults as lines for people, and as JSON objects."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from typing import Any

from kintro.observers.changes import Change, RssChange
from kintro.observers.faults import MappingFaults, Totals, summed
from kintro.observers.faults_records import KINDS, Counts, FaultPages
from kintro.observers.watch import Interval, Watch
from kintro.renderers.text import duration, printable, size
from kintro.shapes import Cell, Column
from kintro.sources.mappings import Mapping

COLUMNS = (
    Column("TIME(s)", 9, right=True),
    Column("EVENT", 11),
    Column("ADDRESSES", 25),
    Column("SIZE", 9, right=True),
    Column("PERMS", 9),
    Column("WHAT", None),
)
_MEANINGS = {"appeared": "new", "grew": "new", "protected": "changed", "renamed": "changed"}

Name = Callable[[Mapping], str]


def name_of(mapping: Mapping) -> str:
    """What a mapping is of."""
    path = printable(mapping.path) or "anonymous"
    return f"{path} (deleted)" if mapping.deleted else path


def rows(interval: Interval, begin_ns: int, name: Name = name_of) -> Iterator[tuple[Cell, ...]]:
    """An interval as the cells of COLUMNS: its changes, then its faults. Its time counts from `begin_ns`."""
    time_s = f"{(interval.ts_ns - begin_ns) / 1e9:.3f}"
    for change in interval.changes:
        yield change_row(change, time_s, name)
    for item in interval.faults:
        yield faults_row(item, time_s, name)
    if interval.elsewhere is not None and len(interval.elsewhere.addresses):
        yield elsewhere_row(interval.elsewhere, time_s, interval.totals)
    if interval.totals.execs:
        yield _row(time_s, "exec", None, "", "", "another program, in another address space", "changed")
    if interval.ended:
        yield _row(time_s, "ended", None, "", "", "the process is gone")


def change_row(change: Change, time_s: str, name: Name = name_of) -> tuple[Cell, ...]:
    mapping, before = change.mapping, change.before
    what, perms, sign = name(mapping), mapping.perms, ""
    if change.kind in ("grew", "shrank") and before is not None:
        where = "" if change.kind == "shrank" else _where(change)
        whole = size(mapping.size_bytes)
        what += f"{where}, {size(before.size_bytes)} → {whole}"
    if change.kind == "protected" and before is not None:
        perms = f"{before.perms}→{mapping.perms}"
    if change.kind == "renamed" and before is not None:
        what = f"{name(before)} → {what}"
    if change.kind in ("appeared", "grew"):
        sign = "+"
    elif change.kind in ("disappeared", "shrank"):
        sign = "-"
    addresses = change.start, change.end
    return _row(
        time_s,
        change.kind,
        addresses,
        sign + size(change.size_bytes),
        perms,
        what,
        _MEANINGS.get(change.kind, ""),
    )


def _where(change: Change) -> str:
    before = change.before
    return " downwards" if before is not None and change.end <= before.start else ""


def rss_row(change: RssChange, time_s: str, name: Name = name_of) -> tuple[Cell, ...]:
    """A change of a mapping's resident memory."""
    mapping, more = change.mapping, change.after_bytes - change.before_bytes
    what = f"{name(mapping)}, resident {size(change.before_bytes)} → {size(change.after_bytes)}"
    text = ("+" if more > 0 else "-") + size(abs(more))
    return _row(time_s, "resident", (mapping.start, mapping.end), text, mapping.perms, what)


def faults_row(item: MappingFaults, time_s: str, name: Name = name_of) -> tuple[Cell, ...]:
    mapping = item.mapping
    what = f"{counted(item.counts)}  {name(mapping)}"
    meaning = "bad" if item.counts.major else ""
    addresses = mapping.start, mapping.end
    return _row(time_s, "faults", addresses, size(mapping.size_bytes), mapping.perms, what, meaning)


def elsewhere_row(pages: FaultPages, time_s: str, totals: Totals) -> tuple[Cell, ...]:
    """Faults outside of any mapping that was seen."""
    why = "in no mapping that was there at either look"
    if totals.refused:
        signals = "1 signal" if totals.refused == 1 else f"{totals.refused} signals"
        why = f"in no mapping, or one that came and went; {signals}"
    addresses = int(pages.addresses[0]), int(pages.addresses[-1]) + mmap.PAGESIZE
    return _row(time_s, "faults", addresses, "", "", f"{counted(summed(pages.counts))}  {why}", "bad")


def _row(
    time_s: str,
    event: str,
    addresses: tuple[int, int] | None,
    size_text: str,
    perms: str,
    what: str,
    meaning: str = "",
) -> tuple[Cell, ...]:
    return (
        Cell(time_s, "faint"),
        Cell(event, meaning),
        Cell(f"{addresses[0]:x}-{addresses[1]:x}" if addresses else "", "faint"),
        Cell(size_text),
        Cell(perms),
        Cell(what),
    )


def counted(counts: Counts) -> str:
    """`1,000 write`, `3 read, 2 protection (1 major)`."""
    parts = [f"{getattr(counts, kind):,} {kind}" for kind in KINDS if getattr(counts, kind)]
    text = ", ".join(parts) or "0"
    return f"{text} ({counts.major:,} major)" if counts.major else text


def summary_line(watch: Watch) -> str:
    """All of it as one sentence, with what was lost and what the kernel itself counted."""
    totals, changed = watch.summary, watch.changed
    number = sum(changed.values())
    parts = [f"{number} change{'' if number == 1 else 's'}"]
    parts += [f"{changed[kind]} {kind}" for kind in changed]
    text = (
        f"{parts[0]}{' (' + ', '.join(parts[1:]) + ')' if number else ''} in {duration(totals.duration_ns)}"
    )
    if totals.counts is None:
        return f"{text}; no faults: {watch.no_faults}"
    text += f"; faults: {counted(totals.counts)}"
    if totals.of_kernel:
        text += f", {totals.of_kernel:,} of them in the kernel"
    if totals.refused:
        text += f", {totals.refused:,} refused"
    if totals.by_kernel is not None:
        text += f"; the kernel counted {totals.by_kernel.minor:,} minor, {totals.by_kernel.major:,} major"
    if totals.unseen:
        text += f" ({totals.unseen:+,} unseen)"
    if totals.unplaced:
        text += f"; {totals.unplaced:,} without a place"
    return f"{text}; lost {totals.lost}"


def mapping_json(mapping: Mapping | None) -> dict[str, Any] | None:
    """Addresses are numbers; paths as bytes, which kintro.renderers.jsonl writes."""
    return None if mapping is None else mapping._asdict()


def json_objects(interval: Interval) -> Iterator[dict[str, Any]]:
    """An interval as JSON objects: one `change` each, then one `faults` if anything is known of them."""
    for change in interval.changes:
        yield change_json(change, interval.ts_ns)
    if interval.totals.counts is not None:
        yield faults_json(interval)


def change_json(change: Change, ts_ns: int) -> dict[str, Any]:
    return {
        "type": "change",
        "ts_ns": ts_ns,
        "kind": change.kind,
        "start": change.start,
        "end": change.end,
        "mapping": mapping_json(change.mapping),
        "before": mapping_json(change.before),
    }


def faults_json(interval: Interval) -> dict[str, Any]:
    elsewhere = interval.elsewhere
    return {
        "type": "faults",
        "ts_ns": interval.ts_ns,
        **_totals_json(interval.totals),
        "mappings": [
            {"mapping": mapping_json(item.mapping), **item.counts._asdict()} for item in interval.faults
        ],
        "elsewhere": None if elsewhere is None else summed(elsewhere.counts)._asdict(),
    }


def _totals_json(totals: Totals) -> dict[str, Any]:
    counts, by_kernel = totals.counts, totals.by_kernel
    return totals._asdict() | {
        "counts": None if counts is None else {"total": counts.total, **counts._asdict()},
        "by_kernel": None if by_kernel is None else by_kernel._asdict(),
    }


def summary_json(watch: Watch) -> dict[str, Any]:
    totals = watch.summary
    return {
        "type": "summary",
        **_totals_json(totals),
        "changes": dict(watch.changed),
        "no_faults": watch.no_faults,
        "complete": totals.lost == 0 and totals.unplaced == 0,
    }
