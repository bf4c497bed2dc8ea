"""An address space as lines for a terminal: its top at the top, wide gaps as one line each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from kintro.renderers.clusters import KERNEL, TOP, Cluster, clusters, halves
from kintro.renderers.kinds import SHARES, kind_of
from kintro.renderers.text import cells, fit, pad, printable, size
from kintro.shapes import Band, Layout, Mark

PAGE_BYTES = 4096  # the smallest mapping has a bar of one cell
UNUSED_BYTES = 1 << 20  # shorter gaps are not worth a line
KIND, SIZE = 12, 8  # cells of these columns
EIGHTHS = " ▏▎▍▌▋▊▉"
FILLS = {"kernel": "▓", "gap": "░"}
SIGNS = {"same": "█", "copied": "▒", "only_a": "<", "only_b": ">"}

Part = tuple[str, str]  # a text and its ANSI colour


class Piece(NamedTuple):
    """What has a line: a mapping, several too small for a line each, or a border."""

    start: int
    end: int
    content: Band | tuple[Band, ...] | Mark
    cluster: Cluster | None


class Style(NamedTuple):
    """How this drawing draws. Of bars, one more cell means 2^doublings times the size."""

    address: int  # cells
    bar: int  # cells
    doublings: int
    kernel_doublings: int  # its regions are so much larger that all mappings would look alike
    compared: bool


def picture(layout: Layout, width: int, colour: bool, lines_max: int = 24) -> Iterator[str]:
    """The drawing's lines, none wider than `width` cells.

    Of a cluster with more mappings than `lines_max` only the largest have a line of their own; those between
    are counted where they lie.
    """
    found = clusters(layout.bands)
    pieces = _pieces(layout, found, lines_max)
    style = _style(layout, pieces, width)
    for parts in (*_heading(layout, found, style, width), *_body(pieces, style, halves(layout)[1][0])):
        yield _joined(parts, width, colour)


def _style(layout: Layout, pieces: Sequence[Piece], width: int) -> Style:
    bar = max(8, min(36, (width - 44) // 3))
    return Style(
        address=max((len(f"{piece.start:x}") for piece in pieces), default=1),
        bar=bar,
        doublings=_doublings_per_cell([band for band in layout.bands if band.kind not in KERNEL], bar),
        kernel_doublings=_doublings_per_cell([band for band in layout.bands if band.kind == "kernel"], bar),
        compared=any(band.share is not None for band in layout.bands),
    )


def _doublings_per_cell(bands: Sequence[Band], bar: int) -> int:
    return max(1, math.ceil(max(map(_doublings, bands), default=0.0) / (bar - 1)))


def _doublings(band: Band) -> float:
    return max(0.0, math.log2(max(band.end - band.start, 1) / PAGE_BYTES))


def _joined(parts: Iterable[Part], width: int, colour: bool) -> str:
    line, left = [], width
    for text, sgr in parts:
        text = fit(text, left)
        left -= cells(text)
        line.append(f"\x1b[{sgr}m{text}\x1b[0m" if colour and sgr and text.strip() else text)
    return "".join(line).rstrip()


# Above the drawing


def _heading(layout: Layout, found: Sequence[Cluster], style: Style, width: int) -> Iterator[list[Part]]:
    yield [(printable(layout.title), "1")]
    if layout.subtitle:
        yield [(printable(layout.subtitle), "")]
    name_width = max((cells(printable(name)) for name, _ in layout.facts), default=0)
    for name, value in layout.facts:
        yield [(pad(printable(name), name_width) + "  ", "2"), (printable(value), "")]
    yield []
    yield _strip(layout, found, width)
    if style.compared:
        a, b = (printable(side) for side in layout.sides)
        names = [(key, kind.sgr, kind.name.format(a=a, b=b)) for key, kind in SHARES.items()]
        yield [("bars      ", "2"), *((f"{SIGNS[key]} {name}   ", sgr) for key, sgr, name in names)]
    else:
        times, kernel_times = 2**style.doublings, 2**style.kernel_doublings
        each = f"one cell more is {times} times the size (kernel: {kernel_times} times)"
        yield [("bars      ", "2"), (each, "")]
    yield []


def _strip(layout: Layout, found: Sequence[Cluster], width: int) -> list[Part]:
    """The user half on one line, to scale: where its clusters lie."""
    end = max(1, halves(layout)[0][1])  # a hole may be said to begin at 0
    last = f" {size(end)}"
    line = ["·"] * max(10, width - 12 - len(last))
    for cluster in found:
        first = min(cluster.start * len(line) // end, len(line) - 1)
        behind = min((cluster.end - 1) * len(line) // end, len(line) - 1) + 1
        line[first:behind] = "█" * (behind - first)
    return [("to scale  ", "2"), ("0 ", ""), ("".join(line), "34"), (last, "")]


# The drawing


def _pieces(layout: Layout, found: Sequence[Cluster], lines_max: int) -> list[Piece]:
    """All that has a line, from the top of the address space down."""
    inside = {id(band) for cluster in found for band in cluster.bands}
    pieces = [Piece(b.start, b.end, b, None) for b in layout.bands if id(b) not in inside]
    for cluster in found:
        pieces += _of_cluster(cluster, lines_max)
    for mark in (*layout.marks, *_borders(layout)):
        around = [cluster for cluster in found if cluster.start < mark.address < cluster.end]
        pieces.append(Piece(mark.address, mark.address, mark, around[0] if around else None))
    return sorted(pieces, key=lambda piece: (piece.end, piece.start), reverse=True)


def _borders(layout: Layout) -> list[Mark]:
    (_, user_end), (kernel_start, _) = halves(layout)
    return [
        Mark(TOP, "kernel half", f"{size(TOP - kernel_start)}, down to {kernel_start:x}"),
        Mark(user_end, "user half", f"{size(user_end)}, down to 0"),
        Mark(0, "bottom", ""),
    ]


def _of_cluster(cluster: Cluster, lines_max: int) -> Iterator[Piece]:
    by_size = sorted(cluster.bands, key=lambda band: band.start - band.end)
    large = {id(band) for band in by_size[:lines_max]}
    run: list[Band] = []
    for band in (*cluster.bands, None):
        if band is not None and id(band) not in large:
            run.append(band)
            continue
        if run:
            content = run[0] if len(run) == 1 else tuple(run)
            yield Piece(run[0].start, max(b.end for b in run), content, cluster)
            run = []
        if band is not None:
            yield Piece(band.start, band.end, band, cluster)


def _body(pieces: Sequence[Piece], style: Style, kernel_start: int) -> Iterator[list[Part]]:
    below = TOP  # the lowest address that has its line
    opened: Cluster | None = None
    for piece, following in zip(pieces, (*pieces[1:], None)):
        framed = piece.cluster is not None and len(piece.cluster.bands) > 1
        more = framed and following is not None and following.cluster is piece.cluster
        if below - piece.end >= UNUSED_BYTES:
            frame = "│" if framed and opened is piece.cluster else " "
            known = "unused" if below <= kernel_start else "not listed"
            unused = f"· · ·  {size(below - piece.end)} {known}"
            yield [(" " * style.address + f" {frame} {unused}", "2")]
        below = min(below, piece.start)
        if framed and piece.cluster is not opened and piece.cluster is not None:
            yield _title(piece.cluster, style)
        opened = piece.cluster
        frame = "│" if more else "╰" if framed else " "
        yield [(f"{piece.start:{style.address}x} ", ""), (f"{frame} ", "2"), *_content(piece, style)]


def _title(cluster: Cluster, style: Style) -> list[Part]:
    mapped = sum(band.end - band.start for band in cluster.bands)
    told = f"  {len(cluster.bands)} mappings, {size(mapped)}"
    return [(" " * style.address + " ╭ ", "2"), (cluster.name, "1"), (told, "2")]


def _content(piece: Piece, style: Style) -> list[Part]:
    if isinstance(piece.content, Mark):
        return [
            ("──── ", "2"),
            (printable(piece.content.name), "1"),
            (f"  {printable(piece.content.source)}", "2"),
        ]
    if isinstance(piece.content, Band):
        band = piece.content
        sgr = kind_of(band).sgr
        return [
            (pad(printable(band.kind), KIND) + " ", sgr),
            *(_shares([band], style) if style.compared else [(_bar(band, style), sgr)]),
            (" " + pad(size(band.end - band.start), SIZE, right=True) + "  ", ""),
            (printable(band.label), ""),
            *((f"  {printable(value)}", "2") for _, value in band.facts if band.kind == "kernel"),
        ]
    bands = piece.content
    names = ", ".join(dict.fromkeys(printable(band.label.partition(", ")[0]) for band in reversed(bands)))
    return [
        (pad(f"{len(bands)} smaller", KIND) + " ", "2"),
        *(_shares(bands, style) if style.compared else [(pad("···", style.bar), "2")]),
        (" " + pad(size(sum(band.end - band.start for band in bands)), SIZE, right=True) + "  ", ""),
        (names, "2"),
    ]


def _bar(band: Band, style: Style) -> str:
    if band.kind == "hole":
        return pad("·" * style.bar, style.bar)
    doublings = style.kernel_doublings if band.kind == "kernel" else style.doublings
    eighths = min(round((_doublings(band) / doublings + 1) * 8), style.bar * 8)
    whole, rest = divmod(eighths, 8)
    fill = FILLS.get(band.kind)
    bar = fill * whole if fill else "█" * whole + (EIGHTHS[rest] if rest else "")
    return pad(bar, style.bar)


def _shares(bands: Sequence[Band], style: Style) -> list[Part]:
    """A bar whose parts are to one another as the pages are; what there is at all has a cell."""
    shares = [band.share for band in bands if band.share is not None]
    sums = [sum(pages) for pages in zip(*shares)]
    if not sum(sums):
        return [(pad("no page" if shares else "", style.bar), "2")]
    widths = [max(1, pages * style.bar // sum(sums)) if pages else 0 for pages in sums]
    widths[widths.index(max(widths))] += style.bar - sum(widths)
    return [(SIGNS[key] * width, SHARES[key].sgr) for key, width in zip(SHARES, widths)]
