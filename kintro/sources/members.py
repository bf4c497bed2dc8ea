"""Where a member of a kernel struct lies, by the path that C would take to it: `signal->rlim[7].rlim_cur`.

Offsets are those of the running kernel's BTF. What has no address of its own is not found: a bit field.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from kintro.sources.btf import ARRAY, INT, PTR, STRUCT, UNION, Btf

_STEP = re.compile(r"(?P<link>->|\.|^)(?P<name>\w+)(?P<index>\[\d+\])?")


class Place(NamedTuple):
    """Where a member is, seen from the struct that its path begins in."""

    pointers: tuple[int, ...]  # offsets of the pointers on the way, each in what the one before points to
    offset: int  # of the member, in what the last one points to
    size: int  # bytes; 0 for an array without a length of its own
    signed: bool


def place(btf: Btf, struct: str, path: str) -> Place | None:
    """Where a path leads, or None where this kernel has no such member.

    A path that ends at a struct of one member means that member: an atomic_t, kuid_t or sigset_t.
    """
    start = btf.find(struct, STRUCT)
    if start is None:
        return None
    type_id, offset, pointers = start, 0, list[int]()
    end = 0
    for step in _STEP.finditer(path):
        if step.start() != end:
            break
        end = step.end()
        if step["link"] == "->":
            if btf.kind(type_id) != PTR:
                return None
            pointers.append(offset)
            type_id, offset = btf.resolve(btf.target(type_id)), 0
        if btf.kind(type_id) not in (STRUCT, UNION):
            return None
        known = _members(btf, type_id)
        if step["name"] not in known:
            return None
        at, type_id = known[step["name"]]
        type_id, offset = btf.resolve(type_id), offset + at
        if step["index"]:
            if btf.kind(type_id) != ARRAY:
                return None
            type_id = btf.resolve(btf.array(type_id)[0])
            offset += int(step["index"][1:-1]) * size_of(btf, type_id)
    if end != len(path):
        raise ValueError(f"{path!r} is not a path of members")
    while btf.kind(type_id) == STRUCT and len(inner := list(btf.members(type_id))) == 1:
        type_id = btf.resolve(inner[0][2])
    signed = btf.kind(type_id) == INT and btf.is_signed(type_id)
    return Place(tuple(pointers), offset, size_of(btf, type_id), signed)


@lru_cache(64)
def _members(btf: Btf, type_id: int) -> dict[str, tuple[int, int]]:
    """Name → offset and type."""
    return {name: (offset, its_type) for name, offset, its_type in btf.members(type_id)}


def size_of(btf: Btf, type_id: int) -> int:
    """Bytes of a type, 0 for a function or void."""
    kind = btf.kind(type_id)
    if kind == PTR:
        return 8
    if kind == ARRAY:
        element, count = btf.array(type_id)
        return size_of(btf, btf.resolve(element)) * count
    return btf.size(type_id) if type_id else 0
