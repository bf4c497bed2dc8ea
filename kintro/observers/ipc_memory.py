"""Memory and files that processes share, and System V's queues and semaphores."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from kintro.observers.ipc_files import Held, endpoint
from kintro.observers.ipc_records import Channel, Endpoint
from kintro.sources.holdings import Holdings, SharedMapping
from kintro.sources.sysvipc import Queue, Segment, Semaphore, SemaphoreSet

_SYSV = re.compile(rb"/SYSV[0-9a-f]{8}")  # the name of each segment, ipc/shm.c
_SHM = b"/dev/shm/"
_NAMED_SEMAPHORE = b"sem."  # sem_open(3), as glibc and musl do

Who = Callable[[int, int], Endpoint]  # pid, when it acted (s since the epoch) → that process, if it still is


class SysV(NamedTuple):
    """What one ipc namespace has."""

    ipc: int  # its inode number
    queues: list[Queue]
    sets: list[tuple[SemaphoreSet, list[Semaphore] | None]]
    segments: list[Segment]


def message_queues(spaces: Iterable[SysV], who: Who) -> Iterator[Channel]:
    for space in spaces:
        for queue in space.queues:
            ends = [
                who(pid, when)._replace(role=role)
                for pid, when, role in (
                    (queue.last_sender, queue.sent_s, "last sender"),
                    (queue.last_receiver, queue.received_s, "last receiver"),
                )
                if when
            ]
            facts = _facts(space, queue.key, queue.perms)
            name, identity = _key(queue.key), str(queue.id)
            yield Channel("sysv-msg", identity, name, queue.bytes, queue.messages, tuple(ends), facts)


def semaphores(spaces: Iterable[SysV], who: Who) -> Iterator[Channel]:
    """Sets of semaphores, with who did the last operation on each semaphore, and how many wait."""
    for space in spaces:
        for of, found in space.sets:
            facts = _facts(space, of.key, of.perms) | {"semaphores": of.size}
            facts["values"] = [one.value for one in found] if found is not None else None
            facts["waiting"] = sum(one.waiting_more + one.waiting_zero for one in found) if found else None
            pids = dict.fromkeys(one.last for one in found or () if one.last)
            ends = tuple(who(pid, of.changed_s)._replace(role="last operator") for pid in pids)
            yield Channel("sysv-sem", str(of.id), _key(of.key), None, None, ends, facts)


def segments(spaces: Iterable[SysV], processes: Iterable[Holdings], who: Who) -> Iterator[Channel]:
    """System V shared memory: who has it attached, by the mappings; else who made it."""
    attached: dict[tuple[int | None, int], list[tuple[Holdings, SharedMapping]]] = defaultdict(list)
    for process in processes:
        for mapping in process.mappings:
            if _SYSV.fullmatch(mapping.path):
                attached[process.ipc, mapping.inode].append((process, mapping))
    for space in spaces:
        for segment in space.segments:
            found = attached.pop((space.ipc, segment.id), [])
            ends = [_mapped(process, mapping) for process, mapping in found]
            if not found and segment.creator:
                ends.append(who(segment.creator, segment.created_s)._replace(role="creator"))
            facts = _facts(space, segment.key, segment.perms)
            facts["attached"] = segment.attached
            facts["attached_unseen"] = max(0, segment.attached - sum(m.times for _, m in found))
            facts["resident_bytes"] = segment.resident_bytes
            name, size = _key(segment.key), segment.size_bytes
            yield Channel("sysv-shm", str(segment.id), name, size, None, tuple(ends), facts)
    for (ipc, identity), found in attached.items():  # of namespaces not looked into, or gone meanwhile
        ends = [_mapped(process, mapping) for process, mapping in found]
        name = _key(int(found[0][1].path[5:], 16))
        facts = {"ipc_namespace": ipc, "listed": False}
        yield Channel("sysv-shm", str(identity), name, found[0][1].size_bytes, None, tuple(ends), facts)


def memory(
    processes: Iterable[Holdings],
    held: Mapping[str, list[Held]],
    names: Iterable[tuple[bytes, int, int, int]],
) -> Iterator[Channel]:
    """What is open or mapped: POSIX shared memory and semaphores, memfd, shared anonymous memory, files.

    `names`: path, st_dev, inode and size of what lies in /dev/shm. Of shared files, only those that two
    processes map.
    """
    parts: dict[tuple[int, int], _Part] = {}
    for path, dev, inode, size in names:
        parts[dev, inode] = _Part(path, size, [])
    for process, descriptor in (*held.get("shm", ()), *held.get("memfd", ())):
        key = (descriptor.dev, descriptor.inode)
        part = parts.setdefault(key, _Part(descriptor.name, descriptor.size_bytes, []))
        part.ends.append(endpoint(process, descriptor.fd, descriptor.access))
    for process in processes:
        for mapping in process.mappings:
            if _SYSV.fullmatch(mapping.path):
                continue
            part = parts.setdefault((mapping.dev, mapping.inode), _Part(mapping.path, mapping.size_bytes, []))
            part.ends.append(_mapped(process, mapping))
    for (dev, inode), part in parts.items():
        kind, name = _kind(part.path)
        if kind != "file" or len({end.pid for end in part.ends}) > 1:
            yield Channel(kind, f"{dev}:{inode}", name, part.size_bytes, None, tuple(part.ends), {})


class _Part(NamedTuple):
    path: bytes
    size_bytes: int | None
    ends: list[Endpoint]


def _kind(path: bytes) -> tuple[str, bytes]:
    """Kind and name of a file that is shared."""
    if path.startswith(b"/memfd:"):
        return "memfd", path.removeprefix(b"/memfd:")
    if path == b"/dev/zero":
        return "anon", b""
    if not path.startswith(_SHM):
        return "file", path
    name = path.removeprefix(_SHM)
    if name.startswith(_NAMED_SEMAPHORE):
        return "sem", b"/" + name.removeprefix(_NAMED_SEMAPHORE)
    return "shm", b"/" + name


def _mapped(process: Holdings, mapping: SharedMapping) -> Endpoint:
    return endpoint(process, None, f"mapped {mapping.access}")


def _facts(space: SysV, key: int, perms: int) -> dict[str, Any]:
    return {"key": key, "perms": f"{perms & 0o777:o}", "ipc_namespace": space.ipc, "listed": True}


def _key(key: int) -> bytes:
    return b"0x%08x" % key if key else b""
