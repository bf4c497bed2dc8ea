"""The lab kernel-wall: what becomes of who reaches for the kernel's memory."""

from __future__ import annotations

from collections.abc import Iterator

from kintro.labs.lab import Lab
from kintro.labs.stage import Stage
from kintro.observers import lifecycle, syscalls
from kintro.observers.lifecycle_records import Exit
from kintro.sources.filters import Filters

# Within the kernel's half, on x86-64 and arm64 alike.
LOW, HIGH = 0xFFFF_8880_0000_0000, 0xFFFF_C800_0000_0000
PAGE_BYTES = 4096


def play(stage: Stage) -> Iterator[str]:
    address = stage.draw(LOW // PAGE_BYTES, HIGH // PAGE_BYTES) * PAGE_BYTES
    children = stage.draw(4, 12)
    stage.begin("kernel_wall", hex(address), stage.draw(20, 900), children, stage.draw(1, children - 1))
    only = Filters(pid=stage.pid)
    stage.shown.update(program_pid=stage.pid, wall_address=address)
    yield "trace-calls"
    counted = syscalls.count(filters=only, during=stage.step)
    writes = [call for call in counted.syscalls if call.name == "write"]
    stage.facts["refused"] = sum(call.errno.get("EFAULT", 0) for call in writes)
    yield "refused"
    yield "trace-ends"
    with lifecycle.trace(filters=only, during=stage.step) as run:
        ends = [event for event in run if isinstance(event, Exit) and event.process]
    killed = [end for end in ends if end.signal is not None]
    stage.facts.update(died=len(killed), lived=len(ends) - len(killed))
    if killed and killed[0].signal is not None:
        stage.facts["by_signal"] = killed[0].signal
    yield "died"


LAB = Lab("kernel-wall", play, root=True, traces=True)
