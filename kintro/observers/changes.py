"""What changed among a process's mappings between two snapshots.

Two mappings are one and the same where their addresses overlap and show the same file at the same place, or
no file. So what the kernel splits, as mprotect(2) in the middle does, or merges is seen as the change of the
part that changed. A new anonymous mapping that the kernel merged with its neighbour is seen as growth of it,
which it is. What mremap(2) moved disappears here and appears there.

Cost: linear in the number of mappings. What it cannot see: what came and went between the snapshots, and a
mapping replaced by another one just like it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from kintro.sources.mappings import Mapping, Usage

KINDS = ("appeared", "grew", "shrank", "disappeared", "protected", "renamed")


class Change(NamedTuple):
    """One thing that happened to the addresses from `start` to `end`."""

    kind: str  # one of KINDS
    start: int
    end: int  # exclusive
    mapping: Mapping  # as it is now; of one that shrank, what of it is nearest; as it was, if it disappeared
    before: Mapping | None  # as it was; None if it appeared

    @property
    def size_bytes(self) -> int:
        return self.end - self.start


class RssChange(NamedTuple):
    """The resident memory of a mapping, or of those it was split into or merged from, is another."""

    mapping: Mapping  # as it is now, the first of several
    before_bytes: int
    after_bytes: int


class _Piece(NamedTuple):
    """Addresses that lie in one mapping, or in none, before and after."""

    start: int
    end: int
    old: Mapping | None
    new: Mapping | None

    @property
    def survived(self) -> bool:
        return self.old is not None and self.new is not None and _same(self.old, self.new)


def _same(old: Mapping, new: Mapping) -> bool:
    """Whether two mappings that overlap are one; only mprotect(2) and names may make a difference."""
    if (old.dev, old.inode, old.perms[3:]) != (new.dev, new.inode, new.perms[3:]):
        return False
    return not old.inode or old.offset - old.start == new.offset - new.start


def _pieces(before: Sequence[Mapping], after: Sequence[Mapping]) -> Iterator[_Piece]:
    """The address space cut at every boundary, ascending; without what lies in no mapping at any time."""
    bounds = sorted({bound for mapping in (*before, *after) for bound in (mapping.start, mapping.end)})
    old, new = iter(before), iter(after)
    was, now = next(old, None), next(new, None)
    for start, end in pairwise(bounds):
        while was is not None and was.end <= start:
            was = next(old, None)
        while now is not None and now.end <= start:
            now = next(new, None)
        inside = [m if m is not None and m.start <= start else None for m in (was, now)]
        if any(inside):
            yield _Piece(start, end, *inside)


def changes(before: Sequence[Mapping], after: Sequence[Mapping]) -> list[Change]:
    """From two snapshots, each by address, to what happened in between; by address too.

    At one address what disappeared comes before what appeared.
    """
    pieces = list(_pieces(before, after))
    kept = _kept(pieces)
    later: dict[Mapping, list[Mapping]] = {}  # what became of a mapping
    earlier: dict[Mapping, list[Mapping]] = {}  # and what it was
    for _, old, new in kept:
        later.setdefault(old, []).append(new)
        earlier.setdefault(new, []).append(old)
    found = []
    for start, end, old in _runs([(p.start, p.end, p.old) for p in pieces if not p.survived]):
        if old in later:
            found.append(Change("shrank", start, end, _nearest(later[old], start, end), old))
        else:
            found.append(Change("disappeared", start, end, old, old))
    for start, end, new in _runs([(p.start, p.end, p.new) for p in pieces if not p.survived]):
        if new in earlier:
            found.append(Change("grew", start, end, new, _nearest(earlier[new], start, end)))
        else:
            found.append(Change("appeared", start, end, new, None))
    for piece, old, new in kept:
        if old.perms != new.perms:
            found.append(Change("protected", piece.start, piece.end, new, old))
        if (old.path, old.deleted) != (new.path, new.deleted):
            found.append(Change("renamed", piece.start, piece.end, new, old))
    return sorted(found, key=lambda change: change.start)


def _kept(pieces: Sequence[_Piece]) -> list[tuple[_Piece, Mapping, Mapping]]:
    """Those that are there before and after. No two have the same mappings: one would reach over a gap."""
    return [(p, p.old, p.new) for p in pieces if p.survived and p.old is not None and p.new is not None]


def _runs(parts: Sequence[tuple[int, int, Mapping | None]]) -> list[tuple[int, int, Mapping]]:
    """The parts (start, end, mapping) that lie in a mapping; those in a row of one mapping made one."""
    runs: list[tuple[int, int, Mapping]] = []
    for start, end, mapping in parts:
        if mapping is None:
            continue
        if runs and runs[-1][1:] == (start, mapping):
            start = runs.pop()[0]
        runs.append((start, end, mapping))
    return runs


def _nearest(mappings: Sequence[Mapping], start: int, end: int) -> Mapping:
    return min(mappings, key=lambda mapping: max(start - mapping.end, mapping.start - end))


def rss_changes(
    before: Sequence[tuple[Mapping, Usage]], after: Sequence[tuple[Mapping, Usage]]
) -> list[RssChange]:
    """Of mappings that are there before and after: whose resident memory grew or shrank.

    What was split or merged is taken together, because the kernel does not tell how it was spread before.
    """
    rss_before = {mapping: usage.rss_bytes for mapping, usage in before}
    rss_after = {mapping: usage.rss_bytes for mapping, usage in after}
    groups: list[tuple[list[Mapping], list[Mapping]]] = []
    for _, was_in, is_in in _kept(list(_pieces(list(rss_before), list(rss_after)))):
        if groups and (groups[-1][0][-1] == was_in or groups[-1][1][-1] == is_in):
            groups[-1][0].append(was_in)
            groups[-1][1].append(is_in)
        else:
            groups.append(([was_in], [is_in]))
    found = []
    for old, new in groups:
        was = sum(rss_before[mapping] for mapping, _ in groupby(old))
        now = sum(rss_after[mapping] for mapping, _ in groupby(new))
        if was != now:
            found.append(RssChange(new[0], was, now))
    return found
