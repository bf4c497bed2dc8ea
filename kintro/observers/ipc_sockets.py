"""Sockets with both ends on this machine: UNIX by the kernel's pairing, TCP and UDP by their addresses."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from kintro.observers.ipc_files import Held, endpoint
from kintro.observers.ipc_records import Channel, Endpoint
from kintro.sources.netlink import ESTABLISHED, STATES, InetSocket, UnixSocket

_UNACCEPTED = (1, 8)  # established, close-wait: with no inode, nobody has accepted it yet

Holders = Mapping[int, list[Held]]  # inode of a socket → who holds it


class NetSockets(NamedTuple):
    """What one network namespace has."""

    net: int  # its inode number
    unix: list[UnixSocket]
    inet: list[InetSocket]


def holders(held: Iterable[Held]) -> dict[int, list[Held]]:
    found: dict[int, list[Held]] = defaultdict(list)
    for process, descriptor in held:
        found[descriptor.inode].append((process, descriptor))
    return found


def unix(spaces: Iterable[NetSockets], of: Holders) -> Iterator[Channel]:
    """Pairs; sockets that listen, with who waits there; sockets that receive datagrams, with who sends there.

    A path leads from one network namespace into another, so the ends of a pair may be of two.
    """
    spaces = tuple(spaces)
    known = {one.inode: (one, space.net) for space in spaces for one in space.unix}
    pointing: dict[int, list[UnixSocket]] = defaultdict(list)  # at a socket that does not point back
    listening = {_bound_to(one, net): one.inode for one, net in known.values() if one.listens and one.name}
    for one, net in known.values():
        peer = known[one.peer][0] if one.peer in known else None
        if peer is not None and peer.peer != one.inode:
            pointing[peer.inode].append(one)
        elif peer is not None and one.inode < peer.inode:
            yield from _unix_pair(one, peer, net, of, listening)
    waiting = {inode for one, _ in known.values() for inode in one.waiting}
    for one, net in known.values():
        if one.peer in known and one.peer != one.inode and not pointing.get(one.inode):
            continue  # told as part of a pair, or with the socket that it sends to
        if one.inode in waiting:
            continue
        ends = [*_roles(one, of, "listener" if one.listens else "receiver" if one.name else "end")]
        for other in pointing.get(one.inode, ()):
            ends += _roles(other, of, "sender")
        for inode in one.waiting:
            if inode in known:
                ends += _roles(known[inode][0], of, "waiting")
        if ends:
            facts = _unix_facts(one, net)
            facts["clients_waiting"] = one.receive_queue if one.listens else None
            queued = None if one.listens else _queued(one)
            yield Channel("unix", str(one.inode), one.name, queued, None, tuple(ends), facts)


def _unix_pair(
    a: UnixSocket, b: UnixSocket, net: int, of: Holders, listening: Mapping[tuple[object, ...], int]
) -> Iterator[Channel]:
    """Two ends of one connection: the accepted one has the name of the socket that it was accepted from."""
    accepted_by = {one.inode: listening.get(_bound_to(one, net)) for one in (a, b)}
    server = next((inode for inode, listener in accepted_by.items() if listener is not None), None)
    ends: list[Endpoint] = []
    for one in (a, b):
        role = "peer" if server is None else "server" if one.inode == server else "client"
        ends += _roles(one, of, role)
    if ends:
        facts = _unix_facts(a, net)
        facts["listener"] = str(accepted_by[server]) if server is not None else None
        queued = [_queued(one) for one in (a, b)]
        total = None if None in queued else sum(size or 0 for size in queued)
        name = a.name or b.name
        yield Channel("unix", f"{a.inode}-{b.inode}", name, total, None, tuple(ends), facts)


def _bound_to(one: UnixSocket, net: int) -> tuple[object, ...]:
    """What tells names apart: a file, or an abstract name, of which each network namespace has its own."""
    return one.file or (net, one.name)


def _queued(one: UnixSocket) -> int | None:
    """Bytes that it has not read. Of datagrams only the next one's length is told."""
    return None if one.type == "dgram" and one.receive_queue else one.receive_queue


def _unix_facts(one: UnixSocket, net: int) -> dict[str, Any]:
    return {
        "type": one.type,
        "state": "listen" if one.listens else "connected" if one.peer is not None else "unconnected",
        "net_namespace": net,
    }


def inet(spaces: Iterable[NetSockets], of: Holders) -> tuple[list[Channel], set[int]]:
    """Channels, and the inodes of sockets whose other end is not in their namespace, or not found."""
    found: list[Channel] = []
    outside: set[int] = set()
    for space in spaces:
        connected = {(one.protocol, one.local, one.remote): one for one in space.inet if one.remote[1]}
        bound = {(one.protocol, one.local): one for one in space.inet if not one.remote[1]}
        joining: dict[int, list[tuple[InetSocket, str]]] = defaultdict(
            list
        )  # at a socket that is not connected
        for one in connected.values():
            other = connected.get((one.protocol, one.remote, one.local))
            server = _bound_at(one.remote, one, bound)
            if not one.inode:
                continue
            if other is not None and not other.inode and server is not None and other.state in _UNACCEPTED:
                joining[server.inode].append((one, "waiting"))
            elif other is not None:
                if other.inode <= one.inode:
                    found += _inet_pair(one, other, space, of, bound)
            elif one.protocol == "udp" and server is not None:
                joining[server.inode].append((one, "sender"))
            else:
                outside.add(one.inode)
        for one in space.inet:
            if one.inode and not one.remote[1]:
                found += _inet_bound(one, joining.get(one.inode, ()), space, of)
    return found, outside


def _bound_at(
    address: tuple[str, int], asking: InetSocket, bound: Mapping[tuple[str, tuple[str, int]], InetSocket]
) -> InetSocket | None:
    """The socket of this machine that is bound to an address, or to its port on all addresses."""
    host, port = address
    exact = bound.get((asking.protocol, address))
    if exact is not None:
        return exact
    if host != asking.local[0] and not ipaddress.ip_address(host).is_loopback:
        return None  # perhaps another machine's
    return next(
        (one for wild in ("0.0.0.0", "::") if (one := bound.get((asking.protocol, (wild, port))))), None
    )


def _inet_pair(
    a: InetSocket,
    b: InetSocket,
    space: NetSockets,
    of: Holders,
    bound: Mapping[tuple[str, tuple[str, int]], InetSocket],
) -> Iterator[Channel]:
    """Two ends, or one that is connected to itself, or whose other end was closed."""
    listeners = {one.inode: _bound_at(one.local, one, bound) for one in (a, b)}
    accepted = [inode for inode, listener in listeners.items() if listener is not None and listener.listens]
    server = accepted[0] if len(accepted) == 1 else None
    ends: list[Endpoint] = []
    for one in dict.fromkeys((a, b)):
        role = "peer" if server is None else "server" if one.inode == server else "client"
        ends += _roles(one, of, role)
    if ends:
        listener = listeners[server] if server is not None else None
        facts = _inet_facts(a, space) | {"listener": str(listener.inode) if listener else None}
        first, second = (a, b) if a.inode == server or server is None else (b, a)
        name = f"{_address(second.local)} → {_address(first.local)}".encode()
        queued = None
        if a.protocol == "tcp":
            queued = sum(one.receive_queue + one.send_queue for one in dict.fromkeys((a, b)))
        elif a.receive_queue == b.receive_queue == 0:
            queued = 0
        yield Channel(a.protocol, f"{b.inode}-{a.inode}", name, queued, None, tuple(ends), facts)


def _inet_bound(
    one: InetSocket, joining: Iterable[tuple[InetSocket, str]], space: NetSockets, of: Holders
) -> Iterator[Channel]:
    ends = [*_roles(one, of, "listener" if one.listens else "receiver")]
    for other, role in joining:
        ends += _roles(other, of, role)
    if ends:
        facts = _inet_facts(one, space)
        facts["clients_waiting"] = one.receive_queue if one.listens else None
        queued = 0 if one.protocol == "udp" and not one.receive_queue else None
        name = _address(one.local).encode()
        yield Channel(one.protocol, str(one.inode), name, queued, None, tuple(ends), facts)


def _inet_facts(one: InetSocket, space: NetSockets) -> dict[str, Any]:
    state = "unconnected" if one.protocol == "udp" and one.state != ESTABLISHED else STATES.get(one.state)
    return {"state": state, "net_namespace": space.net}


def _address(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _roles(one: UnixSocket | InetSocket, of: Holders, role: str) -> Iterator[Endpoint]:
    for process, descriptor in of.get(one.inode, ()):
        yield endpoint(process, descriptor.fd, role)
