"""A thread's way into the kernel and back as a timeline: two lanes, one for each mode of the CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kintro.observers.calls import Seen
from kintro.renderers.text import duration, printable
from kintro.shapes import Lane, Runner, Timeline, Turns

USER, KERNEL = range(2)
_SEVERAL, _CALLED, _RETURNED = range(3)  # how a stretch ends
_NONE = -1


def spans(calls: Sequence[Seen]) -> Timeline:
    """Of one thread's calls in order of time, from the first one's entry to the last one's exit.

    Those that had begun before, or did not return, are left out. In either mode it may also wait for a CPU.
    """
    whole = [seen for seen in calls if seen.call.duration_ns is not None]
    begin_ns = whole[0].call.ts_ns if whole else 0
    table: list[tuple[int, int, int, str]] = []  # lane, begin, end, what it was in
    known_ns = begin_ns
    for seen in whole:
        call = seen.call
        if call.ts_ns > known_ns:
            table.append((USER, known_ns, call.ts_ns, "user mode"))
        table.append((KERNEL, call.ts_ns, call.ended_ns, seen.name))
        known_ns = call.ended_ns
    table.sort()
    names = sorted({row[3] for row in table}, key=lambda name: -_busy_ns(table, name))
    thread = whole[0].call if whole else None
    runners = tuple(
        Runner(
            name.encode(),
            thread.tid if thread else 0,
            thread.pid if thread else 0,
            sum(row[3] == name for row in table),
            _busy_ns(table, name),
            0,
        )
        for name in names
    )
    columns = [
        (
            lane,
            begin - begin_ns,
            end - begin_ns,
            names.index(name),
            _CALLED if lane == USER else _RETURNED,
            *(_NONE,) * 4,
            1,
            end - begin,
            end - begin,
        )
        for lane, begin, end, name in table
    ]
    values = np.array(columns, np.int64).reshape(-1, len(Turns._fields))
    comm = whole[0].comm if whole else None
    return Timeline(
        f"{printable(comm or b'')} between user mode and kernel mode",
        f"{len(whole):,} system calls in {duration(known_ns - begin_ns)}",
        (("System calls", f"{len(whole):,}"),),
        "",
        known_ns - begin_ns,
        tuple(_lane(table, lane, name) for lane, name in ((USER, "user mode"), (KERNEL, "kernel mode"))),
        runners,
        ("several", "called the kernel", "returned"),
        Turns(*(np.ascontiguousarray(values[:, column]) for column in range(len(Turns._fields)))),
    )


def _lane(table: Sequence[tuple[int, int, int, str]], lane: int, name: str) -> Lane:
    inside = [end - begin for of, begin, end, _ in table if of == lane]
    return Lane(name, len(inside), sum(inside), 0)


def _busy_ns(table: Sequence[tuple[int, int, int, str]], name: str) -> int:
    return sum(end - begin for _, begin, end, of in table if of == name)
