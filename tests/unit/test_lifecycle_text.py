"""Process life as people read it: a line for each event, and the tree of all that lived."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from lifecycle_events import exec_, exit_, fork, reparent, thread

from kintro.observers.lifecycle import summary
from kintro.observers.lifecycle_records import Event
from kintro.observers.lifecycle_text import COLUMNS, processes, row, summary_line, tree, tree_json
from kintro.renderers import jsonl, terminal

S = 1_000_000_000


def cells(event: Event) -> list[str]:
    return [cell.text for cell in row(event, begin_ns=1000)]


def lines(*events: Event) -> list[str]:
    return [line.rstrip() for line in terminal.tree(tree(processes(events)), None, colour=False)]


def labels(*events: Event) -> list[tuple[int, str]]:
    return [(found.depth, found.label) for found in tree(processes(events)).rows]


# Lines


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (fork(11, 10), ["fork", "11", "10", "sh", "process"]),
        (fork(11, 10, clone_flags=0x4100), ["fork", "11", "10", "sh", "vfork"]),
        (fork(11, 2, task_flags=0x200000), ["fork", "11", "2", "sh", "kthread"]),
        (thread(12, 11), ["fork", "11", "10", "sh", "thread 12"]),
        (fork(11, 1, creator_pid=10), ["fork", "11", "1", "sh", "process, created by 10"]),
        (fork(11, 10, ns_pid=1), ["fork", "11", "10", "sh", "process, pid 1 in its namespace"]),
        (exec_(11, b"ls", b"a b"), ["exec", "11", "10", "ls", "ls 'a b'"]),
        (exec_(11, b"ls", argv_truncated=True), ["exec", "11", "10", "ls", "ls …(more)"]),
        (exec_(11, argv=None), ["exec", "11", "10", "ls", "/bin/ls (arguments could not be read)"]),
        (exit_(11), ["exit", "11", "10", "ls", "exit 0 after 100 ns"]),
        (exit_(11, wait_status=3 << 8), ["exit", "11", "10", "ls", "exit 3 after 100 ns"]),
        (exit_(11, wait_status=9), ["exit", "11", "10", "ls", "SIGKILL after 100 ns"]),
        (exit_(11, wait_status=139), ["exit", "11", "10", "ls", "SIGSEGV (core dumped) after 100 ns"]),
        (exit_(11, tid=12, process=0), ["exit", "11", "10", "ls", "thread 12 exit 0 after 100 ns"]),
        (reparent(12), ["reparent", "12", "1", "sleep", "from 11 to 1 (init)"]),
        (reparent(12, zombie=True), ["reparent", "12", "1", "sleep", "from 11 to 1 (init), a zombie"]),
        (
            reparent(12, new_ppid=None, reason=None),
            ["reparent", "12", "?", "sleep", "from 11 to a parent that could not be read"],
        ),
    ],
)
def test_a_line_for_each_event(event: Event, expected: list[str]) -> None:
    assert cells(event)[1:] == expected
    assert len(cells(event)) == len(COLUMNS)


@pytest.mark.parametrize(
    ("ts_ns", "shown"),
    [(1000, "0.000000"), (1_001_499, "0.001000"), (1000 + 61 * S, "61.000000"), (0, "-0.000001")],
)
def test_time_counts_from_the_beginning(ts_ns: int, shown: str) -> None:
    assert cells(exit_(ts_ns=ts_ns))[0] == shown


def test_names_of_strangers_are_made_harmless() -> None:
    assert cells(fork(comm=b"\x1b[2J\xff"))[4] == "\\x1b[2J\\xff"
    assert "\x1b" not in "".join(cells(exec_(11, b"\x1b]0;title\x07", comm=b"\x1b[31m")))
    assert "\x1b" not in "".join(cells(exec_(11, argv=None, filename=b"/\x1b[31m")))
    evil = fork(12, 11, comm=b"\n\x1b[2J\xe2\x80\xae")
    assert [line for line in lines(evil, exec_(12, b"\n\x1b[2J")) if not line.isprintable()] == []
    assert len(lines(evil)) == 3


# Trees


def test_a_tree_of_a_shell() -> None:
    events = [
        fork(11, 10), exec_(11, b"make", comm=b"make"), fork(12, 11, comm=b"make"),
        exec_(12, b"cc", b"a.c", comm=b"cc"), fork(13, 11, comm=b"make"), exit_(12, wait_status=256),
        exit_(13, wait_status=9, ts_ns=13000 + 2 * S), exit_(11),
    ]  # fmt: skip
    assert lines(*events) == [
        " LIFETIME END         PROCESS",
        "          alive       sh (10)",
        "   100 ns exit 0      └─ sh → make (11)  make",
        "   100 ns exit 1         ├─ make → cc (12)  cc a.c",
        "   2.00 s SIGKILL        └─ make (13)",
    ]


def test_a_pid_used_again_is_another_process() -> None:
    old, new = 11_000, 99_000
    events = [
        fork(11, 10), fork(12, 11), exit_(12), exit_(11),
        fork(20, 10), fork(11, 20, start_time_ns=new, process_start_time_ns=new, comm=b"again"),
        fork(13, 11, parent_start_time_ns=new, comm=b"young"), exit_(11, wait_status=256, start_time_ns=new),
    ]  # fmt: skip
    assert labels(*events) == [
        (0, "sh (10)"), (1, "sh (11)"), (2, "sh (12)"), (1, "sh (20)"), (2, "again (11)"), (3, "young (13)"),
    ]  # fmt: skip
    found = processes(events)
    assert found[11, old].end is not None and found[11, old].end.exit_code == 0
    assert found[11, new].end is not None and found[11, new].end.exit_code == 1


def test_an_orphan_stays_under_its_creator() -> None:
    events = [fork(11, 10), fork(12, 11), exit_(11), reparent(12, new_ppid=1), exit_(12)]
    assert labels(*events) == [(0, "sh (10)"), (1, "sh (11)"), (2, "sh (12) adopted by 1 (init)")]


def test_the_last_of_several_adoptions_is_shown() -> None:
    events = [fork(11, 10), reparent(11, new_ppid=7), reparent(11, new_ppid=1)]
    assert labels(*events)[1] == (1, "sh (11) adopted by 1 (init)")
    assert labels(fork(11, 10), reparent(11, new_ppid=None))[1] == (1, "sh (11)")


def test_threads_are_counted_and_are_no_processes() -> None:
    events = [fork(11, 10), thread(12, 11), thread(13, 11), exit_(11, tid=12, process=0, start_time_ns=12000)]
    assert labels(*events) == [(0, "sh (10)"), (1, "sh (11) +2 threads")]
    assert labels(fork(11, 10), thread(12, 11))[1] == (1, "sh (11) +1 thread")
    assert [process.end for process in processes(events).values()] == [None, None]


def test_processes_that_were_there_before() -> None:
    assert labels(exit_(11), exec_(20, b"id", comm=b"id")) == [(0, "ls (11)"), (0, "id (20)  id")]
    assert labels(reparent(12)) == [(0, "? (12) adopted by 1 (init)")]
    assert labels(thread(12, 11)) == [(0, "? (11) +1 thread")]
    assert labels(fork(11, 1, creator_pid=10)) == [(0, "? (1)"), (1, "sh (11)")]


def test_several_roots_in_the_order_of_their_first_event() -> None:
    rows = tree(processes([fork(31, 30), fork(21, 20), fork(32, 30)])).rows
    assert [(r.depth, r.last, r.label) for r in rows] == [
        (0, False, "sh (30)"), (1, False, "sh (31)"), (1, True, "sh (32)"),
        (0, True, "sh (20)"), (1, True, "sh (21)"),
    ]  # fmt: skip


def test_no_processes() -> None:
    assert lines() == [" LIFETIME END         PROCESS"]
    assert tree_json(processes([])) == {"type": "tree", "processes": []}


def test_a_very_deep_tree() -> None:
    depth = 5000
    chain = [fork(pid + 1, pid) for pid in range(1, depth)]
    shown = lines(*chain)
    assert len(shown) == depth + 1
    assert shown[-1].endswith("└─ sh (5000)")
    assert tree_json(processes(chain))["processes"][-1]["depth"] == depth - 1


def test_lifetimes_and_ends_stay_in_their_columns() -> None:
    """The longest of them: `59m59s`, `999d00h`, `SIGRTMIN+29`."""
    events = [fork(11, 10)]
    for pid, lifetime_ns in ((12, 5), (13, 119 * S), (14, 3599 * S), (15, 999 * 86400 * S)):
        events += [fork(pid, 11), exit_(pid, wait_status=pid + 48, ts_ns=1000 * pid + lifetime_ns)]
    assert len({line.index("└" if "└" in line else "├") for line in lines(*events)[3:]}) == 1


def test_a_tree_as_json() -> None:
    events = [fork(11, 10), thread(14, 11), exec_(11, b"ls", b"-l"), fork(12, 11), exit_(11, wait_status=9),
              reparent(12)]  # fmt: skip

    def process(pid: int, depth: int, ppid: int | None, programs: list[str], **other: Any) -> dict[str, Any]:
        unknown = dict(threads=0, lifetime_ns=None, exit_code=None, signal=None, adopted_by=None)
        return (
            dict(pid=pid, start_time_ns=1000 * pid, depth=depth, ppid=ppid, programs=programs)
            | unknown
            | other
        )

    assert json.loads(jsonl.line(tree_json(processes(events)))) == {
        "type": "tree",
        "processes": [
            process(10, 0, None, ["sh"]),
            process(11, 1, 10, ["sh", "ls"], threads=1, lifetime_ns=100, signal="SIGKILL"),
            process(12, 2, 11, ["sh"], adopted_by=1),
        ],
    }


@pytest.mark.parametrize(
    ("change", "end"),
    [
        ({}, "lost 0; the kernel counted 3 tasks created; complete"),
        ({"kernel_forks": None}, "lost 0; complete"),
        ({"kernel_forks": None, "lost": 7}, "lost 7; INCOMPLETE"),
        ({"kernel_forks": 4}, "lost 0; the kernel counted 4 tasks created; INCOMPLETE"),
    ],
)
def test_the_summary_in_one_line(change: dict[str, Any], end: str) -> None:
    counted = dict(duration_ns=5 * S, forks=2, threads=1, execs=0, exits=2, lost=0, kernel_forks=3) | change
    begin = "2 forks, 1 thread, 0 execs, 2 exits, 1 reparent in 5.00 s; "
    assert summary_line(summary(Counter(reparents=1), counted)) == begin + end


def test_the_summary_of_a_session_that_was_cut_off() -> None:
    assert summary_line(summary(Counter(forks=1), None)) == (
        "1 fork, 0 threads, 0 execs, 0 exits, 0 reparents in an unknown time; lost unknown; INCOMPLETE"
    )
