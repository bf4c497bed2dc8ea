"""The account of system calls against a workload's own ledger and strace: every count, every error."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .harness import (
    DEADLINE_S,
    KINTRO,
    WORKLOADS,
    environment,
    interrupt,
    json_lines,
    kintro,
    running,
    wait_for,
)

pytestmark = pytest.mark.kernel

X86 = os.uname().machine == "x86_64"
PROCESSES, THREADS, ROUNDS = 8, 4, 53
STORM = ("storm", str(PROCESSES), str(THREADS), str(ROUNDS))
STORM_ROUNDS = PROCESSES * THREADS * ROUNDS
WITHOUT_INDEX = """
import sys
from kintro.observers import syscalls_read
from kintro.cli import main
syscalls_read.TID_INDEX_MAX = 0
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of workloads/syscalls.c, compiled."""
    gcc = shutil.which("gcc") or shutil.which("cc")
    if gcc is None:
        pytest.skip("no C compiler")
    path = tmp_path_factory.mktemp("bin") / "calls"
    source = WORKLOADS / "syscalls.c"
    subprocess.run([gcc, "-O1", "-Wall", "-Werror", "-pthread", "-o", path, source], check=True)
    for folder in (path.parent, *path.parents[1:3]):
        folder.chmod(0o755)
    return str(path)


class Account:
    """What `--json` told."""

    def __init__(self, summary: dict[str, Any]) -> None:
        self.summary = summary
        self.calls = {call["name"]: call for call in summary["syscalls"]}

    def figures(self, name: str) -> tuple[int, int, dict[str, int]]:
        """Calls, those that did not return, errors."""
        call = self.calls.get(name)
        return (call["calls"], call["unfinished"], call["errno"]) if call else (0, 0, {})

    def assert_whole(self) -> Account:
        summary, calls = self.summary, self.summary["syscalls"]
        assert (summary["lost"], summary["complete"], summary["early"]) == (0, True, 0), summary
        assert summary["calls"] == sum(call["calls"] for call in calls) == summary["entries"]
        assert summary["calls"] == sum(process["calls"] for process in summary["processes"])
        for call in calls:
            returned = sum(bucket["count"] for bucket in call["histogram"])
            assert returned == call["calls"] - call["unfinished"]
            assert call["errors"] == sum(call["errno"].values()) <= returned
            if returned:
                assert 0 < call["min_ns"] <= call["p50_ns"] <= call["p99_ns"] <= call["max_ns"]
                assert returned * call["min_ns"] <= call["total_ns"] <= returned * call["max_ns"]
                ends = [(b["low_ns"], b["high_ns"] or call["max_ns"]) for b in call["histogram"]]
                assert ends[0][0] <= call["min_ns"] < ends[0][1] and ends[-1][0] <= call["max_ns"]
                at_least = sum(b["low_ns"] * b["count"] for b in call["histogram"])
                assert at_least <= call["total_ns"] <= at_least * 1.25 + 40 * returned
        in_calls = sum(call["total_ns"] for call in calls)
        assert sum(process["kernel_ns"] for process in summary["processes"]) >= in_calls
        return self


def account(tmp_path: Path, *command: str, options: Sequence[str] = (), status: int = 0) -> Account:
    output = tmp_path / "account.json"
    done = kintro("syscalls", "--json", "-o", output, *options, "--", *command)
    assert done.returncode == status, done
    [summary] = json_lines(output)
    return Account(summary).assert_whole()


def assert_storm(seen: Account) -> None:
    assert seen.figures("getppid") == (2 * STORM_ROUNDS, 0, {})
    calls, open_, errors = seen.figures("read")
    assert (open_, errors) == (0, {"EBADF": STORM_ROUNDS}) and calls >= STORM_ROUNDS
    assert seen.figures("openat")[2] == {"ENOENT": STORM_ROUNDS}
    assert seen.figures("lseek") == (STORM_ROUNDS, 0, {"ESPIPE": STORM_ROUNDS})
    assert seen.figures("execve") == (1, 0, {})
    assert seen.figures("exit_group") == (PROCESSES + 1, PROCESSES + 1, {})
    assert seen.figures("exit") == (PROCESSES * (THREADS - 1),) * 2 + ({},)
    assert seen.figures("wait4") == (PROCESSES + 1, 0, {"ECHILD": 1})
    assert len(seen.summary["processes"]) == PROCESSES + 1
    assert {process["comm"] for process in seen.summary["processes"]} == {"calls"}


def test_each_count_and_each_error_twenty_times(tmp_path: Path, workload: str) -> None:
    for _ in range(20):
        assert_storm(account(tmp_path, workload, *STORM))


def test_threads_in_a_hash_where_there_are_too_many_tids(tmp_path: Path, workload: str) -> None:
    output = tmp_path / "account.json"
    words = ["syscalls", "--json", "-o", output, "--", workload, *STORM]
    command = [sys.executable, "-c", WITHOUT_INDEX, *map(str, words)]
    subprocess.run(command, check=True, timeout=DEADLINE_S, env=environment())
    assert_storm(Account(json_lines(output)[0]).assert_whole())


def strace(tmp_path: Path, *command: str) -> dict[str, tuple[int, int]]:
    """Calls and errors by name, as `strace -f -c` has them."""
    path = shutil.which("strace")
    if path is None:
        pytest.skip("strace is not installed")
    output = tmp_path / "strace.txt"
    subprocess.run([path, "-f", "-c", "-o", output, *command], check=True, timeout=DEADLINE_S)
    lines = [line.split() for line in output.read_text().splitlines()[2:-2]]
    return {line[-1]: (int(line[3]), int(line[4]) if len(line) == 6 else 0) for line in lines}


@pytest.mark.parametrize("words", [STORM, ("interrupted",), ("vfork",), ("nothing",)], ids=lambda w: w[0])
def test_all_calls_against_strace(tmp_path: Path, workload: str, words: tuple[str, ...]) -> None:
    """But for futex, whose number is up to the scheduler, and for those that do not return."""
    theirs, seen = strace(tmp_path, workload, *words), account(tmp_path, workload, *words)
    ours = {name: (call["calls"], call["errors"]) for name, call in seen.calls.items()}
    for name in ("futex", "exit", "exit_group"):
        theirs.pop(name, None)
        ours.pop(name, None)
    # strace takes the register that rt_sigreturn restores for its result.
    if "rt_sigreturn" in theirs:
        theirs["rt_sigreturn"] = theirs["rt_sigreturn"][0], 0
    assert ours == theirs


def test_a_handler_interrupts_a_call(tmp_path: Path, workload: str) -> None:
    seen = account(tmp_path, workload, "interrupted")
    assert seen.figures("nanosleep") == (1, 0, {"ERESTART_RESTARTBLOCK": 1})
    assert 15e6 < seen.calls["nanosleep"]["max_ns"] < 10e9
    assert seen.figures("rt_sigreturn") == (1, 0, {})


def test_a_stopped_call_goes_on(tmp_path: Path, workload: str) -> None:
    seen = account(tmp_path, workload, "stopped")
    assert seen.figures("nanosleep") == (1, 0, {"ERESTART_RESTARTBLOCK": 1})
    assert seen.figures("restart_syscall") == (1, 0, {})
    spent = seen.calls["nanosleep"]["total_ns"] + seen.calls["restart_syscall"]["total_ns"]
    assert spent >= 0.29e9
    assert all(
        process["user_ns"] + process["kernel_ns"] <= seen.summary["duration_ns"]
        for process in seen.summary["processes"]
    )


def test_a_process_killed_in_a_call(tmp_path: Path, workload: str) -> None:
    seen = account(tmp_path, workload, "killed")
    assert seen.figures("pause") == (1, 0, {"ERESTARTNOHAND": 1})
    assert seen.figures("exit_group") == (1, 1, {})


def test_vfork_and_exec(tmp_path: Path, workload: str) -> None:
    seen = account(tmp_path, workload, "vfork")
    assert seen.figures("vfork") == (1, 0, {})
    assert seen.figures("execve") == (2, 0, {})
    assert {process["comm"] for process in seen.summary["processes"]} == {"calls", "true"}


def test_a_thread_takes_its_leaders_place_by_exec(tmp_path: Path, workload: str) -> None:
    seen = account(tmp_path, workload, "threadexec")
    assert seen.figures("execve") == (2, 0, {})
    assert len(seen.summary["processes"]) == 1


@pytest.mark.skipif(not X86, reason="int 0x80 is x86's")
def test_32_bit_calls_are_counted_apart(tmp_path: Path, workload: str) -> None:
    seen = account(tmp_path, workload, "int80")
    assert seen.figures("(32-bit calls)") == (13, 0, {})
    assert seen.calls["(32-bit calls)"]["nr"] is None
    assert seen.figures("getpid") == (13, 0, {})
    assert "writev" not in seen.calls  # which has the number 20 among those of 64 bits


def test_numbers_without_a_name(tmp_path: Path, workload: str) -> None:
    seen = account(tmp_path, workload, "unknown")
    assert seen.figures("509") == (3, 0, {"ENOSYS": 3})
    assert seen.figures("(unknown numbers)") == (2, 0, {"ENOSYS": 2})


def test_what_seccomp_answers(tmp_path: Path, workload: str) -> None:
    seen = account(tmp_path, workload, "refused")
    assert seen.summary["refused"] == 7
    assert "getppid" not in seen.calls


def test_a_command_that_cannot_be_started_and_one_that_fails(tmp_path: Path) -> None:
    assert kintro("syscalls", "--", "/nonexistent").returncode == 127
    account(tmp_path, "sh", "-c", "exit 3", status=3)


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


def test_a_table_for_people(workload: str) -> None:
    done = kintro("syscalls", "--sort", "calls", "-n", "3", "--", workload, *STORM)
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0 and len(lines) == 1 + 3 + 2
    assert lines[1].split()[:2] == ["getppid", str(2 * STORM_ROUNDS)]
    assert "lost 0; complete" in lines[4]
