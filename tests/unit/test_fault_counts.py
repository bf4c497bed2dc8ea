"""Page faults by page and mapping, the account of them, and the kernel's own count."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_maps import PAGE, mapping, pages

from kintro.observers.faults import Reading, added, between, faults_by_mapping, pages_of, summed, why_not
from kintro.observers.faults_records import KINDS, PAGES, Counts, Fault, FaultPages
from kintro.sources.fault_totals import FaultTotals, parse_stat, read_fault_totals


def listed(found: FaultPages) -> list[tuple[int, Counts]]:
    numbers = [address // PAGE for address in found.addresses.tolist()]
    return [(number, Counts(*row)) for number, row in zip(numbers, found.counts.tolist())]


def test_pages_of_blocks() -> None:
    assert mmap.PAGESIZE == PAGE
    blocks = {7: {0: Counts(write=3), 15: Counts(read=1, major=1)}, 2: {1: Counts(protection=9)}}
    keys, values = b"", b""
    for key, counts in blocks.items():
        keys += struct.pack("=Q", key)
        for page in range(PAGES):
            values += struct.pack("=5I", *counts.get(page, Counts()))
    assert listed(pages_of(keys, values)) == [
        (2 * PAGES + 1, Counts(protection=9)),
        (7 * PAGES, Counts(write=3)),
        (7 * PAGES + 15, Counts(read=1, major=1)),
    ]
    assert listed(pages_of(b"", b"")) == []


def test_pages_added() -> None:
    assert listed(added([])) == []
    one = pages((3, Counts(read=1)), (5, Counts(write=2)))
    assert added([one]) is one
    other = pages((4, Counts(exec=1)), (5, Counts(write=5, major=1)))
    assert listed(added([one, other])) == [
        (3, Counts(read=1)),
        (4, Counts(exec=1)),
        (5, Counts(write=7, major=1)),
    ]


def test_faults_fall_into_mappings() -> None:
    left, right = mapping(10, 20), mapping(20, 30, "r-xp", b"/bin/x", 7)
    found, rest = faults_by_mapping(
        pages((9, Counts(read=1)), (10, Counts(write=2)), (19, Counts(write=3)), (20, Counts(exec=4)),
              (30, Counts(write=5))),
        [left, right],
    )  # fmt: skip
    assert found == [(left, Counts(write=5)), (right, Counts(exec=4))]
    assert listed(rest) == [(9, Counts(read=1)), (30, Counts(write=5))]


def test_faults_of_mappings_that_are_gone() -> None:
    old, new = mapping(10, 20), mapping(15, 30, "rw-s", inode=7)
    found, rest = faults_by_mapping(pages((12, Counts(read=1)), (16, Counts(write=1))), [new], [old])
    assert found == [(old, Counts(read=1)), (new, Counts(write=1))]
    assert listed(rest) == []


def test_addresses_of_the_upper_half() -> None:
    vsyscall = mapping(0xFFFFFFFFFF600, 0xFFFFFFFFFF601, "--xp", b"[vsyscall]")
    found, _ = faults_by_mapping(pages((0xFFFFFFFFFF600, Counts(exec=1))), [vsyscall])
    assert found == [(vsyscall, Counts(exec=1))]


@given(
    faults=st.dictionaries(st.integers(0, 60), st.integers(1, 1 << 20), max_size=30),
    bounds=st.sets(st.integers(0, 60), max_size=12),
)
def test_no_fault_is_lost_between_the_mappings(faults: dict[int, int], bounds: set[int]) -> None:
    edges = sorted(bounds)
    mappings = [mapping(first, last) for first, last in zip(edges[::2], edges[1::2])]
    rows = sorted(faults.items())
    found, rest = faults_by_mapping(pages(*[(page, Counts(write=n)) for page, n in rows]), mappings)
    for item in mappings:
        inside = sum(n for page, n in rows if item.start <= page * PAGE < item.end)
        assert [counts.write for m, counts in found if m == item] == [inside] * bool(inside)
    assert sum(c.write for _, c in found) + summed(rest.counts).write == sum(faults.values())


def test_a_fault_by_its_error_code() -> None:
    def kind(code: int) -> tuple[str, str]:
        fault = Fault(1, 2, 3, 4, code, 1)
        return fault.kind, fault.access

    assert kind(0x4) == ("read", "read")
    assert kind(0x6) == ("write", "write")
    assert kind(0x14) == ("exec", "exec")
    assert kind(0x7) == ("protection", "write")
    assert kind(0x5) == ("protection", "read")


def test_why_a_kernel_does_not_tell() -> None:
    assert why_not("x86_64", b"\0other\0btf_trace_page_fault_user\0more\0") is None
    assert "page_fault_user" in (why_not("x86_64", b"\0btf_trace_page_fault_user_x\0") or "")
    assert "aarch64" in (why_not("aarch64", b"\0btf_trace_page_fault_user\0") or "")


# Accounts


def reading(time_ns: int, kernel: FaultTotals | None, offset: int | None, **counters: int) -> Reading:
    names = [f"{mode}_{kind}" for mode in ("user", "kernel") for kind in KINDS]
    names += ["major", "refused", "unplaced", "missed", "fault_lost", "execs"]
    return Reading(time_ns, {name: counters.get(name, 0) for name in names}, kernel, offset)


def test_an_account() -> None:
    first = reading(100, FaultTotals(1000, 5), 1000, user_write=5)
    last = reading(300, FaultTotals(1040, 7), 1003, user_write=35, kernel_read=4, user_protection=6, major=2,
                   refused=1, missed=1)  # fmt: skip
    totals = between(first, last, True)
    assert totals.duration_ns == 200
    assert totals.counts == Counts(read=4, write=30, protection=6, major=2) and totals.counts.total == 40
    assert (totals.of_kernel, totals.refused, totals.lost) == (4, 1, 1)
    assert (totals.by_kernel, totals.unseen) == (FaultTotals(40, 2), 3)


def test_an_account_of_what_is_not_known() -> None:
    first, last = reading(1, FaultTotals(1, 1), 4), reading(3, None, None, user_read=1)
    totals = between(first, last, True)
    assert totals.counts == Counts(read=1)
    assert totals.by_kernel is totals.unseen is None
    blind = between(first, last._replace(kernel=FaultTotals(3, 1)), False)
    assert blind.counts is blind.refused is blind.lost is None
    assert blind.by_kernel == FaultTotals(2, 0)


def test_the_kernels_own_count(tmp_path: Path) -> None:
    text = b"12 (a) b (c)) S 1 2 3 4 5 4194304 1000 2000 17 18 19 20"
    assert parse_stat(text) == FaultTotals(1000, 17)
    (tmp_path / "12").mkdir()
    (tmp_path / "12" / "stat").write_bytes(text)
    assert read_fault_totals(12, tmp_path) == FaultTotals(1000, 17)
    assert read_fault_totals(13, tmp_path) is None
    with pytest.raises(IndexError):
        parse_stat(b"")
