"""Calls whose entry was not seen: as the trace begins and as it ends, and where threads find no room."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from .harness import json_lines, kintro, kintro_with, running

pytestmark = pytest.mark.kernel

PLACES, THREADS = 64, 300
WITHOUT_PAUSE = "import os\nwhile True: os.getppid()"
ALL_AT_ONCE = f"""
import os, threading
read, write = os.pipe()
threads = [threading.Thread(target=os.read, args=(read, 1)) for _ in range({THREADS})]
for thread in threads: thread.start()
os.write(write, bytes({THREADS}))
for thread in threads: thread.join()
"""


def crowded(verb: str, output: Path) -> dict[str, Any]:
    """The summary of a command with more threads at a time than have room."""
    change = f"module.TID_INDEX_MAX, module.THREADS = 0, {PLACES}"
    command = [sys.executable, "-S", "-E", "-c", ALL_AT_ONCE]
    kintro_with("kintro.observers.thread_records", change, verb, "--json", "-o", output, "--", *command)
    summary = json_lines(output)[-1]
    assert summary["lost"] > 0 and summary["complete"] is False
    return summary


@pytest.mark.parametrize("verb", ["syscalls", "trace-syscalls", "trace-ipc"])
def test_no_call_of_a_command_had_begun_before_it(tmp_path: Path, verb: str) -> None:
    """Who found no room when a call began may find it when the call returns."""
    summary = crowded(verb, tmp_path / "out")
    assert summary["early"] == 0
    if verb == "syscalls":
        most_ns = PLACES * summary["duration_ns"]
        assert sum(process["kernel_ns"] + process["user_ns"] for process in summary["processes"]) <= most_ns


@pytest.mark.parametrize("verb", ["syscalls", "trace-syscalls"])
def test_nothing_is_refused_while_the_trace_begins_and_ends(tmp_path: Path, verb: str) -> None:
    with running([sys.executable, "-S", "-E", "-c", WITHOUT_PAUSE]) as process:
        for _ in range(5):
            output = tmp_path / "out"
            done = kintro(verb, "--json", "-o", output, "-p", str(process.pid), "-d", "0.1")
            assert done.returncode == 0, done.stderr
            summary = json_lines(output)[-1]
            assert summary["refused"] == 0 and summary["early"] <= 1
