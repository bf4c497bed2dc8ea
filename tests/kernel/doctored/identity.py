"""Ids that come twice, fall, are used while they are taken, or are told otherwise."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from kintro.concepts.counting import FIRST, expected
from tests.kernel.doctored.change import first

DOCTORED = {
    "I1": [
        lambda seen: seen._replace(different=seen.different - 1),
        lambda seen: seen._replace(processes=1),
        lambda seen: seen._replace(init=None),
        lambda seen: seen._replace(init=seen.init._replace(pid=2)),
        lambda seen: seen._replace(first_start_ns=seen.first_start_ns - 1),
    ],
    "I2": [
        lambda seen: seen._replace(made=seen.made[::-1]),
        lambda seen: seen._replace(made=[*seen.made, seen.made[-1]]),
        lambda seen: seen._replace(made=seen.made[:1]),
        lambda seen: seen._replace(given=[]),
    ],
    "I3": [
        lambda seen: seen._replace(told=seen.told[:5], given=seen.given[:5], wraps=[]),
        lambda seen: seen._replace(given=seen.given[1:]),
        lambda seen: seen._replace(wraps=[]),
        lambda seen: seen._replace(kept=[seen.told[-1]]),
        lambda seen: seen._replace(kept=[]),
        lambda seen: seen._replace(pid_max=seen.pid_max + 1),
        lambda seen: seen._replace(lost=1),
    ],
    "I4": [
        lambda seen: seen._replace(record=(1 << 30, seen.record[1])),
        lambda seen: seen._replace(record=(seen.record[0], 1 << 30)),
        lambda seen: seen._replace(before=seen.before[:-1]),
        lambda seen: seen._replace(after=first(seen.after, ppid=1 << 30)),
        lambda seen: seen._replace(after=first(seen.after, sid=1)),
        lambda seen: seen._replace(middle_pid=1 << 30),
    ],
    "I5": [
        lambda seen: seen._replace(here=seen.here._replace(told=(1, seen.here.told[1]))),
        lambda seen: seen._replace(here=seen.here._replace(told=(seen.here.told[0], 1 << 30))),
        lambda seen: seen._replace(here=seen.here._replace(pid=1 << 30)),
        lambda seen: seen._replace(here=seen.here._replace(returned={})),
        lambda seen: seen._replace(here=seen.here._replace(returned={"getpid": 1, "getppid": 1})),
        lambda seen: seen._replace(inside=seen.inside._replace(returned={"getpid": 2, "getppid": 0})),
    ],
}


def from_the_start(seen: Any) -> Any:
    """As if the counter began again where it once began."""
    told = expected(seen.pid_max, seen.kept, 5 * seen.told, FIRST)
    return seen._replace(told=told, given=told, wraps=[(a, b) for a, b in pairwise(told) if b < a])


PLAIN = {
    "I1": [
        lambda seen: seen._replace(inside=None),
        lambda seen: seen._replace(inside=seen.inside._replace(ns_pids=seen.inside.ns_pids[:1])),
    ],
    "I2": [lambda seen: seen._replace(made=[one for one in seen.made if one.kind == "process"])],
    "I3": [from_the_start],
    "I4": [
        lambda seen: seen._replace(traced=[]),
        lambda seen: seen._replace(traced=seen.traced[1:]),
    ],
    "I5": [lambda seen: seen._replace(inside=None)],
}
