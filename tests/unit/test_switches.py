"""Figures of context switches from what the probe adds up: differences, percentiles, views, JSON, table."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kintro.cli import ctxswitch
from kintro.observers import switches, switches_read, switches_text, switches_views
from kintro.observers.buckets import BUCKETS, bounds_ns, highest_ns, percentile_ns
from kintro.observers.switches import Reading, account, sort_key
from kintro.observers.switches_records import ASLEEP, DEAD, IDLE, SHOWN, USED, WANTED, Cpu, Name, Swaps, Task
from kintro.renderers import jsonl, terminal
from kintro.renderers.text import cells

A, B, ALIEN = 40, 41, 42  # slots
NAMES = {A: Name(1040, 1000, 5, b"cat"), B: Name(1041, 1000, 6, b"do\x1bg"), ALIEN: Name(7, 7, 1, b"other")}
COUNTERS = dict.fromkeys(
    ("untold", "unwoken", "tasks_lost", "pairs_lost", "missed", "wakings_missed", "left", "freed"), 0
)


def bucket_of(ns: int) -> int:
    return next(bucket for bucket in range(BUCKETS) if ns < (bounds_ns(bucket)[1] or 1 << 64))


def histogram(*durations_ns: int) -> list[int]:
    counts = Counter(map(bucket_of, durations_ns))
    return [counts[bucket] for bucket in range(BUCKETS)]


def task(slot: int = A, waits: tuple[int, ...] = (1000, 3000), **figures: Any) -> Task:
    made = Task(
        NAMES[slot],
        10,
        7,
        0,
        1,
        500,
        300,
        200,
        490,
        max(waits, default=0),
        100,
        histogram(*waits),
        histogram(100),
    )
    return made._replace(**figures)


def reading(ts_ns: int = 1000, **parts: Any) -> Reading:
    parts = {"tasks": {A: task()}, "names": NAMES, "counters": COUNTERS, **parts}
    return Reading(ts_ns, **parts)


CPUS = {0: Cpu(14, 14, 4, 600, 400), 1: Cpu(0, 0, 0, 0, 1000)}


def whole() -> switches.Account:
    pairs = {(A, IDLE): Swaps(7, 0), (IDLE, A): Swaps(0, 4), (A, B): Swaps(0, 3), (ALIEN, IDLE): Swaps(1, 0)}
    wakes = Counter({(A, IDLE): 2, (A, B): 5, (B, A): 1})
    return account(reading(cpus=CPUS, pairs=pairs, wakes=wakes), Reading(0), whole_system=True)


def test_the_whole_system() -> None:
    found = whole()
    assert (found.switches, found.kernel_switches, found.complete) == (14, 14, True)
    assert (found.voluntary, found.involuntary, found.from_idle) == (7, 3, 4)
    assert found.idle_share == pytest.approx(0.7)
    assert found.duration_ns == 1000


@pytest.mark.parametrize(
    ("change", "complete"),
    [
        ({"counters": {**COUNTERS, "tasks_lost": 1}}, False),
        ({"counters": {**COUNTERS, "missed": 1}}, False),
        ({"counters": {**COUNTERS, "wakings_missed": 1}}, True),
        ({"cpus": {0: Cpu(14, 15, 4, 600, 400)}}, False),
        ({"cpus": {0: Cpu(15, 15, 4, 600, 400)}}, False),
        ({"cpus": {0: Cpu(15, 15, 4, 600, 400)}, "counters": {**COUNTERS, "untold": 1}}, True),
        ({"cpus": {0: Cpu(14, None, 4, 600, 400)}}, None),
    ],
)
def test_whether_it_is_complete(change: dict[str, Any], complete: bool | None) -> None:
    found = account(reading(**{"cpus": CPUS, **change}), Reading(0), whole_system=True)
    assert found.complete is complete


def test_with_filters_the_tasks_are_what_counts() -> None:
    found = account(reading(cpus=CPUS), Reading(0), whole_system=False)
    assert (found.switches, found.kernel_switches, found.from_idle, found.complete) == (10, 10, 0, True)
    found = account(reading(cpus=CPUS, tasks={A: task(unseen=1)}), Reading(0), whole_system=False)
    assert (found.kernel_switches, found.complete) == (11, False)


def test_of_others_only_what_they_have_to_do_with_the_tasks() -> None:
    found = whole()
    assert set(found.pairs) == {(A, IDLE), (IDLE, A), (A, B)}
    assert switches.wakers(found) == {A: [(B, 5), (IDLE, 2)]}
    assert [pair for pair, _ in switches.frequent(found)] == [(A, IDLE), (IDLE, A), (A, B)]


def test_an_interval() -> None:
    later = task(switches=13, voluntary=9, waits=(1000, 3000, 2000), on_cpu_ns=900, wait_max_ns=3000)
    cpus = {0: Cpu(20, 20, 7, 900, 1100)}
    first = reading(cpus=CPUS, wakes=Counter({(A, B): 3}), pairs={(A, B): Swaps(1, 1)})
    last = reading(2000, cpus=cpus, tasks={A: later}, wakes=Counter({(A, B): 4}), pairs={(A, B): Swaps(1, 3)})
    found = account(last, first, whole_system=True, moving=True)
    [seen] = found.tasks.values()
    assert (seen.switches, seen.voluntary, seen.on_cpu_ns, sum(seen.waits)) == (3, 2, 400, 1)
    assert seen.wait_max_ns == bounds_ns(bucket_of(2000))[1]
    assert found.cpus == {0: Cpu(6, 6, 3, 300, 700)}
    assert (found.pairs, found.wakes) == ({(A, B): Swaps(0, 2)}, {(A, B): 1})
    assert (found.begin_ns, found.duration_ns, found.complete) == (1000, 1000, None)


def test_a_task_that_did_nothing_is_left_out() -> None:
    assert account(reading(), reading(), whole_system=True).tasks == {}


@given(st.lists(st.integers(0, 1 << 40), min_size=1))
def test_percentiles_lie_between_the_extremes(durations_ns: list[int]) -> None:
    buckets, low, high = histogram(*durations_ns), min(durations_ns), max(durations_ns)
    found = [percentile_ns(buckets, part, low, high) for part in (0.01, 0.5, 0.99, 1)]
    assert low <= found[0] <= found[1] <= found[2] <= found[3] == high
    assert max(durations_ns) <= highest_ns(buckets, high) <= high


def test_nothing_has_no_percentile() -> None:
    assert percentile_ns(histogram(), 0.5, 0, 0) is None and highest_ns(histogram(), 5) is None


def test_orders() -> None:
    first, second = task(on_cpu_ns=900, switches=3, voluntary=3), task(B, on_cpu_ns=10, runnable_ns=999)
    for by, order in {"on-cpu": [A, B], "switches": [B, A], "waiting": [B, A], "name": [A, B]}.items():
        found = sorted([(A, first), (B, second)], key=lambda item: sort_key(by)(item[1]))
        assert [slot for slot, _ in found] == order
    assert ctxswitch.SORTS == switches.SORTS


# What the probe's records become


def row(**figures: int) -> Any:
    names = ("in_ns", "out_ns", "woken_ns", "on_cpu_ns", "blocked_ns", "runnable_ns", "slept_ns", "waited_ns")
    names += ("switches", "voluntary", "unseen", "migrations", "used_ns", "wait_max_ns", "slice_max_ns")
    shape = [(name, np.uint64) for name in (*names, "flags", "cpu")]
    made = np.zeros(1, [*shape, ("waits", np.uint32, BUCKETS), ("slices", np.uint32, BUCKETS)])
    for name, value in figures.items():
        made[name] = value
    return made[0]


def test_a_name_that_was_written_over_a_longer_one() -> None:
    """As Linux 6.1 leaves it at an exec."""
    record = np.zeros(
        1, [("comm", "S16"), ("flags", np.uint32), ("tid", int), ("tgid", int), ("start_ns", int)]
    )
    record["comm"], record["flags"] = b"sh\0tro", DEAD
    assert switches_read._name(record[0]) == Name(0, 0, 0, b"sh")


LIVE = USED | WANTED | SHOWN


@pytest.mark.parametrize(
    ("figures", "cpu", "times"),
    [
        ({"in_ns": 700, "slept_ns": 20, "waited_ns": 5}, 0, (310, 40, 15)),
        ({"out_ns": 700, "flags": LIVE | ASLEEP}, None, (10, 320, 10)),
        ({"out_ns": 700, "woken_ns": 600, "flags": LIVE | ASLEEP}, None, (10, 320, 10)),
        ({"out_ns": 700, "woken_ns": 900, "flags": LIVE | ASLEEP}, None, (10, 220, 110)),
        ({"out_ns": 700, "woken_ns": 1005, "flags": LIVE | ASLEEP}, None, (10, 320, 10)),
        ({"out_ns": 700}, None, (10, 20, 310)),
        ({"out_ns": 700, "flags": LIVE | DEAD}, None, (10, 20, 10)),
        ({"out_ns": 700, "flags": USED | SHOWN}, None, (10, 20, 10)),
    ],
)
def test_what_a_task_does_at_the_end_counts_until_then(
    figures: dict[str, int], cpu: int | None, times: tuple[int, int, int]
) -> None:
    figures = {"flags": LIVE, "on_cpu_ns": 10, "blocked_ns": 20, "runnable_ns": 10, **figures}
    found = switches_read.task_of(row(**figures), NAMES[A], cpu, 1000)
    assert (found.on_cpu_ns, found.blocked_ns, found.runnable_ns) == times


@pytest.mark.parametrize(("before", "moved"), [(0, 0), (1, 1), (2, 0)])
def test_a_turn_on_another_cpu_is_a_migration(before: int, moved: int) -> None:
    assert switches_read.task_of(row(flags=LIVE, cpu=before), NAMES[A], 1, 1000).migrations == moved


# How it is shown


def test_json() -> None:
    found = whole()
    told = json.loads(jsonl.line(switches_text.as_json(found, list(found.tasks.items()), None)))
    wanted = "type duration_ns cpus switches kernel_switches voluntary involuntary lost complete tasks pairs"
    assert {*wanted.split(), "per_cpu"} <= told.keys()
    [one] = told["tasks"]
    assert (one["comm"], one["tid"], one["pid"], one["involuntary"]) == ("cat", 1040, 1000, 3)
    assert one["run_queue_max_ns"] == 3000 and one["woken_by"][0]["count"] == 5
    assert told["pairs"][0]["prev"] == {"tid": 1040, "comm": "cat"}
    assert told["pairs"][0]["next"] == {"tid": 0, "comm": "swapper"}
    assert [cpu["busy_ns"] + cpu["idle_ns"] for cpu in told["per_cpu"]] == [1000, 1000]
    assert sum(bucket["count"] for bucket in told["run_queue"]) == 2


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_lines_fit(width: int) -> None:
    found, columns = whole(), switches_text.columns(width)
    assert {"VOL", "INVOL"} <= {column.title for column in columns}
    rows = [switches_text.row(task(B), switches_text.waker_text(found, [(B, 12345), (IDLE, 3)]), columns)]
    for line in terminal.lines(columns, rows, width, colour=False):
        assert cells(line) <= width and "\x1b" not in line
    columns = switches_views.PAIR_COLUMNS
    assert all(
        cells(line) <= 80 for line in terminal.lines(columns, switches_views.pair_rows(found, 9), 80, False)
    )
    names = {A: NAMES[A]._replace(comm="kworker/u8:1-events_freezable_中文".encode(), tid=4123456)}
    many = found._replace(names=found.names | names, pairs={(A, IDLE): Swaps(10**6, 1)})
    assert all(cells(line) <= 40 for line in switches_views.heat_map(many, 40))
    assert max(cells(line) for line in switches_views.heat_map(many)) <= 80
    for sentence in switches_text.summary_lines(many):
        lines = terminal.sentence(sentence, 40)
        assert max(map(len, lines)) <= 40 and " ".join(lines) == sentence
        assert terminal.sentence(sentence, None) == [sentence]


def test_a_long_name_leaves_room_for_the_tid() -> None:
    named = NAMES[A]._replace(comm=b"kworker/u8:1-kvfree_rcu_reclaim")
    found = whole()._replace(names={A: named})
    assert switches_text.who(found, A) == "kworker/u8:1-kvfree_rcu_reclaim 1040"
    assert switches_text.who(found, A, 23) == "kworker/u8:1-kvfr… 1040"
    assert [row[0].text for row in switches_views.pair_rows(found, 1)] == ["kworker/u8:1-kvfr… 1040"]


def test_an_idle_task_leaves_neither_voluntarily_nor_involuntarily() -> None:
    found = whole()
    rows = [[cell.text for cell in row] for row in switches_views.pair_rows(found, 9)]
    assert rows[0][2:] == ["7", "7", ""] and rows[1] == ["idle", "cat 1040", "4", "", ""]
    pairs = {
        (pair["prev"]["tid"], pair["next"]["tid"]): (pair["count"], pair["voluntary"], pair["involuntary"])
        for pair in switches_text.as_json(found, [], None)["pairs"]
    }
    assert pairs == {(1040, 0): (7, 7, 0), (0, 1040): (4, 0, 0), (1040, 1041): (3, 0, 3)}
    assert sum(voluntary for _, voluntary, _ in pairs.values()) == found.voluntary
    assert sum(involuntary for _, _, involuntary in pairs.values()) == found.involuntary


def test_tables_say_what_they_leave_out() -> None:
    assert switches_text.left_out(1, "task") == ["and 1 more task"]
    assert switches_text.left_out(12, "pair") == ["and 12 more pairs"]
    assert switches_text.left_out(0, "CPU") == switches_text.left_out(-19, "task") == []
    busiest = {number: Cpu(number, number, 0, 1, 1) for number in range(40)}
    rows = switches_text.cpu_rows(whole()._replace(cpus=busiest))
    assert [row[0].text for row in rows] == [str(number) for number in range(24, 40)]


def test_an_interval_says_when_it_was() -> None:
    found = whole()._replace(begin_ns=3 * 10**9, duration_ns=10**9)
    assert switches_text.when(found, 10**9, "interval") == "from 2.00 s to 3.00 s:"
    assert switches_text.when(found, 10**9, "summary") == "in all:"


def test_the_summary_says_what_is_missing() -> None:
    found = whole()
    assert "14 switches of 1 task in 1.00 µs" in switches_text.summary_lines(found)[0]
    assert switches_text.summary_lines(found)[0].endswith("lost 0; complete")
    short = found._replace(cpus={0: Cpu(14, 15, 4, 600, 400)})
    assert "INCOMPLETE (the kernel counted 15)" in switches_text.summary_lines(short)[0]
    untold = found._replace(untold=2)
    assert "did not tell of 2 switches; made up for" in switches_text.summary_lines(untold)[1]
    untold = untold._replace(whole_system=False)
    assert "did not tell of 2 switches on all CPUs; made up for" in switches_text.summary_lines(untold)[1]
    assert "nobody told of 1 wake-up;" in switches_text.summary_lines(found._replace(untold_wakings=1))[1]


def test_a_heat_map() -> None:
    pairs = {(A, IDLE): Swaps(700, 0), (IDLE, A): Swaps(0, 80), (A, B): Swaps(0, 10), (B, IDLE): Swaps(1, 0)}
    assert list(switches_views.heat_map(whole()._replace(pairs=pairs))) == [
        "  a b c",
        "a   ██▒▒ cat 1040",
        "b ▓▓     idle",
        "c   ░░   do\\x1bg 1041",
        "row made way for column: █ up to 700 times, ▓ 1/8, ▒ 1/64, ░ 1/512 of it",
    ]
    assert list(switches_views.heat_map(whole()._replace(pairs={}))) == []


def test_a_histogram() -> None:
    lines = list(switches_views.histogram("waits", histogram(*[1000] * 8, 9000, 9000)))
    assert lines[0].startswith("waits: 10; p50 ")
    assert [line.split()[-2:] for line in (lines[1], lines[-1])] == [["8", "█" * 40], ["2", "█" * 10]]
    assert list(switches_views.histogram("waits", histogram())) == ["waits: none"]
