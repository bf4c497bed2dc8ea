"""Sockets as the kernel lists them: sock_diag(7) through pyroute2, of which this is the only importer.

How: one request for each family and protocol gives all sockets of the network namespace of the thread that
asks, with the ends of UNIX sockets. It needs no root. Cost: 40 µs for a socket, and 0.15 s for the import.

Not to be seen: who holds a socket (/proc/PID/fd tells), other families. UNIX sockets that nobody has accepted
yet are left out; a listening one tells who waits there. A protocol that this kernel has no sock_diag for is
empty.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from kintro.errors import EX_UNAVAILABLE, KintroError

# include/uapi/linux/unix_diag.h
_SHOW_NAME, _SHOW_VFS, _SHOW_PEER, _SHOW_ICONS, _SHOW_RQLEN = 1, 2, 4, 8, 16
LISTEN = 10  # TCP_LISTEN of include/net/tcp_states.h, of all protocols
ESTABLISHED = 1
STATES = {
    1: "established", 2: "syn-sent", 3: "syn-recv", 4: "fin-wait-1", 5: "fin-wait-2", 6: "time-wait",
    7: "unconnected", 8: "close-wait", 9: "last-ack", 10: "listen", 11: "closing",
}  # fmt: skip
TYPES = {socket.SOCK_STREAM: "stream", socket.SOCK_DGRAM: "dgram", socket.SOCK_SEQPACKET: "seqpacket"}
_MAPPED = "::ffff:"  # an IPv4 address that an IPv6 socket uses, RFC 4291


class UnixSocket(NamedTuple):
    inode: int
    type: str  # `stream`, `dgram`, `seqpacket`
    state: int
    name: bytes  # a path, or @ and the rest of an abstract name, as unix(7) has them; empty for none
    file: tuple[int, int] | None  # device and inode of the path, as the kernel numbers them; None: no path
    peer: int | None  # inode of the other end; 0 if that is not accepted yet, None: not connected
    waiting: tuple[int, ...]  # of one that listens: inodes of those who wait to be accepted
    receive_queue: int  # bytes, of a dgram one those of its next message; connections of one that listens
    send_queue: (
        int  # memory of what the other end has not read yet; of one that listens, the most that may wait
    )

    @property
    def listens(self) -> bool:
        return self.state == LISTEN


class InetSocket(NamedTuple):
    inode: int  # 0: nobody has accepted it yet, or it was closed
    protocol: str  # `tcp`, `udp`
    state: int
    local: tuple[str, int]  # address and port; an IPv4 address is one, whatever family the socket is of
    remote: tuple[str, int]
    receive_queue: int  # bytes not read yet; of udp memory that they take; connections of one that listens
    send_queue: int  # bytes not acknowledged yet; of udp memory; of one that listens, the most that may wait

    @property
    def listens(self) -> bool:
        return self.protocol == "tcp" and self.state == LISTEN


def sockets() -> tuple[list[UnixSocket], list[InetSocket]]:
    """Those of this thread's network namespace. KintroError (69) if this kernel does not tell."""
    from pyroute2 import DiagSocket
    from pyroute2.netlink.diag import unix_diag_msg

    class Message(unix_diag_msg):  # type: ignore[misc]
        """With names as they are: pyroute2 would end them at a NUL, which abstract ones may hold."""

        nla_map = tuple(
            (name, "cdata" if name in ("UNIX_DIAG_NAME", "UNIX_DIAG_ICONS") else kind)
            for name, kind in unix_diag_msg.nla_map
        )

    try:
        diag = DiagSocket()
    except OSError as error:
        raise KintroError(f"no sock_diag here: {error.strerror}", None, EX_UNAVAILABLE) from error
    with diag:
        diag.marshal.msg_map[socket.AF_UNIX] = Message
        show = _SHOW_NAME | _SHOW_VFS | _SHOW_PEER | _SHOW_ICONS | _SHOW_RQLEN
        unix = [
            found for found in _unix(diag.get_sock_stats(family=socket.AF_UNIX, show=show)) if found.inode
        ]
        inet = [
            found
            for family in (socket.AF_INET, socket.AF_INET6)
            for name, protocol in (("tcp", socket.IPPROTO_TCP), ("udp", socket.IPPROTO_UDP))
            for found in _inet(diag.get_sock_stats(family=family, protocol=protocol), name)
        ]
    return unix, inet


def _unix(messages: Any) -> Iterator[UnixSocket]:
    """Where a kernel lacks the module, its answer is an error without any of this (the same with _inet)."""
    for message in messages:
        if "udiag_ino" in message:
            yield _unix_socket(message)


def _unix_socket(message: Any) -> UnixSocket:
    attributes = dict(message["attrs"])
    lengths: Mapping[str, int] = attributes.get("UNIX_DIAG_RQLEN") or {}
    name: bytes = attributes.get("UNIX_DIAG_NAME") or b""
    if name.startswith(b"\0"):
        name = b"@" + name[1:]
    else:
        name = name.removesuffix(b"\0")  # that the kernel itself has put there
    file = attributes.get("UNIX_DIAG_VFS")
    waiting: bytes = attributes.get("UNIX_DIAG_ICONS") or b""
    kind = message["udiag_type"]
    return UnixSocket(
        message["udiag_ino"],
        TYPES.get(kind, str(kind)),
        message["udiag_state"],
        name,
        (file["udiag_vfs_dev"], file["udiag_vfs_ino"]) if file else None,
        attributes.get("UNIX_DIAG_PEER"),
        struct.unpack(f"={len(waiting) // 4}I", waiting),
        lengths.get("udiag_rqueue", 0),
        lengths.get("udiag_wqueue", 0),
    )


def _inet(messages: Any, protocol: str) -> Iterator[InetSocket]:
    for message in messages:
        if "idiag_inode" in message:
            yield InetSocket(
                message["idiag_inode"],
                protocol,
                message["idiag_state"],
                (message["idiag_src"].removeprefix(_MAPPED), message["idiag_sport"]),
                (message["idiag_dst"].removeprefix(_MAPPED), message["idiag_dport"]),
                message["idiag_rqueue"],
                message["idiag_wqueue"],
            )
