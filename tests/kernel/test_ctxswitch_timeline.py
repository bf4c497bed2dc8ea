"""Timelines of context switches: other programs find in them what the account of the same run says."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from trace_processor import query

from .harness import DEADLINE_S, environment, json_lines, kintro
from .switching import CPU, at_rest, load, told, tracing_switches, whole

pytestmark = pytest.mark.kernel

ROUNDS = 2000
Row = dict[str, Any]
# Of each thread that has had a CPU: the turns that a switch ended, and the time of all. One that goes on at
# the end is told as preempted (R+) there; a switch in the very last moment, which is the end, seldom is.
TASKS = """
select tid, coalesce(pid, 0) as pid, sum(dur) as on_cpu_ns,
    sum(sched.ts + dur < {end_ns} or end_state != 'R+') as switches,
    max(end_state) as end_state
from sched join thread using (utid) left join process using (upid)
where tid != 0 and dur >= 0 group by utid
"""
# The idle task's last turn is the one without an end: after the trace.
TURNS = "select cpu, ts, dur, tid from sched join thread using (utid) where dur >= 0 order by cpu, ts"
WAKINGS = """
select count(*) as number from thread_state where state = 'R' and waker_utid in
    (select utid from thread where tid = {waker}) and utid in (select utid from thread where tid = {woken})
"""


def of(summary: Row) -> tuple[int, int]:
    return summary["begin_ns"], summary["begin_ns"] + summary["duration_ns"]


def figures(tasks: Iterable[Row]) -> Counter[tuple[int, ...]]:
    """tid, pid, switches and time of each task that has had a CPU."""
    names = ("tid", "pid", "switches", "on_cpu_ns")
    return Counter(tuple(task[name] for name in names) for task in tasks if task["on_cpu_ns"])


def assert_figures(found: Counter[tuple[int, ...]], summary: Row) -> None:
    """They are those of the account, also where the tracepoint did not tell of a switch."""
    wanted = figures(summary["tasks"])
    assert found == wanted, (summary["untold"], wanted - found, found - wanted)


def assert_lanes(turns: Sequence[Row], summary: Row) -> None:
    """Each CPU has one turn at a time, within the trace, and is busy for as long as the account says."""
    begin_ns, end_ns = of(summary)
    by_cpu = defaultdict(list)
    for turn in turns:
        by_cpu[turn["cpu"]].append(turn)
    assert by_cpu.keys() <= {cpu["cpu"] for cpu in summary["per_cpu"]}
    for cpu in summary["per_cpu"]:
        lane = by_cpu[cpu["cpu"]]
        assert all(turn["dur"] >= 0 for turn in lane)
        assert all(a["ts"] + a["dur"] <= b["ts"] for a, b in itertools.pairwise(lane))
        if lane:
            assert begin_ns <= lane[0]["ts"] and lane[-1]["ts"] + lane[-1]["dur"] <= end_ns
        assert sum(turn["dur"] for turn in lane if turn["tid"]) == cpu["busy_ns"]


def assert_perfetto_agrees(summary: Row, trace: bytes) -> None:
    _, end_ns = of(summary)
    tasks, turns = query(trace, TASKS.format(end_ns=end_ns), TURNS)
    assert_figures(figures(tasks), summary)
    assert_lanes(turns, summary)
    for cpu in summary["per_cpu"]:  # here the idle task has turns as well: nothing is missing between them
        lane = [turn for turn in turns if turn["cpu"] == cpu["cpu"]]
        assert all(a["ts"] + a["dur"] == b["ts"] for a, b in itertools.pairwise(lane))


def test_perfetto_finds_what_the_account_says(tmp_path: Path, switcher: str) -> None:
    """Of all tasks of the system, to the nanosecond."""
    output, timeline = tmp_path / "account", tmp_path / "timeline.pftrace"
    with (
        tracing_switches(output, "--timeline", str(timeline)) as tracer,
        load(switcher, "pingpong", str(CPU), str(ROUNDS)) as it,
        load(switcher, "hogs", str(CPU), "100"),
        load(switcher, "sleepers", "-1", "20"),
    ):
        one, other = at_rest(it.pid)
        summary = told(output, tracer)
    trace = timeline.read_bytes()
    assert_perfetto_agrees(summary, trace)
    assert {task["tid"] for task in summary["tasks"]} >= {one, other}
    for waker, woken in ((one, other), (other, one)):
        [[wakings]] = query(trace, WAKINGS.format(waker=waker, woken=woken))
        [task] = [task for task in summary["tasks"] if task["tid"] == woken]
        [counted] = [by["count"] for by in task["woken_by"] if by["tid"] == waker]
        # Who is woken when it is about to sleep, and has not left its CPU yet, is not waiting.
        assert ROUNDS // 10 <= wakings["number"] <= counted


def test_perfetto_finds_a_commands_tasks(tmp_path: Path, switcher: str) -> None:
    """Its first task has begun before its exec, from which on it counts: the trace has more of it."""
    account, timeline = tmp_path / "account", tmp_path / "timeline.pftrace"
    options = ["--json", "-o", account, "--timeline", timeline]
    done = kintro("ctxswitch", *options, "--", switcher, "pingpong", str(CPU), str(ROUNDS))
    assert done.returncode == 0, done
    summary = whole(json_lines(account)[-1])
    [tasks] = query(timeline.read_bytes(), TASKS.format(end_ns=of(summary)[1]))
    seen = figures(tasks)
    first, *others = sorted(summary["tasks"], key=lambda task: task["start_time_ns"])
    assert len(others) == 1 and figures(others) <= seen
    [in_trace] = [task for task in tasks if task["tid"] == first["tid"]]
    assert in_trace["switches"] >= first["switches"] and in_trace["on_cpu_ns"] > first["on_cpu_ns"]
    assert len(seen) > 2  # who else ran meanwhile


def test_threads_that_outlive_the_first_of_their_process(tmp_path: Path, switcher: str) -> None:
    """To the end they are its threads."""
    account, timeline = tmp_path / "account", tmp_path / "timeline.pftrace"
    options = ["--json", "-o", account, "--timeline", timeline]
    done = kintro("ctxswitch", *options, "--", switcher, "survivors", "-1", "20")
    assert done.returncode == 0, done
    summary = whole(json_lines(account)[-1])
    [tasks] = query(timeline.read_bytes(), TASKS.format(end_ns=of(summary)[1]))
    first, *others = sorted(summary["tasks"], key=lambda task: task["start_time_ns"])
    assert len(others) == 20 and {task["pid"] for task in others} == {first["tid"]}
    assert figures(others) <= figures(tasks)


AGAIN = """
import os, sys, time
pids = []
for _ in range(3000):
    if pids:
        open("/proc/sys/kernel/ns_last_pid", "w").write(str(pids[-1] - 1))
    pid = os.fork()
    if not pid:
        time.sleep(0.001)
        os._exit(0)
    os.waitpid(pid, 0)
    pids.append(pid)
    if pids.count(pid) == 10:
        break
print(pid, pids.count(pid))
"""


def test_a_tid_that_is_used_again_is_another_task(tmp_path: Path) -> None:
    account, timeline = tmp_path / "account", tmp_path / "timeline.pftrace"
    options = ["--json", "-o", account, "--timeline", timeline, "--as-root"]
    done = kintro("ctxswitch", *options, "--", sys.executable, "-S", "-E", "-c", AGAIN)
    assert done.returncode == 0, done
    wanted, times = map(int, done.stdout.split())
    assert times == 10
    summary = whole(json_lines(account)[-1])
    [tasks] = query(timeline.read_bytes(), TASKS.format(end_ns=of(summary)[1]))
    ours = [task for task in summary["tasks"] if task["tid"] == wanted]
    again = [task for task in tasks if task["tid"] == wanted]
    assert len(ours) == 10 == len({task["start_time_ns"] for task in ours})
    found, counted = (
        Counter((t["pid"], t["switches"], t["on_cpu_ns"]) for t in part) for part in (again, ours)
    )
    assert counted <= found  # others may have had that tid meanwhile


def test_chromes_trace_events(tmp_path: Path, switcher: str) -> None:
    output, timeline = tmp_path / "account", tmp_path / "timeline.json"
    with (
        tracing_switches(output, "--timeline", str(timeline)) as tracer,
        load(switcher, "pingpong", str(CPU), str(ROUNDS)) as it,
        load(switcher, "hogs", str(CPU), "100"),
    ):
        one, other = at_rest(it.pid)
        summary = told(output, tracer)
    events = json.loads(timeline.read_bytes())["traceEvents"]
    lanes = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert lanes == {cpu["cpu"]: f"CPU {cpu['cpu']}" for cpu in summary["per_cpu"]}
    turns = [
        {
            "cpu": event["tid"],
            "ts": of(summary)[0] + round(event["ts"] * 1000),
            "dur": round(event["dur"] * 1000),
            "tid": event["args"]["tid"],
        }
        for event in events
        if event["ph"] == "X"
    ]
    turns.sort(key=lambda turn: (turn["cpu"], turn["ts"]))
    assert_lanes(turns, summary)
    times: Counter[int] = Counter()
    for turn in turns:
        times[turn["tid"]] += turn["dur"]
    wanted: Counter[int] = Counter()
    for task in summary["tasks"]:
        wanted[task["tid"]] += task["on_cpu_ns"]
    assert +times == +wanted
    assert_arrows(events)
    begun = {(e["tid"], e["ts"]): e["args"]["tid"] for e in events if e["ph"] == "X"}
    woken = Counter(begun[e["tid"], e["ts"]] for e in events if e["ph"] == "f")
    tasks = {task["tid"]: task for task in summary["tasks"]}
    for tid in (one, other):
        assert ROUNDS // 10 <= woken[tid] <= sum(by["count"] for by in tasks[tid]["woken_by"])


def assert_arrows(events: Sequence[Row]) -> None:
    """Each begins once, ends once, not before it has begun, and where a turn begins."""
    ends = {phase: {e["id"]: e for e in events if e["ph"] == phase} for phase in ("s", "f")}
    assert ends["s"].keys() == ends["f"].keys() and len(ends["s"]) > 10
    assert sum(e["ph"] in ("s", "f") for e in events) == 2 * len(ends["s"])
    assert all(arrow["ts"] <= ends["f"][number]["ts"] for number, arrow in ends["s"].items())
    begun = {(e["tid"], e["ts"]) for e in events if e["ph"] == "X"}
    assert {(e["tid"], e["ts"]) for e in ends["f"].values()} <= begun


@pytest.mark.parametrize("name", ["trace", "trace.txt", "trace.pftrace.gz", "pftrace"])
def test_a_timeline_of_no_known_kind(tmp_path: Path, name: str) -> None:
    done = kintro("ctxswitch", "--timeline", tmp_path / name, "--", "true")
    assert done.returncode == 2 and b".pftrace or .json or .html" in done.stderr
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("ending", [".pftrace", ".json", ".html"])
def test_a_timeline_that_cannot_be_written(tmp_path: Path, ending: str) -> None:
    assert kintro("ctxswitch", "--timeline", tmp_path / "no" / f"t{ending}", "--", "true").returncode == 74
    full = tmp_path / f"full{ending}"
    full.symlink_to("/dev/full")
    done = kintro("ctxswitch", "--timeline", full, "--", "true")
    assert (done.returncode, b"Traceback" in done.stderr) == (74, False)
    assert b"full" in done.stderr and b"switches of" in done.stdout


WITHOUT_PERFETTO = """
import subprocess
import sys
from kintro.cli import main
sys.modules["perfetto"] = None
sys.exit(main(sys.argv[1:]))
"""


def test_without_the_package_no_command_begins(tmp_path: Path) -> None:
    words = ["ctxswitch", "--timeline", tmp_path / "t.pftrace", "--", "touch", tmp_path / "begun"]
    program = [sys.executable, "-c", WITHOUT_PERFETTO, *words]
    done = subprocess.run(program, stderr=subprocess.PIPE, timeout=DEADLINE_S, env=environment())
    assert done.returncode == 69 and b"package perfetto" in done.stderr
    assert not (tmp_path / "begun").exists()
