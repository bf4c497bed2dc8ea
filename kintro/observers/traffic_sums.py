"""Adds up operations and signals: columns by columns, so that millions are no burden.

Memory: a sum for each process, descriptor and channel, up to GROUPS_MAX; beyond that operations count for one
channel of their kind without an id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from kintro.observers.traffic_channels import Channels, Name
from kintro.observers.traffic_records import (
    ADDRESSED,
    EARLY,
    KINDS,
    PAIRED,
    RECEIVE,
    SEND,
    SHARED,
    TOWARDS,
    UNFINISHED,
    UNIX,
)
from kintro.observers.traffic_signals import Signal

GROUPS_MAX = 1 << 16
# What tells groups apart, and what is added up for each.
_KEYS = ("kind", "direction", "flags", "channel", "other", "dev", "pid", "fd")
_OF_NAME = PAIRED | ADDRESSED | SHARED | TOWARDS
_OTHERS = (0, 0, 0, 0, 0, -1)  # in place of direction, flags, channel, other, dev and, last, descriptor
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Amounts(NamedTuple):
    """Of some operations; those that moved nothing are calls, and no messages."""

    calls: int = 0
    errors: int = 0
    unfinished: int = 0
    messages: int = 0
    bytes: int = 0
    wakes: int = 0
    blocked_ns: int = 0
    took_ns: int = 0  # of those whose beginning and end were seen
    took_max_ns: int = 0

    def plus(self, other: Amounts) -> Amounts:
        sums = Amounts._make(map(sum, zip(self, other, strict=True)))
        return sums._replace(took_max_ns=max(self.took_max_ns, other.took_max_ns))


class Part(NamedTuple):
    """What one process did on a channel, through one descriptor."""

    pid: int
    comm: bytes
    fd: int | None
    sent: Amounts
    received: Amounts
    others: Amounts  # calls that do neither

    @property
    def all(self) -> Amounts:
        return self.sent.plus(self.received).plus(self.others)


class ChannelSums(NamedTuple):
    name: Name
    parts: tuple[Part, ...]
    namespace: int | None  # of System V's objects: the ipc namespace

    @property
    def sent(self) -> Amounts:
        return _total(part.sent for part in self.parts)

    @property
    def received(self) -> Amounts:
        return _total(part.received for part in self.parts)

    @property
    def all(self) -> Amounts:
        return _total(part.all for part in self.parts)


class SignalSums(NamedTuple):
    """All of one number from one process to another."""

    number: int
    sender: tuple[int, bytes | None] | None  # pid, comm; None: the kernel, or not known
    from_kernel: bool  # else, without a sender, it is not known
    receiver: tuple[int, bytes | None]
    times: int
    actions: dict[str | None, int]  # None: not arrived
    latency_ns: int  # of those whose generation and arrival were seen
    latency_max_ns: int
    timed: int  # how many these are


class Sums:
    """Feed it batches of operations and single signals; then ask."""

    def __init__(self) -> None:
        self._groups: dict[tuple[int, ...], Amounts] = {}
        self._comms: dict[int, bytes] = {}
        self._signals: dict[tuple[Any, ...], SignalSums] = {}
        self.operations = self.folded = self.signals = 0

    def add(self, batch: np.ndarray) -> None:
        """Operations, in order of time."""
        if not len(batch):
            return
        self.operations += len(batch)
        columns = [batch[name].astype(np.int64) for name in _KEYS]
        columns[2] &= _OF_NAME
        first, inverse = _groups(columns)
        amounts = _amounts(batch, inverse, len(first))
        keys = np.stack([column[first] for column in columns], axis=1).tolist()
        for key, amount in zip(map(tuple, keys), amounts, strict=True):
            if key not in self._groups and len(self._groups) >= GROUPS_MAX:
                self.folded += amount.calls
                key = (key[0], *_OTHERS[:5], 0, _OTHERS[5])
            self._groups[key] = self._groups.get(key, Amounts()).plus(amount)
        pids, last = np.unique(batch["pid"][::-1], return_index=True)
        if len(self._comms) < 4 * GROUPS_MAX:
            self._comms.update(zip(pids.tolist(), batch["comm"][::-1][last].tolist(), strict=True))

    def add_signal(self, one: Signal) -> None:
        self.signals += 1
        sender = (one.sender.pid, one.sender.comm) if one.sender is not None else None
        receiver = (one.receiver.pid, one.receiver.comm)
        from_kernel = sender is None and one.generated_ns is not None
        key = (one.number, sender and sender[0], from_kernel, receiver[0])
        known = self._signals.pop(key, None)
        if len(self._signals) >= GROUPS_MAX:
            sender, from_kernel, receiver = None, False, (0, None)
            key = (one.number, None, False, 0)
            known = self._signals.get(key)
        known = known or SignalSums(one.number, sender, from_kernel, receiver, 0, {}, 0, 0, 0)
        latency_ns = one.latency_ns
        self._signals[key] = SignalSums(
            one.number,
            sender,
            from_kernel,
            receiver,
            known.times + 1,
            known.actions | {one.action: known.actions.get(one.action, 0) + 1},
            known.latency_ns + (latency_ns or 0),
            max(known.latency_max_ns, latency_ns or 0),
            known.timed + (latency_ns is not None),
        )

    def signal_sums(self) -> list[SignalSums]:
        """Those with most signals first."""
        return sorted(self._signals.values(), key=lambda one: (-one.times, one.number))

    def channels(self, names: Channels) -> list[ChannelSums]:
        """By what they are called: those with most bytes, then most calls, first."""
        for kind, _, flags, channel, other, *_ in self._groups:
            if kind == UNIX and flags & PAIRED:
                names.pair(channel, other)
        found: dict[tuple[Name, int | None], dict[tuple[int, int], list[Amounts]]] = {}
        for (kind, direction, flags, channel, other, dev, pid, fd), amounts in self._groups.items():
            name = Name(KINDS[kind], "", b"")
            if pid:
                # A signed column holds what the probe has as unsigned.
                name = names.name(kind, channel & (1 << 64) - 1, other & (1 << 64) - 1, dev, flags, pid)
            namespace = dev if name.kind.startswith("sysv") else None
            parts = found.setdefault((name, namespace), {})
            part = parts.setdefault((pid, fd), [Amounts(), Amounts(), Amounts()])
            way = 0 if direction == SEND else 1 if direction == RECEIVE else 2
            part[way] = part[way].plus(amounts)
        sums = [ChannelSums(name, tuple(self._parts(parts)), space) for (name, space), parts in found.items()]
        return sorted(sums, key=_order)

    def _parts(self, parts: dict[tuple[int, int], list[Amounts]]) -> Iterator[Part]:
        for (pid, fd), (sent, received, others) in sorted(parts.items()):
            yield Part(pid, self._comms.get(pid, b"?"), fd if fd >= 0 else None, sent, received, others)


def _order(channel: ChannelSums) -> tuple[Any, ...]:
    bytes_moved = max(channel.sent.bytes, channel.received.bytes)
    return -bytes_moved, -channel.all.calls, channel.name.kind, channel.name.id, channel.name.name


def _total(amounts: Iterable[Amounts]) -> Amounts:
    total = Amounts()
    for one in amounts:
        total = total.plus(one)
    return total


def _groups(columns: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The place of the first row of each group, and each row's group.

    By a hash of the columns, which is checked: sorting rows takes ten times as long.
    """
    mixed = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        mixed = (mixed ^ column.view(np.uint64)) * _MIX
        mixed ^= mixed >> np.uint64(29)
    _, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
    if all(np.array_equal(column[first][inverse], column) for column in columns):
        return first, inverse
    _, first, inverse = np.unique(np.stack(columns, axis=1), axis=0, return_index=True, return_inverse=True)
    return first, inverse.reshape(-1)


def _amounts(batch: np.ndarray, inverse: np.ndarray, number: int) -> Iterator[Amounts]:
    """For each group."""

    def total(values: np.ndarray) -> list[int]:
        sums = np.zeros(number, np.int64)
        np.add.at(sums, inverse, values)
        return sums.tolist()

    finished = batch["flags"] & UNFINISHED == 0
    timed = batch["flags"] & (UNFINISHED | EARLY) == 0
    took = np.where(timed, batch["ended_ns"] - batch["ts_ns"], 0).astype(np.int64)
    longest = np.zeros(number, np.int64)
    np.maximum.at(longest, inverse, took)
    columns = (
        np.bincount(inverse, minlength=number).tolist(),
        total(finished & (batch["ret"] < 0)),
        total(~finished),
        *(total(batch[name].astype(np.int64)) for name in ("messages", "size_bytes", "wakes", "blocked_ns")),
        total(took),
        longest.tolist(),
    )
    return (Amounts(*row) for row in zip(*columns, strict=True))
