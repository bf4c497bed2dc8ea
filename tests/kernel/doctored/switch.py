"""Context switches of which somebody has the facts wrong."""

from __future__ import annotations

from typing import Any


def widened(seen: Any) -> Any:
    """Every turn on that CPU ends later than it did."""
    turns = [
        turn._replace(end_ns=turn.end_ns + 10**7) if turn.cpu == seen.cpu else turn for turn in seen.turns
    ]
    return seen._replace(turns=turns)


def stretched(seen: Any) -> Any:
    """As if all took a million times as long."""
    turns = [turn._replace(begin_ns=10**6 * turn.begin_ns, end_ns=10**6 * turn.end_ns) for turn in seen.turns]
    return seen._replace(turns=turns)


def without_one(seen: Any) -> Any:
    return seen._replace(turns=[turn for turn in seen.turns if turn.tid != seen.workers[0]])


def at_one_time(seen: Any) -> Any:
    """As if two had had the CPU all the time."""
    return seen._replace(used_ns=seen.used_ns | dict.fromkeys(seen.workers[:2], seen.duration_ns))


def for_nothing(seen: Any) -> Any:
    """A switch takes no time that could be told from none."""
    first, *others = seen.report.direct
    first = first._replace(spread=first.spread._replace(low_ns=-1.0))
    return seen._replace(report=seen.report._replace(direct=(first, *others)))


DOCTORED = {
    "C1": [
        widened,
        stretched,
        without_one,
        at_one_time,
        lambda seen: seen._replace(lost=1),
    ],
    "C2": [
        widened,
        at_one_time,
        lambda seen: seen._replace(turns=[turn for turn in seen.turns if turn.cpu != seen.cpu]),
        lambda seen: seen._replace(lost=1),
    ],
    "C3": [
        for_nothing,
        lambda seen: seen._replace(results=(*seen.results[1:], seen.expected ^ 1)),
        lambda seen: seen._replace(switches=0),
    ],
    "C4": [
        lambda seen: seen._replace(first=seen.first._replace(on_cpu_ns=seen.nicer.on_cpu_ns)),
        lambda seen: seen._replace(nicer=seen.nicer._replace(on_cpu_ns=0)),
        lambda seen: seen._replace(first=seen.first._replace(waits=[0] * len(seen.first.waits))),
        lambda seen: seen._replace(nicer=seen.nicer._replace(waits=[0] * len(seen.nicer.waits))),
        lambda seen: seen._replace(sleeper=seen.sleeper._replace(waits=[0] * len(seen.sleeper.waits))),
    ],
}


def no_cheaper(seen: Any) -> Any:
    """Threads take the time of processes, as far as that can be told."""
    apart = tuple(one._replace(more=one.more._replace(low_ns=-1.0)) for one in seen.report.apart)
    return seen._replace(report=seen.report._replace(apart=apart))


PLAIN = {
    "C2": [lambda seen: seen._replace(beside=())],
    "C3": [no_cheaper],
    "C4": [
        lambda seen: seen._replace(first=seen.first._replace(voluntary=1 << 20)),
        lambda seen: seen._replace(sleeper=seen.sleeper._replace(voluntary=0)),
    ],
}
