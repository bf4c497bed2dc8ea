"""The account of system calls of what is there already, of the whole system, by process and by interval."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .calls import PROCESSES, ROUNDS, STORM, STORM_ROUNDS, THREADS, Account, account
from .harness import DEADLINE_S, KINTRO, interrupt, json_lines, kintro, running, wait_for

pytestmark = pytest.mark.kernel

X86 = os.uname().machine == "x86_64"


def test_each_process_for_itself(tmp_path: Path, workload: str) -> None:
    output = tmp_path / "account.json"
    done = kintro("syscalls", "--by", "process", "--json", "-o", output, "--", workload, *STORM)
    assert done.returncode == 0
    [summary] = json_lines(output)
    Account(summary).assert_whole()
    calls = [call for call in summary["syscalls"] if call["name"] == "getppid"]
    assert [call["calls"] for call in calls] == [2 * THREADS * ROUNDS] * PROCESSES
    errors = [call["errno"] for call in summary["syscalls"] if call["name"] == "lseek"]
    assert errors == [{"ESPIPE": THREADS * ROUNDS}] * PROCESSES
    for process in summary["processes"]:
        own = [call["calls"] for call in summary["syscalls"] if call["pid"] == process["pid"]]
        assert sum(own) == process["calls"]


@contextmanager
def watching(output: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """`kintro syscalls -i 0.1 --json OPTIONS …` from its first interval on."""
    command = [KINTRO, "syscalls", "-i", "0.1", "--json", "-o", output, *options]
    with running(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        wait_for(lambda: output.exists() and b"\n" in output.read_bytes(), "the first interval")
        yield process


def test_a_process_that_is_there_already(tmp_path: Path, workload: str) -> None:
    output, turns = tmp_path / "account.jsonl", 37
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with running([workload, "turns"], bufsize=0, **pipes) as worker:
        with watching(output, "-p", str(worker.pid)) as tracer:
            for _ in range(turns):
                worker.stdin.write(b"x")
                assert worker.stdout.read(1) == b"x"
            # It waits in the next read before the trace ends.
            state = Path(f"/proc/{worker.pid}/syscall")
            wait_for(lambda: state.read_text().startswith("0 ") if X86 else True, "the worker to read")
            assert interrupt(tracer)[0] == 0
        worker.stdin.close()
    *intervals, summary = json_lines(output)
    seen = Account(summary)
    assert summary["type"] == "summary" and {i["type"] for i in intervals} == {"interval"}
    assert seen.figures("getppid") == (10 * turns, 0, {})
    assert seen.figures("write") == (turns, 0, {})
    assert seen.figures("read") == (turns, 1, {})  # the first had begun before, the last goes on
    assert (summary["early"], summary["lost"], summary["complete"]) == (1, 0, True)
    [process] = summary["processes"]
    assert process["pid"] == worker.pid
    assert 0 <= summary["duration_ns"] - process["user_ns"] - process["kernel_ns"] < 2e6
    rest = 10 * turns - sum(Account(i).figures("getppid")[0] for i in intervals)
    assert 0 <= rest <= 10 * turns
    assert sum(i["duration_ns"] for i in intervals) <= summary["duration_ns"]


@pytest.mark.parametrize("follow", [True, False])
def test_a_process_and_what_it_starts(tmp_path: Path, workload: str, follow: bool) -> None:
    output, script = tmp_path / "account.jsonl", f"read line; {' '.join([workload, *STORM])}; echo; read line"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with running(["/bin/sh", "-c", script], bufsize=0, **pipes) as shell:
        options = [] if follow else ["--no-follow"]
        with watching(output, "-p", str(shell.pid), *options) as tracer:
            shell.stdin.write(b"\n")
            assert shell.stdout.read(1) == b"\n"
            shell.stdin.close()
            assert tracer.wait(DEADLINE_S) == 0  # by itself: all have ended
    seen = Account(json_lines(output)[-1])
    assert seen.figures("getppid")[0] == (2 * STORM_ROUNDS if follow else 0)
    assert seen.summary["early"] == 1
    assert len(seen.summary["processes"]) == (PROCESSES + 2 if follow else 1)
    assert (seen.summary["lost"], seen.summary["complete"]) == (0, True), seen.summary


def test_only_one_name_of_what_a_command_starts(tmp_path: Path, workload: str) -> None:
    wanted = tmp_path / "wanted"
    shutil.copy(workload, wanted)
    script = f"{workload} nothing; {wanted} {' '.join(STORM)}; exit 0"
    seen = account(tmp_path, "/bin/sh", "-c", script, options=("--comm", "wanted"))
    assert seen.figures("getppid") == (2 * STORM_ROUNDS, 0, {})
    assert seen.figures("execve") == (0, 0, {})  # it began under another name
    assert [process["comm"] for process in seen.summary["processes"]] == ["wanted"] * (PROCESSES + 1)


def test_cpu_time_is_the_kernels(tmp_path: Path) -> None:
    """Of a process that computes, and is waited for, all of it."""
    before = os.times()
    seen = account(tmp_path, sys.executable, "-S", "-E", "-c", "sum(range(4_000_000))")
    after = os.times()
    children = after.children_user + after.children_system - before.children_user - before.children_system
    [process] = seen.summary["processes"]
    assert process["utime_ns"] + process["stime_ns"] == process["runtime_ns"]
    assert 0.02 < process["runtime_ns"] / 1e9 < children  # which has kintro's own, too
    assert process["runtime_ns"] <= process["user_ns"] + process["kernel_ns"] + 20e6


def test_only_one_name_in_the_whole_system(tmp_path: Path, workload: str) -> None:
    output, wanted = tmp_path / "account.jsonl", tmp_path / "wanted"
    shutil.copy(workload, wanted)
    with watching(output, "--comm", "wanted") as tracer:
        with running([workload, *STORM]) as noise:
            subprocess.run([wanted, *STORM], check=True, timeout=DEADLINE_S)
            noise.wait(DEADLINE_S)
        assert interrupt(tracer)[0] == 0
    seen = Account(json_lines(output)[-1])
    assert seen.figures("getppid") == (2 * STORM_ROUNDS, 0, {})
    assert {process["comm"] for process in seen.summary["processes"]} == {"wanted"}
    assert (seen.summary["lost"], seen.summary["complete"]) == (0, True)


def test_the_whole_system(tmp_path: Path, workload: str) -> None:
    output = tmp_path / "account.jsonl"
    with watching(output) as tracer:
        subprocess.run([workload, *STORM], check=True, timeout=DEADLINE_S)
        tracer.send_signal(signal.SIGINT)
        assert tracer.wait(DEADLINE_S) == 0
    seen = Account(json_lines(output)[-1])
    assert seen.figures("lseek")[2]["ESPIPE"] >= STORM_ROUNDS
    assert (seen.summary["lost"], seen.summary["complete"]) == (0, True), seen.summary
