"""What a mapping is, from made-up mappings and program headers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_maps import PAGE, mapping

from kintro.observers.memory_kinds import Clues, regions
from kintro.observers.memory_records import KINDS, Region
from kintro.sources.elf import PF_R, PF_W, PF_X, PT_GNU_RELRO, PT_LOAD, Elf, Segment
from kintro.sources.mappings import Mapping, Usage

BASE = 0x7F0000000  # in pages
FILE, PATH = 42, b"/usr/lib/libx.so.1"
KEY = ("fd:01", FILE)


def segment(first: int, pages: int, flags: int, bss_pages: int = 0, at: int | None = None) -> Segment:
    """A PT_LOAD of whole pages."""
    size = pages * PAGE
    offset = (first if at is None else at) * PAGE
    return Segment(PT_LOAD, flags, offset, first * PAGE, size, size + bss_pages * PAGE)


# Headers 0-1, code 1-5, constants 5-7, variables 7-10 (of which page 7 is RELRO), bss 10-14.
LOADS = (
    segment(0, 1, PF_R),
    segment(1, 4, PF_R | PF_X),
    segment(5, 2, PF_R),
    segment(7, 3, PF_R | PF_W, bss_pages=4),
)
RELRO = Segment(PT_GNU_RELRO, PF_R, 7 * PAGE, 7 * PAGE, PAGE, PAGE)
ELF = Elf(64, PAGE, (*LOADS, RELRO))
MAPPED = [(0, 1, "r--p"), (1, 5, "r-xp"), (5, 7, "r--p"), (7, 8, "r--p"), (8, 10, "rw-p")]
KINDS_OF_ELF = ["rodata", "text", "rodata", "rodata", "data", "bss"]


def loaded(base: int = BASE, path: bytes = PATH, inode: int = FILE, deleted: bool = False) -> list[Mapping]:
    """As the loader maps ELF."""
    found = [mapping(base + a, base + b, perms, path, inode, at=a, deleted=deleted) for a, b, perms in MAPPED]
    return [*found, mapping(base + 10, base + 14)]


def usage(*flags: str) -> Usage:
    return Usage._make([0] * (len(Usage._fields) - 1) + [flags])


def told(
    *found: Mapping | tuple[Mapping, Usage], files: dict[Any, Elf] | None = None, **clues: Any
) -> list[Region]:
    entries = [(item, None) if isinstance(item, Mapping) else item for item in found]
    return regions(entries, Clues(files={KEY: ELF} if files is None else files, **clues), PAGE)


def kinds(found: list[Region]) -> list[str]:
    return [region.kind for region in found]


def one(it: Mapping, **clues: Any) -> Region:
    [found] = told(it, **clues)
    return found


# ELF files


def test_segments_of_a_library() -> None:
    found = told(*loaded())
    assert kinds(found) == KINDS_OF_ELF
    assert {region.owner for region in found} == {PATH.decode()}
    assert found[1].what == "libx.so.1, code" and found[1].reason == "PT_LOAD r-x of the ELF file"
    assert found[3].what == "libx.so.1, relocated constants" and "PT_GNU_RELRO" in found[3].reason


def test_relro_that_is_not_yet_protected_is_data() -> None:
    found = loaded()
    found[3] = found[3]._replace(perms="rw-p")
    assert kinds(told(*found))[3] == "data"


def test_a_program_at_the_place_it_was_linked_to() -> None:
    first = 0x400
    elf = Elf(64, 0, tuple(s._replace(vaddr=s.vaddr + first * PAGE) for s in (*LOADS, RELRO)))
    assert kinds(told(*loaded(first), files={KEY: elf})) == KINDS_OF_ELF


def test_static_pie_has_no_loader_beside_it() -> None:
    """Its heap lies anywhere, and is not its bss."""
    heap = mapping(BASE + 14, BASE + 30, path=b"[heap]")
    found = told(*loaded(), heap, start_brk=heap.start)
    assert kinds(found) == [*KINDS_OF_ELF, "heap"]
    assert found[-1].reason == "holds start_brk of /proc/PID/stat"


def test_two_libraries_right_behind_one_another() -> None:
    other = 43
    first, second = loaded(), loaded(BASE + 14, b"/lib/y", other)
    found = told(*first, *second, files={KEY: ELF, ("fd:01", other): ELF})
    assert kinds(found) == KINDS_OF_ELF * 2
    assert [region.owner for region in found] == [PATH.decode()] * 6 + ["/lib/y"] * 6


def test_the_same_library_twice() -> None:
    assert kinds(told(*loaded(), *loaded(BASE + 100))) == KINDS_OF_ELF * 2


def test_a_deleted_library_is_still_one() -> None:
    assert kinds(told(*loaded(deleted=True))) == KINDS_OF_ELF


def test_holes_between_segments() -> None:
    apart = (segment(0, 1, PF_R | PF_X), segment(512, 1, PF_R | PF_W, at=1))
    elf = Elf(64, 0, apart)
    code = mapping(BASE, BASE + 1, "r-xp", PATH, FILE)
    hole = mapping(BASE + 1, BASE + 512, "---p", PATH, FILE, at=1)
    data = mapping(BASE + 512, BASE + 513, "rw-p", PATH, FILE, at=1)
    assert kinds(told(code, hole, data, files={KEY: elf})) == ["text", "gap", "data"]
    others = mapping(BASE + 5, BASE + 9)  # what the program mapped into the hole
    assert kinds(told(code, others, data, files={KEY: elf})) == ["text", "anon", "data"]


def test_a_file_mapped_whole_to_be_read() -> None:
    found = one(mapping(BASE, BASE + 10, "r--p", PATH, FILE))
    assert (found.kind, found.what) == ("file", "libx.so.1")


@pytest.mark.parametrize("pages", [1, 2])
def test_the_head_of_a_file_mapped_to_be_read(pages: int) -> None:
    """And what lies where its segments would lie is nothing of it."""
    head = mapping(BASE, BASE + pages, "r--p", PATH, FILE)
    made = mapping(BASE + 3, BASE + 4, "rwxp")
    memory = mapping(BASE + 8, BASE + 14)
    found = told(head, made, memory, *loaded(BASE + 100))
    assert kinds(found)[0] == "file" and kinds(found)[2] == "anon"
    assert kinds(found)[3:] == KINDS_OF_ELF


def test_a_file_without_code() -> None:
    """Such as libicudata: all constants."""
    elf = Elf(64, 0, (segment(0, 9, PF_R),))
    assert one(mapping(BASE, BASE + 9, "r--p", PATH, FILE), files={KEY: elf}).kind == "rodata"


def test_code_mapped_a_second_time() -> None:
    """As V8 does with its own."""
    found = told(*loaded(), mapping(BASE + 99, BASE + 101, "r-xp", PATH, FILE, at=2))
    assert (found[-1].kind, found[-1].what) == ("text", "libx.so.1, code")


def test_a_shared_library_whose_file_cannot_be_read() -> None:
    found = told(*loaded(), files={})
    assert kinds(found) == ["file", "text", "file", "file", "file", "anon"]


# The kernel's own, heap and stack


@pytest.mark.parametrize(
    ("name", "perms", "kind"),
    [("[vdso]", "r-xp", "vdso"), ("[vvar]", "r--p", "vvar"), ("[vvar_vclock]", "r--p", "vvar"),
     ("[vsyscall]", "--xp", "vsyscall"), ("[uprobes]", "--xp", "vdso"), ("[stack]", "rw-p", "stack"),
     ("[heap]", "rw-p", "heap")],
)  # fmt: skip
def test_names_of_the_kernel(name: str, perms: str, kind: str) -> None:
    found = one(mapping(5, 6, perms, name.encode()))
    assert found.kind == kind and found.reason.endswith(name) and found.owner == f"[{kind}]"


def test_vdso_by_the_auxiliary_vector() -> None:
    found = told(mapping(5, 6, "r-xp", b"[vdso]"), vdso=5 * PAGE)[0]
    assert (found.kind, found.reason) == ("vdso", "AT_SYSINFO_EHDR of the auxiliary vector")
    assert one(mapping(5, 6), vdso=5 * PAGE).kind == "anon"  # moved away, and something else is there


def test_stack_by_its_beginning() -> None:
    found = one(mapping(5, 9), start_stack=7 * PAGE + 8)
    assert (found.kind, found.reason) == ("stack", "holds start_stack of /proc/PID/stat")


# Threads


def test_thread_stack_with_its_guard() -> None:
    guard, stack = mapping(10, 11, "---p"), mapping(11, 20)
    below, own = told(guard, stack, stack_pointers={7: 15 * PAGE})
    assert (own.kind, own.what) == ("thread-stack", "of thread 7")
    assert (below.kind, below.what) == ("gap", "guard below the stack of thread 7")


@pytest.mark.parametrize("flag", ["gd", "gu"])
def test_thread_stack_by_flags(flag: str) -> None:
    [found] = told((mapping(11, 20), usage("rd", flag)), stack_pointers={7: 15 * PAGE})
    assert found.kind == "thread-stack"


def test_memory_with_stacks_in_it() -> None:
    """Stacks of goroutines, or one that malloc made."""
    found = told(mapping(11, 20), stack_pointers={7: 15 * PAGE})[0]
    assert (found.kind, found.what) == ("anon", "with the stack of 7")
    guard, stack = mapping(10, 11, "---p"), mapping(11, 20)
    found = told(guard, stack, stack_pointers={tid: (11 + tid) * PAGE for tid in range(1, 8)})[1]
    assert (found.kind, found.what) == ("anon", "with the stack of 1, 2, 3, 4, …")


def test_a_stack_pointer_that_leads_elsewhere() -> None:
    pointers = {1: 0, 2: 1 << 63, 3: 20 * PAGE, 4: (BASE + 2) * PAGE}
    found = told(mapping(11, 20), *loaded(), stack_pointers=pointers)
    assert kinds(found) == ["anon", *KINDS_OF_ELF]


# By itself


@pytest.mark.parametrize(
    ("perms", "path", "inode", "deleted", "kind", "what"),
    [
        ("rw-p", b"", 0, False, "anon", ""),
        ("rwxp", b"", 0, False, "anon", "code made at run time"),
        ("rw-p", b"[anon:a name]", 0, False, "anon", "a name"),
        ("---p", b"", 0, False, "gap", "reserved"),
        ("---p", b"[anon:scudo]", 0, False, "gap", "scudo"),
        ("rw-s", b"/memfd:x y", 9, True, "memfd", "x y"),
        ("rw-p", b"/memfd:x", 9, True, "memfd", "x"),
        ("rw-s", b"/memfd:x", 9, False, "shared", "memfd:x"),  # a file of that name
        ("rw-s", b"/SYSV0000abcd", 9, True, "shm", "System V segment, key 0x0000abcd"),
        ("rw-s", b"/SYSV0000abcd", 9, False, "shared", "SYSV0000abcd"),
        ("rw-s", b"/dev/shm/x", 9, False, "shm", "POSIX shared memory /x"),
        ("rw-s", b"/dev/shm/x", 9, True, "shm", "POSIX shared memory /x, deleted"),
        ("rw-s", b"/dev/zero", 9, True, "shared", "anonymous, shared with children"),
        ("rw-s", b"[anon_shmem:x]", 9, False, "shared", "x"),
        ("rw-p", b"/anon_hugepage", 9, True, "anon", "in huge pages"),
        ("rw-s", b"/tmp/x", 9, False, "shared", "x"),
        ("rw-p", b"/tmp/x", 9, True, "file", "x, deleted"),
        ("r--s", b"/dev/dri/card0", 9, False, "shared", "card0"),
        ("rw-s", b"anon_inode:[perf_event]", 9, False, "shared", "anon_inode:[perf_event]"),
        ("r--p", b"/tmp/\xff\n", 9, False, "file", "\\xff\n"),
    ],
)
def test_other_memory(perms: str, path: bytes, inode: int, deleted: bool, kind: str, what: str) -> None:
    found = one(mapping(5, 9, perms, path, inode, deleted=deleted))
    assert (found.kind, found.what) == (kind, what)
    assert found.reason


# Anything


numbers = st.one_of(st.integers(0, 40), st.integers(0, 2**64 - 1))
segments = st.builds(
    Segment,
    st.sampled_from([PT_LOAD, PT_GNU_RELRO]),
    st.integers(0, 7),
    *(st.builds(lambda a, b: a + b * PAGE, st.sampled_from([0, 1, PAGE - 1]), numbers),) * 4,
)
elves = st.builds(Elf, st.sampled_from([32, 64]), numbers, st.lists(segments, max_size=6).map(tuple))
paths = st.sampled_from(
    [b"", b"[heap]", b"[stack]", b"[vdso]", b"[vsyscall]", b"[anon:", b"[anon:x]", b"/a", b"/memfd:",
     b"/SYSV", b"/dev/zero", b"/dev/shm/", b"/\xff", b"x"]
)  # fmt: skip
perms = st.tuples(*(st.sampled_from(pair) for pair in ("r-", "w-", "x-", "ps"))).map("".join)
ends = st.lists(st.integers(1, 60), min_size=2, max_size=24, unique=True).map(sorted)


@st.composite
def spaces(draw: st.DrawFn) -> tuple[list[tuple[Mapping, Usage | None]], Clues]:
    bounds = draw(ends)
    found = []
    for first, last in pairwise(bounds):
        if draw(st.booleans()) or not found:
            inode = draw(st.integers(0, 3))
            it = mapping(
                first, last, draw(perms), draw(paths), inode, draw(st.integers(0, 9)), draw(st.booleans())
            )
            found.append((it, draw(st.sampled_from([None, usage(), usage("gd")]))))
    addresses = st.integers(0, 64 * PAGE)
    clues = Clues(
        draw(st.dictionaries(st.tuples(st.just("fd:01"), st.integers(1, 3)), elves, max_size=3)),
        *(draw(st.none() | addresses) for _ in range(3)),
        draw(st.dictionaries(st.integers(1, 9), addresses, max_size=4)),
    )
    return found, clues


@given(spaces())
def test_any_mapping_has_a_kind_and_a_reason(space: tuple[list[tuple[Mapping, Usage | None]], Clues]) -> None:
    entries, clues = space
    found = regions(entries, clues, PAGE)
    assert [(region.mapping, region.usage) for region in found] == entries
    for region in found:
        assert region.kind in KINDS
        assert region.reason and region.owner


def test_many_mappings_of_one_file_and_many_threads_take_no_long() -> None:
    """Each is looked at once, not against all others: 20 000 by 20 000 would take minutes."""
    heads = [mapping(4 * n, 4 * n + 1, "r--p", PATH, FILE) for n in range(20_000)]
    found = told(*heads, stack_pointers={tid: tid * 16 * PAGE for tid in range(1, 5_000)})
    assert set(kinds(found)) == {"file"}
