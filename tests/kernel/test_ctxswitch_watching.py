"""Context switches of what is there already, of one process, of one name, by interval."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kintro import switches

from .harness import DEADLINE_S, interrupt, json_lines, kintro, running, wait_for
from .switching import CPU, at_rest, counts_of, load, told, tracing_switches, whole

pytestmark = pytest.mark.kernel

ROUNDS = 1000


def test_a_process_that_is_there_already(tmp_path: Path) -> None:
    """Each line it is sent wakes it once."""
    turns = 37
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with running(["/bin/cat"], bufsize=0, **pipes) as cat:
        before = at_rest(cat.pid)[cat.pid]
        with tracing_switches(tmp_path / "account", "-p", str(cat.pid)) as tracer:
            for _ in range(turns):
                cat.stdin.write(b"x\n")
                assert cat.stdout.readline() == b"x\n"
                wait_for(lambda: counts_of(cat.pid, cat.pid)[0] == "S", "cat to read")
            after = at_rest(cat.pid)[cat.pid]
            summary = told(tmp_path / "account", tracer)
        cat.stdin.close()
    [task] = summary["tasks"]
    assert (task["pid"], task["tid"], task["comm"]) == (cat.pid, cat.pid, "cat")
    assert task["voluntary"] == after.voluntary - before.voluntary == turns
    assert task["involuntary"] == after.involuntary - before.involuntary
    assert task["runtime_ns"] == after.runtime_ns - before.runtime_ns
    assert task["on_cpu_ns"] + task["blocked_ns"] + task["runnable_ns"] == summary["duration_ns"]
    assert sum(by["count"] for by in task["woken_by"]) >= turns
    assert (summary["from_idle"], summary["kernel_switches"]) == (0, task["switches"])


@pytest.mark.parametrize("follow", [True, False])
def test_a_process_and_what_it_starts(tmp_path: Path, switcher: str, follow: bool) -> None:
    script = f"read line; {switcher} pingpong {CPU} {ROUNDS} </dev/null; echo; read line"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    output, options = tmp_path / "account", [] if follow else ["--no-follow"]
    with (
        running(["/bin/sh", "-c", script], bufsize=0, **pipes) as shell,
        tracing_switches(output, "-p", str(shell.pid), *options) as tracer,
    ):
        shell.stdin.write(b"\n")
        assert shell.stdout.readline() == b"ready\n"
        assert shell.stdout.readline() == b"\n"
        shell.stdin.close()
        assert tracer.wait(DEADLINE_S) == 0  # by itself: all have ended
    summary = whole(json_lines(output)[-1])
    comms = sorted(task["comm"] for task in summary["tasks"])
    assert comms == (["sh", "switcher", "switcher"] if follow else ["sh"])
    assert (summary["switches"] >= 2 * ROUNDS) is follow


def test_only_one_name_in_the_whole_system(tmp_path: Path, switcher: str) -> None:
    wanted = tmp_path / "wanted"
    shutil.copy(switcher, wanted)
    with (
        tracing_switches(tmp_path / "account", "--comm", "wanted") as tracer,
        load(switcher, "pingpong", "-1", str(ROUNDS)),
        load(wanted, "sleepers", "-1", "9") as it,
    ):
        kernels = at_rest(it.pid)
        summary = told(tmp_path / "account", tracer)
    assert {task["tid"] for task in summary["tasks"]} == set(kernels)
    for task in summary["tasks"]:
        if task["tid"] != it.pid:  # which had another name before its exec
            counts = kernels[task["tid"]]
            assert (task["voluntary"], task["involuntary"]) == counts[:2]


def test_a_thread_takes_its_leaders_place_by_exec(tmp_path: Path, workload: str) -> None:
    output = tmp_path / "account"
    done = kintro("ctxswitch", "--json", "-o", output, "--", workload, "threadexec")
    assert done.returncode == 0, done
    summary = whole(json_lines(output)[0])
    assert len({task["pid"] for task in summary["tasks"]}) == 1
    leaders = [task for task in summary["tasks"] if task["tid"] == task["pid"]]
    assert len(leaders) == 2  # the old one, which died in the exec, and the one in its place


def test_intervals_add_up(tmp_path: Path, switcher: str) -> None:
    output = tmp_path / "account"
    with tracing_switches(output) as tracer, load(switcher, "hogs", str(CPU), "300"):
        assert interrupt(tracer)[0] == 0
    *intervals, summary = json_lines(output)
    whole(summary)
    assert len(intervals) >= 2
    assert {(i["type"], i["complete"]) for i in intervals} == {("interval", None)}
    for name in ("switches", "voluntary", "involuntary"):
        assert sum(i[name] for i in intervals) <= summary[name]
    ends = [i["begin_ns"] + i["duration_ns"] for i in intervals]
    assert [i["begin_ns"] for i in intervals] == [summary["begin_ns"], *ends[:-1]]
    for interval in intervals:
        for cpu in interval["per_cpu"]:
            assert abs(cpu["busy_ns"] + cpu["idle_ns"] - interval["duration_ns"]) < 1e6


def test_every_cpu_has_its_line(tmp_path: Path) -> None:
    output = tmp_path / "account"
    assert kintro("ctxswitch", "--json", "-d", "0.2", "-o", output).returncode == 0
    summary = whole(json_lines(output)[0])
    assert [cpu["cpu"] for cpu in summary["per_cpu"]] == sorted(os.sched_getaffinity(0))
    assert 0 <= summary["idle_share"] <= 1


def test_wrong_usage() -> None:
    for words in (["-n", "0"], ["-i", "0.001"], ["--sort", "age"], ["--save", "x"]):
        assert kintro("ctxswitch", *words).returncode == 2


def test_a_process_of_python_threads_is_a_process(tmp_path: Path) -> None:
    """Each thread has a line, with the process's pid."""
    script = (
        "import threading as t, time; [t.Thread(target=time.sleep, args=(0.1,)).start() for _ in range(5)]"
    )
    output = tmp_path / "account"
    done = kintro("ctxswitch", "--json", "-o", output, "--", sys.executable, "-S", "-E", "-c", script)
    assert done.returncode == 0
    tasks = whole(json_lines(output)[0])["tasks"]
    assert len(tasks) == 6 and len({task["pid"] for task in tasks}) == 1
    assert sum(task["blocked_ns"] >= 0.09e9 for task in tasks) >= 5


def test_a_program_counts_by_itself(switcher: str) -> None:
    found = switches.count([switcher, "pingpong", str(CPU), str(ROUNDS)])
    assert found.complete and found.lost == 0
    assert [task.name.comm for task in found.tasks.values()] == [b"switcher"] * 2
    assert found.switches == found.kernel_switches >= 2 * ROUNDS
