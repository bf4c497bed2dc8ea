"""A workload of known numbers (workloads/counts.py): every count is exact, and every event tells the truth.

What is counted: `forks`, processes created by what is traced (the traced command itself was created by kintro
and is no fork); `execs`, programs started, the command's own among them; `exits`, processes ended, the
command among them; `threads`, which are events only with --threads; `reparents`, children that got another
parent.
"""

from __future__ import annotations

from typing import Any

import pytest

from .harness import Ledger, Seen, trace_workload

pytestmark = pytest.mark.kernel

PROCESSES, THREADS, EXECS, ORPHANS = 23, 7, 5, 5


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "--threads"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    options = ["--threads"] if request.param else []
    seen, ledger = trace_workload(tmp_path_factory.mktemp("counts"), "counts", options=options)
    return seen, ledger, request.param


def test_every_count(run: tuple[Seen, Ledger, bool]) -> None:
    seen, _, _ = run
    counts = {name: seen.summary[name] for name in ("forks", "threads", "execs", "exits", "reparents")}
    assert counts == {
        "forks": PROCESSES,
        "threads": THREADS,
        "execs": EXECS + 1,  # and the command's own
        "exits": PROCESSES + 1,  # and the command's own
        "reparents": ORPHANS,
    }
    seen.assert_whole()
    assert seen.summary["kernel_forks"] is None


def test_forks(run: tuple[Seen, Ledger, bool]) -> None:
    seen, ledger, _ = run
    born = {(entry["pid"], entry["ppid"]) for entry in ledger.of("born").values() if entry["role"] != "main"}
    assert len(born) == PROCESSES
    assert {(fork["pid"], fork["ppid"]) for fork in seen.forks} == born
    for fork in seen.forks:
        assert (fork["tid"], fork["creator_pid"], fork["kind"]) == (fork["pid"], fork["ppid"], "process")
    own = [ledger.pids[role] for role in ("namespace-init", "parent-3", "orphan-5")]
    assert [fork["ns_pid"] for fork in seen.forks if fork["pid"] in own] == [1, 2, 3]
    assert all(fork["ns_pid"] == fork["pid"] for fork in seen.forks if fork["pid"] not in own)


def test_threads(run: tuple[Seen, Ledger, bool]) -> None:
    seen, ledger, shown = run
    did = {(entry["pid"], int(tid)) for tid, entry in ledger.of("thread").items()}
    assert len(did) == THREADS
    events = seen.of("fork", kind="thread")
    assert {(event["pid"], event["tid"]) for event in events} == (did if shown else set())
    exits = seen.of("exit", process=False)
    assert len(exits) == (THREADS if shown else 0)
    # The last thread out ends the process: not always its first.
    tids = {(event["pid"], event["tid"]) for event in seen.of("exit")}
    assert not shown or did <= tids


def test_execs(run: tuple[Seen, Ledger, bool]) -> None:
    seen, ledger, _ = run
    did = {ledger.pids[role]: entry["argv"] for role, entry in ledger.of("exec").items()}
    assert len(did) == EXECS
    events = {event["pid"]: event for event in seen.of("exec")}
    own = events.pop(ledger.pids["main"])
    assert own["argv"][-1].endswith("ledger.jsonl") and own["ts_ns"] == min(e["ts_ns"] for e in seen.events)
    assert {pid: event["argv"] for pid, event in events.items()} == did
    for event in events.values():
        assert event["filename"] == event["argv"][0] and not event["argv_truncated"]
        assert event["comm"] == event["filename"].rpartition("/")[2]


def test_exits(run: tuple[Seen, Ledger, bool]) -> None:
    """What wait4(2) told counts more than what a process said of itself, which it does when it goes on."""
    seen, ledger, _ = run
    ends = {role: (entry["code"], None) for role, entry in ledger.of("ends").items()}
    ends |= {role: (entry["code"], entry["signal"]) for role, entry in ledger.of("reaped").items()}
    expected = {ledger.pids[role]: end for role, end in ends.items()} | {ledger.pids["main"]: (0, None)}
    assert len(expected) == PROCESSES + 1
    told = {event["pid"]: (event["exit_code"], event["signal"]) for event in seen.of("exit", process=True)}
    assert told == expected
    assert told[ledger.pids["victim"]] == (None, "SIGKILL")
    starts = {fork["pid"]: fork["start_time_ns"] for fork in seen.forks}
    for event in seen.of("exit", process=True):
        assert starts.get(event["pid"], event["start_time_ns"]) == event["start_time_ns"]
        assert event["lifetime_ns"] == event["ts_ns"] - event["start_time_ns"]


def test_reparents(run: tuple[Seen, Ledger, bool]) -> None:
    seen, ledger, _ = run
    pids, adopted = ledger.pids, ledger.of("adopted")
    assert len(adopted) == ORPHANS
    told = {e["pid"]: (e["old_ppid"], e["new_ppid"]) for e in seen.of("reparent")}
    assert told == {pids[role]: (entry["old_ppid"], entry["new_ppid"]) for role, entry in adopted.items()}
    reasons = {event["pid"]: event["reason"] for event in seen.of("reparent")}
    assert [reasons[pids[f"orphan-{n}"]] for n in (3, 4, 5)] == ["subreaper", "subreaper", "namespace-init"]
    assert adopted["orphan-3"]["new_ppid"] == pids["subreaper"]
    assert adopted["orphan-5"]["new_ppid"] == pids["namespace-init"]
    assert not any(event["zombie"] for event in seen.of("reparent"))


def test_reparents_to_init(run: tuple[Seen, Ledger, bool]) -> None:
    seen, ledger, _ = run
    if ledger.of("adopted")["orphan-1"]["new_ppid"] != 1:
        pytest.skip("a subreaper is above these tests: no orphan of theirs comes to pid 1")
    for role in ("orphan-1", "orphan-2"):
        event = seen.only("reparent", pid=ledger.pids[role])
        assert (event["old_ppid"], event["new_ppid"], event["reason"]) == (ledger.pids["parent-1"], 1, "init")
