"""kintro pids: the counter, ids in use, the rate; gaps and new rounds of ids that were given out."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifecycle_events import fork, thread
from test_tree import process, snapshot

from kintro.observers import pids, pids_text
from kintro.observers.lifecycle_records import Fork
from kintro.observers.pids_watch import SETTLE_NS, Allocation, Event, Gap, Given, Tally, Wrap
from kintro.sources import host, pid_numbers
from kintro.sources.pid_numbers import RESERVED, Counter, Moved

KINTRO = [sys.executable, "-m", "kintro"]


def given_out(ids: list[int], earlier: int | None, pid_max: int | None, step_ns: int = 1000) -> list[Event]:
    forks = [fork(number, 1, ts_ns=step_ns * place) for place, number in enumerate(ids)]
    return list(
        Allocation(earlier, lambda one: one.tid, lambda: pid_max, lambda one: one % 2 == 0).events(forks)
    )


def told(events: list[Event]) -> list[tuple[object, ...]]:
    """Gaps and new rounds."""
    return [
        (type(event).__name__, *(event.first, event.last, event.in_use))
        if isinstance(event, Gap)
        else (type(event).__name__, event.after, event.id)
        for event in events
        if not isinstance(event, Given)
    ]


def test_ids_in_order_and_two_cpus() -> None:
    assert told(given_out([500, 501, 502], 499, 1000)) == []
    assert told(given_out([501, 500, 503, 502, 504], 499, 1000)) == []
    assert told(given_out([500, 503, 504], 499, 1000)) == [("Gap", 501, 502, 1)]
    assert told(given_out([500, 505, 503], 499, 1000)) == [("Gap", 501, 502, 1), ("Gap", 504, 504, 1)]


def test_what_was_given_out_before_the_first_is_no_gap() -> None:
    assert told(given_out([510, 509, 511], 499, 1000)) == []
    assert told(given_out([510, 509, 511], None, 1000)) == []


def test_a_new_round() -> None:
    assert told(given_out([398, 399, 300, 301], 397, 400)) == [("Wrap", 399, 300)]
    assert told(given_out([398, 300, 399, 301], 397, 400)) == [("Wrap", 398, 300)]  # told by two CPUs
    assert told(given_out([398, 302, 303], 397, 400)) == [
        ("Wrap", 398, 302), ("Gap", 399, 399, 0), ("Gap", 300, 301, 1),
    ]  # fmt: skip
    assert told(given_out([398, 399, 301, 300], 397, None)) == [("Wrap", 399, 301)]


def test_a_gap_is_told_when_it_is_settled_and_then_its_ids_are_not_late_any_more() -> None:
    slow = given_out([500, 502, 503, 504, 501], 499, 1000, SETTLE_NS)
    assert [type(event) for event in slow[:4]] == [Given, Given, Given, Gap]
    assert told(slow)[:2] == [("Gap", 501, 501, 0), ("Wrap", 504, 501)]


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 4), st.integers(20, 500))
def test_rounds_and_skipped_ids_are_counted_exactly(seed: int, span: int, cpus: int, ids: int) -> None:
    """Of an allocator as in kernel/pid.c, whose forks are told in an order that `cpus` of them mix."""
    rng = random.Random(seed)
    pid_max = RESERVED + 60 + span
    used = {rng.randrange(RESERVED, pid_max) for _ in range(rng.randrange(10))}
    cursor, rounds, skipped, order = 350, 0, 0, []
    while cursor in used:
        cursor += 1
    first = cursor
    for _ in range(ids):
        order.append((cursor, rounds))
        cursor += 1
        while cursor >= pid_max or cursor in used:
            if cursor >= pid_max:
                cursor, rounds = RESERVED, rounds + 1
            else:
                cursor, skipped = cursor + 1, skipped + 1
    mixed = [number for _, number in sorted(enumerate(order), key=lambda one: one[0] + rng.random() * cpus)]
    forks = [fork(number, 1, ts_ns=1000 * place) for place, (number, _) in enumerate(mixed)]
    allocation = Allocation(first - 1, lambda one: one.tid, lambda: pid_max, used.__contains__)
    tally = Tally()
    events = list(tally.passed(allocation.events(forks)))
    result = tally.result(None)
    seen_rounds = order[-1][1]
    assert (result.ids, result.wraps) == (ids, seen_rounds)
    assert sum(isinstance(event, Wrap) for event in events) == seen_rounds
    assert result.skipped_in_use == result.skipped <= skipped


def test_what_is_counted() -> None:
    tally = Tally()
    records = [fork(500, 1, ts_ns=1), thread(501, 500, ts_ns=2), fork(504, 1, ts_ns=3)]
    list(tally.passed(Allocation(499, lambda one: one.tid, lambda: None, None).events(records)))
    counts = dict(duration_ns=10**9, lost=0, kernel_forks=3)
    result = tally.result(counts)
    assert (result.ids, result.processes, result.threads) == (3, 2, 1)
    assert (result.gaps, result.skipped, result.skipped_in_use, result.complete) == (1, 2, None, True)
    assert not tally.result(counts | {"kernel_forks": 4}).complete and not tally.result(None).complete
    assert pids_text.summary_line(result).startswith(
        "3 ids in 1.00 s, 3.0 a second: 2 processes, 1 threads; 2 sk"
    )


# The counter


def test_the_counter_of_this_namespace() -> None:
    before = pid_numbers.read_counter()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    after = pid_numbers.read_counter()
    assert before.pid_max == int(Path("/proc/sys/kernel/pid_max").read_text())
    way, wrapped = pid_numbers.distance(before.last_pid or 0, after.last_pid or 0, after.pid_max or 0)
    to_child, _ = pid_numbers.distance(before.last_pid or 0, pid, after.pid_max or 0)
    assert 0 < to_child <= way and isinstance(wrapped, bool)


@pytest.mark.parametrize(
    ("before", "after", "way"), [(5, 5, 0), (5, 9, 4), (399, 300, 1), (398, 301, 3), (398, 300, 2)]
)
def test_the_way_of_the_counter(before: int, after: int, way: int) -> None:
    assert pid_numbers.distance(before, after, 400) == (way, after < before)


def test_the_rate_counts_what_is_forked_meanwhile() -> None:
    forked = []

    def told_to_end() -> bool:
        if forked:
            return True
        for _ in range(40):
            forked.append(subprocess.run(["/bin/true"], check=True))
        return False

    moved = pid_numbers.measure(60, told_to_end)
    assert moved.moved >= 40 and moved.tasks >= 40
    assert moved.duration_ns < 60 * 10**9


def test_how_long_an_id_lasts() -> None:
    moved = Moved(10**9, 100, 0, 100, Counter(1300, 899))
    assert pids.lifetimes(moved, RESERVED) == (4 * 10**9, 10 * 10**9)
    assert pids.lifetimes(moved._replace(moved=0), RESERVED) == (None, None)


def test_ids_in_use_are_those_of_all_threads_and_kept_groups() -> None:
    """A group and a session whose first process has ended keep their id."""
    found = snapshot(process(400, 1, pgid=350, sid=340), process(1, 0, pgid=0, sid=0))
    used = pids.usage(found, Counter(1000, 500))
    assert (used.processes, used.kept, used.first) == (2, 2, RESERVED)
    assert used.free == 700 - len({400, 350, 340}) or os.path.exists("/proc/400/task")
    assert pids.usage(found, Counter(1000, 7)).first == 1


def tasks() -> int:
    """How many there are (proc_loadavg(5))."""
    return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])


def test_ids_in_use_on_this_machine() -> None:
    """As many as the kernel counts tasks; different by no more than began and ended meanwhile."""
    if not host.in_initial_pid_namespace():
        pytest.skip("the kernel counts the tasks of all pid namespaces")
    before, begun = tasks(), host.forks_since_boot()
    report = pids.report(0.001)
    after, begun = tasks(), host.forks_since_boot() - begun
    ended = begun - (after - before)
    assert before - ended <= report.usage.threads <= before + begun
    assert report.pid_max == int(Path("/proc/sys/kernel/pid_max").read_text())
    assert report.threads_max == int(Path("/proc/sys/kernel/threads-max").read_text())
    assert report.pid_namespace == os.stat("/proc/self/ns/pid").st_ino


def test_an_id_in_use() -> None:
    assert pid_numbers.in_use(os.getpid()) and pid_numbers.in_use(1)
    assert not pid_numbers.in_use(1 << 29)
    leave = threading.Event()
    worker = threading.Thread(target=leave.wait)
    worker.start()
    assert pid_numbers.in_use(worker.native_id or 0)
    leave.set()
    worker.join()


# The command


def test_pids_as_json_and_for_people() -> None:
    command = [*KINTRO, "pids", "--json", "-i", "0.05"]
    document = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert document["type"] == "pids" and document["pid_max"] > document["last_pid"] > 0
    assert document["usage"]["processes"] <= document["usage"]["threads"]
    assert document["rate"]["duration_ns"] >= 50_000_000
    text = subprocess.run(command[:-3] + command[-2:], capture_output=True, check=True, text=True).stdout
    assert f"{document['pid_max']} (pid_max)" in text and "an id comes again after" in text


def test_pids_in_a_namespace_with_its_own_limit() -> None:
    """pid_max is per namespace since Linux 6.14; the counter has been for ever."""
    if os.geteuid() != 0:
        pytest.skip("unshare(2) of a pid namespace needs root")
    script = "echo 400 > /proc/sys/kernel/pid_max; echo; read line"
    argv = ["unshare", "-pf", "--mount-proc", "sh", "-c", script]
    limit = Path("/proc/sys/kernel/pid_max").read_text()
    if tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) < (6, 14):
        pytest.skip("pid_max is one for all namespaces on this kernel")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as outer:
        assert outer.stdout is not None and outer.stdin is not None
        outer.stdout.readline()
        found = pids.report(0.01)
        outer.stdin.close()
    assert Path("/proc/sys/kernel/pid_max").read_text() == limit
    [ours] = [one for one in found.namespaces if one.pid_max == 400]
    assert (ours.parent, ours.depth, ours.processes, ours.threads) == (found.pid_namespace, 1, 1, 1)
    assert ours.last_pid == 2  # the one that asked
    assert str(ours.namespace) in str(pids_text.namespaces(found.namespaces))


def test_a_fork_is_what_is_given_out() -> None:
    [event] = given_out([500], 499, 1000)
    assert isinstance(event, Given) and isinstance(event.fork, Fork)
    assert pids_text.event_json(event)["id"] == 500
    assert [cell.text for cell in pids_text.row(Gap(5, 3, 9, 7), 0)][
        -1
    ] == "skipped 3 to 9: 7, 7 of them in use"
