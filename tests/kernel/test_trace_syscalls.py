"""Single system calls against a workload's own ledger: every one, its arguments, what these refer to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kintro import calls

from .calls import PROCESSES, STORM, STORM_ROUNDS, THREADS, account
from .harness import (
    KINTRO,
    interrupt,
    json_lines,
    kintro,
    kintro_with,
    program,
    running,
    strictly,
    wait_for,
)
from .story import Story, story

pytestmark = pytest.mark.kernel

TRACEPOINTS = 6  # that probes/calls.c is attached to


def assert_storm(seen: Story) -> None:
    outcomes = seen.outcomes()
    assert outcomes["getppid", None] == 2 * STORM_ROUNDS
    assert outcomes["read", "EBADF"] == STORM_ROUNDS
    assert outcomes["openat", "ENOENT"] == STORM_ROUNDS
    assert outcomes["lseek", "ESPIPE"] == STORM_ROUNDS
    assert outcomes["execve", None] == 1
    assert outcomes["exit_group", None] == PROCESSES + 1
    assert outcomes["exit", None] == PROCESSES * (THREADS - 1)
    assert len({call["pid"] for call in seen.calls}) == PROCESSES + 1
    threads = {(call["pid"], call["tid"]) for call in seen.of("getppid")}  # a tid may be used again
    assert len(threads) == PROCESSES * THREADS
    failed = [call for call in seen.of("openat") if call["errno"] == "ENOENT"]
    assert {call["args"]["pathname"] for call in failed} == {"/nonexistent/file"}


def test_each_call_twenty_times(tmp_path: Path, workload: str) -> None:
    for _ in range(20):
        assert_storm(story(tmp_path, workload, *STORM))


def test_the_same_numbers_as_the_account(tmp_path: Path, workload: str) -> None:
    """But for futex, whose number is up to the scheduler."""
    counted = account(tmp_path, workload, *STORM).summary["syscalls"]
    told = Counter(call["name"] for call in story(tmp_path, workload, *STORM).calls)
    del told["futex"]
    assert told == {call["name"]: call["calls"] for call in counted if call["name"] != "futex"}


def test_threads_in_a_hash_where_there_are_too_many_tids(tmp_path: Path, workload: str) -> None:
    output = tmp_path / "story.jsonl"
    words = ["trace-syscalls", "--json", "-o", output, "--", workload, *STORM]
    kintro_with("kintro.observers.thread_records", "module.TID_INDEX_MAX = 0", *words)
    assert_storm(Story(output).assert_whole())


@pytest.fixture
def arguments(tmp_path: Path) -> tuple[Story, dict[str, Any], str]:
    """What kintro saw of workloads/arguments.py, what that knows, and its folder."""
    folder, told = tmp_path / "files", tmp_path / "known.json"
    folder.mkdir()
    output = tmp_path / "story.jsonl"
    command = ["trace-syscalls", "--json", "-o", output, "--as-root", "--", *program("arguments", folder)]
    with told.open("w") as file:
        assert kintro(*command, stdout=file, stderr=subprocess.PIPE).returncode == 0
    return Story(output).assert_whole(), json.loads(told.read_text()), str(folder)


def test_what_descriptors_refer_to(arguments: tuple[Story, dict[str, Any], str]) -> None:
    """As the program itself reads it in /proc/self/fd."""
    seen, known, folder = arguments
    written = {call["args"]["buf"]: call["files"]["fd"] for call in seen.of("write")}
    assert written["x"] == known["pipe"][1]
    assert written["y"] == known["socket"][1]
    assert written["z"] == known["memfd"][1]
    [to_event] = [call for call in seen.of("write") if call["args"]["fd"] == known["eventfd"][0]]
    assert to_event["files"]["fd"] == known["eventfd"][1] == "anon_inode:[eventfd]"
    [opened] = [call for call in seen.of("openat") if "/one\n" in call["args"]["pathname"]]
    assert (opened["ret"], opened["files"]["return"]) == tuple(known["file"])
    assert opened["args"]["pathname"] == f"{folder}/one\n\x1b[31m\\xff"
    assert seen.only("fsync")["files"]["fd"] == known["renamed"][1] == f"{folder}/two"
    assert seen.only("fdatasync")["files"]["fd"] == known["deleted"][1] == f"{folder}/two (deleted)"
    [made] = seen.of("mkdirat")
    assert made["files"] == {"dirfd": known["folder"][1]} and made["args"]["pathname"] == "three"
    copied = seen.only_with("fcntl", op="F_DUPFD_CLOEXEC")
    assert (copied["ret"], copied["files"]["return"]) == tuple(known["dup"])


def test_what_is_read_and_written(arguments: tuple[Story, dict[str, Any], str]) -> None:
    seen, _, folder = arguments
    [read] = [call for call in seen.of("read") if call["files"].get("fd", "").endswith("/one\n\x1b[31m\\xff")]
    assert (read["args"]["buf"], read["ret"]) == ("hello\nh", 7)
    [written] = [call for call in seen.of("write") if call["args"]["count"] == 120]
    assert written["args"]["buf"] == ("hello\n" * 6)[:32]
    assert seen.only("recvfrom")["args"]["buf"] == "0123"
    renamed = seen.only("rename")["args"]
    assert list(renamed.values()) == [f"{folder}/one\n\x1b[31m\\xff", f"{folder}/two"]


def test_memory_that_was_not_there_at_the_entry(arguments: tuple[Story, dict[str, Any], str]) -> None:
    seen, _, _ = arguments
    failed = [call for call in seen.of("open", "openat") if call["errno"]]
    assert "/nonexistent/cold" in [call["args"]["pathname"] for call in failed]
    [nowhere] = [call for call in failed if call["errno"] == "EFAULT"]
    assert nowhere["args"]["pathname"] == "0x8"


def test_each_exec_has_its_arguments(arguments: tuple[Story, dict[str, Any], str], tmp_path: Path) -> None:
    seen, _, _ = arguments
    [first, second, third] = seen.of("execve")
    assert first["args"]["pathname"] == sys.executable and first["args"]["argv"][:3] == program("x")[:3]
    assert second["args"]["pathname"] == "/bin/true"
    assert second["args"]["argv"] == ["true", "an argument", "", "\x1b[2J"]
    assert third["args"]["argv"] == ["a" * 4094, "b" * 4095]  # what there is room for, and no more
    many = story(tmp_path, "sh", "-c", "for i in 1 2 3 4 5; do /bin/true $i; done; nothing-there || true")
    named = [(c["args"]["pathname"], c["args"]["argv"]) for c in many.of("execve")[1:]]
    assert named == [("/bin/true", ["/bin/true", str(n)]) for n in range(1, 6)]


def test_nothing_moves_the_cursor(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    done = kintro("trace-syscalls", "--as-root", "--", *program("arguments", tmp_path / "files"))
    text = done.stdout.decode()
    assert done.returncode == 0 and "\x1b" not in text and "one\\n\\33[31m\\377" in text
    assert all(
        line.startswith(("   ", "{", "TIME", "  TIME")) or "calls in" in line for line in text.splitlines()
    )


def test_a_call_that_never_returns(tmp_path: Path, workload: str) -> None:
    seen = story(tmp_path, workload, "killed")
    assert [(c["ret"], c["errno"], c["duration_ns"]) for c in seen.of("exit_group")] == [(None, None, None)]
    assert [c["errno"] for c in seen.of("pause")] == ["ERESTARTNOHAND"]


def links_of(pid: int) -> int:
    """How many tracepoints a process holds a program to."""
    links = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            links += os.readlink(link).startswith(("anon_inode:bpf_link", "anon_inode:bpf-raw-tracepoint"))
    return links


def test_a_process_that_waits(tmp_path: Path) -> None:
    """A call that had begun before the trace and returns; one that goes on at the end."""
    output = tmp_path / "story.jsonl"
    with running(["sh", "-c", "read line; sleep 60"], stdin=subprocess.PIPE) as sleeper:
        wait_for(lambda: "read" in Path(f"/proc/{sleeper.pid}/wchan").read_text(), "the shell to read")
        words = [KINTRO, "trace-syscalls", "--json", "-o", output, "-p", sleeper.pid]
        with running(words, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as tracer:
            wait_for(lambda: links_of(tracer.pid) == TRACEPOINTS, "the trace")
            assert sleeper.stdin is not None
            sleeper.stdin.write(b"\n")
            sleeper.stdin.flush()
            children = Path(f"/proc/{sleeper.pid}/task/{sleeper.pid}/children")
            child = int(wait_for(lambda: children.read_text(), "sleep"))
            wait_for(lambda: "nanosleep" in Path(f"/proc/{child}/wchan").read_text(), "sleep to sleep")
            assert interrupt(tracer)[0] == 0
        os.kill(child, signal.SIGKILL)
    seen = Story(output).assert_whole()
    [early] = [call for call in seen.calls if call["ts_ns"] is None]
    assert (early["name"], early["ret"], early["duration_ns"]) == ("read", 1, None)
    assert {c["name"] for c in seen.calls if c["ret"] is None} == {"wait4", "clock_nanosleep"}


def test_a_call_that_begins_before_and_ends_after(tmp_path: Path) -> None:
    output = tmp_path / "story.jsonl"
    with running(["sh", "-c", "sleep 60 & read line; kill $!"], stdin=subprocess.PIPE) as shell:
        wait_for(lambda: "read" in Path(f"/proc/{shell.pid}/wchan").read_text(), "the shell to read")
        child = int(Path(f"/proc/{shell.pid}/task/{shell.pid}/children").read_text())
        wait_for(lambda: "nanosleep" in Path(f"/proc/{child}/wchan").read_text(), "sleep to sleep")
        options = ["--json", "-o", output, "-d", "0.3", "-p", str(shell.pid)]
        assert kintro("trace-syscalls", *options).returncode == 0
        assert kintro("trace-syscalls", *options[:-1], str(child), "-e", "read").returncode == 0
        assert not Story(output).calls
        assert kintro("trace-syscalls", *options).returncode == 0
        stdin = os.readlink(f"/proc/{shell.pid}/fd/0")
    seen = Story(output).assert_whole()
    told = {call["pid"]: (call["name"], call["ts_ns"], call["ret"]) for call in seen.calls}
    assert told == {shell.pid: ("read", None, None), child: ("clock_nanosleep", None, None)}
    assert seen.only("read")["files"] == {"fd": stdin}


def test_filters(tmp_path: Path, workload: str) -> None:
    seen = story(tmp_path, workload, *STORM, options=["-e", "getppid,lseek"])
    assert seen.outcomes() == {("getppid", None): 2 * STORM_ROUNDS, ("lseek", "ESPIPE"): STORM_ROUNDS}
    seen = story(tmp_path, workload, *STORM, options=["-e", "!file,memory"])
    assert not seen.of("openat", "execve", "mmap") and seen.of("getppid")
    seen = story(tmp_path, workload, *STORM, options=["--failed", "-e", "desc"])
    kinds = {("read", "EBADF"), ("lseek", "ESPIPE"), ("openat", "ENOENT")}
    assert set(seen.outcomes()) - {("ioctl", "ENOTTY")} == kinds
    seen = story(tmp_path, "sleep", "0.2", options=["--slower", "100ms"])
    assert [call["name"] for call in seen.calls] == ["clock_nanosleep", "exit_group"]


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (["-e", "getpidd"], "getpid"),
        (["--slower", "10"], "10ms"),
        (["-s", "5000"], "4000"),
        (["-e", ""], "-e"),
    ],
)
def test_wrong_usage(options: list[str], hint: str) -> None:
    done = kintro("trace-syscalls", *options, "--", "true")
    assert done.returncode == 2 and hint in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_a_saved_session_tells_the_same(tmp_path: Path, workload: str) -> None:
    saved, live, again = tmp_path / "saved", tmp_path / "live.jsonl", tmp_path / "again.jsonl"
    done = kintro("trace-syscalls", "--json", "-o", live, "--save", saved, "--", workload, *STORM)
    assert done.returncode == 0
    assert kintro("replay", saved, "--json", "-o", again).returncode == 0
    assert live.read_bytes() == again.read_bytes()
    assert_storm(Story(again).assert_whole())
    failed = kintro("replay", saved, "--json", "--failed", "-e", "lseek").stdout.splitlines()
    assert len(failed) == STORM_ROUNDS + 1
    assert {strictly(line)["errno"] for line in failed[:-1]} == {"ESPIPE"}
    assert kintro("replay", saved, "--tree").returncode == 2


def test_only_a_summary(tmp_path: Path, workload: str) -> None:
    saved = tmp_path / "saved"
    done = kintro("trace-syscalls", "-q", "--json", "--save", saved, "--", workload, *STORM)
    [line] = done.stdout.splitlines()
    assert strictly(line)["complete"] is True
    assert kintro("replay", saved, "--json", "-o", tmp_path / "again").returncode == 0
    assert json_lines(tmp_path / "again")[-1] == strictly(line)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="int 0x80 is x86's")
def test_32_bit_calls(tmp_path: Path, workload: str) -> None:
    seen = story(tmp_path, workload, "int80")
    assert len(seen.of("getpid")) == 13 + 13
    assert len(story(tmp_path, workload, "int80", options=["-e", "getpid"]).calls) == 13 + 13
    assert not story(tmp_path, workload, "int80", options=["-e", "getppid"]).calls


def test_numbers_without_a_name_are_of_no_class(tmp_path: Path, workload: str) -> None:
    seen = story(tmp_path, workload, "unknown", options=["-e", "execve"])
    assert [call["name"] for call in seen.calls] == ["execve"]
    seen = story(tmp_path, workload, "unknown")
    assert [call["nr"] for call in seen.calls if call["errno"] == "ENOSYS"] == [509, 509, 509, 100000, -1]


def test_calls_that_seccomp_refuses(tmp_path: Path, workload: str) -> None:
    for what, number in (("refused", 7), ("refusedfirst", 10)):
        seen = story(tmp_path, workload, what)
        assert (seen.summary["refused"], seen.summary["early"]) == (number, 0)
        assert not seen.of("getppid")


def test_an_exec_of_a_thread_that_is_not_the_first(tmp_path: Path, workload: str) -> None:
    output = tmp_path / "story.jsonl"
    assert kintro("trace-syscalls", "--json", "-o", output, "--", workload, "threadexec").returncode == 0
    seen = Story(output)  # not whole: the call has the first thread's id, and began while that made another
    [first, second] = seen.of("execve")
    assert seen.summary["complete"] is True and seen.summary["calls"] == len(seen.calls)
    assert second["args"]["pathname"] == "/proc/self/exe"
    assert second["args"]["argv"] == [workload, "nothing"]
    assert second["tid"] == first["tid"]


def test_a_list_of_arguments_that_does_not_fit(tmp_path: Path) -> None:
    lengths = "for a in 4060 4070 4094; do /bin/true $(printf %0$((a - 10))d 0) $(printf %05000d 0); done"
    calls = story(tmp_path, "sh", "-c", lengths, options=["-e", "execve"]).of("execve")
    told = [[len(text) for text in call["args"]["argv"][1:]] for call in calls[1:]]
    assert told == [[4050, 4095], [4060, 4095], [4084, 4095]]


def test_an_exec_that_fails_has_arguments_that_nobody_had_touched(tmp_path: Path, workload: str) -> None:
    [failed] = [c for c in story(tmp_path, workload, "coldexec").of("execve") if c["errno"]]
    assert failed["args"]["argv"] == ["cold", "arguments"]


def test_the_same_by_a_function(workload: str) -> None:
    with calls.trace([workload, *STORM], expression="getppid,lseek") as run:
        seen = Counter((call.name, call.error) for call in run)
    assert seen == {("getppid", None): 2 * STORM_ROUNDS, ("lseek", "ESPIPE"): STORM_ROUNDS}
    assert (run.summary.calls, run.summary.complete) == (3 * STORM_ROUNDS, True)
