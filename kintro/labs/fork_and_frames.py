"""The lab fork-and-frames: which page frames a child shares with its parent, before and after it writes."""

from __future__ import annotations

from collections.abc import Iterator

from kintro.labs.lab import Lab
from kintro.labs.stage import Stage
from kintro.observers.memory_diff import Compared, diff
from kintro.sources.mappings import read_maps


def play(stage: Stage) -> Iterator[str]:
    pages = stage.draw(500, 3000)
    told = stage.begin("fork_and_frames", pages, stage.draw(50, 450))
    parent, child, address = stage.pid, told["child_pid"], told["memory_address"]
    stage.shown.update(parent_pid=parent, child_pid=child, memory_address=address)
    before = _frames(parent, child, address)
    stage.facts.update(same_before=before.same_frame or 0, copied_before=before.different_frame or 0)
    stage.facts["at_fork"] = "none" if before.different_frame == 0 else "some" if before.same_frame else "all"
    yield "forked"
    stage.step()
    after = _frames(parent, child, address)
    stage.facts.update(same_after=after.same_frame or 0, copied_after=after.different_frame or 0)
    yield "written"


def _frames(parent: int, child: int, address: int) -> Compared:
    """Of the program's memory."""
    parts = ([m for m in read_maps(pid) if m.start <= address < m.end] for pid in (parent, child))
    of_parent, of_child = parts
    return diff(parent, of_parent, child, of_child).total


LAB = Lab("fork-and-frames", play, root=True)
