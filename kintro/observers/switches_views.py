"""Views of the account of context switches as lines: who made way for whom, and histograms of durations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kintro.observers.buckets import bounds_ns, percentile_ns
from kintro.observers.switches import frequent, matrix, reasons
from kintro.observers.switches_records import Account
from kintro.observers.switches_text import who
from kintro.renderers import terminal
from kintro.renderers.text import duration
from kintro.shapes import Cell, Column

MAP_MAX = 12  # tasks in the heat map
SHADES = " ░▒▓█"
BAR = 40  # cells
EIGHTHS = " ▏▎▍▌▋▊▉"

PAIR_COLUMNS = (
    Column("LEFT", 23),
    Column("CAME", 23),
    Column("TIMES", 9, right=True),
    Column("VOL", 9, right=True),
    Column("INVOL", 9, right=True),
)


def pair_rows(account: Account, top: int) -> Iterator[tuple[Cell, ...]]:
    """Who left a CPU to whom, the most frequent first."""
    for pair, swaps in frequent(account)[:top]:
        why = reasons(pair, swaps)
        yield (
            *(Cell(who(account, slot, 23)) for slot in pair),
            Cell(str(swaps.times)),
            Cell(str(why.voluntary or "")),
            Cell(str(why.involuntary or ""), "changed"),
        )


def heat_map(account: Account, width: int | None = None) -> Iterator[str]:
    """A line for each of those that switched most, of `width` cells at most; a column for each that came.

    The darkest is the most frequent pair; each shade less means an eighth of it or less.
    """
    slots, counts = matrix(account, MAP_MAX)
    if not slots:
        return
    most = max(counts.values(), default=0)
    letters = [chr(ord("a") + number) for number in range(len(slots))]
    yield "  " + " ".join(letters)
    for letter, prev in zip(letters, slots):
        cells = "".join(_shade(counts.get((prev, following), 0), most) * 2 for following in slots)
        room = 30 if width is None else max(0, min(30, width - len(cells) - 3))
        yield f"{letter} {cells} {who(account, prev, room)}"
    legend = f"row made way for column: █ up to {most:,} times, ▓ 1/8, ▒ 1/64, ░ 1/512 of it"
    yield from terminal.sentence(legend, width)


def _shade(count: int, most: int) -> str:
    if not count:
        return SHADES[0]
    shade = len(SHADES) - 1
    while shade > 1 and count * 8 <= most:
        count, shade = count * 8, shade - 1
    return SHADES[shade]


def histogram(title: str, buckets: Sequence[int]) -> Iterator[str]:
    """A line for each power of two between the shortest and the longest."""
    number = sum(buckets)
    if not number:
        yield f"{title}: none"
        return
    longest_ns = 1 << 62
    middle, rare = (percentile_ns(buckets, part, 0, longest_ns) for part in (0.5, 0.99))
    yield f"{title}: {number:,}; p50 {duration(middle or 0)}, p99 {duration(rare or 0)}"
    octaves = [sum(buckets[first : first + 4]) for first in range(0, len(buckets), 4)]
    used = [octave for octave, count in enumerate(octaves) if count]
    most = max(octaves)
    for octave in range(used[0], used[-1] + 1):
        low, high = bounds_ns(4 * octave)[0], bounds_ns(4 * octave + 3)[1]
        bounds = f"{duration(low):>8} … {duration(high) if high else '':<8}"
        yield f"{bounds} {octaves[octave]:>9} {_bar(octaves[octave], most)}".rstrip()


def _bar(count: int, most: int) -> str:
    eighths = -(-count * BAR * 8 // most)
    return ("█" * (eighths // 8) + EIGHTHS[eighths % 8]).rstrip()
