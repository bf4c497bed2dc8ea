"""Sums, groups, orders and the JSON of an address space."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_maps import PAGE, mapping

from kintro.cli.maps import KINDS as CLI_KINDS
from kintro.cli.maps import SORTS as CLI_SORTS
from kintro.observers.memory import GROUPS, SORTS, Sums, as_json, dirty_bytes, groups, sums, uss_bytes, whole
from kintro.observers.memory_frame import frame
from kintro.observers.memory_records import KINDS, AddressSpace, Region
from kintro.renderers.jsonl import line
from kintro.sources.address_limits import Border, KernelSymbols
from kintro.sources.mappings import Usage

END = (1 << 47) - PAGE
NONE = Usage._make([0] * (len(Usage._fields) - 1) + [()])


def used(rss: int, pss: int = 0, private: int = 0, dirty: int = 0, swap: int = 0) -> Usage:
    """In kB."""
    return NONE._replace(
        rss_bytes=rss * 1024,
        pss_bytes=pss * 1024,
        private_clean_bytes=(private - dirty) * 1024,
        private_dirty_bytes=dirty * 1024,
        shared_clean_bytes=(rss - private) * 1024,
        swap_bytes=swap * 1024,
        flags=("rd", "wr"),
    )


def region(first: int, last: int, usage: Usage | None, kind: str = "anon", owner: str = "[anon]") -> Region:
    return Region(mapping(first, last), usage, kind, "", "no file behind it", owner)


TEXT = region(1, 11, used(40, 10, 8), "text", "/lib/a")
DATA = region(11, 13, used(8, 8, 8, 4, 4), "data", "/lib/a")
HEAP = region(20, 120, used(100, 100, 100, 96), "heap", "[heap]")
VSYSCALL = region(500, 501, NONE, "vsyscall", "[vsyscall]")
ALL = (TEXT, DATA, HEAP, VSYSCALL)


def space(*regions: Region, rollup: Usage | None = None) -> AddressSpace:
    border = Border(END - PAGE, END, "ENOMEM")
    place = frame(PAGE, "x86_64", border, 48, 65536, KernelSymbols(None, None), 64)
    return AddressSpace(7, b"a\xff", b"/bin/a", place, regions, rollup)


def test_sums() -> None:
    kib = 1024
    assert sums(ALL) == Sums(
        4, 112 * PAGE, 148 * kib, 118 * kib, 116 * kib, 0, 100 * kib, 4 * kib
    )  # the vsyscall page counts as mapping, and has no size
    assert sums([]) == Sums(0, 0, 0, 0, 0, 0, 0, 0)


def test_unknown_is_not_zero() -> None:
    """One mapping whose usage is not known, and no sum is; its size is known."""
    blind = region(13, 14, None)
    assert sums([TEXT, blind]) == Sums(2, 11 * PAGE, None, None, None, None, None, None)
    assert uss_bytes(blind) is None and dirty_bytes(blind) is None


def test_huge_pages_of_hugetlbfs_are_told_apart() -> None:
    """As the kernel does: neither rss nor pss counts them."""
    found = region(1, 2, NONE._replace(private_hugetlb_bytes=2 << 20, shared_hugetlb_bytes=4 << 20))
    assert (uss_bytes(found), sums([found]).rss_bytes, sums([found]).hugetlb_bytes) == (0, 0, 6 << 20)


def test_pss_of_the_whole_is_the_kernels_own_sum() -> None:
    """Each mapping's is rounded down to kB."""
    exact = used(148, 119)
    assert whole(space(*ALL)).pss_bytes == 118 * 1024
    assert whole(space(*ALL, rollup=exact)) == sums(ALL)._replace(pss_bytes=119 * 1024)
    changed = exact._replace(rss_bytes=exact.rss_bytes + PAGE)
    assert whole(space(*ALL, rollup=changed)) == sums(ALL)
    assert whole(space(TEXT._replace(usage=None))).pss_bytes is None


def test_groups() -> None:
    found = groups(ALL, "object")
    assert [(group.name, group.sums.mappings) for group in found] == [
        ("[heap]", 1),
        ("/lib/a", 2),
        ("[vsyscall]", 1),
    ]
    assert found[1].regions == (TEXT, DATA)
    assert [group.name for group in groups(ALL, "kind")] == ["heap", "text", "data", "vsyscall"]
    assert groups([], "kind") == []


@given(st.lists(st.sampled_from([*ALL, region(600, 700, None)])), st.sampled_from(sorted(GROUPS)))
def test_groups_hold_each_region_once(chosen: list[Region], by: str) -> None:
    found = groups(chosen, by)
    assert sorted(r for group in found for r in group.regions) == sorted(chosen)
    assert sum(group.sums.size_bytes for group in found) == sums(chosen).size_bytes


@pytest.mark.parametrize(
    ("by", "wanted"),
    [
        ("address", [TEXT, DATA, HEAP]),
        ("size", [HEAP, TEXT, DATA]),
        ("rss", [HEAP, TEXT, DATA]),
        ("pss", [HEAP, TEXT, DATA]),
        ("dirty", [HEAP, DATA, TEXT]),
        ("swap", [DATA, TEXT, HEAP]),
    ],
)
def test_sorts(by: str, wanted: list[Region]) -> None:
    """What is equal stays by address; what is not known comes last."""
    assert sorted([TEXT, DATA, HEAP], key=SORTS[by]) == wanted
    assert sorted([TEXT, region(13, 14, None)], key=SORTS[by])[0] == TEXT


def test_the_command_line_names_what_there_is() -> None:
    """It has lists of its own, so that --help loads nothing."""
    assert CLI_KINDS == KINDS
    assert set(CLI_SORTS) == set(SORTS)


def test_json() -> None:
    document = json.loads(line(as_json(space(*ALL))))
    assert document["pid"] == 7 and document["comm"].startswith("a") and document["exe"] == "/bin/a"
    assert document["page_bytes"] == PAGE
    assert document["address_space"].items() >= {
        "task_size": END, "va_bits": 48, "mmap_min_addr": 65536,
    }.items()  # fmt: skip
    assert document["address_space"]["source"].startswith("mmap in a child")
    assert document["totals"] == {
        "size_bytes": 112 * PAGE,
        "rss_bytes": 148 * 1024,
        "pss_bytes": 118 * 1024,
        "uss_bytes": 116 * 1024,
        "hugetlb_bytes": 0,
        "swap_bytes": 4096,
    }
    first = document["mappings"][0]
    assert first.items() >= {
        "start": PAGE, "end": 11 * PAGE, "perms": "rw-p", "offset": 0, "dev": "fd:01", "inode": 0, "path": "",
        "deleted": False, "kind": "text", "size_bytes": 10 * PAGE, "rss_bytes": 40960, "pss_bytes": 10240,
        "shared_clean_bytes": 32768, "shared_dirty_bytes": 0, "private_clean_bytes": 8192,
        "private_dirty_bytes": 0, "swap_bytes": 0, "anonymous_bytes": 0, "shared_hugetlb_bytes": 0,
        "private_hugetlb_bytes": 0,
    }.items()  # fmt: skip
    assert first["flags"] == ["rd", "wr"]


def test_json_of_some_has_the_totals_of_all() -> None:
    document = as_json(space(*ALL), [TEXT])
    assert len(document["mappings"]) == 1
    assert document["totals"]["rss_bytes"] == 148 * 1024


def test_json_of_what_is_not_known() -> None:
    document = as_json(space(region(13, 14, None)))
    assert document["totals"] == {
        "size_bytes": PAGE,
        "rss_bytes": None,
        "pss_bytes": None,
        "uss_bytes": None,
        "hugetlb_bytes": None,
        "swap_bytes": None,
    }
    assert document["mappings"][0]["rss_bytes"] is None and document["mappings"][0]["flags"] is None
