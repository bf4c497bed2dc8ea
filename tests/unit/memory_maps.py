"""Address spaces for tests: made by hand, and by hypothesis from what mmap(2) and its kin do."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from kintro.observers.faults_records import COLUMNS, Counts, FaultPages
from kintro.sources.mappings import Mapping

PAGE = 4096


def mapping(first: int, last: int, perms: str = "rw-p", path: bytes = b"", inode: int = 0, at: int = 0,
            deleted: bool = False) -> Mapping:  # fmt: skip
    """Pages `first` to `last`, exclusive; of a file from page `at`."""
    return Mapping(first * PAGE, last * PAGE, perms, at * PAGE, "fd:01", inode, path, deleted)


# Of one page: (perms, inode, page of the file, path, deleted); None where nothing is mapped.
Page = tuple[str, int, int, bytes, bool]


def paged(mappings: list[Mapping]) -> dict[int, Page]:
    """Page → what is there."""
    found = {}
    for m in mappings:
        for number in range(m.start // PAGE, m.end // PAGE):
            at = m.offset // PAGE + number - m.start // PAGE if m.inode else 0
            assert number not in found
            found[number] = (m.perms, m.inode, at, m.path, m.deleted)
    return found


def merged(pages: dict[int, Page]) -> list[Mapping]:
    """The mappings the kernel would make of it."""
    found: list[Mapping] = []
    for number, (perms, inode, at, path, deleted) in sorted(pages.items()):
        one = mapping(number, number + 1, perms, path, inode, at, deleted)
        last = found[-1] if found else None
        if (
            last is not None
            and last.end == one.start
            and last[2:3] + last[4:] == one[2:3] + one[4:]
            and (not inode or last.offset + last.size_bytes == one.offset)
        ):
            found[-1] = last._replace(end=one.end)
        else:
            found.append(one)
    return found


_stretch = st.tuples(st.integers(1, 40), st.integers(1, 12))
_perms = st.sampled_from(["rw-p", "r--p", "r-xp", "---p", "rw-s"])
_file = st.sampled_from([(0, b""), (0, b"[anon:x]"), (7, b"/lib/a"), (8, b"/lib/b")])
_step = st.one_of(
    st.tuples(st.just("map"), _stretch, _perms, _file, st.integers(0, 3)),
    st.tuples(st.just("unmap"), _stretch),
    st.tuples(st.just("protect"), _stretch, _perms),
    st.tuples(st.just("delete"), st.sampled_from([7, 8])),
)
steps = st.lists(_step, max_size=8)


def done(pages: dict[int, Page], todo: list[tuple]) -> dict[int, Page]:
    """The pages after some steps."""
    pages = dict(pages)
    for what, *rest in todo:
        if what == "delete":
            pages = {n: (*p[:4], True) if p[1] == rest[0] else p for n, p in pages.items()}
            continue
        first, length = rest[0]
        for place, number in enumerate(range(first, first + length)):
            if what == "map":
                perms, (inode, path), at = rest[1:]
                pages[number] = (perms, inode, at + place if inode else 0, path, False)
            elif what == "unmap":
                pages.pop(number, None)
            elif number in pages and pages[number][0][3] == rest[1][3]:
                pages[number] = (rest[1], *pages[number][1:])
    return pages


def pages(*rows: tuple[int, Counts]) -> FaultPages:
    """Page number and counts."""
    addresses = np.array([number * PAGE for number, _ in rows], np.uint64)
    return FaultPages(addresses, np.array([c for _, c in rows], np.int64).reshape(-1, len(COLUMNS)))
