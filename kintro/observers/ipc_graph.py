"""Channels as a graph: processes, and a line for what two of them share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

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
ALIKE_MIN = 8  # processes that differ in nothing but their pid are drawn as one from here on
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
    ends_of = [_by_pid(channel) for channel in channels]
    nodes: dict[str, Node] = {}
    alike = _alike(ends_of)
    lines: dict[tuple[str, str, str], list[tuple[int, bool, bool]]] = defaultdict(list)
    for number, (channel, ends) in enumerate(zip(channels, ends_of)):
        group = _GROUP_OF[channel.kind]
        for pid, parts in ends.items():
            first, count = alike.get(pid, (pid, 1))
            name = printable(parts[0].comm or b"")
            label = f"{name} ({pid})" if count == 1 else f"{name} × {count}"
            nodes.setdefault(f"p{first}", Node(f"p{first}", label, "process"))
        if len(ends) == 2:
            [(a, parts_a), (b, parts_b)] = sorted(ends.items())
            told = (number, _passes(parts_a, parts_b), _passes(parts_b, parts_a))
            lines[f"p{a}", f"p{b}", group].append(told)
            continue
        hub = f"c{number}"
        nodes[hub] = Node(hub, _hub_label(channel), group)
        for pid, parts in ends.items():
            first, _ = alike.get(pid, (pid, 1))
            if first == pid:
                told = (number, any(map(sends, parts)), any(map(receives, parts)))
                lines[f"p{pid}", hub, group].append(told)
    processes = len({pid for ends in ends_of for pid in ends})
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
    pids = channel.pids
    for end in channel.endpoints:
        if end.pid in pids:
            found[end.pid].append(end)
    return found


def _alike(ends_of: Sequence[Mapping[int, Sequence[Endpoint]]]) -> dict[int, tuple[int, int]]:
    """Processes that are drawn as one: pid → the first of them, and how many they are.

    They have one name, and part in the same channels in the same roles, none of them between two only.
    """
    parts_of: dict[int, list[tuple[int, frozenset[str]]]] = defaultdict(list)
    names: dict[int, bytes | None] = {}
    with_one_other = {pid for ends in ends_of if len(ends) == 2 for pid in ends}
    for number, ends in enumerate(ends_of):
        for pid in ends.keys() - with_one_other:
            parts_of[pid].append((number, frozenset(end.role for end in ends[pid])))
            names[pid] = ends[pid][0].comm
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for pid, parts in sorted(parts_of.items()):
        groups[(names[pid], *parts)].append(pid)
    return {
        pid: (group[0], len(group)) for group in groups.values() if len(group) >= ALIKE_MIN for pid in group
    }


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
