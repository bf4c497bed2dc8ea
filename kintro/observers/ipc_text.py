"""Channels as a table for people and as one JSON document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from kintro.observers.ipc_records import Channel, Endpoint, Inventory
from kintro.renderers.text import printable, short_size
from kintro.shapes import Cell, Column

ENDS_MAX = 4  # that a line names on each side of its arrow
_MEMORY = ("sysv-shm", "shm", "sem", "memfd", "anon", "file")
_FROM = ("write", "sender", "last sender", "holder", "waiting")
_TO = ("read", "receiver", "listener", "last receiver", "target")
_MAY_HAVE_NO_SOURCE = ("unix", "tcp", "udp", "signal", "signalfd")


def columns(inventory: Inventory) -> tuple[Column, ...]:
    ids = max((len(channel.id) for channel in inventory.channels), default=2)
    return (
        Column("KIND", 8),
        Column("ID", min(ids, 21)),
        Column("BYTES", 6, True),
        Column("MSGS", 4, True),
        Column("WHO", None),
    )


def row(channel: Channel) -> tuple[Cell, ...]:
    """A line: kind, id, what waits in it (of memory: its size), who takes part and what it is called."""
    meaning = "" if channel.is_between else "faint"
    told = " ".join(part for part in (who(channel), _what(channel)) if part)
    size = "" if channel.bytes is None else short_size(channel.bytes)
    messages = "" if channel.messages is None else str(channel.messages)
    waits = bool(channel.messages) or (bool(channel.bytes) and channel.kind not in _MEMORY)
    return (
        Cell(channel.kind, meaning),
        Cell(channel.id, meaning),
        Cell(size, "changed" if waits else meaning),
        Cell(messages, "changed" if waits else meaning),
        Cell(told, meaning),
    )


def who(channel: Channel) -> str:
    """Its ends as `anna (1) fd 5 → bert (2) fd 4`."""
    sources = [end for end in channel.endpoints if end.role in _FROM]
    sinks = [end for end in channel.endpoints if end.role in _TO]
    others = [end for end in channel.endpoints if end.role not in (*_FROM, *_TO)]
    both = _ends(others, " ↔ ")
    if not sources and not sinks:
        return both
    arrow = f"{_ends(sources, ', ') or '?'} → {_ends(sinks, ', ') or '?'}"
    if channel.kind in _MEMORY and not (sources and sinks):  # nobody has to be at the other end of memory
        return _ends(list(channel.endpoints), " ↔ ")
    if channel.kind in _MAY_HAVE_NO_SOURCE and not sources:
        arrow = _ends(sinks, ", ")
    if channel.kind == "eventfd":
        arrow = _ends(sources, " ↔ ")
    return f"{arrow}; {both}" if both else arrow


def _ends(ends: list[Endpoint], between: str) -> str:
    """Processes with their descriptors, each process once."""
    by_process: dict[tuple[int, bytes | None], list[str]] = {}
    for end in ends:
        parts = by_process.setdefault((end.pid, end.comm), [])
        parts.append(f"fd {end.fd}" if end.fd is not None else _role_word(end.role))
    words = []
    for (pid, comm), parts in by_process.items():
        name = printable(comm) if comm is not None else "ended"
        several = f"{parts[0]}, {len(parts) - 1} more" if len(parts) > 2 else ", ".join(parts)
        words.append(f"{name} ({pid}) {several}".rstrip())
    more = len(words) - ENDS_MAX
    if more > 1:
        words[ENDS_MAX:] = [f"{more} more"]
    return between.join(words)


def _role_word(role: str) -> str:
    return {
        "mapped read": "reads", "mapped write": "writes", "mapped read-write": "maps", "creator": "made it",
        "last operator": "did the last operation", "notified": "is notified",
    }.get(role, "")  # fmt: skip


def _what(channel: Channel) -> str:
    """Its name and what else is worth a word."""
    facts = channel.facts
    words = []
    if channel.name:
        words.append(printable(channel.name))
    if facts.get("type") not in (None, "stream"):
        words.append(facts["type"])
    if facts.get("state") in ("listen", "unconnected"):
        words.append({"listen": "listens", "unconnected": "not connected"}[facts["state"]])
    if facts.get("ends_not_seen"):
        words.append(f"no {facts['ends_not_seen'][0]} to be seen")
    if facts.get("signals"):
        words.append(", ".join(facts["signals"]))
    if facts.get("count") is not None:
        words.append(f"counter {facts['count']}")
    if facts.get("semaphores"):
        waiting = f", {facts['waiting']} waiting" if facts["waiting"] else ""
        plural = "" if facts["semaphores"] == 1 else "s"
        words.append(f"{facts['semaphores']} semaphore{plural}{waiting}")
    if facts.get("attached_unseen"):
        words.append(f"attached {facts['attached_unseen']} times out of sight")
    if facts.get("ended"):
        words.append("a process that has been waited for")
    if not channel.endpoints:
        words.append("held by nobody that can be seen")
    return f"[{'; '.join(words)}]" if words else ""


def summary(inventory: Inventory) -> Iterator[str]:
    """Lines on what was found, and on what was not to be seen."""
    counts = Counter(channel.kind for channel in inventory.channels)
    between = sum(channel.is_between for channel in inventory.channels)
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    plural = "" if len(inventory.channels) == 1 else "s"
    yield (
        f"{len(inventory.channels)} channel{plural}, {between} between processes"
        + (f" ({kinds})" if kinds else "")
        + f"; {inventory.processes} processes read, {inventory.vanished} ended meanwhile"
    )
    if inventory.refused:
        yield f"not told, as they are closed to this user: what {inventory.refused} of these processes hold"
    for space in inventory.unread:
        yield f"not looked into, {space.processes} processes: {printable(space.why)}"
    if inventory.outside:
        yield f"{inventory.outside} descriptors of TCP and UDP sockets have no other end here"
    if inventory.unmatched:
        why = "of other families or namespaces, or this kernel does not tell"
        yield f"{inventory.unmatched} descriptors of sockets are {why}"


def as_json(inventory: Inventory) -> dict[str, Any]:
    return {
        "channels": [
            {
                "kind": channel.kind,
                "id": channel.id,
                "name": channel.name,
                "bytes": channel.bytes,
                "messages": channel.messages,
                "between_processes": channel.is_between,
                "endpoints": [end._asdict() for end in channel.endpoints],
                **channel.facts,
            }
            for channel in inventory.channels
        ],
        "processes": inventory.processes,
        "processes_ended": inventory.vanished,
        "processes_not_permitted": inventory.refused,
        "namespaces_not_read": [space._asdict() for space in inventory.unread],
        "sockets_outside": inventory.outside,
        "sockets_unknown": inventory.unmatched,
    }
