"""Page faults of a process: on which page of which mapping, of which kind, and the account of them.

Probe: probes/faults.c, which counts faults by kind and page. Pure functions here turn that into faults by
mapping; watch.py runs it.

x86 only: other machines' kernels have no tracepoint at the start of a fault, or another error code there.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Sequence
from collections.abc import Mapping as Dict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kintro.observers.faults_records import COLUMNS, KINDS, PAGES, Counts, FaultPages
from kintro.sources.fault_totals import FaultTotals
from kintro.sources.mappings import Mapping

if TYPE_CHECKING:
    import numpy as np

TRACEPOINT = "page_fault_user"
_BTF = Path("/sys/kernel/btf/vmlinux")


class MappingFaults(NamedTuple):
    """The faults that fell into a mapping."""

    mapping: Mapping
    counts: Counts


class Totals(NamedTuple):
    """What was counted, in an interval or in all. None: not known."""

    duration_ns: int
    counts: Counts | None  # all faults of the process; None if faults cannot be seen
    of_kernel: int | None  # how many of them were the kernel's own, as in read(2) into fresh memory
    refused: int | None  # answered with SIGSEGV or SIGBUS, so that nothing was mapped
    unplaced: int | None  # whose page is not known, because the map was full; in `counts` all the same
    lost: int | None  # faults or major ones that happened but were not counted
    execs: int | None  # how often the process began another program, in another address space
    by_kernel: FaultTotals | None  # what /proc/PID/stat counted meanwhile; None where not known
    unseen: int | None  # by_kernel minus those counted here and not refused; see `Watch`


def pages_of(keys: bytes, values: bytes) -> FaultPages:
    """The pages of blocks, as a map of probes/faults.c holds them."""
    import numpy as np

    numbers = np.frombuffer(keys, np.uint64)
    counts = np.frombuffer(values, np.uint32).reshape(len(numbers), PAGES, len(COLUMNS))
    block, page = np.nonzero(counts.any(axis=2))
    addresses = (numbers[block] * np.uint64(PAGES) + page.astype(np.uint64)) * np.uint64(mmap.PAGESIZE)
    order = np.argsort(addresses, kind="stable")
    return FaultPages(addresses[order], counts[block, page][order])


def added(several: list[FaultPages]) -> FaultPages:
    """All of them in one."""
    import numpy as np

    if len(several) == 1:
        return several[0]
    if not several:
        return FaultPages(np.empty(0, np.uint64), np.empty((0, len(COLUMNS)), np.int64))
    addresses, place = np.unique(np.concatenate([part.addresses for part in several]), return_inverse=True)
    counts = np.zeros((len(addresses), len(COLUMNS)), np.int64)
    np.add.at(counts, place, np.concatenate([part.counts for part in several]))
    return FaultPages(addresses, counts)


def why_not(machine: str | None = None, btf: bytes | None = None) -> str | None:
    """Why this kernel does not tell of page faults; None if it does."""
    machine = machine or os.uname().machine
    if machine != "x86_64":
        return f"on {machine} kintro cannot see page faults begin"
    try:
        types = _BTF.read_bytes() if btf is None else btf
    except OSError:
        return None  # then loading says more
    if f"\0btf_trace_{TRACEPOINT}\0".encode() not in types:
        return f"this kernel has no tracepoint {TRACEPOINT}"
    return None


def faults_by_mapping(
    pages: FaultPages, after: Sequence[Mapping], before: Sequence[Mapping] = ()
) -> tuple[list[MappingFaults], FaultPages]:
    """The faults of each mapping that had any, and those that fell outside of all.

    A page counts for the mapping that has it now; if there is none, for that which had it before.
    """
    found, rest = _assigned(pages, after)
    older, rest = _assigned(rest, before)
    return sorted(found + older, key=lambda item: item.mapping.start), rest


def _assigned(pages: FaultPages, mappings: Sequence[Mapping]) -> tuple[list[MappingFaults], FaultPages]:
    import numpy as np

    if not mappings:
        return [], pages
    starts = np.array([mapping.start for mapping in mappings], np.uint64)
    ends = np.array([mapping.end for mapping in mappings], np.uint64)
    place = np.searchsorted(starts, pages.addresses, "right").astype(np.int64) - 1
    inside = (place >= 0) & (pages.addresses < ends[np.maximum(place, 0)])
    sums = np.zeros((len(mappings), len(COLUMNS)), np.int64)
    np.add.at(sums, place[inside], pages.counts[inside])
    hit = np.flatnonzero(sums.any(axis=1))
    found = [MappingFaults(mappings[i], Counts(*sums[i].tolist())) for i in hit.tolist()]
    return found, FaultPages(pages.addresses[~inside], pages.counts[~inside])


def summed(counts: np.ndarray) -> Counts:
    """All rows of FaultPages.counts in one."""
    return Counts(*counts.sum(axis=0, dtype=int).tolist())


class Reading(NamedTuple):
    """The counters at one moment."""

    time_ns: int
    counters: Dict[str, int]
    kernel: FaultTotals | None
    offset: int | None  # kernel.total minus what was counted here and not refused, in one quiet moment


def begun(counter: Callable[[str], int]) -> int:
    """All faults of the process that have begun, given what reads a counter."""
    return sum(counter(f"{mode}_{kind}") for mode in ("user", "kernel") for kind in KINDS)


def between(first: Reading, last: Reading, faults: bool) -> Totals:
    """What was counted from one moment to another."""
    duration_ns = last.time_ns - first.time_ns
    kernel = None
    if first.kernel is not None and last.kernel is not None:
        kernel = FaultTotals(*(b - a for a, b in zip(first.kernel, last.kernel)))
    if not faults:
        return Totals(duration_ns, None, None, None, None, None, None, kernel, None)
    more = {name: last.counters[name] - first.counters[name] for name in last.counters}
    unseen = None
    if first.offset is not None and last.offset is not None:
        unseen = last.offset - first.offset
    return Totals(
        duration_ns,
        Counts(
            **{kind: more[f"user_{kind}"] + more[f"kernel_{kind}"] for kind in KINDS}, major=more["major"]
        ),
        sum(more[f"kernel_{kind}"] for kind in KINDS),
        more["refused"],
        more["unplaced"],
        more["missed"] + more["fault_lost"],
        more["execs"],
        kernel,
        unseen,
    )
