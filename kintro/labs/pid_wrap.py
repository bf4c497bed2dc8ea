"""The lab pid-wrap: which pid comes after the last one."""

from __future__ import annotations

from collections.abc import Iterator

from kintro.labs.lab import Lab
from kintro.labs.stage import Stage
from kintro.observers import lifecycle, tree
from kintro.observers.pids_watch import Allocation, Given, Wrap
from kintro.sources.filters import Filters


def play(stage: Stage) -> Iterator[str]:
    left = stage.draw(8, 20)  # some are taken by those who look into the namespace
    told = stage.begin("pid_wrap", stage.draw(2, 30), left, left + stage.draw(5, 20), as_root=True)
    nodes = tree.nodes(tree.read_snapshot(), stage.pid)
    [init] = [node.process.pid for node in nodes if node.process.ppid == stage.pid]
    end = told["end"]
    stage.shown["init_pid"] = init
    yield "trace"
    allocation = Allocation(end - 1 - left, lambda fork: fork.ns_pid, lambda: end, None)
    with lifecycle.trace(filters=Filters(pid=init), during=stage.step) as run:
        events = list(allocation.events(run))
    wraps = [event for event in events if isinstance(event, Wrap)]
    stage.facts["end"] = end
    stage.facts["given"] = sum(isinstance(event, Given) for event in events)
    if len(wraps) == 1:
        after = wraps[0].id
        stage.facts.update(highest=wraps[0].after, first=after, starts="one" if after < 300 else "free")
    yield "told"


LAB = Lab("pid-wrap", play, root=True, traces=True)
