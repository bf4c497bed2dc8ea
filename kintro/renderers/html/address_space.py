"""An address space as a page for a browser."""

from __future__ import annotations

from collections.abc import Iterator

from kintro.renderers.clusters import TOP, clusters, halves
from kintro.renderers.html.page import page
from kintro.renderers.kinds import KINDS, SHARES, UNKNOWN
from kintro.renderers.text import size
from kintro.shapes import Band, Layout

OPEN_MAX = 2000  # rows of a table that is open at once; 20 000 take a browser some seconds
PLACES_MAX = 12  # buttons to jump to a place; the table names the rest


def address_space(layout: Layout) -> str:
    """The page that shows an address space to scale, and as a table.

    The table is also the data of the drawing: the script reads it, so that nothing is there twice.
    """
    fact_names = tuple(dict.fromkeys(name for band in layout.bands for name, _ in band.facts))
    compared = any(band.share is not None for band in layout.bands)
    return page(
        "address_space",
        ("page.js", "drawing.js", "labels.js", "moving.js"),
        styles=("along.css", "kinds.css"),
        shape=layout,
        open_max=OPEN_MAX,
        compared=compared,
        legend=_legend(layout, compared),
        fact_names=fact_names,
        rows=_rows(layout, fact_names, compared),
        places=_places(layout),
        halves=[(f"{start:x}", f"{end:x}") for start, end in halves(layout)],
    )


def _legend(layout: Layout, compared: bool) -> list[tuple[str, str, str, str]]:
    """Class, name, meaning and weave of everything that the drawing can show."""
    present = {band.kind for band in layout.bands if not compared or band.share is None}
    entries = [(name, name, kind.meaning, kind.weave) for name, kind in KINDS.items() if name in present]
    if present - KINDS.keys():
        entries.append(("other", "other", UNKNOWN.meaning, UNKNOWN.weave))
    if not compared:
        return entries
    a, b = layout.sides
    shares = [(key, k.name.format(a=a, b=b), k.meaning, k.weave) for key, k in SHARES.items()]
    return shares + entries


def _rows(layout: Layout, fact_names: tuple[str, ...], compared: bool) -> Iterator[tuple[str, ...]]:
    """The cells of each band: addresses, size, kind, what it is, pages of either side, facts."""
    for band in layout.bands:
        facts = dict(band.facts)
        yield (
            f"{band.start:x}",
            f"{band.end:x}",
            size(band.end - band.start),
            band.kind,
            band.label,
            *(_pages(band) if compared else ()),
            *(facts.get(name, "") for name in fact_names),
        )


def _pages(band: Band) -> tuple[str, ...]:
    return ("", "", "", "") if band.share is None else tuple(str(pages) for pages in band.share)


def _places(layout: Layout) -> list[tuple[str, str, str, str]]:
    """Name, addresses and size of what one may want to jump to, from the bottom to the top."""
    (user_start, user_end), (kernel_start, kernel_end) = halves(layout)
    found = clusters(layout.bands)
    large = sorted(found, key=lambda place: len(place.bands), reverse=True)[:PLACES_MAX]
    return [
        (name, f"{start:x}", f"{end:x}", size(end - start))
        for name, start, end in (
            ("whole space", 0, TOP),
            ("user half", user_start, user_end),
            *((place.name, place.start, place.end) for place in found if place in large),
            ("kernel half", kernel_start, kernel_end),
        )
    ]
