"""Experiments with sockets: who is at each end, what passes both ways, and what else than bytes."""

from __future__ import annotations

import os
import random
import socket
import struct
from typing import NamedTuple

from kintro.concepts.experiment import Experiment, Finding, NotObserved, Picture, judged
from kintro.concepts.ipc_sight import End, channel, ends, holdings, judge_held, picture
from kintro.concepts.scene import Actor, Play
from kintro.concepts.words import Value
from kintro.observers.ipc import read_inventory
from kintro.observers.ipc_records import Channel, Inventory
from kintro.shapes import Graph

SIZE = (500, 3000)  # bytes each way; every socket has so much room
_CREDENTIALS = struct.Struct("=iII")  # struct ucred, unix(7)


class Joined(NamedTuple):
    """A client and a server, of which none made the other, nor has the other's descriptors."""

    ends: list[End]  # as they are
    told_ends: list[End]  # by the inventory
    forth_bytes: int  # to the server
    back_bytes: int
    waiting_bytes: int | None  # when both had sent and none had read; with TCP in part counted twice
    same_forth: bool  # the server had what the client sent
    same_back: bool
    peer_pid: int  # who is at the other end, as the kernel tells the server; 0: it does not


class Handed(NamedTuple):
    """An open file that the client sent to the server."""

    inode: int  # of a pipe
    holders: list[int]  # pids, by the inventory
    holders_after: list[int]


class Sockets(NamedTuple):
    unix: Joined
    tcp: Joined
    handed: Handed
    graph: Graph


class _Pair(NamedTuple):
    joined: Joined
    channel: Channel
    found: Inventory
    handed: Handed | None


def _serve(listener: socket.socket, sent: bytes, awaited: int) -> Play:
    yield
    peer = listener.accept()[0]
    yield os.fstat(peer.fileno()).st_ino, peer.fileno()
    peer.sendall(sent)
    yield
    yield peer.recv(awaited, socket.MSG_WAITALL)
    yield _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[0]
    yield socket.recv_fds(peer, 1, 1)[1]
    yield


def _ask(listener: socket.socket, sent: bytes, awaited: int) -> Play:
    address, family = listener.getsockname(), listener.family
    listener.close()
    peer = socket.socket(family)
    peer.connect(address)
    yield os.fstat(peer.fileno()).st_ino, peer.fileno()
    peer.sendall(sent)
    yield
    yield peer.recv(awaited, socket.MSG_WAITALL)
    pipe = os.pipe()
    yield os.fstat(pipe[0]).st_ino
    yield socket.send_fds(peer, [b"!"], [pipe[0]])
    yield


def _pair(listener: socket.socket, kind: str) -> _Pair:
    forth, back = (random.randbytes(random.randint(*SIZE)) for _ in range(2))
    with (
        Actor(_serve, listener, back, len(forth)) as server,
        Actor(_ask, listener, forth, len(back)) as client,
    ):
        server.step()
        listener.close()
        asked = client.step()
        served = server.step()
        inodes = {str(served[0]), str(asked[0])}
        for actor in (client, server):
            actor.step()
        found = read_inventory()
        one = channel(found, kind, lambda other: set(other.id.split("-")) == inodes)
        who: list[End] = [(server.pid, served[1], "server"), (client.pid, asked[1], "client")]
        same_forth, same_back = server.step() == forth, client.step() == back
        joined = Joined(
            sorted(who, key=str),
            ends(one),
            len(forth),
            len(back),
            one.bytes,
            same_forth,
            same_back,
            server.step(),
        )
        return _Pair(joined, one, found, _handed(client, server) if kind == "unix" else None)


def _handed(client: Actor, server: Actor) -> Handed:
    inode = client.step()
    before = read_inventory()
    client.step()
    server.step()
    return Handed(inode, _readers(before, inode), _readers(read_inventory(), inode))


def _readers(found: Inventory, inode: int) -> list[int]:
    pipe = channel(found, "pipe", lambda one: one.id == str(inode))
    return sorted(end.pid for end in pipe.endpoints if end.role == "read")


def observe_sockets() -> Sockets:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0kintro-{os.getpid()}-{random.getrandbits(32):x}")
        listener.listen()
        unix = _pair(listener, "unix")
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as probe:
            probe.connect(listener.getsockname())
            listener.accept()[0].close()
    except OSError as error:
        raise NotObserved("no-loopback", message=str(error)) from error
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tcp = _pair(listener, "tcp")
    assert unix.handed is not None
    return Sockets(unix.joined, tcp.joined, unix.handed, picture(unix.found, [unix.channel]))


def judge_sockets(seen: Sockets) -> Finding:
    facts: dict[str, Value] = {}
    for kind, joined in (("unix", seen.unix), ("tcp", seen.tcp)):
        pids = {role: pid for pid, _, role in joined.told_ends}
        facts |= {
            f"{kind}_server_pid": pids.get("server"),
            f"{kind}_client_pid": pids.get("client"),
            f"{kind}_ends": len(joined.told_ends),
            f"{kind}_forth_bytes": joined.forth_bytes,
            f"{kind}_back_bytes": joined.back_bytes,
            f"{kind}_same_bytes": joined.same_forth and joined.same_back,
            f"{kind}_peer_pid": joined.peer_pid,
        }
    facts |= {
        "unix_waiting_bytes": seen.unix.waiting_bytes,
        "pipe_inode": seen.handed.inode,
        "holders": len(seen.handed.holders),
        "holders_after": len(seen.handed.holders_after),
    }
    holds = _carries(seen.unix) and _carries(seen.tcp)
    holds = holds and seen.unix.waiting_bytes == seen.unix.forth_bytes + seen.unix.back_bytes
    # Of two processes on one machine, the kernel itself knows who they are, and can hand over open files.
    server, client = (_pid(seen.unix, role) for role in ("server", "client"))
    known = seen.unix.peer_pid == client and seen.tcp.peer_pid == 0
    handed = seen.handed.holders == [client] and seen.handed.holders_after == sorted([client, server])
    return Finding(judged(holds, known and handed), facts, (Picture("socket-graph", seen.graph),))


def _carries(joined: Joined) -> bool:
    """Bytes passed both ways between the two processes that are told to be at its ends."""
    return joined.told_ends == joined.ends and joined.same_forth and joined.same_back


def _pid(joined: Joined, role: str) -> int:
    return next(pid for pid, _, part in joined.ends if part == role)


EXPERIMENTS = (
    Experiment("M6", observe_sockets, judge_sockets, on=holdings("unix", "tcp", "udp"), judge_on=judge_held),
)
