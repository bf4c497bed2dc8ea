"""Who takes the children of a parent that dies, and whose child a process is; by what the children saw."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .harness import Seen, trace_workload

pytestmark = pytest.mark.kernel

MANY = int(os.environ.get("KINTRO_ORPHANS", "5000"))


def new_init(seen: Seen) -> set[int | None]:
    return {event["new_ppid"] for event in seen.of("reparent")}


def test_child_that_dies_at_once_after_its_parent(tmp_path: Path) -> None:
    seen, ledger = trace_workload(tmp_path, "reparent", "dies_at_once")
    pids = ledger.pids
    told = {event["pid"]: event["old_ppid"] for event in seen.of("reparent")}
    assert told == {pids[f"child-{n}"]: pids[f"parent-{n}"] for n in range(200)}
    assert len(seen.of("reparent")) == 200
    assert len(new_init(seen)) == 1 and None not in new_init(seen)
    assert len(seen.of("exit", exit_code=3)) == 200
    seen.assert_whole()


def test_zombie_is_handed_on(tmp_path: Path) -> None:
    seen, ledger = trace_workload(tmp_path, "reparent", "zombie")
    event = seen.only("reparent")
    assert (event["pid"], event["old_ppid"], event["zombie"]) == (
        ledger.pids["zombie"],
        ledger.pids["parent"],
        True,
    )
    assert seen.only("exit", pid=ledger.pids["zombie"])["ts_ns"] < event["ts_ns"]
    seen.assert_whole()


def test_child_of_a_thread_that_ends(tmp_path: Path) -> None:
    seen, ledger = trace_workload(tmp_path, "reparent", "thread")
    event, adopted = seen.only("reparent"), ledger.of("adopted")["child"]
    parent = ledger.pids["parent"]
    assert (adopted["old_ppid"], adopted["new_ppid"]) == (parent, parent)
    assert (event["pid"], event["old_ppid"], event["new_ppid"]) == (ledger.pids["child"], parent, parent)
    assert event["reason"] == "thread"
    fork = seen.only("fork", pid=ledger.pids["child"])
    assert fork["creator_pid"] == parent != fork["creator_tid"]
    seen.assert_whole()


def test_children_of_threads_that_all_end_at_once(tmp_path: Path) -> None:
    """Each child may go to another thread first; in the end each comes to the init or a subreaper, once."""
    seen, ledger = trace_workload(tmp_path, "reparent", "threads_together")
    children = {pid for role, pid in ledger.pids.items() if role.startswith("child")}
    assert len(children) == 240
    left = [event["pid"] for event in seen.of("reparent") if event["new_ppid"] != event["old_ppid"]]
    assert sorted(left) == sorted(children)
    seen.assert_whole()


def test_parent_of_many(tmp_path: Path) -> None:
    seen, ledger = trace_workload(tmp_path, "orphans", str(MANY))
    parent, children = ledger.pids["parent"], set(ledger.entries[-1]["pids"])
    assert {fork["pid"] for fork in seen.forks} == {parent} | children
    assert len(children) == MANY
    told = [event["pid"] for event in seen.of("reparent", old_ppid=parent)]
    missing = len(children) - len(told)
    # Whatever is not told must at least be counted, one by one.
    assert missing == seen.summary["lost"]
    assert (set(told), len(told), len(new_init(seen))) == (children, MANY, 1)
    seen.assert_whole()


def test_namespace_that_ends_with_its_init(tmp_path: Path) -> None:
    """The init's own children are killed, not handed on. The grandchild may come to the dying init."""
    seen, ledger = trace_workload(tmp_path, "reparent", "namespace")
    pids = ledger.pids
    assert seen.of("reparent", old_ppid=pids["init"]) == []
    assert {event["pid"] for event in seen.of("reparent")} <= {pids["grandchild"]}
    for event in seen.of("reparent"):
        assert (event["old_ppid"], event["new_ppid"], event["reason"]) == (
            pids["child"],
            pids["init"],
            "namespace-init",
        )
    ends = {event["pid"]: (event["exit_code"], event["signal"]) for event in seen.of("exit")}
    assert [ends[pids[role]] for role in ("child", "grandchild", "zombie", "init")] == [
        (None, "SIGKILL"),
        (None, "SIGKILL"),
        (0, None),
        (6, None),
    ]
    seen.assert_whole()


def test_nested_subreapers(tmp_path: Path) -> None:
    seen, ledger = trace_workload(tmp_path, "reparent", "nested")
    pids = ledger.pids
    assert ledger.of("adopted")["orphan"]["new_ppid"] == pids["inner"]
    assert ledger.of("adopted-again")["orphan"]["new_ppid"] == pids["outer"]
    told = [(e["old_ppid"], e["new_ppid"], e["reason"]) for e in seen.of("reparent", pid=pids["orphan"])]
    assert told == [
        (pids["parent"], pids["inner"], "subreaper"),
        (pids["inner"], pids["outer"], "subreaper"),
    ]
    assert seen.only("exit", pid=pids["orphan"])["exit_code"] == 8
    seen.assert_whole()


def test_clone_parent(tmp_path: Path) -> None:
    seen, ledger = trace_workload(tmp_path, "reparent", "clone_parent")
    pids = ledger.pids
    born = ledger.of("born")["sibling"]
    fork = seen.only("fork", pid=pids["sibling"])
    assert (
        (fork["ppid"], fork["creator_pid"])
        == (born["ppid"], pids["creator"])
        == (
            pids["main"],
            pids["creator"],
        )
    )
    assert "CLONE_PARENT" in fork["clone_flags"]
    assert seen.of("reparent") == []
    assert seen.only("exit", pid=pids["sibling"])["exit_code"] == 7
    seen.assert_whole()


def test_kinds(tmp_path: Path) -> None:
    seen, ledger = trace_workload(tmp_path, "reparent", "kinds", options=["--threads"])
    kinds = {event["tid"]: event["kind"] for event in seen.of("fork")}
    assert kinds == {
        ledger.pids["fork"]: "process",
        ledger.of("spawned")["spawned"]["pid"]: "vfork",
        ledger.of("thread")["thread"]["tid"]: "thread",
    }
    assert seen.summary["threads"] == 1
    seen.assert_whole()
