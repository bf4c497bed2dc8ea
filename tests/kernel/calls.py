"""Runs kintro syscalls on workloads/syscalls.c, and what its account must be like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .harness import json_lines, kintro

PROCESSES, THREADS, ROUNDS = 8, 4, 53
STORM = ("storm", str(PROCESSES), str(THREADS), str(ROUNDS))
STORM_ROUNDS = PROCESSES * THREADS * ROUNDS


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
