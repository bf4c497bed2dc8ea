"""The switches of ping-pongs by kintro's own probe (probes/switches.c), beside the kernel's counters.

Not while anything is timed: a switch that the probe counts costs more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kintro.errors import KintroError
from kintro.observers.cost_switch_records import Check, Way
from kintro.sources import host
from kintro.sources.bpf import Loading
from kintro.sources.ping_pong import Job, Pair

if TYPE_CHECKING:
    from kintro.sources.probe import Probe


def checks(
    ways: Mapping[Way, tuple[Pair, tuple[Job, Job]]],
) -> tuple[tuple[Check, ...], None] | tuple[None, str]:
    """Plays each once with the probe attached. Else why that cannot be, such as without root."""
    if not host.in_initial_pid_namespace():
        return None, "in a pid namespace of its own, where the kernel's tids are not to be seen"
    from kintro.observers import switches_read
    from kintro.observers.switches_records import PROBE
    from kintro.sources.probe import Probe

    try:
        loading = Loading(PROBE, None, switches_read.defines())
    except KintroError as error:
        return None, error.message
    try:
        with Probe(loading) as probe:
            probe.attach()
            switches_read.begin(probe, None)
            found = tuple(_check(probe, way, *played) for way, played in ways.items())
            switches_read.end(probe)
            return found, None
    except KintroError as error:
        return None, error.message
    finally:
        loading.close()


def _check(probe: Probe, way: Way, pair: Pair, jobs: tuple[Job, Job]) -> Check:
    from kintro.observers import switches, switches_read

    before = pair.counts()
    first = switches_read.read(probe)
    pair.run(*jobs)
    after = pair.counts()
    account = switches.account(switches_read.read(probe), first, whole_system=True, moving=True)
    tids = {tid for _, tid in pair.tasks}
    tasks = {slot: task for slot, task in account.tasks.items() if task.name.tid in tids}
    swaps = [
        found.times
        for (prev, following), found in account.pairs.items()
        if prev != following and {prev, following} == set(tasks)
    ]
    return Check(
        *way,
        sum(task.voluntary for task in tasks.values()),
        sum(task.involuntary for task in tasks.values()),
        sum(swaps),
        sum(b[0] - a[0] for a, b in zip(before, after)),
        sum(b[1] - a[1] for a, b in zip(before, after)),
    )
