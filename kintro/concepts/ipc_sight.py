"""What experiments with channels between processes have in common: the inventory, and what may be traced."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from kintro.concepts.experiment import Finding, NotObserved, Picture, judged
from kintro.concepts.words import Value
from kintro.observers import ipc, ipc_graph
from kintro.observers.ipc_records import Channel, Inventory
from kintro.shapes import Graph
from kintro.sources import host
from kintro.sources.filters import Filters

End = tuple[int, int | None, str]  # pid, descriptor, role


def channel(found: Inventory, kind: str, of: Callable[[Channel], bool]) -> Channel:
    """The one of a kind for which `of` is true. NotObserved if it is not there."""
    for one in found.channels:
        if one.kind == kind and of(one):
            return one
    raise NotObserved("no-channel", kind=kind, channels=len(found.channels))


def ends(of: Channel) -> list[End]:
    return sorted(((end.pid, end.fd, end.role) for end in of.endpoints), key=str)


def picture(found: Inventory, channels: Iterable[Channel]) -> Graph:
    """Who is at which end of these."""
    chosen = tuple(channels)
    return ipc_graph.graph(found._replace(channels=chosen), ", ".join(dict.fromkeys(c.kind for c in chosen)))


def may_trace() -> bool:
    """Whether probes can be loaded here, and know our processes by the pids that we know them by."""
    return os.geteuid() == 0 and host.in_initial_pid_namespace()


def ours() -> Filters:
    """This process and its descendants."""
    return Filters(pid=os.getpid())


class Held(NamedTuple):
    """What a process that is there already shares with others by channels of some kinds."""

    pid: int
    channels: int
    between: int  # different processes
    peers: int  # other processes
    waiting_bytes: int  # as far as that is told
    messages: int
    graph: Graph


def holdings(*kinds: str) -> Callable[[int], Held]:
    """What looks at the channels of these kinds that a process has part in. NotObserved if it has none."""
    return partial(_held, kinds)


def _held(kinds: tuple[str, ...], pid: int) -> Held:
    found = ipc.of_kinds(ipc.of_process(ipc.read_inventory(), pid), kinds)
    channels = found.channels
    if not channels:
        raise NotObserved("has-none", on_pid=pid, kinds=", ".join(kinds))
    return Held(
        pid,
        len(channels),
        sum(one.is_between for one in channels),
        len(frozenset().union(*(one.pids for one in channels)) - {pid}),
        sum(one.bytes or 0 for one in channels),
        sum(one.messages or 0 for one in channels),
        picture(found, channels),
    )


def judge_held(seen: Held) -> Finding:
    """It holds of what can be seen to join this process with another one."""
    facts: dict[str, Value] = {
        "on_pid": seen.pid,
        "channels": seen.channels,
        "between": seen.between,
        "peers": seen.peers,
        "held_bytes": seen.waiting_bytes,
        "held_messages": seen.messages,
    }
    if not seen.between:
        return Finding("not-observed", facts, (), "joins-nobody")
    return Finding(judged(seen.peers > 0, False), facts, (Picture("on-graph", seen.graph),))
