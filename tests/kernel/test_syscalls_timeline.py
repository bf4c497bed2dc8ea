"""The timeline of system calls, read back by Perfetto's own trace_processor."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from trace_processor import query

from .calls import STORM
from .harness import json_lines, kintro

pytestmark = pytest.mark.kernel

SLICES = """
select slice.ts, slice.dur, slice.name, thread.tid, process.pid, thread.name as comm,
    extract_arg(slice.arg_set_id, 'debug.pathname') as pathname,
    extract_arg(slice.arg_set_id, 'debug.return') as result
from slice join thread_track on slice.track_id = thread_track.id join thread using (utid)
    left join process using (upid)
order by slice.ts
"""


@pytest.fixture
def seen(tmp_path: Path, workload: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]], Path]:
    """Calls as JSON, slices, and the folder of the saved session."""
    trace, calls, saved = tmp_path / "trace.pftrace", tmp_path / "calls.jsonl", tmp_path / "saved"
    options = ["--json", "-o", calls, "--timeline", trace, "--save", saved]
    assert kintro("trace-syscalls", *options, "--", workload, *STORM).returncode == 0
    [slices] = query(trace.read_bytes(), SLICES)
    return json_lines(calls)[:-1], slices, saved


def test_each_call_is_a_slice_of_its_thread(seen: tuple[list[Any], list[Any], Path]) -> None:
    calls, slices, saved = seen
    in_kernel = [s for s in slices if s["name"] != "user mode"]
    told = Counter((c["ts_ns"], c["duration_ns"] or -1, c["name"], c["tid"], c["pid"]) for c in calls)
    assert Counter((s["ts"], s["dur"], s["name"], s["tid"], s["pid"]) for s in in_kernel) == told
    assert {s["comm"] for s in slices} == {"calls"}
    missing = [s for s in in_kernel if s["name"] == "openat" and s["result"] == "ENOENT"]
    assert len(missing) == sum(c["errno"] == "ENOENT" for c in calls if c["name"] == "openat")
    assert '"/nonexistent/file"' in {s["pathname"] for s in missing}
    # In a replay the same.
    trace = saved.parent / "again.pftrace"
    assert kintro("replay", saved, "-q", "--timeline", trace).returncode == 0
    [again] = query(trace.read_bytes(), SLICES)
    assert again == slices


def test_between_two_calls_a_thread_is_in_user_mode(seen: tuple[list[Any], list[Any], Path]) -> None:
    calls, slices, _ = seen
    for tid in {call["tid"] for call in calls}:
        own = [s for s in slices if s["tid"] == tid]
        names = [s["name"] == "user mode" for s in own]
        assert names == [bool(n % 2) for n in range(len(own))]
        for before, after in itertools.pairwise(own):
            assert before["ts"] + before["dur"] == after["ts"]


def test_a_timeline_that_cannot_be_written(tmp_path: Path) -> None:
    done = kintro("trace-syscalls", "--timeline", "/dev/full", "--", "true")
    assert (done.returncode, b"Traceback" in done.stderr) == (74, False)
    assert b"/dev/full" in done.stderr and b"exit_group" in done.stdout
    assert kintro("trace-syscalls", "--timeline", tmp_path / "no" / "t", "--", "true").returncode == 74
