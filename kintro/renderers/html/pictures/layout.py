"""An address space in strips, each to scale: all addresses, user space, and each place where something is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kintro.renderers.clusters import TOP, Cluster, clusters, halves
from kintro.renderers.figures import Words
from kintro.renderers.html.pictures.drawing import Box, Drawing, Entry, Label, Stroke, woven
from kintro.renderers.kinds import KINDS, SHARES
from kintro.renderers.text import fit, printable, size
from kintro.shapes import Band, Layout, Mark

STRIP, GAP, HEAD, FOOT = 26.0, 14.0, 16.0, 14.0  # pixels: a strip, below it, and its lines of text
LEADERS = 22.0  # from a strip to the numbers of its places
WIDTH_MIN = 0.1  # percent: what has no width is not drawn at all
PARTS_MAX = 400  # bands of a strip that are drawn one by one


class Strip(NamedTuple):
    name: str
    start: int
    end: int
    bands: Sequence[Band]
    places: Sequence[Cluster] = ()  # to be numbered below it


def layout(shape: Layout, words: Words) -> Drawing:
    """The strips from the whole to its parts."""
    boxes: list[Box] = []
    strokes: list[Stroke] = []
    labels: list[Label] = []
    top = 0.0
    for strip in _strips(shape, words):
        labels.append(Label(0, top + 11, fit(strip.name, 36), "name"))
        labels.append(Label(100, top + 11, size(strip.end - strip.start), "scale", "end"))
        top += HEAD
        boxes.append(Box(0, top, 100, STRIP, "track"))
        boxes += _bands(strip, top) if not strip.places else _places(strip, top)
        strokes += _marks(strip, shape.marks, top)
        top += STRIP
        if strip.places:
            strokes += _leaders(strip, top)
            labels += _numbers(strip, top + LEADERS + 10)
            top += LEADERS + 10
        labels.append(Label(0, top + 11, f"{strip.start:x}", "scale"))
        labels.append(Label(100, top + 11, "2^64" if strip.end == TOP else f"{strip.end:x}", "scale", "end"))
        top += FOOT + GAP
    return Drawing(max(top - GAP + 4, 0), tuple(boxes), tuple(strokes), tuple(labels), _legend(shape, words))


def _strips(shape: Layout, words: Words) -> Iterator[Strip]:
    found = clusters(shape.bands)
    (_, user_end), (kernel_start, _) = halves(shape)
    above = [band for band in shape.bands if band.start >= user_end]
    if above:
        user = Band(0, user_end, "user", "")
        hole = [band for band in above if band.kind == "hole"]
        kernel = Band(kernel_start, TOP, "kernel", "")
        yield Strip(words["whole-space"], 0, TOP, (user, *hole, kernel))
    if found or above:
        yield Strip(words["user-half"], 0, user_end, (), found)
    for number, place in enumerate(found, 1):
        count = words["stretches"].format(number=f"{len(place.bands):,}")
        yield Strip(f"{number}  {printable(place.name)}, {count}", place.start, place.end, place.bands)
    regions = [band for band in above if band.kind == "kernel"]
    if len(regions) > 1:
        count = words["stretches"].format(number=len(regions))
        yield Strip(f"{words['kernel-half']}, {count}", kernel_start, TOP, regions)


def _percent(strip: Strip, address: int) -> float:
    return 100 * (address - strip.start) / (strip.end - strip.start)


def _places(strip: Strip, top: float) -> Iterator[Box]:
    for place in strip.places:
        left, right = _percent(strip, place.start), _percent(strip, place.end)
        yield Box(left, top, max(right - left, WIDTH_MIN), STRIP, "place")


def _bands(strip: Strip, top: float) -> Iterator[Box]:
    """Small ones last, so that their borders lie above those of large ones."""
    bands = sorted(strip.bands, key=lambda band: band.start - band.end)
    alone = bands[:PARTS_MAX]
    for band in alone:
        left = _percent(strip, band.start)
        width = max(_percent(strip, band.end) - left, WIDTH_MIN)
        if band.share is not None:
            if not any(band.share):
                yield Box(left, top, width, STRIP, "empty")
            at = top
            for key, pages in zip(SHARES, band.share):
                if pages:
                    height = STRIP * pages / sum(band.share)
                    yield woven(left, at, width, height, key, f"k-{key}")
                    at += height
        elif band.kind in KINDS:
            yield woven(left, top, width, STRIP, band.kind, f"k-{band.kind}")
        else:
            yield Box(left, top, width, STRIP, "place" if band.kind == "user" else "k-other")
    yield from _several(strip, bands[PARTS_MAX:], top)


def _several(strip: Strip, bands: Sequence[Band], top: float) -> Iterator[Box]:
    """Bands too many to be drawn: where they lie, in hundreds of places."""
    cells = {int(_percent(strip, band.start) * PARTS_MAX / 100) for band in bands}
    for cell in sorted(cells):
        yield Box(cell * 100 / PARTS_MAX, top, 100 / PARTS_MAX, STRIP, "many")


def _marks(strip: Strip, marks: Sequence[Mark], top: float) -> Iterator[Stroke]:
    for mark in marks:
        if strip.start < mark.address < strip.end:
            x = _percent(strip, mark.address)
            yield Stroke(x, top - 3, x, top + STRIP + 3, "mark")


def _slots(strip: Strip) -> list[float]:
    """Where the numbers of its places stand: in their order, and never too close together."""
    count = len(strip.places)
    apart = min(8.0, 96 / max(count, 1))
    wanted = [_percent(strip, (place.start + place.end) // 2) for place in strip.places]
    slots: list[float] = []
    for number, x in enumerate(wanted):
        least = slots[-1] + apart if slots else 2.0
        slots.append(min(max(x, least), 98 - apart * (count - 1 - number)))
    return slots


def _leaders(strip: Strip, top: float) -> Iterator[Stroke]:
    for place, slot in zip(strip.places, _slots(strip)):
        yield Stroke(_percent(strip, (place.start + place.end) // 2), top, slot, top + LEADERS, "leader")


def _numbers(strip: Strip, y: float) -> Iterator[Label]:
    for number, slot in enumerate(_slots(strip), 1):
        yield Label(slot, y, str(number), "name", "middle")


def _legend(shape: Layout, words: Words) -> tuple[Entry, ...]:
    compared = any(band.share is not None for band in shape.bands)
    entries = []
    if compared:
        shares = zip(SHARES, zip(*(band.share for band in shape.bands if band.share is not None)))
        names = {
            "same": words["same"], "copied": words["copied"],
            "only_a": words["only"].format(side=printable(shape.sides[0])),
            "only_b": words["only"].format(side=printable(shape.sides[1])),
        }  # fmt: skip
        entries += [Entry("filled", key, names[key]) for key, pages in shares if any(pages)]
        if any(band.share is not None and not any(band.share) for band in shape.bands):
            entries.append(Entry("empty", "", words["no-pages"]))
    present = {band.kind for band in shape.bands if band.share is None}
    entries += [Entry("filled", kind, kind, words[f"k-{kind}"]) for kind in KINDS if kind in present]
    entries += [Entry("k-other", "", printable(kind)) for kind in sorted(present - KINDS.keys())]
    entries.append(Entry("track", "", words["unused"]))
    if any(len(place.bands) > PARTS_MAX for place in clusters(shape.bands)):
        entries.append(Entry("many", "", words["several"]))
    entries += [Entry("mark", "", f"{printable(mark.name)} {mark.address:x}") for mark in shape.marks]
    return tuple(entries)
