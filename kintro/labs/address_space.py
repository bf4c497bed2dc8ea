"""The lab address-space: what lies where in a process, and how much of it is in memory."""

from __future__ import annotations

from collections.abc import Iterator

from kintro.labs.lab import Lab
from kintro.labs.stage import Stage
from kintro.observers.memory_space import read_space

ASKED = ("text", "rodata", "heap", "stack", "vdso")  # kinds of mappings


def play(stage: Stage) -> Iterator[str]:
    touched = stage.draw(100, 1500)
    told = stage.begin("address_space", stage.draw(4 * touched, 20_000), touched)
    address = told["memory_address"]
    space = read_space(stage.pid)
    [memory] = [r for r in space.regions if r.mapping.start <= address < r.mapping.end]
    # The kind first: most mappings are of libraries.
    kind = stage.choose(*sorted({region.kind for region in space.regions} & set(ASKED)))
    asked = stage.choose(*(region for region in space.regions if region.kind == kind))
    stage.shown.update(
        program_pid=stage.pid,
        memory_address=address,
        some_address=stage.draw(asked.mapping.start, asked.mapping.end - 1),
    )
    size_bytes = memory.mapping.end - memory.mapping.start
    stage.facts.update(size_bytes=size_bytes, kind=asked.kind)
    if memory.usage is not None:
        resident_bytes = memory.usage.rss_bytes
        stage.facts.update(
            resident_bytes=resident_bytes,
            resident_share="all" if resident_bytes == size_bytes else "touched" if resident_bytes else "none",
        )
    yield "look"


LAB = Lab("address-space", play)
