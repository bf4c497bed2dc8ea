"""What a watch tells, as lines and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, cast

from memory_maps import mapping, pages

from kintro.observers.changes import RssChange, changes
from kintro.observers.faults import MappingFaults, Totals
from kintro.observers.faults_records import Counts, FaultPages
from kintro.observers.watch import Interval, Watch
from kintro.observers.watch_text import (
    COLUMNS,
    counted,
    json_objects,
    rows,
    rss_row,
    summary_json,
    summary_line,
)
from kintro.renderers import jsonl
from kintro.sources.fault_totals import FaultTotals
from kintro.sources.mappings import Mapping

HEAP = mapping(0x10, 0x20, path=b"[heap]")
FILE = mapping(0x30, 0x40, "r--p", b"/lib/\x1ba", 7)
TOTALS = Totals(1_000_000_000, Counts(write=1200, read=3, major=3), 5, 0, 0, 0, 0, FaultTotals(1200, 3), 0)


def interval(before: list[Mapping], after: list[Mapping], **more: Any) -> Interval:
    empty = Interval(3_500_000_000, before, after, changes(before, after), [], pages(), TOTALS, [], False)
    return empty._replace(**more)


def lines(shown: Interval) -> list[list[str]]:
    found = [[cell.text for cell in row] for row in rows(shown, 1_000_000_000)]
    assert all(len(row) == len(COLUMNS) for row in found)
    return found


def test_changes_as_lines() -> None:
    larger = mapping(0x10, 0x24, path=b"[heap]")
    protected = FILE._replace(perms="rw-p")
    new = mapping(0x50, 0x51)
    assert lines(interval([HEAP, FILE], [larger, protected, new])) == [
        ["2.500", "grew", "20000-24000", "+16 KiB", "rw-p", "[heap], 64 KiB → 80 KiB"],
        ["2.500", "protected", "30000-40000", "64 KiB", "r--p→rw-p", r"/lib/\x1ba"],
        ["2.500", "appeared", "50000-51000", "+4 KiB", "rw-p", "anonymous"],
    ]


def test_more_changes_as_lines() -> None:
    deeper = mapping(0x0E, 0x20, path=b"[heap]")
    gone = FILE._replace(deleted=True)
    assert lines(interval([HEAP, FILE], [deeper, gone])) == [
        ["2.500", "grew", "e000-10000", "+8 KiB", "rw-p", "[heap] downwards, 64 KiB → 72 KiB"],
        ["2.500", "renamed", "30000-40000", "64 KiB", "r--p", r"/lib/\x1ba → /lib/\x1ba (deleted)"],
    ]
    smaller = mapping(0x10, 0x18, path=b"[heap]")
    assert lines(interval([HEAP, FILE], [smaller])) == [
        ["2.500", "shrank", "18000-20000", "-32 KiB", "rw-p", "[heap], 64 KiB → 32 KiB"],
        ["2.500", "disappeared", "30000-40000", "-64 KiB", "r--p", r"/lib/\x1ba"],
    ]


def test_faults_as_lines() -> None:
    shown = interval(
        [HEAP],
        [HEAP],
        faults=[MappingFaults(HEAP, Counts(write=1200)), MappingFaults(FILE, Counts(read=3, major=3))],
        elsewhere=pages((0x70, Counts(read=1)), (0x72, Counts(read=1))),
        totals=TOTALS._replace(refused=1, execs=1),
        ended=True,
    )
    assert lines(shown) == [
        ["2.500", "faults", "10000-20000", "64 KiB", "rw-p", "1,200 write  [heap]"],
        ["2.500", "faults", "30000-40000", "64 KiB", "r--p", r"3 read (3 major)  /lib/\x1ba"],
        [
            "2.500",
            "faults",
            "70000-73000",
            "",
            "",
            "2 read  in no mapping, or one that came and went; 1 signal",
        ],
        ["2.500", "exec", "", "", "", "another program, in another address space"],
        ["2.500", "ended", "", "", "", "the process is gone"],
    ]


def test_names_can_be_given() -> None:
    [row] = rows(interval([], [HEAP]), 0, lambda mapping: "what it is")
    assert row[-1].text == "what it is"


def test_resident_memory_as_a_line() -> None:
    row = rss_row(RssChange(HEAP, 8192, 4096), "1.000")
    assert [cell.text for cell in row][3:] == ["-4 KiB", "rw-p", "[heap], resident 8 KiB → 4 KiB"]


def test_counts_as_text() -> None:
    assert counted(Counts()) == "0"
    assert counted(Counts(1, 2, 3, 4000)) == "1 read, 2 write, 3 exec, 4,000 protection"


def test_json() -> None:
    larger = mapping(0x10, 0x24, path=b"[heap]")
    shown = interval([HEAP, FILE], [larger, FILE], faults=[MappingFaults(FILE, Counts(read=3, major=3))],
                     elsewhere=pages((0x70, Counts(read=1))))  # fmt: skip
    change, faults = [json.loads(jsonl.line(found)) for found in json_objects(shown)]
    assert change["type"] == "change" and change["kind"] == "grew"
    assert (change["start"], change["end"]) == (0x20000, 0x24000)
    assert change["mapping"]["path"] == "[heap]" and change["before"]["end"] == 0x20000
    assert faults["type"] == "faults" and faults["ts_ns"] == change["ts_ns"] == 3_500_000_000
    assert faults["counts"] == {"total": 1203, **TOTALS.counts._asdict()}  # type: ignore[union-attr]
    assert faults["by_kernel"] == {"minor": 1200, "major": 3}
    assert faults["mappings"][0]["mapping"]["path"] == "/lib/\x1ba"
    assert faults["mappings"][0]["major"] == 3
    assert faults["elsewhere"]["read"] == 1


class _Watch:
    """What is read of a Watch at its end."""

    def __init__(self, summary: Totals, changed: dict[str, int], no_faults: str | None = None) -> None:
        self.summary, self.changed, self.no_faults = summary, Counter(changed), no_faults


def test_the_summary() -> None:
    watched = cast(Watch, _Watch(TOTALS._replace(unseen=2, refused=1), {"grew": 2, "protected": 1}))
    assert summary_line(watched) == (
        "3 changes (2 grew, 1 protected) in 1.00 s; faults: 3 read, 1,200 write (3 major), 5 of them in the "
        "kernel, 1 refused; the kernel counted 1,200 minor, 3 major (+2 unseen); lost 0"
    )
    found = json.loads(jsonl.line(summary_json(watched)))
    assert found["type"] == "summary" and found["complete"] and found["no_faults"] is None
    assert found["changes"] == {"grew": 2, "protected": 1}


def test_the_summary_without_faults() -> None:
    totals = Totals(2_000_000_000, None, None, None, None, None, None, FaultTotals(1, 2), None)
    watched = cast(Watch, _Watch(totals, {}, "no tracepoint"))
    assert summary_line(watched) == "0 changes in 2.00 s; no faults: no tracepoint"
    found = json.loads(jsonl.line(summary_json(watched)))
    assert found["counts"] is None and not found["complete"]
    blind = interval([], [HEAP], totals=totals, elsewhere=cast(FaultPages, None))
    assert [found["type"] for found in json_objects(blind)] == ["change"]
