"""The whole system for some seconds: kintro's count of tasks created is the kernel's own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .harness import DEADLINE_S, KINTRO, SUMMARY, kintro, program, running, seen_in, strictly, wait_for

pytestmark = pytest.mark.kernel

SECONDS = os.environ.get("KINTRO_SECONDS", "2")


@pytest.mark.parametrize("attempt", range(3))
def test_count_is_the_kernels(tmp_path: Path, attempt: int) -> None:
    output, ledger = tmp_path / "events.jsonl", tmp_path / "ledger"
    with running(program("forks", ledger, "1000000")):
        done = kintro("trace-fork", "--json", "-o", output, "-d", SECONDS, timeout=DEADLINE_S)
    seen = seen_in(output, done.returncode, done.stderr)
    assert (done.returncode, done.stderr) == (0, b"")
    assert seen.summary["forks"] > 500
    assert seen.summary["kernel_forks"] == seen.summary["forks"] + seen.summary["threads"]
    assert abs(seen.summary["duration_ns"] / 1e9 - float(SECONDS)) < 1
    seen.assert_whole()


@pytest.mark.parametrize("end", ["-d", "SIGINT"])
def test_slow_reader_does_not_prolong_the_trace(tmp_path: Path, end: str) -> None:
    """Whoever reads slower than events come gets them late; the trace ends when it should all the same."""
    options = ["-d", "1"] if end == "-d" else []
    command = [KINTRO, "trace-fork", "--json", *options]
    told = b""
    with (
        running(program("forks", tmp_path / "ledger", "1000000")) as forks,
        running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
    ):
        assert process.stdout is not None
        told = os.read(process.stdout.fileno(), 4096)
        begin = time.monotonic()
        while time.monotonic() - begin < 5:
            if options == [] and time.monotonic() - begin > 1:
                options = ["sent"]
                process.send_signal(signal.SIGINT)
            told += os.read(process.stdout.fileno(), 4096)
            time.sleep(0.02)
        forks.kill()
        while piece := os.read(process.stdout.fileno(), 1 << 20):
            told += piece
        assert process.wait(20) == 0
    summary = strictly(told.splitlines()[-1])
    assert summary["type"] == SUMMARY
    assert summary["duration_ns"] < 3e9


def test_threads_are_counted_and_shown(tmp_path: Path) -> None:
    output = tmp_path / "events.jsonl"
    loop = "import threading\nwhile True:\n t = threading.Thread(target=int); t.start(); t.join()"
    with running(["/usr/bin/python3", "-S", "-E", "-c", loop]) as looping:
        wait_for(lambda: Path(f"/proc/{looping.pid}/stat").read_text(), "the loop")
        done = kintro("trace-fork", "--json", "--threads", "-o", output, "-d", SECONDS)
    seen = seen_in(output, done.returncode)
    assert seen.summary["threads"] == len(seen.of("fork", kind="thread")) > 100
    assert seen.summary["kernel_forks"] == seen.summary["forks"] + seen.summary["threads"]
    seen.assert_whole()
