"""Ends that are hard to tell: threads that exec, threads that leave late, children that end meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from .harness import trace_workload

pytestmark = pytest.mark.kernel


def test_a_thread_that_execs_takes_over_its_leaders_pid(tmp_path: Path) -> None:
    seen, ledger = trace_workload(tmp_path, "ends", "thread_execs", options=["--threads"])
    seen.assert_whole()
    pids = set(ledger.pids.values())
    threads = [event for event in seen.of("fork", kind="thread") if event["pid"] in pids]
    ends = [event for event in seen.of("exit", process=False) if event["pid"] in pids]
    assert len(threads) == len(ends) == 100
    assert all(event["tid"] == event["pid"] for event in ends)  # the leaders, by the tid they had
    assert len([event for event in seen.of("exec") if event["filename"] == "/bin/true"]) == 100
    for pid in pids - {ledger.pids["main"]}:
        assert seen.only("exit", pid=pid, process=True)["exit_code"] == 0


def test_all_that_threads_used_is_in_the_exit_of_their_process(tmp_path: Path) -> None:
    seen, ledger = trace_workload(tmp_path, "ends", "many_threads")
    reaped = ledger.of("reaped")
    assert len(reaped) == 5
    for role, said in reaped.items():
        event = seen.only("exit", pid=ledger.pids[role], process=True)
        assert event["signal"] == said["signal"] == "SIGKILL"
        for name in ("minor_faults", "major_faults", "voluntary_switches", "involuntary_switches"):
            assert event[name] == said[name], name
        for name in ("utime", "stime"):
            assert event[f"{name}_ns"] // 1000 == round(said[f"{name}_s"] * 1e6), name


def test_children_that_end_after_their_parent_began_to(tmp_path: Path) -> None:
    seen, ledger = trace_workload(tmp_path, "ends", "children_end_meanwhile")
    seen.assert_whole()
    pids = ledger.pids
    found = {event["pid"]: event for event in seen.of("reparent")}
    for name in ("ignored", "kept"):
        eldest = found.pop(pids[f"{name}-eldest"])
        assert (eldest["new_ppid"], eldest["reason"], eldest["zombie"]) == (pids["main"], "subreaper", False)
    ends = {event["pid"]: event["ts_ns"] for event in seen.of("exit", process=True)}
    for event in found.values():  # a child that was not yet gone was handed on: as a zombie if it had ended
        assert event["zombie"] == (ends[event["pid"]] < event["ts_ns"])
    kept = {pids[f"kept-younger-{number}"] for number in range(4)}
    assert kept <= found.keys()  # nobody else could have reaped them
