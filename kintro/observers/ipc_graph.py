"""Channels as a graph: processes, and a line for what two of them share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from kintro.observers import ipc_text
from kintro.observers.ipc_records import Channel, Endpoint, Inventory
from kintro.renderers.text import printable
from kintro.shapes import Graph, Line, Node, Table

GROUPS = {
    "stream": ("pipe or FIFO", ("pipe", "fifo")),
    "socket": ("socket", ("unix", "tcp", "udp")),
    "queue": ("message queue", ("mqueue", "sysv-msg")),
    "memory": ("shared memory or file", ("sysv-shm", "shm", "memfd", "anon", "file")),
    "sync": ("semaphore or eventfd", ("sysv-sem", "sem", "eventfd")),
    "control": ("signal or pidfd", ("signal", "signalfd", "pidfd")),
}
_GROUP_OF = {kind: group for group, (_, kinds) in GROUPS.items() for kind in kinds}
_ONLY_SENDS = ("write", "mapped write", "sender", "last sender", "waiting")
_ONLY_RECEIVES = ("read", "mapped read", "receiver", "last receiver", "target", "listener", "notified")


def sends(end: Endpoint) -> bool:
    return end.role not in _ONLY_RECEIVES


def receives(end: Endpoint) -> bool:
    return end.role not in _ONLY_SENDS


def graph(inventory: Inventory, title: str) -> Graph:
    """The channels between different processes. One that more than two share is a node of its own."""
    channels = [channel for channel in inventory.channels if channel.is_between]
    nodes: dict[str, Node] = {}
    lines: dict[tuple[str, str, str], list[tuple[int, bool, bool]]] = defaultdict(list)
    for number, channel in enumerate(channels):
        group = _GROUP_OF[channel.kind]
        ends = _by_pid(channel)
        for pid, parts in ends.items():
            label = f"{printable(parts[0].comm or b'')} ({pid})"
            nodes.setdefault(f"p{pid}", Node(f"p{pid}", label, "process"))
        if len(ends) == 2:
            [(a, parts_a), (b, parts_b)] = sorted(ends.items())
            told = (number, _passes(parts_a, parts_b), _passes(parts_b, parts_a))
            lines[f"p{a}", f"p{b}", group].append(told)
            continue
        hub = f"c{number}"
        nodes[hub] = Node(hub, _hub_label(channel), group)
        for pid, parts in ends.items():
            told = (number, any(map(sends, parts)), any(map(receives, parts)))
            lines[f"p{pid}", hub, group].append(told)
    processes = sum(node.group == "process" for node in nodes.values())
    rows = tuple(_row(channel) for channel in channels)
    return Graph(
        title,
        f"{len(channels)} channels between {processes} processes",
        tuple(nodes.values()),
        tuple(
            Line(
                a,
                b,
                group,
                any(f for _, f, _ in told),
                any(r for _, _, r in told),
                tuple(n for n, _, _ in told),
            )
            for (a, b, group), told in lines.items()
        ),
        tuple((group, meaning) for group, (meaning, _) in GROUPS.items()),
        Table(("Kind", "Id", "Name", "Bytes", "Messages", "Who"), rows),
        tuple(("Found", line) for line in ipc_text.summary(inventory)),
    )


def _by_pid(channel: Channel) -> dict[int, list[Endpoint]]:
    found: dict[int, list[Endpoint]] = defaultdict(list)
    for end in channel.endpoints:
        if end.pid in channel.pids:
            found[end.pid].append(end)
    return found


def _passes(a: Iterable[Endpoint], b: Iterable[Endpoint]) -> bool:
    return any(map(sends, a)) and any(map(receives, b))


def _hub_label(channel: Channel) -> str:
    name = printable(channel.name).rpartition("/")[2] or channel.id
    return f"{channel.kind} {name}"


def _row(channel: Channel) -> tuple[str, ...]:
    who = "; ".join(
        f"{printable(end.comm or b'ended')} ({end.pid}) "
        + (f"fd {end.fd}, {end.role}" if end.fd is not None else end.role)
        for end in channel.endpoints
    )
    amounts = ("" if amount is None else str(amount) for amount in (channel.bytes, channel.messages))
    return (channel.kind, channel.id, printable(channel.name), *amounts, who)
