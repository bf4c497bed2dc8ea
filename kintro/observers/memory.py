"""Address spaces: every mapping of a process, what it is and what of it is in memory; sums of them.

Read from /proc/PID/smaps in one pass; the kernel walks the page tables for it, which takes it about 3 µs for
each mapping. A process that runs meanwhile may change between its first and its last mapping.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from kintro.observers.memory_records import AddressSpace, Region
from kintro.observers.memory_space import read_space

__all__ = [
    "GROUPS",
    "SORTS",
    "Group",
    "Sums",
    "as_json",
    "dirty_bytes",
    "groups",
    "read_space",
    "sums",
    "uss_bytes",
    "whole",
]


class Sums(NamedTuple):
    """Sums over mappings, in bytes. None: only /proc/PID/maps could be read."""

    mappings: int
    size_bytes: int
    rss_bytes: int | None
    pss_bytes: int | None
    uss_bytes: int | None  # unique: what ending the process would free
    hugetlb_bytes: int | None  # in huge pages that were reserved, which none of the others counts
    dirty_bytes: int | None
    swap_bytes: int | None


class Group(NamedTuple):
    """Regions that belong together: an object or a kind."""

    name: str
    sums: Sums
    regions: tuple[Region, ...]


def uss_bytes(region: Region) -> int | None:
    usage = region.usage
    if usage is None:
        return None
    return usage.private_clean_bytes + usage.private_dirty_bytes


def dirty_bytes(region: Region) -> int | None:
    usage = region.usage
    return None if usage is None else usage.shared_dirty_bytes + usage.private_dirty_bytes


def sums(regions: Iterable[Region]) -> Sums:
    """Over regions; the vsyscall page is no memory of the process and has no size (as in VmSize)."""
    found = list(regions)
    counted = [region for region in found if region.kind != "vsyscall"]
    usages = [region.usage for region in counted]

    def total(values: Iterable[int | None]) -> int | None:
        known = list(values)
        return None if None in known else sum(value or 0 for value in known)

    return Sums(
        mappings=len(found),
        size_bytes=sum(region.mapping.size_bytes for region in counted),
        rss_bytes=total(usage and usage.rss_bytes for usage in usages),
        pss_bytes=total(usage and usage.pss_bytes for usage in usages),
        uss_bytes=total(map(uss_bytes, counted)),
        hugetlb_bytes=total(
            usage and usage.shared_hugetlb_bytes + usage.private_hugetlb_bytes for usage in usages
        ),
        dirty_bytes=total(map(dirty_bytes, counted)),
        swap_bytes=total(usage and usage.swap_bytes for usage in usages),
    )


def whole(space: AddressSpace) -> Sums:
    """Over the whole process.

    The pss of each mapping is told in kB, rounded down; that of all together is the kernel's own sum, unless
    the process changed between the two.
    """
    found, rollup = sums(space.regions), space.rollup
    if rollup is None or rollup.rss_bytes != found.rss_bytes:
        return found
    return found._replace(pss_bytes=rollup.pss_bytes)


GROUPS: dict[str, Callable[[Region], str]] = {
    "object": lambda region: region.owner,
    "kind": lambda region: region.kind,
}

SORTS: dict[str, Callable[[Region], int]] = {
    "address": lambda region: region.mapping.start,
    "size": lambda region: -region.mapping.size_bytes,
    "rss": lambda region: -(region.usage.rss_bytes if region.usage else 0),
    "pss": lambda region: -(region.usage.pss_bytes if region.usage else 0),
    "dirty": lambda region: -(dirty_bytes(region) or 0),
    "swap": lambda region: -(region.usage.swap_bytes if region.usage else 0),
}


def groups(regions: Iterable[Region], by: str) -> list[Group]:
    """Regions by object or kind; the one with most in memory first."""
    found: dict[str, list[Region]] = {}
    for region in regions:
        found.setdefault(GROUPS[by](region), []).append(region)
    made = [Group(name, sums(members), tuple(members)) for name, members in found.items()]
    return sorted(made, key=lambda group: (-(group.sums.rss_bytes or 0), -group.sums.size_bytes, group.name))


def as_json(space: AddressSpace, shown: Iterable[Region] | None = None) -> dict[str, Any]:
    """The object that `kintro maps --json` prints. Totals are of the whole process."""
    frame = space.frame
    total = whole(space)
    return {
        "pid": space.pid,
        "comm": space.comm,
        "exe": space.exe,
        "page_bytes": frame.page_bytes,
        "address_space": {
            "task_size": frame.task_size,
            "va_bits": frame.va_bits,
            "mmap_min_addr": frame.mmap_min_addr,
            "source": frame.task_size_source,
            "levels": frame.levels,
            "kernel": [region._asdict() for region in frame.kernel],
        },
        "mappings": [_region_json(region) for region in (space.regions if shown is None else shown)],
        "totals": {
            "size_bytes": total.size_bytes,
            "rss_bytes": total.rss_bytes,
            "pss_bytes": total.pss_bytes,
            "uss_bytes": total.uss_bytes,
            "hugetlb_bytes": total.hugetlb_bytes,
            "swap_bytes": total.swap_bytes,
        },
    }


_USAGE = (
    "rss_bytes", "pss_bytes", "shared_clean_bytes", "shared_dirty_bytes", "private_clean_bytes",
    "private_dirty_bytes", "swap_bytes", "anonymous_bytes", "shared_hugetlb_bytes", "private_hugetlb_bytes",
)  # fmt: skip


def _region_json(region: Region) -> dict[str, Any]:
    mapping, usage = region.mapping, region.usage
    return {
        **mapping._asdict(),
        "kind": region.kind,
        "what": region.what,
        "reason": region.reason,
        "object": region.owner,
        "size_bytes": mapping.size_bytes,
        **{name: getattr(usage, name) if usage is not None else None for name in _USAGE},
        "flags": list(usage.flags) if usage is not None else None,
    }
