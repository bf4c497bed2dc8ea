"""kintro cost ipc: calls and switches for a message are those that each kind implies and strace sees."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .harness import KINTRO, as_nobody, environment, kintro, strictly

pytestmark = pytest.mark.kernel

CALLS = {
    "pipe": {"readv", "writev"}, "unix-stream": {"readv", "writev"}, "unix-dgram": {"readv", "writev"},
    "tcp": {"readv", "writev"}, "eventfd": {"readv", "writev"}, "sysv-msg": {"msgsnd", "msgrcv"},
    "mqueue": {"mq_timedsend", "mq_timedreceive"}, "signal": {"kill", "rt_sigtimedwait"},
}  # fmt: skip


def test_as_many_calls_and_switches_as_the_mechanism_implies() -> None:
    done = kintro("cost", "ipc", "--json", "--runs", "1", "--size", "64")
    assert (done.returncode, done.stderr) == (0, b"")
    found = strictly(done.stdout)
    assert (found["no_probe"], found["missing"]) == (None, {})
    for one in found["latency"]:
        counted = one["counted"]
        assert counted["switches"] == counted["kernel_switches"], one
        if one["kind"] in CALLS:
            assert counted["calls"] == dict.fromkeys(sorted(CALLS[one["kind"]]), counted["messages"]), one
        elif one["kind"] == "shm-spin":
            assert counted["calls"] == {}
        else:
            assert set(counted["calls"]) == {"futex"}
            assert counted["messages"] <= counted["calls"]["futex"] <= 2 * counted["messages"] + 2
        if one["place"] == "one":
            # Who waits has to leave the CPU to the other one, also where it spins.
            assert counted["switches"] >= 0.9 * counted["messages"] - 1, one
    for one in found["throughput"]:
        if one["kind"] in CALLS:
            assert one["counted"]["calls"] == dict.fromkeys(sorted(CALLS[one["kind"]]), 2000), one
        elif one["kind"] == "shm-spin":
            assert one["counted"]["calls"] == {}


def test_calls_are_those_of_the_messages_also_where_little_is_counted() -> None:
    found = strictly(kintro("cost", "ipc", "--json", "--runs", "1", "--kind", "signal").stdout)
    assert [one["counted"]["calls"] for one in found["latency"]] == [
        {"kill": one["messages"], "rt_sigtimedwait": one["messages"]} for one in found["latency"]
    ]


def test_told_to_end_it_counts_no_more_and_plays_one_round() -> None:
    script = (
        "from kintro.observers import cost_ipc\n"
        "print(cost_ipc.measure(7, stop=iter([True]).__next__, kinds=['pipe']))"  # told once
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, env=environment())
    assert b"uncounted='they were told to end'" in done.stdout and b"runs=1," in done.stdout


def test_strace_sees_the_same_calls(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    seen = {}
    for runs in (1, 3):
        summary = tmp_path / f"summary{runs}"
        command = (strace, "-f", "-c", "-e", "trace=readv,writev", "-o", str(summary), KINTRO, "cost", "ipc")
        options = ("--json", "--kind", "pipe", "--size", "64", "--runs", str(runs))
        done = subprocess.run([*command, *options], capture_output=True, check=True)
        assert json.loads(done.stdout)["latency"][0]["runs"] == runs
        rows = re.findall(
            r"^ *\S+ +\S+ +\S+ +(\d+) +(?:\d+ )?(readv|writev)$", summary.read_text(), re.MULTILINE
        )
        seen[runs] = {name: int(number) for number, name in rows}
    # In a run: two ping-pongs of 200 turns after 4 untimed ones, by both, and a stream of 2000 messages.
    places = len(json.loads(done.stdout)["latency"])
    each = places * 2 * (200 + 4) + 2000
    assert {name: seen[3][name] - seen[1][name] for name in seen[1]} == {
        "readv": 2 * each,
        "writev": 2 * each,
    }


def test_needs_no_root() -> None:
    options: tuple[Any, ...] = ("--runs", "1", "--kind", "pipe", "--kind", "shm-futex", "--size", "1")
    done = kintro("cost", "ipc", "--json", *options, cwd="/", **as_nobody())
    assert (done.returncode, done.stderr) == (0, b"")
    found = json.loads(done.stdout)
    assert found["no_probe"] == "tracing the kernel needs root"
    assert all(one["counted"] is None for one in (*found["latency"], *found["throughput"]))
    assert all(one["median_ns"] > 0 for one in (*found["latency"], *found["throughput"]))
