"""What the account is like when a tracepoint does not tell of something: the probe is made deaf to it."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest
from trace_processor import query

from .switching import (
    CPU,
    SWITCH_NS,
    assert_counts,
    at_rest,
    load,
    schedstat_of,
    tasks_below,
    told,
    tracing_switches,
)
from .test_ctxswitch_timeline import TASKS, TURNS, assert_lanes, figures, of

pytestmark = pytest.mark.kernel

DEAF = """
import sys
from kintro.cli import main
from kintro.sources import bpf, probe_source
place, more = sys.argv[1:3]
text = probe_source.probe_text("switches")
assert text.count(place) == 1
bpf.probe_text = lambda name: text.replace(place, place + more)
sys.exit(main(sys.argv[3:]))
"""
HALF_OF_THE_WAKINGS = (
    "u64 begin_ns = begin();\n\n    /* Who wakes itself",
    " */ if (bpf_get_prandom_u32() & 1) return 0; /*",
)
# An eighth of them, but never two on end.
SOME_SWITCHES = (
    "settle(here, typed, prev, cpu, begin_ns, 1, state != 0);\n",
    "if ((here->reserved[0]++ & 1) && !(bpf_get_prandom_u32() & 3)) return 0;\n",
)


def deaf(place: str, more: str) -> tuple[str, ...]:
    """kintro with something added behind a place in the text of its probe."""
    return sys.executable, "-c", DEAF, place, more


def test_a_wait_without_its_wake_up_begins_in_the_run_queue(tmp_path: Path, switcher: str) -> None:
    """By the kernel's own sum of the time in run queues: a sleep without its end would be part of it."""
    output = tmp_path / "account"
    with (
        tracing_switches(output, program=deaf(*HALF_OF_THE_WAKINGS)) as tracer,
        load(switcher, "sleepers", str(CPU), "200") as it,
    ):
        kernels = at_rest(it.pid)
        waited_ns = {tid: schedstat_of(pid, tid)[1] for pid, tid in tasks_below(it.pid)}
        summary = told(output, tracer)
    tasks = assert_counts(summary, kernels)
    assert summary["untold_wakings"] > 200
    error_ns = sum(abs(tasks[tid]["runnable_ns"] - kernels_ns) for tid, kernels_ns in waited_ns.items())
    assert error_ns < 10 * SWITCH_NS * sum(tasks[tid]["switches"] for tid in kernels)
    assert sum(b["count"] for b in summary["run_queue"]) >= 200 * 5


def test_switches_that_were_not_told_of(tmp_path: Path, switcher: str) -> None:
    """They are made up for, as often as the kernel has counted, and in turns that fit together."""
    output, timeline = tmp_path / "account", tmp_path / "timeline.pftrace"
    options = ("--timeline", str(timeline))
    with (
        tracing_switches(output, *options, program=deaf(*SOME_SWITCHES)) as tracer,
        load(switcher, "sleepers", "-1", "100") as it,
    ):
        kernels = at_rest(it.pid)
        summary = told(output, tracer)
    assert summary["untold"] > 20
    tasks = {task["tid"]: task for task in summary["tasks"]}
    # The kernel may itself not tell of one, next to one of these: the turn in between is then not its task's.
    fewer = [counts[0] + counts[1] - tasks[tid]["switches"] for tid, counts in kernels.items()]
    assert min(fewer) >= 0 and sum(fewer) <= summary["untold"] // 20
    pairs: Counter[int] = Counter()
    for pair in summary["pairs"]:
        pairs[pair["prev"]["tid"]] += pair["count"]
    _, end_ns = of(summary)
    found, turns = query(timeline.read_bytes(), TASKS.format(end_ns=end_ns), TURNS)
    assert_lanes(turns, summary)
    # If nobody told that a task has ended, another one of its tid is the same one for Perfetto.
    twice = {tid for tid, number in Counter(task["tid"] for task in summary["tasks"]).items() if number > 1}
    counted, seen = (figures(t for t in part if t["tid"] not in twice) for part in (summary["tasks"], found))
    assert seen == counted, (seen - counted, counted - seen)
    assert {tid: pairs[tid] for tid in kernels} == {tid: tasks[tid]["switches"] for tid in kernels}
