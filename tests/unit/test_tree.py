"""kintro tree and kintro ancestry: who stands below whom, what is said of each, the commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from children import wait_for, zombie
from hypothesis import given
from hypothesis import strategies as st
from lifecycle_events import exec_, exit_, fork
from saved_session import save_lifecycle

from kintro.errors import EX_NOINPUT, EX_USAGE, KintroError
from kintro.observers import ancestry, tree, tree_text
from kintro.observers.ancestry import Alive, climb, lives, same_start
from kintro.observers.lifecycle_records import Reparent
from kintro.renderers import terminal
from kintro.sources import host
from kintro.sources.processes import TICK_NS, Process, Snapshot, Thread

KINTRO = [sys.executable, "-m", "kintro"]


def process(pid: int, ppid: int = 0, **other: Any) -> Process:
    values = dict(
        pid=pid, ppid=ppid, pgid=pid, sid=pid, start_time_ns=0, state="S", comm=b"c%d" % pid, argv=(),
        argv_truncated=False, uid=0, euid=0, threads=1, is_kernel_thread=False, ns_pids=(pid,),
    )  # fmt: skip
    return Process(**(values | other))


def snapshot(*processes: Process, hidden: frozenset[int] = frozenset()) -> Snapshot:
    return Snapshot(1, {process.pid: process for process in processes}, 3, 0, hidden)


def drawn(found: Snapshot, *args: Any) -> list[str]:
    shape = tree_text.tree(tree.nodes(found, *args), 7 * 10**9)
    return [line[19:] for line in terminal.tree(shape, None, False)][1:]


SYSTEM = snapshot(
    process(1),
    process(2, is_kernel_thread=True, comm=b"kthreadd"),
    process(3, 2, is_kernel_thread=True),
    process(4, 3, comm=b"helper"),  # as the kernel starts modprobe
    process(5, 1, threads=3, argv=(b"c5", b"a b")),
    process(6, 5, state="Z"),
    process(7, 5, ns_pids=(7, 1)),
    process(8, 7, ns_pids=(8, 2), comm=b"\x1b[31m"),
    process(9, 77),
    hidden=frozenset({9}),
)


def test_a_tree_without_the_kernels_own() -> None:
    assert drawn(SYSTEM) == [
        "c1 (1)",
        "└─ c5 (5) +2 threads  c5 'a b'",
        "   ├─ c6 (6) [zombie]",
        "   └─ c7 (7) [pid 1 in a pid namespace of its own]",
        "      └─ \\x1b[31m (8) [pid 2 inside]",
        "helper (4)",
        "c9 (9) [parent 77 not visible]",
    ]
    assert tree_text.totals_line(tree.totals(SYSTEM, tree.nodes(SYSTEM))) == (
        "7 processes (1 zombie), 9 threads; 1 pid namespace entered; 2 kernel threads not shown (--kernel); "
        "3 ended while they were read"
    )


def test_with_the_kernels_own_and_below_one() -> None:
    assert drawn(SYSTEM, None, True)[5:8] == ["kthreadd (2)", "└─ c3 (3)", "   └─ helper (4)"]
    assert drawn(SYSTEM, 7) == [
        "c7 (7) [pid 1 in a pid namespace of its own]",
        "└─ \\x1b[31m (8) [pid 2 inside]",
    ]
    assert drawn(SYSTEM, 3) == ["c3 (3)", "└─ helper (4)"]
    with pytest.raises(KintroError) as caught:
        tree.nodes(SYSTEM, 1 << 30)
    assert caught.value.exit_code == EX_NOINPUT


def test_threads_stand_below_their_process() -> None:
    threads = tuple(Thread(tid, b"t", "R", 0) for tid in (11, 12))
    both = snapshot(process(10, threads=3, thread_list=threads), process(13, 10))
    assert drawn(both) == ["c10 (10)", "├─ {t} (11)", "├─ {t} (12)", "└─ c13 (13)"]
    assert drawn(snapshot(process(10, threads=3, thread_list=threads))) == [
        "c10 (10)", "├─ {t} (11)", "└─ {t} (12)",
    ]  # fmt: skip


@given(st.lists(st.integers(0, 40), max_size=40))
def test_each_stands_once_and_right_below_its_parent(parents: list[int]) -> None:
    """Process n + 1 has one of those before it, or none, as its parent."""
    made = [process(pid, parent % pid) for pid, parent in enumerate(parents, 1)]
    found = tree.nodes(snapshot(*made))
    assert sorted(node.process.pid for node in found) == [one.pid for one in made]
    above: list[int] = []
    for node in found:
        del above[node.depth :]
        assert node.process.ppid == (above[-1] if above else 0)
        above.append(node.process.pid)
    lasts = {}
    for node in found:
        lasts.setdefault(node.process.ppid, []).append(node.last)
    assert all(last == [*[False] * (len(last) - 1), True] for last in lasts.values())


def test_a_long_chain_needs_no_recursion() -> None:
    chain = snapshot(*(process(pid, pid - 1) for pid in range(1, 5001)))
    assert [node.depth for node in tree.nodes(chain)] == list(range(5000))


# The command


def kintro(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*KINTRO, *words], capture_output=True, text=True, check=False, **options)


def test_tree_as_json() -> None:
    with zombie() as pid:
        done = kintro("tree", "--json", str(os.getpid()))
    document = json.loads(done.stdout)
    found = {one["pid"]: one for one in document["processes"]}
    assert document["type"] == "tree" and document["ts_ns"] < time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    assert found[os.getpid()]["depth"] == 0 and found[os.getpid()]["ppid"] == os.getppid()
    assert (found[pid]["state"], found[pid]["depth"], found[pid]["ppid"]) == ("Z", 1, os.getpid())
    [asker] = [one for one in found.values() if one["argv"][-3:] == ["tree", "--json", str(os.getpid())]]
    assert asker["uid"] == os.getuid() and "thread_list" not in asker
    assert document["totals"]["processes"] == len(found) and document["totals"]["zombies"] >= 1


def test_tree_has_threads_and_kernel_threads_when_asked_for() -> None:
    document = json.loads(kintro("tree", "--json", "--threads", "--kernel").stdout)
    kernel = [one for one in document["processes"] if one["is_kernel_thread"]]
    assert {one["pid"] for one in kernel if one["ppid"] == 0} <= {2} and document["totals"][
        "kernel_threads_left_out"
    ] == 0
    assert all(len(one["thread_list"]) == one["threads"] - 1 for one in kernel)
    assert any(one["thread_list"] for one in document["processes"])


@pytest.mark.parametrize(
    ("words", "code"),
    [(["tree", "0"], EX_USAGE), (["tree", "x"], EX_USAGE), (["tree", "99999999"], EX_NOINPUT),
     (["ancestry", "99999999"], EX_NOINPUT), (["ancestry"], EX_USAGE), (["pids", "-q"], EX_USAGE),
     (["ancestry", "1", "--traced", "/nonexistent"], EX_NOINPUT), (["pids", "-i", "0"], EX_USAGE)],
)  # fmt: skip
def test_what_cannot_be(words: list[str], code: int) -> None:
    done = kintro(*words)
    assert (done.returncode, done.stdout) == (code, "") and "Traceback" not in done.stderr


# Ancestors


def reparent(pid: int, old: int, new: int) -> Reparent:
    return Reparent(9000, 1000 * pid, pid, pid, b"x", old, new, 1000 * new, "init", False)


STORY = [
    fork(11, 10),
    exec_(11, b"sh"),
    fork(12, 11, comm=b"mid"),
    fork(13, 12),
    exit_(12, 3 << 8),
    reparent(13, 12, 1),
    exec_(13, b"sleep", b"9"),
]


def pids(found: ancestry.Ancestry | None) -> list[tuple[int, bool]]:
    assert found is not None
    return [(one.pid, one.process is not None) for one in found.ancestors]


def alive(*found: Process) -> Alive:
    return Alive({one.pid: one for one in found}, 0)


def test_a_chain_leads_through_one_that_has_ended() -> None:
    there = alive(process(1), process(10, 1), process(11, 10), process(13, 1))
    found = climb(13, there, lives(STORY))
    assert found is not None
    assert pids(found) == [(13, True), (12, False), (11, True), (10, True), (1, True)]
    assert found.complete and found.others == 0
    [life] = [one.life for one in found.ancestors if one.pid == 12 and one.life]
    assert life.exit is not None and life.exit.exit_code == 3 and life.comm == b"ls"
    assert [event.new_ppid for event in found.ancestors[0].life.reparents] == [1]  # type: ignore[union-attr]
    assert pids(climb(13, there, {})) == [(13, True), (1, True)]  # all that /proc knows


def test_the_start_time_tells_who_is_meant() -> None:
    """The pids of the dead are others' now: those began later."""
    later = 100 * TICK_NS
    there = alive(process(1), process(12, 1, start_time_ns=later), process(13, 1, start_time_ns=later))
    found = climb(13, there, lives(STORY))
    assert found is not None and pids(found) == [(13, True), (1, True)] and found.others == 1
    gone = climb(13, alive(process(12, 1, start_time_ns=later)), lives(STORY))
    assert pids(gone) == [(13, False), (12, False), (11, False), (10, False)] and not gone.complete  # type: ignore[union-attr]


def test_one_that_was_seen_to_end_is_not_the_one_of_the_same_tick() -> None:
    there = alive(process(1), process(12, 1))
    found = climb(12, there, lives(STORY))
    assert found is not None and found.ancestors[0].life is None and pids(found) == [(12, True), (1, True)]
    ended = climb(12, alive(process(12, 11, state="Z"), process(11, 0)), lives(STORY))
    assert ended is not None and ended.ancestors[0].life is not None


def test_of_one_that_was_there_before_and_ended_its_parent_is_known_if_it_lives() -> None:
    known = lives([exit_(20, ppid=7, start_time_ns=50 * TICK_NS)])
    older, younger = process(7, 0, start_time_ns=40 * TICK_NS), process(7, 0, start_time_ns=60 * TICK_NS)
    assert pids(climb(20, alive(older), known)) == [(20, False), (7, True)]
    assert pids(climb(20, alive(younger), known)) == [(20, False)]


def test_a_forged_session_leads_to_an_end() -> None:
    assert pids(climb(11, alive(), lives([fork(11, 12), fork(12, 11)]))) == [
        (11, False), (12, False), (11, False),
    ]  # fmt: skip


def test_nobody() -> None:
    assert climb(5, alive(), lives(STORY)) is None


@given(st.integers(0, 10**15), st.integers(0, 10**9), st.integers(0, 10**15))
def test_start_times_of_two_clocks(start: int, late: int, slept: int) -> None:
    """`late`: between the kernel's two readings; `slept` before the process began, or after."""
    late %= 1_000_000
    for before in (0, slept // 2, slept):
        tick = (start + before + late) // TICK_NS * TICK_NS
        assert same_start(start, tick, slept)
    assert not same_start(start, start + slept + 2 * TICK_NS, slept)
    assert not same_start(start, start - 2 * TICK_NS, slept)


def test_ancestry_as_json_and_for_people() -> None:
    document = json.loads(kintro("ancestry", "--json", str(os.getpid())).stdout)
    own = document["ancestors"][0]
    assert (own["pid"], own["ppid"], own["pgid"], own["sid"]) == (
        os.getpid(), os.getppid(), os.getpgid(0), os.getsid(0),
    )  # fmt: skip
    assert own["namespaces"]["pid"] == os.stat("/proc/self/ns/pid").st_ino
    assert [one["ppid"] for one in document["ancestors"]] == [
        *(one["pid"] for one in document["ancestors"][1:]), 0,
    ]  # fmt: skip
    lines = kintro("ancestry", str(os.getpid())).stdout.splitlines()
    assert f"({os.getpid()})" in lines[len(document["ancestors"])] and "up to the root" in lines[-2]


def test_a_session_of_another_boot_is_told_of_alone(tmp_path: Path) -> None:
    """And one of this boot brings in who lives."""
    saved = [fork(11, 10), fork(12, 11)]
    ours = dict(boot_id=host.boot_id(), begin_realtime_ns=time.time_ns())
    other = save_lifecycle(tmp_path / "a", saved, **(ours | {"boot_id": "elsewhere"}))
    done = kintro("ancestry", "12", "--traced", str(other), "--json")
    assert "another boot" in done.stderr
    found = json.loads(done.stdout)
    assert [(one["pid"], one["alive"]) for one in found["ancestors"]] == [
        (12, False),
        (11, False),
        (10, False),
    ]
    same = save_lifecycle(tmp_path / "b", saved, **ours)
    living = kintro("ancestry", str(os.getpid()), "--traced", str(same), "--json")
    assert json.loads(living.stdout)["ancestors"][0]["alive"] is host.in_initial_pid_namespace()


def test_vanishing_in_the_middle_is_no_error() -> None:
    """Of processes that come and go all the time, each answer is a chain or says that there is none."""
    code = "import os\nwhile 1:\n p=os.fork()\n if not p: os._exit(0)\n os.waitpid(p,0)"
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", code]) as running:
        try:
            wait_for(lambda: Path(f"/proc/{running.pid}/task/{running.pid}/children").exists())
            for _ in range(5):
                done = kintro("tree", str(running.pid))
                assert done.returncode == 0 and f"({running.pid})" in done.stdout
        finally:
            running.send_signal(signal.SIGKILL)
