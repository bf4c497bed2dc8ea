"""Every turn on each CPU, as a program gets them, against the kernel's own counts."""

from __future__ import annotations

import os
import time

import pytest

from kintro.concepts.scene import Actor, Play
from kintro.observers import switches_turns

from .switching import Counts, at_rest

pytestmark = pytest.mark.kernel

NAPS = 23


def naps(cpu: int) -> Play:
    os.sched_setaffinity(0, {cpu})
    yield None
    for _ in range(NAPS):
        time.sleep(0.001)
    yield None


def test_turns_of_a_process() -> None:
    cpu = max(os.sched_getaffinity(0))
    with Actor(naps, cpu) as actor:
        actor.step()
        before = at_rest(actor.pid)[actor.pid]
        after: list[Counts] = []

        def work() -> None:
            actor.step()
            after.append(at_rest(actor.pid)[actor.pid])

        found = switches_turns.record(during=work)
    own = [turn for turn in found.turns if found.names[turn.slot].tid == actor.pid]
    switches = sum(after[0][:2]) - sum(before[:2])
    assert found.lost == found.account.lost == 0
    assert len(own) == switches > NAPS
    assert {turn.cpu for turn in own} == {cpu}
    assert all(found.begin_ns <= turn.ts_ns <= turn.ended_ns <= found.end_ns for turn in own)
    [task] = [task for task in found.account.tasks.values() if task.name.tid == actor.pid]
    assert sum(turn.ended_ns - turn.ts_ns for turn in own) == task.on_cpu_ns
    drawn = switches_turns.timeline(found, {cpu})
    assert [lane.name for lane in drawn.lanes] == [f"CPU {cpu}"]
    [runner] = [runner for runner in drawn.runners if runner.tid == actor.pid]
    assert runner.turns == len(own)
    everything = switches_turns.timeline(found, range(os.cpu_count() or 1))
    assert sum(lane.turns for lane in everything.lanes) == len(found.turns)


def test_it_ends_with_the_time() -> None:
    found = switches_turns.record(0.05)
    assert found.account.complete is not False
    assert sum(turn.ended_ns - turn.ts_ns for turn in found.turns) == sum(
        cpu.busy_ns for cpu in found.account.cpus.values()
    )
