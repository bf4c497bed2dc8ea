"""An address space as the few places where something is: what lies close together, and its name.

A drawing of 2^64 addresses is read place by place, so both the page and the terminal begin from these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from kintro.shapes import Band, Layout

TOP = 1 << 64
KERNEL = ("kernel", "hole", "vsyscall")  # kinds that a process does not map itself
ALONE = ("heap", "stack")  # kinds that one looks for by name, even where they lie near others
FAR_BYTES = 1 << 30  # brk(2) begins up to 1 GiB behind the program: arch/x86/kernel/process.c
FAR_FROM_ALONE_BYTES = 1 << 20


class Cluster(NamedTuple):
    name: str
    bands: tuple[Band, ...]  # ascending

    @property
    def start(self) -> int:
        return self.bands[0].start

    @property
    def end(self) -> int:
        return max(band.end for band in self.bands)


def clusters(bands: Sequence[Band]) -> list[Cluster]:
    """What a process maps, ascending, parted at wide gaps and around the heap and the stack."""
    groups: list[list[Band]] = []
    for band in bands:
        if band.kind in KERNEL:
            continue
        if groups and not _apart(groups[-1][-1], band):
            groups[-1].append(band)
        else:
            groups.append([band])
    named: list[Cluster] = []
    for group in groups:
        seen = {word for cluster in named for word in cluster.name.split(", ")}
        named.append(Cluster(_name(group, "program" not in seen), tuple(group)))
    return named


def _apart(below: Band, band: Band) -> bool:
    gap = band.start - below.end
    alone = below.kind != band.kind and (below.kind in ALONE or band.kind in ALONE)
    return gap >= (FAR_FROM_ALONE_BYTES if alone else FAR_BYTES)


def _name(bands: Sequence[Band], program_unseen: bool) -> str:
    """What people call such a place; code below all libraries is taken for the program."""
    kinds = Counter(band.kind for band in bands)
    names = []
    if "vdso" in kinds and len({band.label for band in bands if band.kind == "text"}) > 1:
        names.append("libraries")
    elif "text" in kinds:
        names.append("program" if program_unseen else "libraries")
    elif "vdso" in kinds:
        names.append("vdso")
    if names == ["libraries"] and "anon" in kinds:
        names.append("anon")
    names += [kind for kind in ALONE if kind in kinds]
    if not names:
        names.append(max(kinds, key=lambda kind: sum(b.end - b.start for b in bands if b.kind == kind)))
    return ", ".join(names)


def halves(layout: Layout) -> tuple[tuple[int, int], tuple[int, int]]:
    """The addresses of user space and those of the kernel, on either side of the hole."""
    for band in layout.bands:
        if band.kind == "hole":
            return (0, band.start), (band.end, TOP)
    highest = max((band.end for band in layout.bands if band.kind not in KERNEL), default=TOP >> 1)
    return (0, 1 << (highest - 1).bit_length()), (TOP >> 1, TOP)
