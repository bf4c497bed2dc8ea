"""Channels between processes, as `ipc` finds them."""

from __future__ import annotations

from typing import Any, NamedTuple

KINDS = (
    "pipe", "fifo", "unix", "tcp", "udp", "mqueue", "sysv-msg", "sysv-sem", "sysv-shm", "shm", "sem", "memfd",
    "anon", "file", "eventfd", "signalfd", "pidfd", "signal",
)  # fmt: skip


class Endpoint(NamedTuple):
    """One process's part in a channel."""

    pid: int  # 0: none that can be seen from here
    comm: bytes | None  # None: that process has ended
    fd: int | None  # None: it takes part otherwise, by a mapping or a call
    role: str  # see docs/ipc.md
    ns_pid: int | None = None  # in its own pid namespace


class Channel(NamedTuple):
    kind: str  # one of KINDS
    id: str  # among those of its kind: inode, System V id, device and inode, …
    name: bytes  # a path, an address, a key; empty for none
    bytes: int | None  # that wait in it now, of memory its size; None: not told
    messages: int | None  # that wait in it now; None: not told, or it has none
    endpoints: tuple[Endpoint, ...]
    facts: dict[str, Any]  # what else is known; names and meanings as in docs/ipc.md

    @property
    def pids(self) -> frozenset[int]:
        """The processes that take part, as far as they can be told and are there."""
        return frozenset(end.pid for end in self.endpoints if end.pid and end.comm is not None)

    @property
    def is_between(self) -> bool:
        """Whether it joins different processes. A file that none of them may write joins none."""
        if self.kind == "file" and not any("write" in end.role for end in self.endpoints):
            return False
        return len(self.pids) > 1


class Unread(NamedTuple):
    """A namespace that could not be looked into."""

    kind: str  # `net`, `ipc`
    inode: int
    processes: int  # in it
    why: str


class Inventory(NamedTuple):
    channels: tuple[Channel, ...]
    processes: int  # that were read
    vanished: int  # that ended while they were read
    refused: int  # that are there, but whose descriptors are not ours to see
    unread: tuple[Unread, ...]
    unmatched: int  # descriptors of sockets that are of no kind told here, or of a namespace not looked into
    outside: int  # descriptors of TCP and UDP sockets whose other end is not on this machine, or not found
