"""The account of system calls against a workload's own ledger and strace: every count, every error."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kintro import syscalls

from .calls import STORM, STORM_ROUNDS, Account, account, assert_storm
from .harness import DEADLINE_S, json_lines, kintro, kintro_with

pytestmark = pytest.mark.kernel

X86 = os.uname().machine == "x86_64"


def test_each_count_and_each_error_twenty_times(tmp_path: Path, workload: str) -> None:
    for _ in range(20):
        assert_storm(account(tmp_path, workload, *STORM))


def test_threads_in_a_hash_where_there_are_too_many_tids(tmp_path: Path, workload: str) -> None:
    output = tmp_path / "account.json"
    words = ["syscalls", "--json", "-o", output, "--", workload, *STORM]
    kintro_with("kintro.observers.thread_records", "module.TID_INDEX_MAX = 0", *words)
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


@pytest.mark.parametrize("name", ["nanosleep", "poll"])
def test_a_stopped_call_goes_on(tmp_path: Path, workload: str, name: str) -> None:
    seen = account(tmp_path, workload, "stopped", *(["poll"] if name == "poll" else []))
    assert seen.figures(name) == (1, 0, {"ERESTART_RESTARTBLOCK": 1})
    assert seen.figures("restart_syscall") == (1, 0, {})
    spent = seen.calls[name]["total_ns"] + seen.calls["restart_syscall"]["total_ns"]
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
    seen = account(tmp_path, workload, "refusedfirst")
    assert (seen.summary["refused"], seen.summary["early"]) == (10, 0)


def test_a_command_that_cannot_be_started_and_one_that_fails(tmp_path: Path) -> None:
    assert kintro("syscalls", "--", "/nonexistent").returncode == 127
    account(tmp_path, "sh", "-c", "exit 3", status=3)


def test_a_table_for_people(workload: str) -> None:
    done = kintro("syscalls", "--sort", "calls", "-n", "3", "--", workload, *STORM)
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0 and len(lines) == 1 + 3 + 3
    assert lines[1].split()[:2] == ["getppid", str(2 * STORM_ROUNDS)]
    assert "lost 0; complete" in lines[4]
    assert lines[6].startswith("entered the kernel: ") and (not X86 or " from ring 3; " in lines[6])


def test_the_same_by_a_function() -> None:
    seen = syscalls.count(["sh", "-c", "true; cat /nonexistent 2>/dev/null"])
    assert (seen.lost, seen.complete) == (0, True)
    [fork] = [call for call in seen.syscalls if call.name in ("clone", "fork", "vfork", "clone3")]
    assert (fork.calls, len(seen.processes)) == (1, 2)
