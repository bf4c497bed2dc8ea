"""kintro cost switch: the switches it divides by are those that kintro's probe and the kernel count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .harness import KINTRO, as_nobody, json_lines, kintro, strictly
from .switching import whole

pytestmark = pytest.mark.kernel

CALLS = 2000


def test_as_many_switches_as_the_probe_sees() -> None:
    done = kintro("cost", "switch", "--json", "--runs", "1")
    assert (done.returncode, done.stderr) == (0, b"")
    found = json.loads(done.stdout)
    assert found["no_probe"] is None and len(found["probe"]) == 6
    for check in found["probe"]:
        assert check["agrees"], check
        assert (check["voluntary"], check["involuntary"]) == (
            check["kernel_voluntary"],
            check["kernel_involuntary"],
        )
        switches = check["voluntary"] + check["involuntary"]
        # Now and then somebody else comes in between.
        assert 0.5 * CALLS <= check["to_each_other"] <= switches


def test_another_trace_sees_all_switches_that_it_tells_of(tmp_path: Path) -> None:
    seen, told = tmp_path / "seen", tmp_path / "told"
    command = (KINTRO, "cost", "switch", "--json", "-o", str(told), "--runs", "3")
    done = kintro("ctxswitch", "--json", "-o", seen, "--", *command)
    assert done.returncode == 0, done
    summary = whole(json_lines(seen)[-1])
    found = strictly(told.read_bytes())
    # The first is kintro, with the threads of its libraries; the others are those that play.
    first = min(task["pid"] for task in summary["tasks"])
    players = [task for task in summary["tasks"] if task["pid"] != first]
    assert len(players) == 4 and len({task["pid"] for task in players}) == 3
    for kind in ("voluntary", "involuntary"):
        timed = sum(way[kind] for way in found["switches"])
        checked = sum(check[kind] for check in found["probe"])
        assert sum(task[kind] for task in players) >= timed + checked
    assert sum(way["switches"] for way in found["switches"]) >= 0.6 * 6 * 3 * CALLS


def test_needs_no_root() -> None:
    done = kintro("cost", "switch", "--json", "--runs", "2", cwd="/", **as_nobody())
    assert (done.returncode, done.stderr) == (0, b"")
    found = json.loads(done.stdout)
    assert (found["probe"], found["no_probe"]) == (None, "tracing the kernel needs root")
    assert all(way["switches"] > 0 for way in found["switches"])
