"""What channels are called: kind, id and name as `kintro ipc` tells them, from what is seen in a trace.

An id is what is known when it is asked for: of a connection of which only one end has been seen yet it is
that end's inode.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Iterable
from typing import NamedTuple

from kintro.observers.calls import path_of
from kintro.observers.calls_records import File
from kintro.observers.traffic_records import (
    ADDRESSED,
    FIFO,
    FUTEX,
    KINDS,
    MQUEUE,
    PAIRED,
    SHARED,
    SYSV_MSG,
    SYSV_SEM,
    SYSV_SHM,
    TCP,
    TOWARDS,
    UDP,
    UNIX,
    Address,
    Socket,
)
from kintro.sources.netlink import InetSocket

KEPT_MAX = 1 << 16  # sockets, addresses, files that are remembered; then the oldest is forgotten

Place = tuple[str, int]  # address and port
_PROTOCOLS = {socket.IPPROTO_TCP: "tcp", socket.IPPROTO_UDP: "udp"}


class Name(NamedTuple):
    """A channel, as observers/ipc_records.py has it."""

    kind: str
    id: str
    name: bytes


class _Inet(NamedTuple):
    inode: int
    net: int
    protocol: str
    local: Place
    remote: Place


class Channels:
    """Knows sockets, addresses and files that were told, and what `keys` of System V are known."""

    def __init__(self) -> None:
        self.keys: dict[tuple[int, int, int], int] = {}  # kind, ipc namespace, id → key
        self._files: dict[int, bytes] = {}
        self._addresses: dict[int, bytes] = {}
        self._unix: dict[int, bytes] = {}  # names
        self._named: dict[tuple[int, bytes], int] = {}  # the last that was bound to a name
        self._peers: dict[int, int] = {}
        self._inet: dict[int, _Inet] = {}
        self._connected: dict[tuple[int, str, Place, Place], int] = {}
        self._bound: dict[tuple[int, str, Place], int] = {}

    def add(self, record: Socket | Address | File) -> None:
        if isinstance(record, File):
            _keep(self._files, record.file, path_of(record))
        elif isinstance(record, Address):
            _keep(self._addresses, record.number, record.data or b"")
        elif record.family == socket.AF_UNIX:
            self._add_unix(record)
        elif record.protocol in _PROTOCOLS and len(record.data or b"") >= 32:
            local = _place(record.family, record.data[:16], record.local_port)
            remote = _place(record.family, record.data[16:32], record.remote_port)
            protocol = _PROTOCOLS[record.protocol]
            self._add_inet(_Inet(record.inode, record.net, protocol, local, remote))

    def add_listed(self, net: int, sockets: Iterable[InetSocket]) -> None:
        """What sock_diag(7) lists of a network namespace; what the trace has told is not overwritten."""
        for one in sockets:
            if one.inode and one.inode not in self._inet:
                self._add_inet(_Inet(one.inode, net, one.protocol, one.local, one.remote))

    def _add_unix(self, record: Socket) -> None:
        name = record.data or b""
        name = b"@" + name[1:] if name.startswith(b"\0") else name.rstrip(b"\0")
        _keep(self._unix, record.inode, name)
        if name and not record.other:
            _keep(self._named, (record.net if name.startswith(b"@") else 0, name), record.inode)
        if record.other and record.type != socket.SOCK_DGRAM:
            self.pair(record.inode, record.other)

    def pair(self, one: int, other: int) -> None:
        """These UNIX sockets are each other's ends."""
        if self._peers.get(one) != other:
            _keep(self._peers, one, other)
            _keep(self._peers, other, one)

    def _add_inet(self, one: _Inet) -> None:
        _keep(self._inet, one.inode, one)
        if one.remote[1]:
            _keep(self._connected, (one.net, one.protocol, one.local, one.remote), one.inode)
        else:
            _keep(self._bound, (one.net, one.protocol, one.local), one.inode)

    def name(self, kind: int, channel: int, other: int, dev: int, flags: int, pid: int) -> Name:
        """Of what an Operation has in these fields."""
        word = KINDS[kind] if kind < len(KINDS) else str(kind)
        if kind == UNIX:
            return self._of_unix(channel, other, flags)
        if kind in (TCP, UDP):
            return self._of_inet(word, channel, other, flags)
        if kind in (FIFO, MQUEUE):
            return Name(word, f"{_st_dev(dev)}:{channel}", self._files.get(other, b""))
        if kind in (SYSV_MSG, SYSV_SEM, SYSV_SHM):
            key = self.keys.get((kind, dev, channel), 0)
            return Name(word, str(channel), b"0x%08x" % key if key else b"")
        if kind == FUTEX:
            shared = f"{_st_dev(dev)}:{channel}:{other:#x}"
            return Name(word, shared if flags & SHARED else f"{pid}:{channel:#x}", b"")
        return Name(word, str(channel), b"")

    def _of_unix(self, own: int, other: int, flags: int) -> Name:
        peer = other if flags & PAIRED else self._peers.get(own)
        if flags & ADDRESSED:
            net, name = _unix_address(self._addresses.get(other, b""))
            there = self._named.get((net if name.startswith(b"@") else 0, name))
            return Name("unix", str(there) if there is not None else "", name)
        if flags & TOWARDS:
            return Name("unix", str(other), self._unix.get(other, b""))
        if peer is None:
            return Name("unix", str(own), self._unix.get(own, b""))
        first, second = sorted((own, peer))
        return Name("unix", f"{first}-{second}", self._unix.get(first) or self._unix.get(second, b""))

    def _of_inet(self, kind: str, own: int, other: int, flags: int) -> Name:
        one = self._inet.get(own)
        if flags & ADDRESSED:
            net, protocol, place = _inet_address(self._addresses.get(other, b""))
            there = self._at(net, protocol, place, one)
            if there is None:
                return Name(kind, "", _text(place).encode())
            one = self._inet[there]
        if one is None:
            return Name(kind, str(own), b"")
        if not one.remote[1]:
            return Name(kind, str(one.inode), _text(one.local).encode())
        peer = self._inet.get(self._connected.get((one.net, one.protocol, one.remote, one.local), -1))
        if peer is not None:
            return self._of_pair(one, peer)
        there = self._at(one.net, one.protocol, one.remote, one) if kind == "udp" else None
        if there is not None:
            return Name(kind, str(there), _text(self._inet[there].local).encode())
        return Name(kind, str(one.inode), f"{_text(one.local)} → {_text(one.remote)}".encode())

    def _of_pair(self, one: _Inet, peer: _Inet) -> Name:
        """The client first, where it is known which that is; else the older socket."""
        first, second = (one, peer) if one.inode <= peer.inode else (peer, one)
        identity = f"{first.inode}-{second.inode}"
        if self._at(first.net, first.protocol, first.local, second) is not None:
            first, second = second, first
        return Name(one.protocol, identity, f"{_text(first.local)} → {_text(second.local)}".encode())

    def _at(self, net: int, protocol: str, place: Place, asking: _Inet | None) -> int | None:
        """The socket that is bound to an address, or to its port on all addresses; not a connected one."""
        host, port = place
        exact = self._bound.get((net, protocol, place))
        if exact is not None and exact in self._inet:
            return exact
        ours = asking is not None and host == asking.local[0]
        if not host or (not ours and not ipaddress.ip_address(host).is_loopback):
            return None
        for wild in ("0.0.0.0", "::"):
            found = self._bound.get((net, protocol, (wild, port)))
            if found is not None and found in self._inet:
                return found
        return next(
            (
                inode
                for (_, at, local, _), inode in self._connected.items()
                if at == protocol == "udp" and local == place and inode in self._inet
            ),
            None,
        )


def _keep(known: dict, key: object, value: object) -> None:
    known.pop(key, None)
    known[key] = value
    if len(known) > KEPT_MAX:
        del known[next(iter(known))]


def _st_dev(dev: int) -> int:
    """As stat(2) has it, of the kernel's own: MINORBITS of include/linux/kdev_t.h."""
    return os.makedev(dev >> 20, dev & ((1 << 20) - 1))


def _place(family: int, data: bytes, port: int) -> Place:
    if family == socket.AF_INET:
        return str(ipaddress.IPv4Address(data[:4])), port
    address = ipaddress.IPv6Address(data[:16])
    return str(address.ipv4_mapped or address), port


def _inet_address(data: bytes) -> tuple[int, str, Place]:
    """Network namespace, protocol and address of an Address; see struct sockaddr_in and sockaddr_in6."""
    if len(data) < 16:
        return 0, "", ("", 0)
    net, protocol, family = struct.unpack_from("=IIH", data)
    [port] = struct.unpack_from("!H", data, 10)
    if family == socket.AF_INET:
        return net, _PROTOCOLS.get(protocol, ""), _place(family, data[12:16], port)
    if family == socket.AF_INET6 and len(data) >= 32:
        return net, _PROTOCOLS.get(protocol, ""), _place(family, data[16:32], port)
    return net, "", ("", 0)


def _unix_address(data: bytes) -> tuple[int, bytes]:
    """Network namespace and name, as unix(7) has names."""
    if len(data) < 10:
        return 0, b""
    name = data[10:]
    return struct.unpack_from("=I", data)[0], b"@" + name[1:] if name[:1] == b"\0" else name.split(b"\0")[0]


def _text(place: Place) -> str:
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
