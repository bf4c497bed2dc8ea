"""Who talks to whom: every channel between the processes of this machine, and what waits in it.

How: descriptors, shared mappings and pending signals from /proc, sockets from sock_diag(7), System V's
objects and POSIX queues from each ipc namespace. Nothing is traced and nobody is stopped. Cost: 0.3 ms for a
process and what sources/descriptors.py and sources/netlink.py tell for each descriptor and socket.

Processes go on while they are read: what was opened, closed or handed on meanwhile may be told as before or
after. Without root only one's own processes' descriptors and mappings are to be seen, and only one's own
namespaces.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from kintro.errors import EX_NOINPUT, KintroError
from kintro.observers import ipc_files, ipc_memory, ipc_sockets
from kintro.observers.ipc_memory import SysV
from kintro.observers.ipc_records import KINDS, Channel, Endpoint, Inventory, Unread
from kintro.observers.ipc_sockets import NetSockets
from kintro.sources import ancestors, mqueue, netlink, procfs, setns, sysvipc
from kintro.sources.holdings import Holdings, read_all
from kintro.sources.host import ROOT
from kintro.sources.queued import queued_bytes

Found = TypeVar("Found")


def read_inventory(root: Path = ROOT) -> Inventory:
    """All channels, by kind and then by the process of their first end."""
    processes, vanished = read_all(root)
    by_pid = {process.pid: process for process in processes}
    held = ipc_files.by_kind(processes)
    sockets = ipc_sockets.holders(held.get("socket", ()))
    queued = _queued(held)
    nets, unread_nets = _in_each("net", processes, _sockets, root)
    ipcs, unread_ipcs = _in_each("ipc", processes, _ipc, root)
    spaces = [space for space, _ in ipcs]
    listed = [queue for _, queues in ipcs for queue in queues]
    who = _who(by_pid, root)
    inet, outside = ipc_sockets.inet(nets, sockets)
    channels = [
        *ipc_files.pipes(held, queued),
        *ipc_sockets.unix(nets, sockets),
        *inet,
        *ipc_files.queues(held.get("mqueue", ()), listed, _contents(held, listed), by_pid),
        *ipc_memory.message_queues(spaces, who),
        *ipc_memory.semaphores(spaces, who),
        *ipc_memory.segments(spaces, processes, who),
        *ipc_memory.memory(processes, held, _shm(root)),
        *ipc_files.events(held.get("eventfd", ())),
        *ipc_files.signal_descriptors(held.get("signalfd", ())),
        *ipc_files.process_descriptors(held.get("pidfd", ()), by_pid),
        *ipc_files.pending_signals(processes),
    ]
    channels.sort(key=_order)
    known = {one.inode for net in nets for one in net.unix} | {one.inode for net in nets for one in net.inet}
    return Inventory(
        tuple(channels),
        len(processes),
        vanished,
        sum(not process.readable for process in processes),
        (*unread_nets, *unread_ipcs),
        sum(len(ends) for inode, ends in sockets.items() if inode not in known),
        sum(len(sockets.get(inode, ())) for inode in outside),
    )


def of_process(inventory: Inventory, pid: int, root: Path = ROOT) -> Inventory:
    """Only the channels that a process has part in. KintroError (66) if there is no such process."""
    ancestors.require(pid, root)
    channels = tuple(
        channel for channel in inventory.channels if any(end.pid == pid for end in channel.endpoints)
    )
    return inventory._replace(channels=channels)


def of_kinds(inventory: Inventory, kinds: Sequence[str]) -> Inventory:
    return inventory._replace(channels=tuple(one for one in inventory.channels if one.kind in kinds))


def _order(channel: Channel) -> tuple[bool, int, int, str]:
    first = min((end.pid for end in channel.endpoints), default=0)
    return not channel.is_between, KINDS.index(channel.kind), first, channel.id


def _in_each(
    kind: str, processes: Sequence[Holdings], read: Callable[[int], Found], root: Path
) -> tuple[list[Found], list[Unread]]:
    """What `read` finds in each namespace with a process, our own first; and those closed to us."""
    own = setns.own(kind, root)
    counts = Counter(getattr(process, kind) for process in processes)
    inside: dict[int, list[int]] = defaultdict(list, {own: []})
    for process in processes:
        namespace = getattr(process, kind)
        if namespace is not None:
            inside[namespace].append(process.pid)
    found, unread = [], []
    for inode, pids in inside.items():
        failure: KintroError | None = None
        for pid in pids or [0]:
            try:
                found.append(setns.inside(kind, inode, pid, partial(read, inode), root))
                failure = None
                break
            except KintroError as error:
                failure = error
                if error.exit_code != EX_NOINPUT:  # else it has ended by now, or left it
                    break
        if failure is not None:
            unread.append(Unread(kind, inode, counts[inode], failure.message))
    return found, unread


def _sockets(inode: int) -> NetSockets:
    return NetSockets(inode, *netlink.sockets())


def _ipc(inode: int) -> tuple[SysV, list[mqueue.MessageQueue]]:
    sets = [(one, sysvipc.read_semaphores(one)) for one in sysvipc.read_sem()]
    return SysV(inode, sysvipc.read_msg(), sets, sysvipc.read_shm()), mqueue.read_queues() or []


def _queued(held: Mapping[str, list[ipc_files.Held]]) -> dict[tuple[str, int, int], int]:
    """(kind, dev, inode) → bytes that wait in each pipe and FIFO, asked of one process that holds it."""
    asked: dict[int, dict[int, tuple[str, int, int]]] = defaultdict(dict)
    seen = set()
    for kind in ("pipe", "fifo"):
        for process, descriptor in held.get(kind, ()):
            key = (kind, descriptor.dev, descriptor.inode)
            if key not in seen:
                seen.add(key)
                asked[process.pid][descriptor.fd] = key
    return {
        keys[fd]: size
        for pid, keys in asked.items()
        for fd, size in queued_bytes(pid, {fd: key[2] for fd, key in keys.items()}).items()
    }


def _contents(
    held: Mapping[str, list[ipc_files.Held]], listed: Sequence[mqueue.MessageQueue]
) -> dict[tuple[int, int], mqueue.Contents | None]:
    """What is in the queues that only descriptors lead to."""
    known = {(queue.dev, queue.inode) for queue in listed}
    found: dict[tuple[int, int], mqueue.Contents | None] = {}
    for process, descriptor in held.get("mqueue", ()):
        key = (descriptor.dev, descriptor.inode)
        if key not in known and found.get(key) is None:
            found[key] = mqueue.read_contents(f"/proc/{process.pid}/fd/{descriptor.fd}")
    return found


def _shm(root: Path) -> list[tuple[bytes, int, int, int]]:
    """Path, st_dev, inode and size of the files in /dev/shm."""
    try:
        with os.scandir(root / "dev/shm") as entries:
            files = [entry for entry in entries if entry.is_file(follow_symlinks=False)]
            told = [(entry, entry.stat(follow_symlinks=False)) for entry in files]
    except OSError:
        return []
    return [(b"/dev/shm/" + os.fsencode(entry.name), at.st_dev, at.st_ino, at.st_size) for entry, at in told]


def _who(by_pid: Mapping[int, Holdings], root: Path) -> ipc_memory.Who:
    """Who did what System V's objects tell of: a process that began later has only got the same pid."""
    ticks = os.sysconf("SC_CLK_TCK")
    match = re.search(rb"^btime (\d+)", (root / "proc/stat").read_bytes(), re.MULTILINE)
    boot_s = int(match[1]) if match else 0

    def who(pid: int, when_s: int) -> Endpoint:
        process = by_pid.get(pid)
        if process is None:
            return Endpoint(pid, None, None, "")
        try:
            began_s = boot_s + procfs.read_stat(pid, root).starttime_ticks // ticks
        except KintroError:
            return Endpoint(pid, None, None, "")
        if when_s and began_s > when_s + 1:  # boot time is known to the second
            return Endpoint(pid, None, None, "")
        return ipc_files.endpoint(process, None, "")

    return who
