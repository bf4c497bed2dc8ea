"""System calls of which somebody has the facts wrong."""

from __future__ import annotations

from typing import Any


def with_cost(seen: Any, what: str, **figures: float) -> Any:
    costs = (cost._replace(**figures) if cost.what == what else cost for cost in seen.costs)
    return seen._replace(costs=tuple(costs))


def of_user_mode(seen: Any) -> Any:
    return next(cost for cost in seen.costs if cost.what == "function")


DOCTORED = {
    "S1": [
        lambda seen: seen._replace(entered={**seen.entered, "read": 0}),
        lambda seen: seen._replace(returned={**seen.returned, "write": seen.made["write"] - 1}),
        lambda seen: seen._replace(made={**seen.made, "fork": seen.made["fork"] + 1}),
        lambda seen: seen._replace(complete=False),
    ],
    "S2": [
        lambda seen: with_cost(seen, "syscall", median_ns=of_user_mode(seen).median_ns),
        lambda seen: with_cost(seen, "syscall", p10_ns=of_user_mode(seen).p10_ns),
    ],
    "S3": [
        lambda seen: seen._replace(user_level=1),
        lambda seen: seen._replace(computing=seen.computing._replace(levels={0: 1, 3: 1})),
        lambda seen: seen._replace(computing=seen.calling),
        lambda seen: seen._replace(calling=seen.computing),
        lambda seen: seen._replace(calling=seen.calling._replace(complete=False)),
        lambda seen: seen._replace(computing=seen.computing._replace(complete=False)),
        lambda seen: seen._replace(spans=seen.spans[1:]),
        lambda seen: seen._replace(spans=[seen.spans[0]] * len(seen.spans)),
    ],
}

PLAIN = {
    "S1": [
        lambda seen: seen._replace(faults=0),
        lambda seen: seen._replace(page_calls=seen.pages),
        lambda seen: seen._replace(clock_entered=seen.clock_asked),
    ],
    "S2": [lambda seen: seen._replace(empty_ns=(0.0,))],
}
