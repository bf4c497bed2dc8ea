"""What experiments with channels between processes have in common: the inventory, and what may be traced."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from kintro.concepts.experiment import NotObserved
from kintro.observers import ipc, ipc_graph
from kintro.observers.ipc_records import Channel, Inventory
from kintro.shapes import Graph
from kintro.sources import host
from kintro.sources.filters import Filters

End = tuple[int, int | None, str]  # pid, descriptor, role


def inventory() -> Inventory:
    """All channels. NotObserved where /proc is that of another pid namespace than ours."""
    if os.readlink("/proc/self") != str(os.getpid()):
        raise NotObserved("other-proc")
    return ipc.read_inventory()


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
