"""The lab orphans: who takes the children of a process that ends before them."""

from __future__ import annotations

from collections.abc import Iterator

from kintro.labs.lab import Lab
from kintro.labs.stage import Stage
from kintro.observers import lifecycle
from kintro.observers.lifecycle_records import Reparent
from kintro.sources.filters import Filters


def play(stage: Stage) -> Iterator[str]:
    told = stage.begin("orphans", stage.draw(2, 7), stage.draw(0, 1))
    grandparent, parent = stage.pid, told["parent_pid"]
    stage.shown.update(grandparent_pid=grandparent, parent_pid=parent)
    yield "trace"
    with lifecycle.trace(filters=Filters(pid=parent), during=stage.step) as run:
        taken = [event for event in run if isinstance(event, Reparent)]
    takers = {event.new_ppid for event in taken}
    taker = takers.pop() if len(takers) == 1 else None
    stage.facts["adopted"] = len(taken)
    if taker is not None and taken[0].reason is not None:
        stage.facts.update(
            taker_pid=taker,
            reason=taken[0].reason,
            taker="grandparent" if taker == grandparent else "init" if taker == 1 else "other",
        )
    yield "adopted"


LAB = Lab("orphans", play, root=True, traces=True)
