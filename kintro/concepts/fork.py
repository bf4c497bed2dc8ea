"""Experiments with fork: who makes whom, what memory the two share, and what is a copy."""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import resource
import tempfile
import zlib
from typing import NamedTuple

from kintro.concepts.experiment import Experiment, Finding, Picture, judged
from kintro.concepts.fork_birth import judge_birth, observe_birth
from kintro.concepts.fork_code import judge_shared_code, observe_code
from kintro.concepts.fork_on import (
    judge_changed,
    judge_code,
    judge_copied,
    judge_kin,
    observe_kin,
    observe_relative,
    observe_same_program,
)
from kintro.concepts.scene import Actor, Play
from kintro.concepts.words import Value
from kintro.observers.memory_diff import Diff, diff
from kintro.observers.memory_layout import diff_layout
from kintro.observers.memory_pairs import SAME
from kintro.observers.memory_records import AddressSpace
from kintro.observers.memory_space import read_space
from kintro.shapes import Layout, Table

PAGES = 4096  # of data that is copied


class View(NamedTuple):
    """The first bytes of two pages of the data, as one process reads them when all have written."""

    pid: int
    who: str
    by_child: int  # of a page that the child wrote to
    by_parent: int


class Copy(NamedTuple):
    """A parent's data and its child's, before and after the child writes to some of it. Counts of pages."""

    pages: int
    same_bytes: bool  # the child found what the parent had put there
    before: tuple[int, int]  # in the same frame, in different ones
    kinds: dict[
        str, tuple[int, int]
    ]  # of heap, stack and data: at the same address in both, in the same frame
    written: int
    faults: int  # of the child while it wrote
    after: tuple[int, int]
    parent_unchanged: bool
    child_changed: bool
    shared_changed: bool  # the parent found what the child wrote to memory mapped with MAP_SHARED
    moved_bytes: int  # how far the child's reading moved the parent's place in a file that both have open
    layout: Layout  # after
    parent_written: int  # pages, then, that the child had left alone
    child_unchanged: bool  # those in the child
    sibling_unchanged: bool  # all in another child, forked before anyone wrote
    views: tuple[View, ...]


def _first(data: mmap.mmap, page: int) -> int:
    return data[page * mmap.PAGESIZE]


def _as_filled(data: mmap.mmap, page: int) -> bool:
    """All bytes of a page were alike; who writes to it changes the first."""
    return _first(data, page) == data[page * mmap.PAGESIZE + 1]


def _write_to(data: mmap.mmap, pages: list[int]) -> None:
    for page in pages:
        data[page * mmap.PAGESIZE] ^= 0xFF


def _write(
    data: mmap.mmap, checksum: int, pages: list[int], theirs: list[int], common: mmap.mmap, file: int
) -> Play:
    yield zlib.crc32(data) == checksum
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    _write_to(data, pages)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    common[0] ^= 0xFF
    os.read(file, len(pages))
    yield faults
    yield not any(_as_filled(data, page) for page in pages)
    yield all(_as_filled(data, page) for page in theirs), _first(data, pages[0]), _first(data, theirs[0])


def _look(data: mmap.mmap, checksum: int, mine: int, theirs: int) -> Play:
    yield None
    yield zlib.crc32(data) == checksum, _first(data, mine), _first(data, theirs)


def observe_copy() -> Copy:
    data = mmap.mmap(-1, PAGES * mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    data.madvise(mmap.MADV_NOHUGEPAGE)  # a huge page would be copied in one piece
    for _ in range(PAGES):
        data.write(bytes([random.randrange(256)]) * mmap.PAGESIZE)
    checksum, address = zlib.crc32(data), ctypes.addressof(ctypes.c_char.from_buffer(data))
    pages = sorted(random.sample(range(PAGES), random.randint(500, 1500)))
    own = sorted(random.sample([page for page in range(PAGES) if page not in set(pages)], 500))
    common, mark = mmap.mmap(-1, mmap.PAGESIZE), random.randrange(256)
    common[0] = mark
    with (
        tempfile.TemporaryFile() as file,
        Actor(_write, data, checksum, pages, own, common, file.fileno()) as child,
        Actor(_look, data, checksum, pages[0], own[0]) as sibling,
    ):
        os.pwrite(file.fileno(), bytes(PAGES), 0)
        same_bytes = child.answer()
        sibling.step()
        spaces = read_space(os.getpid()), read_space(child.pid)
        whole = _diff(*spaces)
        before, kinds = _frames(*spaces, address), _by_kind(whole, spaces[0])
        faults = child.answer()
        after, unchanged = _frames(*spaces, address), zlib.crc32(data) == checksum
        layout = diff_layout(*spaces, _diff(*spaces))
        moved = os.lseek(file.fileno(), 0, os.SEEK_CUR)
        child_changed = child.answer()
        _write_to(data, own)
        child_unchanged, *by_child = child.answer()
        sibling_unchanged, *by_sibling = sibling.answer()
        views = (
            View(os.getpid(), "parent", _first(data, pages[0]), _first(data, own[0])),
            View(child.pid, "child", *by_child),
            View(sibling.pid, "sibling", *by_sibling),
        )
        return Copy(
            PAGES, same_bytes, before, kinds, len(pages), faults, after, unchanged, child_changed,
            common[0] == mark ^ 0xFF, moved, layout, len(own), child_unchanged, sibling_unchanged, views,
        )  # fmt: skip


def _diff(a: AddressSpace, b: AddressSpace) -> Diff:
    return diff(a.pid, a.regions, b.pid, b.regions)


def _frames(a: AddressSpace, b: AddressSpace, address: int) -> tuple[int, int]:
    """Of the data: pages in the same frame, and in different ones."""
    [region] = [r for r in a.regions if r.mapping.start <= address < r.mapping.end]
    data = region.mapping._replace(start=address, end=address + PAGES * mmap.PAGESIZE)
    pages = diff(a.pid, [data], b.pid, [data]).total
    return pages.same_frame or 0, pages.different_frame or 0


def _by_kind(found: Diff, parent: AddressSpace) -> dict[str, tuple[int, int]]:
    kinds = {region.mapping: region.kind for region in parent.regions}
    counts: dict[str, tuple[int, int]] = {}
    for part in found.parts:
        kind = kinds.get(part.pair.a, "") if part.pair.a else ""
        if kind in ("heap", "stack", "data") and part.pair.relation == SAME:
            both, same = counts.get(kind, (0, 0))
            shared, own = part.pages.same_frame or 0, part.pages.different_frame or 0
            counts[kind] = both + shared + own, same + shared
    return counts


def _copy_facts(seen: Copy) -> dict[str, Value]:
    return {
        "pages": seen.pages,
        "same_before": seen.before[0],
        "written": seen.written,
        "faults": seen.faults,
        "same_after": seen.after[0],
        "own_after": seen.after[1],
    }


def judge_copy(seen: Copy) -> Finding:
    kinds = {f"{kind}_pages": both for kind, (both, _) in seen.kinds.items()}
    has_all = {"heap", "stack", "data"} <= seen.kinds.keys() and all(both for both, _ in seen.kinds.values())
    copied = seen.same_bytes and seen.child_changed and has_all
    # The copy is made late: not at the fork, but page by page when one of the two writes.
    late = seen.before == (seen.pages, 0) and seen.after == (seen.pages - seen.written, seen.written)
    facts = {**_copy_facts(seen), **kinds, "same_bytes": seen.same_bytes}
    return Finding(judged(copied, late), facts, (Picture("shared-frames", seen.layout),))


def judge_apart(seen: Copy) -> Finding:
    facts = {
        **_copy_facts(seen),
        "parent_unchanged": seen.parent_unchanged,
        "child_changed": seen.child_changed,
        "parent_written": seen.parent_written,
        "child_unchanged": seen.child_unchanged,
        "sibling_unchanged": seen.sibling_unchanged,
        "shared_changed": seen.shared_changed,
        "moved_bytes": seen.moved_bytes,
    }
    copied = seen.child_changed and seen.after[1] == seen.written
    holds = copied and seen.parent_unchanged and seen.child_unchanged and seen.sibling_unchanged
    columns = ("process", "pid", "page the child wrote to", "page the parent wrote to")
    rows = tuple((one.who, str(one.pid), f"{one.by_child:02x}", f"{one.by_parent:02x}") for one in seen.views)
    shown = Picture("who-sees-what", Table(columns, rows))
    return Finding(judged(holds, seen.shared_changed and seen.moved_bytes == seen.written), facts, (shown,))


EXPERIMENTS = (
    Experiment("F1", observe_birth, judge_birth, root=True, on=observe_kin, judge_on=judge_kin),
    Experiment(
        "F2", observe_copy, judge_copy, root=True, on=observe_relative, judge_on=judge_copied, on_root=True
    ),
    Experiment(
        "F3", observe_code, judge_shared_code, root=True,
        on=observe_same_program, judge_on=judge_code, on_root=True,
    ),
    Experiment(
        "F4", observe_copy, judge_apart, root=True, on=observe_relative, judge_on=judge_changed, on_root=True
    ),
)  # fmt: skip
