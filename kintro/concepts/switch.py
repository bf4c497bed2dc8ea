"""Experiments with context switches: who has a CPU when, and what it costs to hand it on."""

from __future__ import annotations

import os
import random
import resource
import time
from collections.abc import Iterable
from contextlib import ExitStack
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from kintro.concepts import switch_cost, switch_scheduler
from kintro.concepts.experiment import Experiment, Finding, NotObserved, Picture, judged
from kintro.concepts.scene import Actor, Play, require_all, require_host_pids
from kintro.concepts.words import Value
from kintro.observers import switches_turns
from kintro.observers.switches_records import Turn
from kintro.observers.switches_turns import Recorded
from kintro.shapes import Timeline
from kintro.sources import host

WORKERS = 3  # on one CPU
SPIN_S = 0.6
LOOK_S = 0.5  # at a process that was there before
TOGETHER_NS = 100_000_000  # pauses shorter than that nobody notices


class Stretch(NamedTuple):
    """A turn of a task, as far as its time counts here."""

    cpu: int
    begin_ns: int
    end_ns: int
    tid: int


class Shared(NamedTuple):
    """What ran on all CPUs while some processes shared one."""

    cpu: int  # theirs
    workers: tuple[int, ...]  # pids on that CPU
    beside: tuple[int, ...]  # pids of those on other CPUs, one on each
    turns: list[Stretch]  # of all tasks, by CPU and then by time
    used_ns: dict[int, int]  # by pid: CPU time of a worker while it worked, as getrusage(2) told it
    duration_ns: int
    lost: int
    timeline: Timeline


def _spin(cpu: int) -> Play:
    os.sched_setaffinity(0, {cpu})
    yield None
    before = _used_ns()
    until = time.monotonic() + SPIN_S
    while time.monotonic() < until:
        sum(range(5000))
    yield _used_ns() - before


def _used_ns() -> int:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return round(1e9 * (usage.ru_utime + usage.ru_stime))


def observe_shared() -> Shared:
    require_host_pids()
    cpus = sorted(os.sched_getaffinity(0))
    cpu = cpus.pop(random.randrange(len(cpus)))
    with ExitStack() as stack:
        actors = [stack.enter_context(Actor(_spin, on)) for on in [cpu] * WORKERS + cpus[:3]]
        for actor in actors:
            actor.step()
        used_ns: dict[int, int] = {}

        def work() -> None:
            for actor in actors:
                actor.go_on()
            used_ns.update({actor.pid: actor.told() for actor in actors})

        found = switches_turns.record(during=work)
    lost = found.lost + found.account.lost
    require_all(lost)
    pids = [actor.pid for actor in actors]
    return Shared(
        cpu,
        tuple(pids[:WORKERS]),
        tuple(pids[WORKERS:]),
        _stretches(found),
        used_ns,
        found.end_ns - found.begin_ns,
        lost,
        switches_turns.timeline(found, {cpu}),
    )


def _stretches(found: Recorded) -> list[Stretch]:
    def stretch(turn: Turn) -> Stretch:
        return Stretch(turn.cpu, turn.ts_ns, turn.ended_ns, found.names[turn.slot].tid)

    return sorted(map(stretch, found.turns))


def overlaps(turns: Iterable[Stretch]) -> int:
    """How often on some CPU a turn begins before the one before it has ended."""
    known: dict[int, int] = {}
    number = 0
    for turn in sorted(turns):
        number += turn.begin_ns < known.get(turn.cpu, 0)
        known[turn.cpu] = max(known.get(turn.cpu, 0), turn.end_ns)
    return number


def at_once(turns: Iterable[Stretch]) -> tuple[int, int]:
    """The most that ran at one moment, on all CPUs together, and for how long more than one did, in ns."""
    ran = [turn for turn in turns if turn.end_ns > turn.begin_ns]
    moments = sorted(moment for turn in ran for moment in ((turn.begin_ns, 1), (turn.end_ns, -1)))
    running = most = several_ns = last_ns = 0
    for ts_ns, step in moments:
        several_ns += ts_ns - last_ns if running > 1 else 0
        running, last_ns = running + step, ts_ns
        most = max(most, running)
    return most, several_ns


def pauses_ns(turns: Iterable[Stretch], tid: int) -> list[int]:
    """Between the turns of a task."""
    own = sorted((turn.begin_ns, turn.end_ns) for turn in turns if turn.tid == tid)
    return [later[0] - earlier[1] for earlier, later in pairwise(own)]


def judge_simultaneous(seen: Shared) -> Finding:
    lane = [turn for turn in seen.turns if turn.cpu == seen.cpu]
    turns = {pid: sum(turn.tid == pid for turn in lane) for pid in seen.workers}
    pauses = [pause for pid in seen.workers for pause in pauses_ns(lane, pid)]
    taken_ns = [turn.end_ns - turn.begin_ns for turn in lane if turn.tid in seen.workers]
    facts: dict[str, Value] = {
        "workers": len(seen.workers),
        "duration_ns": seen.duration_ns,
        "cpu_turns": len(lane),
        "fewest_turns": min(turns.values()),
        "turn_ns": median(taken_ns) if taken_ns else None,
        "pause_ns": median(pauses) if pauses else None,
        "longest_pause_ns": max(pauses, default=None),
        "ran_ns": sum(taken_ns),
        "told_ns": sum(seen.used_ns[pid] for pid in seen.workers),
        "overlaps": overlaps(lane),
        "lost": seen.lost,
    }
    in_turn = min(turns.values()) >= 3 and bool(pauses) and median(pauses) < TOGETHER_NS
    holds = in_turn and overlaps(lane) == 0 and seen.lost == 0 and fits_one_cpu(seen)
    return Finding(judged(holds, False), facts, (Picture("one-cpu", seen.timeline),))


def fits_one_cpu(seen: Shared) -> bool:
    """Two that ran there at once would have had more CPU time than went by, of which they tell themselves.

    That does not depend on the turns: one begins in our records where the kernel says that the last one ends.
    """
    return sum(seen.used_ns[pid] for pid in seen.workers) <= seen.duration_ns


def judge_one_at_a_time(seen: Shared) -> Finding:
    lane = [turn for turn in seen.turns if turn.cpu == seen.cpu]
    most, several_ns = at_once(turn for turn in seen.turns if turn.tid in (*seen.workers, *seen.beside))
    facts: dict[str, Value] = {
        "cpus": len({turn.cpu for turn in seen.turns}),
        "workers": len(seen.workers),
        "duration_ns": seen.duration_ns,
        "turns": len(seen.turns),
        "overlaps": overlaps(seen.turns),
        "told_ns": sum(seen.used_ns[pid] for pid in seen.workers),
        "cpu_most": at_once(lane)[0],
        "most": most,
        "several_ns": several_ns,
        "lost": seen.lost,
    }
    alone = overlaps(seen.turns) == 0 and at_once(lane)[0] == 1 and fits_one_cpu(seen)
    several = bool(seen.beside) and most > 1 and several_ns > 0
    return Finding(judged(alone and seen.lost == 0, several), facts, (Picture("one-cpu", seen.timeline),))


class Visited(NamedTuple):
    """What ran where a process ran."""

    turns: list[Stretch]  # of all tasks of the CPUs where it was, by CPU and then by time
    own: int  # turns of the process
    cpus: tuple[int, ...]
    duration_ns: int
    lost: int
    timeline: Timeline


def observe_visited(pid: int) -> Visited:
    require_host_pids()
    if not os.path.exists(host.ROOT / f"proc/{pid}"):
        raise NotObserved("ended", pid=pid)
    found = switches_turns.record(LOOK_S)
    lost = found.lost + found.account.lost
    require_all(lost)
    own = [turn for turn in found.turns if found.names[turn.slot].pid == pid]
    if not own:
        raise NotObserved("quiet", duration_ns=found.end_ns - found.begin_ns)
    cpus = {turn.cpu for turn in own}
    turns = [turn for turn in _stretches(found) if turn.cpu in cpus]
    timeline = switches_turns.timeline(found, cpus)
    return Visited(turns, len(own), tuple(sorted(cpus)), found.end_ns - found.begin_ns, lost, timeline)


def judge_visited(seen: Visited) -> Finding:
    facts: dict[str, Value] = {
        "duration_ns": seen.duration_ns,
        "own_turns": seen.own,
        "cpus": len(seen.cpus),
        "turns": len(seen.turns),
        "tasks": len({turn.tid for turn in seen.turns}),
        "turn_ns": median(turn.end_ns - turn.begin_ns for turn in seen.turns),
        "overlaps": overlaps(seen.turns),
        "most": at_once(seen.turns)[0],
        "lost": seen.lost,
    }
    holds = overlaps(seen.turns) == 0 and seen.lost == 0
    return Finding(judged(holds, False), facts, (Picture("its-cpus", seen.timeline),))


def judge_visited_alone(seen: Visited) -> Finding:
    """More than one at a time, where it ran on more than one CPU."""
    found = judge_visited(seen)
    several = len(seen.cpus) > 1 and at_once(seen.turns)[0] > 1
    return found._replace(verdict=judged(found.verdict == "holds", several))


EXPERIMENTS = (
    Experiment("C1", observe_shared, judge_simultaneous, True, observe_visited, judge_visited, on_root=True),
    Experiment(
        "C2", observe_shared, judge_one_at_a_time, True, observe_visited, judge_visited_alone, on_root=True
    ),
    *switch_cost.EXPERIMENTS,
    *switch_scheduler.EXPERIMENTS,
)
