"""Which mapping of one process answers to which of another: by address after a fork, else by what is mapped.

Mappings at the same addresses with the same object are one mapping, also where a later mprotect(2) or brk(2)
has cut or grown it. The rest is paired by object: the file with its offset and rights, or the kernel's name
([heap], [stack]); memory without a name by the shift of its neighbours, since ASLR moves a library with its
.bss. No files are read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from kintro.sources.mappings import Mapping

SAME, MOVED, ONLY_A, ONLY_B = "same mapping", "moved", "only in A", "only in B"


class Pair(NamedTuple):
    """A mapping of A and one of B, with the addresses of each that are compared. None: it has no counterpart.

    The stretches of a mapping's pairs together are the mapping.
    """

    a: Mapping | None
    b: Mapping | None
    shift_bytes: int  # what is at x in A is at x + shift in B; negative: B is below
    span_a: tuple[int, int]  # (start, end)
    span_b: tuple[int, int]

    @property
    def relation(self) -> str:
        if self.a is None or self.b is None:
            return ONLY_B if self.a is None else ONLY_A
        return MOVED if self.shift_bytes else SAME


def pairs(a: Sequence[Mapping], b: Sequence[Mapping]) -> tuple[Pair, ...]:
    """Every mapping of both in at least one pair: those of A ascending, then those only in B."""
    a, b = sorted(a), sorted(b)
    found = [(one, other, 0) for one, other in _overlaps(a, b) if _same_object(one, other)]
    matched_a, matched_b = {one for one, _, _ in found}, {other for _, other, _ in found}
    for key in (_file_key, _name_key):
        for one, other in _by_key(a, b, matched_a, matched_b, key):
            found.append((one, other, _shift(one, other)))
            matched_a.add(one)
            matched_b.add(other)
    found += _beside(a, b, found)
    return _whole(a, b, sorted(found))


def _overlaps(a: Sequence[Mapping], b: Sequence[Mapping]) -> list[tuple[Mapping, Mapping]]:
    found, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        if max(a[i].start, b[j].start) < min(a[i].end, b[j].end):
            found.append((a[i], b[j]))
        if a[i].end <= b[j].end:
            i += 1
        else:
            j += 1
    return found


def _same_object(a: Mapping, b: Mapping) -> bool:
    """Whether mappings that overlap show the same: one file at one place, or memory of one name."""
    if (a.dev, a.inode) != (b.dev, b.inode):
        return False
    return a.offset - a.start == b.offset - b.start if a.inode else a.path == b.path


def _file_key(mapping: Mapping) -> Hashable:
    return (mapping.dev, mapping.inode, mapping.offset, mapping.perms) if mapping.inode else None


def _name_key(mapping: Mapping) -> Hashable:
    return (mapping.path, mapping.perms) if mapping.path and not mapping.inode else None


def _by_key(
    a: Sequence[Mapping],
    b: Sequence[Mapping],
    matched_a: set[Mapping],
    matched_b: set[Mapping],
    key: Callable[[Mapping], Hashable],
) -> list[tuple[Mapping, Mapping]]:
    """Mappings not matched before that have the same key; of several with one key, first with first."""
    waiting = defaultdict(list)
    for mapping in reversed(b):
        if mapping not in matched_b:
            waiting[key(mapping)].append(mapping)
    waiting.pop(None, None)
    return [
        (mapping, waiting[key(mapping)].pop())
        for mapping in a
        if mapping not in matched_a and waiting.get(key(mapping))
    ]


def _shift(a: Mapping, b: Mapping) -> int:
    """A stack hangs from its end and grows down; all else stands on its start."""
    return b.end - a.end if a.path == b"[stack]" else b.start - a.start


def _beside(
    a: Sequence[Mapping], b: Sequence[Mapping], found: Sequence[tuple[Mapping, Mapping, int]]
) -> list[tuple[Mapping, Mapping, int]]:
    """Memory without a name, moved as far as the nearest matched mapping below or above it."""
    shifts = {one: shift for one, _, shift in found}
    taken = {other for _, other, _ in found}
    nameless = {(m.start, m.perms): m for m in b if m not in taken and not m.path and not m.inode}
    added = []
    for order in (a, a[::-1]):
        shift = None
        for mapping in order:
            if mapping in shifts:
                shift = shifts[mapping]
            elif shift is not None and not mapping.path and not mapping.inode:
                other = nameless.pop((mapping.start + shift, mapping.perms), None)
                if other is not None:
                    shifts[mapping] = shift
                    added.append((mapping, other, shift))
    return added


def _whole(
    a: Sequence[Mapping], b: Sequence[Mapping], found: Sequence[tuple[Mapping, Mapping, int]]
) -> tuple[Pair, ...]:
    """Pairs with the stretches that they cover, and what is left over."""
    spans_a = _spans([(one, other.start - shift) for one, other, shift in found])
    spans_b = _spans([(other, one.start + shift) for one, other, shift in found])
    made = [
        Pair(one, other, shift, span_a, span_b)
        for (one, other, shift), span_a, span_b in zip(found, spans_a, spans_b)
    ]
    matched_a, matched_b = {one for one, _, _ in found}, {other for _, other, _ in found}
    made += [Pair(m, None, 0, (m.start, m.end), (0, 0)) for m in a if m not in matched_a]
    made.sort(key=lambda pair: pair.span_a)
    return (*made, *(Pair(None, m, 0, (0, 0), (m.start, m.end)) for m in b if m not in matched_b))


def _spans(parts: Sequence[tuple[Mapping, int]]) -> list[tuple[int, int]]:
    """For each mapping and start of a counterpart: the stretch from there to the mapping's next counterpart.

    The first stretch of a mapping begins where the mapping does, the last ends with it.
    """
    counterparts = defaultdict(list)
    for number, (mapping, start) in enumerate(parts):
        counterparts[mapping].append((start, number))
    spans = [(0, 0)] * len(parts)
    for mapping, places in counterparts.items():
        places.sort()
        starts = [mapping.start, *(start for start, _ in places[1:])]
        for (_, number), start, end in zip(places, starts, [*starts[1:], mapping.end]):
            spans[number] = (start, end)
    return spans
