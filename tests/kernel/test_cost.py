"""kintro cost against the kernel's own counts: the system calls it says it made are those that were made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from .calls import account
from .harness import KINTRO, as_nobody, kintro, strictly

pytestmark = pytest.mark.kernel

RUNS = 23


def measured(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    found = strictly(path.read_bytes())
    return found, {cost["what"]: cost for cost in found["costs"]}


def test_as_many_system_calls_as_it_says_and_none_for_the_vdso(tmp_path: Path) -> None:
    output = tmp_path / "cost.json"
    command = (KINTRO, "cost", "syscall", "--json", "-o", str(output), "--runs", str(RUNS))
    seen = account(tmp_path, *command)
    found, costs = measured(output)
    assert found["syscall"] == "getppid"
    assert seen.figures("getppid") == (costs["syscall"]["calls"], 0, {})
    assert costs["syscall"]["calls"] == RUNS * 2000
    of_the_clock = seen.figures("clock_gettime")[0]
    if found["vdso_answers"]:
        assert of_the_clock == 0
    else:
        assert of_the_clock >= costs["vdso"]["calls"]
    assert seen.figures("mmap")[0] >= RUNS and seen.figures("sched_setaffinity")[0] == 2


def test_another_call_where_there_is_no_parent_to_be_seen(tmp_path: Path) -> None:
    output = tmp_path / "cost.json"
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare is not installed")
    command = (
        unshare,
        "--pid",
        "--fork",
        KINTRO,
        "cost",
        "syscall",
        "--json",
        "-o",
        str(output),
        "--runs",
        "3",
    )
    seen = account(tmp_path, *command)
    found, costs = measured(output)
    assert found["syscall"] == "getpid"
    assert seen.figures("getppid") == (1, 0, {})
    assert seen.figures("getpid")[0] >= costs["syscall"]["calls"] == 6000


def test_needs_no_root() -> None:
    done = kintro("cost", "syscall", "--json", "--runs", "2", cwd="/", **as_nobody())
    assert (done.returncode, done.stderr) == (0, b"")
    found = json.loads(done.stdout)
    assert (found["type"], found["vdso_answers"] is None) == ("cost", False)
