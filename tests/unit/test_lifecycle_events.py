"""Process life: records put together, their JSON, and the account at the end."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from lifecycle_events import exec_, exit_, fork, orphan, reaper, reparent, thread

from kintro.observers import lifecycle
from kintro.observers.lifecycle import Adoptions, as_json, summary, summary_json
from kintro.observers.lifecycle_records import Event, Reparent
from kintro.renderers import jsonl
from kintro.sources.trace import Account


def adopted(*stream: Any) -> list[Any]:
    return list(Adoptions().events(stream))


def test_a_child_is_handed_on() -> None:
    orphaned = orphan(12, parent=11, exit_state=32)
    assert adopted(orphaned, reaper(11, new=1, ts_ns=6500)) == [
        Reparent(
            ts_ns=6500, start_time_ns=12000, pid=12, tid=12, comm=b"sleep", old_ppid=11, new_ppid=1,
            new_parent_start_time_ns=1000, reason="init", zombie=True,
        )
    ]  # fmt: skip


def test_other_events_pass_through_in_their_place() -> None:
    stream = [fork(11), exec_(11, b"ls"), orphan(12), exit_(11), reaper(11), exit_(12)]
    events = adopted(*stream)
    assert [type(event).__name__ for event in events] == ["Fork", "Exec", "Exit", "Reparent", "Exit"]
    assert [event for event in events if not isinstance(event, Reparent)] == [
        stream[0], stream[1], stream[3], stream[5],
    ]  # fmt: skip


def test_parents_that_leave_at_the_same_time() -> None:
    events = adopted(
        orphan(21, parent=20), orphan(31, parent=30), orphan(22, parent=20), reaper(30, new=1),
        orphan(23, parent=20), reaper(20, new=7),
    )  # fmt: skip
    assert [(e.pid, e.old_ppid, e.new_ppid) for e in events] == [
        (31, 30, 1), (21, 20, 7), (22, 20, 7), (23, 20, 7),
    ]  # fmt: skip


def test_two_parents_of_one_pid_and_two_threads_of_one_parent() -> None:
    events = adopted(
        orphan(21, parent=20), orphan(22, parent=20, parent_start_time_ns=99),
        orphan(23, parent=20, parent_tid=201), reaper(20, new=1, parent_start_time_ns=99),
        reaper(20, new=20, parent_tid=201), reaper(20, new=5),
    )  # fmt: skip
    assert [(e.pid, e.new_ppid, e.reason) for e in events] == [
        (22, 1, "init"), (23, 20, "thread"), (21, 5, "subreaper"),
    ]  # fmt: skip


def test_an_orphan_is_handed_on_once() -> None:
    assert len(adopted(orphan(12), reaper(11), reaper(11))) == 1
    assert adopted(reaper(11), orphan(12)) == []


def test_a_choice_that_could_not_be_read() -> None:
    [event] = adopted(orphan(12), reaper(11, outcome=0, new=0))
    assert (event.new_ppid, event.new_parent_start_time_ns, event.reason) == (None, None, None)
    assert as_json(event)["new_ppid"] is None


def test_children_that_end_with_their_namespace_are_not_handed_on() -> None:
    assert adopted(orphan(12), orphan(13), reaper(11, outcome=2)) == []
    assert adopted(orphan(12), reaper(11, outcome=2), orphan(12), reaper(11)) == [
        adopted(orphan(12), reaper(11))[0]
    ]


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        (dict(new_ppid=1, new_ns_pid=1, new_ns_level=0), "init"),
        (dict(new_ppid=900, new_ns_pid=1, new_ns_level=1), "namespace-init"),
        (dict(new_ppid=900, new_ns_pid=1, new_ns_level=3), "namespace-init"),
        (dict(new_ppid=900, new_ns_pid=900, new_ns_level=0), "subreaper"),
        (dict(new_ppid=900, new_ns_pid=2, new_ns_level=1), "subreaper"),
        (dict(new_ppid=11, new_ns_pid=11, new_ns_level=0), "thread"),
        (dict(new_ppid=11, new_tid=15, new_ns_pid=1, new_ns_level=2), "thread"),
    ],
)
def test_why_this_parent(choice: dict[str, int], reason: str) -> None:
    [event] = adopted(orphan(12, parent=11), reaper(11, **choice))
    assert (event.reason, event.new_ppid) == (reason, choice["new_ppid"])


# JSON

COMMON = {"type", "ts_ns", "pid", "tid", "comm"}
START = {"start_time_ns"}  # with the pid, what tells one process from the next of that pid
KEYS = {
    "fork": START | {"ppid", "creator_pid", "creator_tid", "kind", "clone_flags", "ns_pid"},
    "exec": START | {"ppid", "uid", "filename", "argv", "argv_truncated"},
    "exit": START | {
        "ppid", "process", "exit_code", "signal", "core_dumped", "lifetime_ns", "utime_ns", "stime_ns",
        "voluntary_switches", "involuntary_switches", "minor_faults", "major_faults",
    },
    "reparent": START | {"old_ppid", "new_ppid", "reason", "zombie"},
}  # fmt: skip


@pytest.mark.parametrize("event", [fork(), thread(12), exec_(11, b"ls"), exit_(), reparent()])
def test_keys_of_each_event(event: Event) -> None:
    found = as_json(event)
    assert set(found) == COMMON | KEYS[found["type"]]


def test_a_fork_as_json() -> None:
    event = fork(11, 10, clone_flags=0x4100, creator_tid=13, ns_pid=2, comm=b"a\xff")
    assert json.loads(jsonl.line(as_json(event))) == {
        "type": "fork", "ts_ns": 11005, "pid": 11, "tid": 11, "comm": "a\\xff", "ppid": 10, "creator_pid": 10,
        "creator_tid": 13, "kind": "vfork", "clone_flags": ["CLONE_VM", "CLONE_VFORK"], "ns_pid": 2,
        "start_time_ns": 11000,
    }  # fmt: skip


def test_an_exec_as_json() -> None:
    event = exec_(11, b"ls", b"", b"\xff\n", argv_truncated=True)
    assert json.loads(jsonl.line(as_json(event))) == {
        "type": "exec", "ts_ns": 11050, "pid": 11, "tid": 11, "comm": "ls", "ppid": 10, "uid": 1000,
        "filename": "/bin/ls", "argv": ["ls", "", "\\xff\n"], "argv_truncated": True, "start_time_ns": 11000,
    }  # fmt: skip
    assert as_json(exec_(argv=None))["argv"] is None


def test_an_exit_as_json() -> None:
    event = exit_(11, wait_status=11 | 0x80, utime_ns=1, stime_ns=3, runtime_ns=100)
    assert json.loads(jsonl.line(as_json(event))) == {
        "type": "exit", "ts_ns": 11100, "pid": 11, "tid": 11, "comm": "ls", "ppid": 10, "process": True,
        "exit_code": None, "signal": "SIGSEGV", "core_dumped": True, "lifetime_ns": 100, "utime_ns": 25,
        "stime_ns": 75, "voluntary_switches": 3, "involuntary_switches": 2, "minor_faults": 90,
        "major_faults": 1, "start_time_ns": 11000,
    }  # fmt: skip
    assert as_json(exit_(process=0))["process"] is False


def test_a_reparent_as_json() -> None:
    assert json.loads(jsonl.line(as_json(reparent(12)))) == {
        "type": "reparent", "ts_ns": 6000, "pid": 12, "tid": 12, "comm": "sleep", "old_ppid": 11,
        "new_ppid": 1, "reason": "init", "zombie": False, "start_time_ns": 12000,
    }  # fmt: skip


# The account

COUNTED = dict(duration_ns=5, forks=7, threads=2, execs=3, exits=6, lost=0, kernel_forks=9, late=0)


@pytest.mark.parametrize(
    ("change", "complete"),
    [
        ({}, True),
        ({"kernel_forks": None}, True),
        ({"kernel_forks": 10}, False),
        ({"kernel_forks": 8}, False),
        ({"lost": 1}, False),
        ({"lost": 1, "kernel_forks": None}, False),
    ],
)
def test_complete_only_if_nothing_is_missing(change: dict[str, int | None], complete: bool) -> None:
    result = summary(Counter(reparents=4, forks=99), COUNTED | change)
    assert result.complete == complete
    assert (result.forks, result.threads, result.execs, result.exits, result.reparents) == (7, 2, 3, 6, 4)


def test_a_session_without_an_account_is_not_complete() -> None:
    result = summary(Counter(forks=1, threads=2, execs=3, exits=4, reparents=5), None)
    assert json.loads(jsonl.line(summary_json(result))) == {
        "type": "summary", "duration_ns": None, "forks": 1, "threads": 2, "execs": 3, "exits": 4,
        "reparents": 5, "lost": None, "kernel_forks": None, "complete": False,
    }  # fmt: skip


def test_keys_of_the_summary() -> None:
    assert set(summary_json(summary(Counter(), COUNTED))) == {
        "type", "duration_ns", "forks", "threads", "execs", "exits", "reparents", "lost", "kernel_forks",
        "complete",
    }  # fmt: skip


def test_what_the_kernel_counted() -> None:
    counters = dict(forks=7, threads=2, exec_sent=3, exec_lost=4, exits=6, fork_sent=1, tasks_created=50)
    account = Account(duration_ns=5, counters=counters, lost=4, kernel_forks=50, late=1)
    counted = lifecycle.tally(account)
    assert {name: counted[name] for name in COUNTED} == COUNTED | dict(
        execs=7, lost=4, kernel_forks=50, late=1
    )


@pytest.mark.parametrize(
    ("leaving", "left", "settled"), [(0, 0, True), (4, 3, False), (4, 4, True), (4, 5, True)]
)
def test_settled_when_all_that_left_are_gone(leaving: int, left: int, settled: bool) -> None:
    assert lifecycle.settled(dict(leaving=leaving, left=left)) == settled
