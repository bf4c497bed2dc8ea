"""What page frames say of address spaces, as rows for people: `--physical` and `--diff`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kintro.observers.memory_diff import Diff, Part
from kintro.observers.memory_physical import Physical
from kintro.observers.memory_records import Region
from kintro.renderers.text import printable, short_size
from kintro.shapes import Cell, Column
from kintro.sources.mappings import Mapping

PHYSICAL_COLUMNS = (
    Column("START", 12, True),
    *(Column(name, 7, True) for name in ("FRAMES", "ANON", "FILE", "HUGE", "ZERO", "SHARED", "SHARERS")),
    Column("KIND", 12),
    Column("WHAT", None),
)


def number(value: int | None) -> str:
    return "?" if value is None else str(value)


def physical_row(found: Physical, region: Region) -> tuple[Cell, ...]:
    """Pages of one mapping; SHARERS: how often its frames are mapped, the median and the most."""
    sharers = ""
    if found.mappings_max is not None and found.mappings_median is not None:
        most = str(found.mappings_max)
        sharers = most if found.mappings_median == found.mappings_max else f"{found.mappings_median:g}–{most}"
    counts = (found.present, found.anonymous, found.file, found.huge_mapped, found.zero, found.shared)
    texts = (f"{region.mapping.start:x}", *map(number, counts), sharers, region.kind, printable(region.what))
    meaning = "" if found.present else "faint"
    return tuple(Cell(text, meaning) for text in texts)


def physical_summary(found: Sequence[Physical]) -> str:
    """One line of sums."""

    def total(of: Callable[[Physical], int | None]) -> str:
        values = [of(item) for item in found if item.present is not None]
        return number(None if None in values else sum(value or 0 for value in values))

    return (
        f"{total(lambda p: p.present)} pages have a frame: {total(lambda p: p.anonymous)} anonymous, "
        f"{total(lambda p: p.file)} of files, {total(lambda p: p.zero)} the zero page, "
        f"{total(lambda p: p.hugetlb)} of hugetlb; "
        f"{total(lambda p: p.shared)} are mapped more than once"
    )


def physical_json(found: Physical) -> dict[str, Any]:
    return {name: value for name, value in found._asdict().items() if name != "mapping"}


def diff_columns(found: Diff) -> tuple[Column, ...]:
    """Counts of pages; without frames, what smaps says each shares with anyone at all, and has alone."""
    names = ["SAME", "COPIED", f"ONLY {found.a}", f"ONLY {found.b}"]
    if found.by != "frames":
        names = [f"{what} {pid}" for pid in (found.a, found.b) for what in ("SHARED", "PRIVATE")]
    return (
        Column("START", 12, True),
        *(Column(name, max(8, len(name)), True) for name in names),
        Column("RELATION", 14),
        Column("WHAT", None),
    )


def diff_rows(found: Diff, regions: Sequence[Region]) -> Iterator[tuple[Cell, ...]]:
    """A row for each pair of mappings that has any page, or has moved; first where most differs."""
    known = {region.mapping: region for region in regions}
    for part in sorted(found.parts, key=_interest):
        pages = part.pages
        counts = (pages.same_frame, pages.different_frame, pages.only_a, pages.only_b)
        mapping = part.pair.a or part.pair.b
        if mapping is None or not (any(count != 0 for count in counts) or part.pair.shift_bytes):
            continue
        span = part.pair.span_a if part.pair.a is not None else part.pair.span_b
        relation = part.pair.relation
        shown = map(number, counts) if found.by == "frames" else _by_smaps(part)
        texts = (f"{span[0]:x}", *shown, relation, _what(part, mapping, known))
        yield tuple(Cell(text, "changed" if pages.different_frame else "") for text in texts)


def _by_smaps(part: Part) -> Iterator[str]:
    for side in (part.smaps_a, part.smaps_b):
        for amount in (side.shared_bytes, side.private_bytes) if side is not None else (None, None):
            yield "–" if amount is None else short_size(amount)


def _interest(part: Part) -> tuple[int, int]:
    pages = part.pages
    return -(pages.different_frame or 0), -(pages.same_frame or 0) - pages.only_a - pages.only_b


def _what(part: Part, mapping: Mapping, known: dict[Mapping, Region]) -> str:
    region = known.get(mapping)
    text = printable(region.what or region.kind) if region else printable(mapping.path) or "anonymous"
    if part.pair.shift_bytes:
        text += f", by {'-' if part.pair.shift_bytes < 0 else '+'}0x{abs(part.pair.shift_bytes):x}"
    return text


def diff_summary(found: Diff) -> str:
    """The totals as a sentence, and what stands against trusting them."""
    total, page = found.total, found.page_bytes

    def amount(pages: int | None) -> str:
        return "?" if pages is None else f"{pages} ({short_size(pages * page)})"

    zero = f", {total.zero} of them the zero page" if total.zero else ""
    text = (
        f"pages in the same frame: {amount(total.same_frame)}{zero}, in different frames: "
        f"{amount(total.different_frame)}, only in {found.a}: {amount(total.only_a)}, "
        f"only in {found.b}: {amount(total.only_b)}"
    )
    if found.by != "frames":
        text += "; which frames only root may read: shared and private are those of smaps"
    changed = found.changed_a + found.changed_b
    if changed:
        text += f"; {changed} pages changed while they were read"
    return text
