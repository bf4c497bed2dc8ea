"""The account of context switches against what the kernel itself counted: every task, every switch."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .harness import DEADLINE_S, environment, json_lines, kintro, running, wait_for
from .switching import (
    CPU,
    assert_counts,
    assert_times,
    at_rest,
    bracket,
    counts_of,
    load,
    sampling,
    stolen_ticks,
    swaps,
    tasks_below,
    told,
    tracing_switches,
    whole,
)

pytestmark = pytest.mark.kernel

ROUNDS = 5000


def test_a_pinned_ping_pong(tmp_path: Path, switcher: str) -> None:
    with (
        tracing_switches(tmp_path / "account") as tracer,
        load(switcher, "pingpong", str(CPU), str(ROUNDS)) as it,
    ):
        kernels = at_rest(it.pid)
        summary = told(tmp_path / "account", tracer)
    tasks = assert_counts(summary, kernels)
    one, other = kernels
    # Whoever is preempted by the one it woke finds its answer there and need not sleep.
    assert all(counts.voluntary + counts.involuntary >= ROUNDS for counts in kernels.values())
    assert tasks[other]["migrations"] == 0
    assert min(sum(swaps(summary, one, other)), sum(swaps(summary, other, one))) > ROUNDS // 10
    for woken, waker in ((one, other), (other, one)):
        wakes = {by["tid"]: by["count"] for by in tasks[woken]["woken_by"]}
        assert ROUNDS // 10 <= wakes[waker] <= ROUNDS + 1


def test_two_hogs_on_one_cpu(tmp_path: Path, switcher: str) -> None:
    before = stolen_ticks()
    with tracing_switches(tmp_path / "account") as tracer, load(switcher, "hogs", str(CPU), "400") as it:
        kernels = at_rest(it.pid)
        summary = told(tmp_path / "account", tracer)
    tasks = assert_counts(summary, kernels)
    assert_times(tasks, kernels, stolen_ticks() - before)
    one, other = kernels
    assert swaps(summary, one, other)[1] >= 10 and swaps(summary, other, one)[1] >= 10
    for tid, counts in kernels.items():
        task = tasks[tid]
        assert counts.involuntary >= 20 and counts.runtime_ns >= 0.39e9
        assert task["runnable_ns"] >= 0.2e9  # the other's turns
        assert task["slice_p99_ns"] <= task["slice_max_ns"] <= task["on_cpu_ns"]
    assert sum(tasks[tid]["on_cpu_ns"] for tid in kernels) <= summary["per_cpu"][CPU]["busy_ns"]


def test_two_hundred_sleepers(tmp_path: Path, switcher: str) -> None:
    with tracing_switches(tmp_path / "account") as tracer, load(switcher, "sleepers", "-1", "200") as it:
        kernels = at_rest(it.pid)
        summary = told(tmp_path / "account", tracer)
    tasks = assert_counts(summary, kernels)
    assert len(kernels) == 201
    assert {tasks[tid]["pid"] for tid in kernels} == {it.pid}
    assert all(counts.voluntary >= 6 for tid, counts in kernels.items() if tid != it.pid)
    assert all(tasks[tid]["blocked_ns"] >= 5e6 for tid in kernels if tid != it.pid)


@pytest.mark.skipif(not {0, CPU} <= os.sched_getaffinity(0) or CPU == 0, reason="takes two CPUs")
def test_each_migration(tmp_path: Path, switcher: str) -> None:
    with tracing_switches(tmp_path / "account") as tracer, load(switcher, "moves", str(CPU), "100") as it:
        kernels = at_rest(it.pid)
        tasks = assert_counts(told(tmp_path / "account", tracer), kernels)
    _, child = kernels
    assert tasks[child]["migrations"] == 100


def test_signals_that_keep_a_task_from_sleeping(tmp_path: Path, switcher: str) -> None:
    with tracing_switches(tmp_path / "account") as tracer, load(switcher, "signals", "-1", "5000") as it:
        kernels = at_rest(it.pid)
        assert_counts(told(tmp_path / "account", tracer), kernels)


def test_stress_ng(tmp_path: Path) -> None:
    """All its processes are stopped before the trace ends, and their counts are then read."""
    path = shutil.which("stress-ng")
    if path is None:
        pytest.skip("stress-ng is not installed")
    stress = [path, "--switch", "2", "--timeout", "60", "--quiet"]
    with tracing_switches(tmp_path / "account") as tracer, running(stress, start_new_session=True) as it:
        workers = wait_for(lambda: len(tasks_below(it.pid)) >= 5 and tasks_below(it.pid), "the stressors")
        busy = [pid for pid, _ in workers[1:]]
        wait_for(lambda: sum(counts_of(pid, pid)[1].voluntary > 10_000 for pid in busy) >= 2, "switches")
        for pid, _ in workers:
            os.kill(pid, signal.SIGSTOP)
        try:
            kernels = at_rest(it.pid)
            summary = told(tmp_path / "account", tracer)
        finally:
            for pid, _ in reversed(workers):
                os.kill(pid, signal.SIGKILL)
    assert len(kernels) >= 5
    assert_counts(summary, kernels)


def test_the_whole_system_against_proc_stat(tmp_path: Path, switcher: str) -> None:
    with (
        sampling() as samples,
        tracing_switches(tmp_path / "account") as tracer,
        load(switcher, "pingpong", str(CPU), str(ROUNDS)) as it,
    ):
        at_rest(it.pid)
        summary = told(tmp_path / "account", tracer)
    begin_ns = summary["begin_ns"]
    least, most = bracket(samples, begin_ns, begin_ns + summary["duration_ns"])
    assert least <= summary["switches"] <= most
    assert summary["switches"] >= 2 * ROUNDS


def test_all_time_of_what_was_there_all_the_time(tmp_path: Path, switcher: str) -> None:
    """A task that lived before and after the trace ran, was blocked or waited at each moment of it."""
    with load(switcher, "sleepers", "-1", "20"), tracing_switches(tmp_path / "account") as tracer:
        summary = told(tmp_path / "account", tracer)
    lasting = [task for task in summary["tasks"] if os.path.exists(f"/proc/{task['tid']}")]
    born_before = [task for task in lasting if task["start_time_ns"] < summary["begin_ns"]]
    assert len(born_before) >= 2
    for task in born_before:
        assert task["on_cpu_ns"] + task["blocked_ns"] + task["runnable_ns"] == summary["duration_ns"]


def test_a_command(tmp_path: Path, switcher: str) -> None:
    """What it did before its exec is not its own."""
    output = tmp_path / "account"
    done = kintro("ctxswitch", "--json", "-o", output, "--", switcher, "pingpong", str(CPU), str(ROUNDS))
    assert done.returncode == 0, done
    summary = whole(json_lines(output)[0])
    assert [task["comm"] for task in summary["tasks"]] == ["switcher"] * 2
    assert all(ROUNDS <= task["switches"] <= ROUNDS + 100 for task in summary["tasks"])
    tids = {task["tid"] for task in summary["tasks"]}
    assert all(tids & {pair["prev"]["tid"], pair["next"]["tid"]} for pair in summary["pairs"])


def test_a_command_that_fails(tmp_path: Path) -> None:
    assert kintro("ctxswitch", "--", "/nonexistent").returncode == 127
    assert kintro("ctxswitch", "--", "sh", "-c", "exit 3").returncode == 3


WITHOUT_INDEX = """
import sys
from kintro.observers import switches_read
from kintro.cli import main
switches_read.TID_INDEX_MAX = 0
sys.exit(main(sys.argv[1:]))
"""
FEW = """
import sys
from kintro.observers import switches_read
from kintro.cli import main
switches_read.TASKS, switches_read.TASKS_PER_CPU = 96, 0
sys.exit(main(sys.argv[1:]))
"""


def with_program(program: str, *words: str | Path) -> None:
    command = [sys.executable, "-c", program, "ctxswitch", "--json", *map(str, words)]
    subprocess.run(command, check=True, timeout=DEADLINE_S, env=environment())


def test_tasks_in_a_hash_where_there_are_too_many_tids(tmp_path: Path, switcher: str) -> None:
    output = tmp_path / "account"
    with_program(WITHOUT_INDEX, "-o", output, "--", switcher, "sleepers", "-1", "200")
    summary = whole(json_lines(output)[0])
    assert len(summary["tasks"]) == 201


def test_more_tasks_than_there_is_room_for(tmp_path: Path, switcher: str) -> None:
    """All switches are counted all the same, but not by task."""
    output = tmp_path / "account"
    with load(switcher, "sleepers", "-1", "200"):
        with_program(FEW, "-o", output, "-d", "0.3")
        with_program(FEW, "-o", output, "--", switcher, "sleepers", "-1", "200")
    summary = json_lines(output)[0]
    assert summary["lost"] > 0 and summary["complete"] is False
    assert len(summary["tasks"]) < 96


def test_a_table_for_people(switcher: str) -> None:
    words = ("--sort", "switches", "-n", "1", "--", switcher, "pingpong", str(CPU), str(ROUNDS))
    lines = kintro("ctxswitch", *words).stdout.decode().splitlines()
    assert "switcher" in lines[2] and lines[3] == "and 1 more task"
    assert any("lost 0; complete" in line for line in lines)


def test_views_for_people(switcher: str) -> None:
    words = ("--matrix", "--latency", "--slices", "--off-cpu", "--", switcher, "hogs", str(CPU), "100")
    lines = kintro("ctxswitch", *words).stdout.decode().splitlines()
    assert sum(line.startswith("switcher") and line.count("switcher") == 2 for line in lines) == 2
    for title in ("waits for a CPU: ", "turns on a CPU: ", "blocked: "):
        assert sum(line.startswith(title) for line in lines) == 1
    assert any("█" in line for line in lines)
    first = kintro("ctxswitch", "-n", "1", *words).stdout.decode().splitlines()
    assert first[3].startswith("and ") and first[3].endswith(" more pairs")
