"""Timelines of CPUs to draw: a few turns, hostile names, many turns, many CPUs, more than a page holds."""

from __future__ import annotations

import random
from collections.abc import Iterator

import layouts

from kintro.observers.switches import NOBODY
from kintro.observers.switches_page import PageTimeline
from kintro.observers.switches_records import PREEMPTED, Name, Turn, Waking
from kintro.shapes import Timeline

BEGIN_NS = 7_000_000_000
BLOCKED = 1
FIRST_SLOT = 1000  # of the tasks; lower ones are of idle tasks


def timeline(events: Iterator[Turn | Waking], names: list[bytes], **options: int) -> Timeline:
    """`names`: of the tasks by slot, from FIRST_SLOT on."""

    def name(slot: int) -> Name:
        number = slot - FIRST_SLOT
        return NOBODY if number < 0 else Name(100 + number, 100 + number // 2 * 2, number, names[number])

    made = PageTimeline(lambda piece: None, BEGIN_NS, name, **options)
    for event in events:
        made.add(event)
    return made.timeline()


def turns(cpus: int, number: int, tasks: int, mean_ns: int = 5000) -> Iterator[Turn | Waking]:
    """So many turns on each CPU, with idle ones between some, and what woke their tasks."""
    events = [event for cpu in range(cpus) for event in _turns(cpu, cpus, number, tasks, mean_ns)]
    end_ns = max(event[0] for event in events)
    for cpu in range(cpus):  # at the end all are idle
        last_ns = max(event.ended_ns for event in events if isinstance(event, Turn) and event.cpu == cpu)
        events.append(Turn(end_ns, last_ns, 1 + cpu, 0, cpu, 0))
    return iter(sorted(events, key=lambda event: event[0]))


def _turns(cpu: int, cpus: int, number: int, tasks: int, mean_ns: int) -> Iterator[Turn | Waking]:
    """Of one CPU, which has its own share of the tasks."""
    chance, at = random.Random(cpu), BEGIN_NS
    for _ in range(number):
        task = FIRST_SLOT + chance.randrange(cpu, tasks, cpus)
        idle_ns = chance.choice([0, 0, chance.randrange(2, 2 * mean_ns)])
        if idle_ns:
            yield Waking(
                at + idle_ns // 2, task, FIRST_SLOT + chance.randrange(tasks), chance.randrange(cpus), cpu
            )
            yield Turn(at + idle_ns, at, 1 + cpu, task, cpu, 0)
        at += idle_ns
        ended_ns = at + 200 + int(chance.expovariate(1 / mean_ns))
        yield Turn(ended_ns, at, task, 1 + cpu, cpu, chance.choice([0, BLOCKED, BLOCKED, PREEMPTED]))
        at = ended_ns


def named(number: int) -> list[bytes]:
    return [b"task-%d" % task for task in range(number)]


def few() -> Timeline:
    return timeline(turns(2, 25, 5), named(5))


def hostile() -> Timeline:
    names = [name.encode(errors="backslashreplace") for name in layouts.HOSTILE]
    return timeline(turns(2, 60, len(names)), names)


def empty() -> Timeline:
    idle = [Turn(BEGIN_NS + 1000, BEGIN_NS, 1 + cpu, 0, cpu, 0) for cpu in range(2)]
    return timeline(iter(idle), [])


def many() -> Timeline:
    return timeline(turns(2, 100_000, 40), named(40))


def wide() -> Timeline:
    return timeline(turns(64, 2000, 300), named(300))


def too_many() -> Timeline:
    return timeline(turns(2, 20_000, 40), named(40), room=5000)
