"""An address space as a picture's shape: bands to scale, borders, and the facts of each."""

from __future__ import annotations

from collections.abc import Iterator

from kintro.observers.memory import dirty_bytes, groups, uss_bytes, whole
from kintro.observers.memory_diff import Diff, Part
from kintro.observers.memory_records import AddressSpace, Frame, KernelRegion, Region
from kintro.renderers.text import printable, size
from kintro.shapes import Band, Layout, Mark, Share, Table
from kintro.sources.mappings import Mapping

TOP = 1 << 64


def layout(space: AddressSpace) -> Layout:
    """The whole space of one process, from 0 to the top of the kernel's half."""
    bands = [_band(region) for region in space.regions]
    return Layout(
        title=f"{printable(space.comm)} ({space.pid})",
        subtitle=printable(space.exe or b""),
        bands=_whole(bands, space.frame),
        marks=marks(space.frame),
        facts=facts(space),
        totals=_by_kind(space),
    )


def diff_layout(a: AddressSpace, b: AddressSpace, found: Diff) -> Layout:
    """What two processes share, drawn at the addresses of A, or of B where A has nothing."""
    kinds = {region.mapping: region for region in (*b.regions, *a.regions)}
    bands = []
    for part in found.parts:
        mapping = part.pair.a or part.pair.b
        if mapping is not None and mapping.start < a.frame.task_size:
            span = part.pair.span_a if part.pair.a is not None else part.pair.span_b
            bands.append(_shared_band(part, mapping, kinds.get(mapping), span))
    total = found.total
    known = [
        ("same frame", total.same_frame),
        ("different frame", total.different_frame),
        (f"only in {a.pid}", total.only_a),
        (f"only in {b.pid}", total.only_b),
    ]
    rows = tuple((name, _pages(number), _bytes_of(number, found.page_bytes)) for name, number in known)
    return Layout(
        title=f"{printable(a.comm)} ({a.pid}) and {printable(b.comm)} ({b.pid})",
        subtitle="compared by frames" if found.by == "frames" else "frames are not shown without root",
        bands=_whole(_apart(bands), a.frame),
        marks=marks(a.frame),
        facts=tuple((name, f"{pages} pages, {amount}") for name, pages, amount in rows),
        totals=Table(("pages", "number", "size"), rows),
        sides=(str(a.pid), str(b.pid)),
    )


def facts(space: AddressSpace) -> tuple[tuple[str, str], ...]:
    """Of the whole: name and value."""
    frame, total = space.frame, whole(space)
    amounts = {
        "mapped": total.size_bytes,
        "in memory (rss)": total.rss_bytes,
        "proportional (pss)": total.pss_bytes,
        "unique (uss)": total.uss_bytes,
        "swap": total.swap_bytes,
    }
    return (
        ("mappings", f"{total.mappings}"),
        *((name, "not known" if value is None else size(value)) for name, value in amounts.items()),
        ("page", size(frame.page_bytes)),
        ("TASK_SIZE", f"0x{frame.task_size:x}: {frame.task_size_source}"),
        ("bits of an address", f"{frame.va_bits or 'not known'} of 64"),
        *((("levels of page tables", str(frame.levels)),) if frame.levels else ()),
    )


def marks(frame: Frame) -> tuple[Mark, ...]:
    found = [Mark(frame.task_size, "TASK_SIZE", frame.task_size_source)]
    if frame.mmap_min_addr:
        found.insert(0, Mark(frame.mmap_min_addr, "mmap_min_addr", "read from /proc/sys/vm/mmap_min_addr"))
    holes = [region for region in frame.kernel if region.name == "canonical hole"]
    found += [Mark(hole.end, "kernel half", "inferred: behind the canonical hole") for hole in holes]
    return tuple(found)


def _whole(bands: list[Band], frame: Frame) -> tuple[Band, ...]:
    return tuple(sorted((*bands, *(_kernel_band(region) for region in frame.kernel)), key=_place))


def _place(band: Band) -> tuple[int, int]:
    return band.start, -band.end


def _kernel_band(region: KernelRegion) -> Band:
    kind = "hole" if region.name == "canonical hole" else "kernel"
    return Band(region.start, region.end, kind, region.name, (("known", region.source),))


def _band(region: Region) -> Band:
    mapping, usage = region.mapping, region.usage
    found = [("permissions", mapping.perms), ("found out by", region.reason)]
    if mapping.path:
        found.append(("path", printable(mapping.path) + (" (deleted)" if mapping.deleted else "")))
    if mapping.inode:
        found.append(("offset", f"0x{mapping.offset:x}"))
    amounts: Iterator[tuple[str, int | None]] = iter(())
    if usage is not None:
        amounts = iter(
            (
                ("rss", usage.rss_bytes),
                ("pss", usage.pss_bytes),
                ("private", uss_bytes(region)),
                ("dirty", dirty_bytes(region)),
                ("swap", usage.swap_bytes),
            )
        )
    found += [(name, size(value)) for name, value in amounts if value is not None]
    return Band(mapping.start, mapping.end, region.kind, printable(region.what) or region.kind, tuple(found))


def _shared_band(part: Part, mapping: Mapping, region: Region | None, span: tuple[int, int]) -> Band:
    pages = part.pages
    share = None
    if pages.same_frame is not None and pages.different_frame is not None:
        share = Share(pages.same_frame, pages.different_frame, pages.only_a, pages.only_b)
    found = [("relation", part.pair.relation), ("permissions", mapping.perms)]
    if part.pair.shift_bytes:
        found.append(("moved by", f"{part.pair.shift_bytes:+#x}"))
    if mapping.path:
        found.append(("path", printable(mapping.path)))
    kind = region.kind if region else "anon"
    label = printable(region.what) if region and region.what else kind
    return Band(*span, kind, label, tuple(found), share)


def _apart(bands: list[Band]) -> list[Band]:
    """By address; of bands of A and B that lie over each other, the later begins where the first ends."""
    result: list[Band] = []
    for band in sorted(bands, key=lambda band: (band.start, band.end)):
        start = max(band.start, result[-1].end) if result else band.start
        if start < band.end:
            result.append(band._replace(start=start))
    return result


def _by_kind(space: AddressSpace) -> Table:
    def shown(value: int | None) -> str:
        return "not known" if value is None else size(value)

    rows = tuple(
        (
            group.name,
            str(group.sums.mappings),
            size(group.sums.size_bytes),
            *(shown(value) for value in (group.sums.rss_bytes, group.sums.pss_bytes, group.sums.uss_bytes)),
        )
        for group in groups(space.regions, "kind")
    )
    return Table(("kind", "mappings", "size", "rss", "pss", "uss"), rows)


def _pages(number: int | None) -> str:
    return "not known" if number is None else f"{number:,}"


def _bytes_of(number: int | None, page_bytes: int) -> str:
    return "not known" if number is None else size(number * page_bytes)
