"""Independent witnesses: perf counts the same forks, wait4(2) tells the same usage, exec keeps every byte.

The nesting: kintro runs `perf stat … -- COMMAND`. perf counts from COMMAND's exec on, in COMMAND and all it
creates, so its own forking of COMMAND is not in its count; what perf itself creates is in kintro's. So of
kintro's events those are left out whose creator is perf. The other nesting would count what kintro creates.

sched:sched_process_fork is hit for processes and threads, as kintro's forks and threads are.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from .harness import Seen, json_lines, program, trace, trace_workload

pytestmark = pytest.mark.kernel

FORKS = int(os.environ.get("KINTRO_FORKS", "5000"))  # by hand: 50000
STRESS_S = int(os.environ.get("KINTRO_STRESS_S", "3"))  # by hand: 10
TICK_S = 0.004  # CONFIG_HZ=250; the slowest that distributions use is 100
ARGV_KEPT = 32768  # probes/lifecycle.c


def counted_by_perf(perf: str, tmp_path: Path, command: list[str]) -> tuple[Seen, int, int]:
    """(what kintro saw, tasks it saw created below the command, those that perf counted)"""
    count = tmp_path / "count"
    own = [perf, "stat", "-x,", "-o", str(count), "-e", "sched:sched_process_fork", "--", *command]
    seen = trace(tmp_path, own, "--threads")
    assert seen.status == 0, seen.stderr
    (line,) = [line for line in count.read_text().splitlines() if "sched_process_fork" in line]
    perf_pid = seen.of("exec")[0]["pid"]
    below = [event for event in seen.of("fork") if event["creator_pid"] != perf_pid]
    return seen, len(below), int(line.split(",")[0])


def assert_each_fork_has_its_exit(seen: Seen) -> None:
    forks = [(event["pid"], event["start_time_ns"]) for event in seen.forks]
    exits = [(event["pid"], event["start_time_ns"]) for event in seen.of("exit", process=True)]
    assert len(set(forks)) == len(forks) and len(set(exits)) == len(exits)
    assert set(forks) <= set(exits)
    assert len(exits) == len(forks) + 1  # the command


def test_short_forks(perf: str, tmp_path: Path) -> None:
    seen, mine, perfs = counted_by_perf(perf, tmp_path, program("forks", tmp_path / "ledger", str(FORKS)))
    did = json.loads((tmp_path / "ledger").read_text())
    assert (mine, perfs, seen.summary["lost"]) == (FORKS, FORKS, 0)
    assert [fork["pid"] for fork in seen.of("fork", ppid=did["pid"])] == did["pids"]
    codes = {(exit["pid"], exit["start_time_ns"]): exit["exit_code"] for exit in seen.of("exit")}
    forks = seen.of("fork", ppid=did["pid"])
    assert [codes[f["pid"], f["start_time_ns"]] for f in forks] == [n % 256 for n in range(FORKS)]
    assert_each_fork_has_its_exit(seen)
    seen.assert_whole()


def test_stress_ng(perf: str, tmp_path: Path) -> None:
    stress = shutil.which("stress-ng")
    if stress is None:
        pytest.skip("stress-ng is not installed")
    command = [stress, "--quiet", "--fork", "4", "--timeout", str(STRESS_S), "--temp-path", str(tmp_path)]
    seen, mine, perfs = counted_by_perf(perf, tmp_path, command)
    assert perfs > 1000
    assert (mine, seen.summary["lost"]) == (perfs, 0)
    assert seen.summary["threads"] == len(seen.of("fork", kind="thread"))
    assert_each_fork_has_its_exit(seen)
    seen.assert_whole()


@pytest.fixture(scope="module")
def usage(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(role, exit event, what wait4 said), of single-threaded children"""
    seen, ledger = trace_workload(tmp_path_factory.mktemp("usage"), "usage")
    exits = {event["pid"]: event for event in seen.of("exit")}
    found = [(role, exits[ledger.pids[role]], said) for role, said in ledger.of("reaped").items()]
    assert len(found) == 30
    return found


def test_faults(usage: Any) -> None:
    for role, event, said in usage:
        assert (event["minor_faults"], event["major_faults"]) == (said["minor_faults"], said["major_faults"])
        assert not role.startswith("faults") or event["minor_faults"] >= 2000


def test_switches(usage: Any) -> None:
    """The parent may read the figures just before the last switch, or when it was pushed aside on the way."""
    for role, event, said in usage:
        assert 0 <= event["voluntary_switches"] - said["voluntary_switches"] <= 1, role
        assert 0 <= event["involuntary_switches"] - said["involuntary_switches"] <= 1, role
        # 600 sleeps; one may be over before it has begun.
        assert not role.startswith("sleeps") or event["voluntary_switches"] >= 500
        assert not role.startswith("pushed_aside") or event["involuntary_switches"] >= 5


def test_times(usage: Any) -> None:
    """Run time by the scheduler's clock; the parent may read it up to a tick before its last update.

    How it splits into user and system time is by ticks, in the kernel as in kintro. The kernel never lets a
    share that it once told shrink (cputime_adjust), which process_time() makes it do: two ticks.
    """
    for role, event, said in usage:
        whole_s = (event["utime_ns"] + event["stime_ns"]) / 1e9
        assert abs(whole_s - said["utime_s"] - said["stime_s"]) < TICK_S, role
        assert abs(event["utime_ns"] / 1e9 - said["utime_s"]) < 3 * TICK_S, role
        assert abs(event["stime_ns"] / 1e9 - said["stime_s"]) < 3 * TICK_S, role


def executed(tmp_path: Path, *programs: tuple[str, list[bytes]]) -> list[dict[str, Any]]:
    """The exec events of these programs."""
    wanted = [(path, [argument.hex() for argument in arguments]) for path, arguments in programs]
    (tmp_path / "wanted.json").write_text(json.dumps(wanted))
    ledger = tmp_path / "ledger"
    seen = trace(tmp_path, program("execs", ledger, tmp_path / "wanted.json"))
    assert (seen.status, seen.summary["execs"]) == (0, len(programs) + 1), seen.stderr
    seen.assert_whole()
    assert {entry["status"] for entry in json_lines(ledger)} == {0}
    return [seen.only("exec", pid=entry["pid"]) for entry in json_lines(ledger)]


def as_text(argument: bytes) -> str:
    """As JSON has it: UTF-8, and \\xNN for bytes that are none."""
    return argument.decode("utf-8", "backslashreplace")


def test_arguments_of_every_kind(tmp_path: Path) -> None:
    argvs = [
        [b"true", b"with spaces ", b"  "],
        [b""],
        [b"true", b"", b"", b""],
        [b"true", b"", b"x", b""],
        [b"true", b"two\nlines\n", b"\t\r\x1b[31m\x07"],
        [b"true", b"\xff\xfe\x80", "grün ✓ 日本".encode(), b"\xed\xa0\x80"],
        [b"true", b'"', b"'", b"\\", b"$(x)"],
        [b"true", *[b"%d" % n for n in range(3000)]],
    ]
    events = executed(tmp_path, *(("/bin/true", argv) for argv in argvs))
    for event, argv in zip(events, argvs, strict=True):
        assert event["argv"] == [as_text(argument) for argument in argv]
        assert (event["argv_truncated"], event["filename"]) == (False, "/bin/true")


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_arguments_around_the_limit(tmp_path: Path, extra: int) -> None:
    """All arguments together, each with its NUL, one byte less than what is kept, just that, one more."""
    argv = [b"true", b"a" * 20000, b"b" * (ARGV_KEPT + extra - 20000 - 7)]
    assert sum(len(argument) + 1 for argument in argv) == ARGV_KEPT + extra
    (event,) = executed(tmp_path, ("/bin/true", argv))
    assert event["argv_truncated"] == (extra > 0)
    kept = b"\0".join(argv)[:ARGV_KEPT].split(b"\0")
    assert event["argv"] == [as_text(argument) for argument in kept]


def test_more_arguments_than_are_kept(tmp_path: Path) -> None:
    argv = [b"true", *[b"x" * 999] * 200]
    (event,) = executed(tmp_path, ("/bin/true", argv))
    assert event["argv_truncated"]
    told = b"\0".join(argument.encode() for argument in event["argv"])
    assert told == b"\0".join(argv)[:ARGV_KEPT]


def test_longest_path_with_longest_arguments(tmp_path: Path) -> None:
    folder, name = tmp_path, "d" * 200
    while len(str(folder)) + 2 * len(name) < 4090:
        folder = folder / name
        folder.mkdir()
    path = str(folder / ("p" * (4095 - len(str(folder)) - 1))) if 4095 - len(str(folder)) <= 256 else None
    path = path or str(folder / "p")
    os.symlink("/bin/true", path)
    argv = [b"true", b"z" * (ARGV_KEPT - 6)]
    (event,) = executed(tmp_path, (path, argv))
    assert event["filename"] == path
    assert (event["argv"], event["argv_truncated"]) == ([as_text(argument) for argument in argv], False)
