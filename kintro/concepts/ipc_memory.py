"""Experiments with shared memory: whose frames they are, how fast it is, and what it leaves to its users."""

from __future__ import annotations

import mmap
import os
import random
import struct
import time
from typing import NamedTuple

from kintro.concepts.experiment import Experiment, Finding, NotObserved, Picture, judged
from kintro.concepts.ipc_sight import channel, picture
from kintro.concepts.scene import Actor, Play
from kintro.concepts.words import Value
from kintro.errors import KintroError
from kintro.observers import cost_ipc, ipc
from kintro.observers.ipc import read_inventory
from kintro.observers.ipc_records import Channel
from kintro.observers.memory_diff import Compared, diff
from kintro.shapes import Bar, Bars, Graph
from kintro.sources.mappings import Mapping, read_maps

PAGES = (16, 64)
ADDED = 100_000  # times, by each of two
RUNS, TRIES, PATIENCE_S, MESSAGE_BYTES = 4, 3, 10.0, 1 << 20
SHARED = ("shm", "sysv-shm", "memfd", "anon", "file")
MEMORY = ("shm-spin", "shm-futex")
OTHERS = ("pipe", "unix-stream", "tcp", "sysv-msg", "mqueue")
DOMINATES = 3  # times: from there on most of what a message takes is the wake-up
COPIED = 3  # times: the same data is copied twice with either, on CPUs that have it nearer or farther
_NUMBER = struct.Struct("=Q")


class Both(NamedTuple):
    """Memory that two processes have mapped, each for itself."""

    inode: int
    pids: list[int]
    told_pids: list[int]  # who has it mapped, by the inventory
    pages: int
    same_bytes: bool  # one reads there what the other has written
    same_frames: int | None  # of these pages; None: no root
    other_frames: int | None
    graph: Graph


class Speed(NamedTuple):
    """What a message takes, by kind: those that there are here."""

    latency_ns: dict[str, float]  # of a byte, in the best run, where it is best: on one CPU or on two
    transfer_ns: dict[str, float]  # of MESSAGE_BYTES copied in and out again, in the best run


class Shared(NamedTuple):
    both: Both
    speed: Speed
    added: int  # times that two processes added 1 to a number there
    counted: int  # what it came to


def _map_and_write(memory: int, size: int, data: bytes) -> Play:
    mapped = mmap.mmap(memory, size)
    os.close(memory)
    yield
    mapped.write(data)
    yield
    yield


def _map_and_read(memory: int, size: int) -> Play:
    mapped = mmap.mmap(memory, size)
    os.close(memory)
    yield
    yield mapped[:size]
    yield


def _both() -> Both:
    pages = random.randint(*PAGES)
    data = random.randbytes(pages * mmap.PAGESIZE)
    memory = os.memfd_create("kintro")
    os.ftruncate(memory, len(data))
    inode = os.fstat(memory).st_ino
    with Actor(_map_and_write, memory, len(data), data) as a, Actor(_map_and_read, memory, len(data)) as b:
        a.step()
        b.step()
        os.close(memory)
        a.step()
        same = b.step() == data
        found = read_inventory()
        one = channel(found, "memfd", lambda other: other.id.endswith(f":{inode}"))
        told = sorted(end.pid for end in one.endpoints if end.role == "mapped read-write")
        same_frames = other_frames = None
        if os.geteuid() == 0:
            shared = _compared(one, a.pid, b.pid)
            same_frames, other_frames = shared.same_frame, shared.different_frame
        graph = picture(found, [one])
        return Both(inode, sorted([a.pid, b.pid]), told, pages, same, same_frames, other_frames, graph)


def _compared(of: Channel, a: int, b: int) -> Compared:
    """The pages of a channel's memory in two processes that have it mapped."""
    return diff(a, _mappings(a, of), b, _mappings(b, of)).total


def _mappings(pid: int, of: Channel) -> list[Mapping]:
    """Where a process has a channel's memory mapped."""
    return [mapping for mapping in read_maps(pid) if "s" in mapping.perms and _is_of(mapping, of)]


def _is_of(mapping: Mapping, of: Channel) -> bool:
    """By device and inode: other files have the same inode, and the first System V segment has the id 0."""
    if of.kind == "sysv-shm":
        return mapping.path.startswith(b"/SYSV") and of.id == str(mapping.inode)
    major, minor = (int(number, 16) for number in mapping.dev.split(":"))
    return of.id == f"{os.makedev(major, minor)}:{mapping.inode}"


def _speed() -> Speed:
    """Where others want the CPUs, some kind has no undisturbed run among the first: then all have more."""
    latency_ns: dict[str, float] = {}
    transfer_ns: dict[str, float] = {}
    end = time.monotonic() + PATIENCE_S

    def is_over() -> bool:
        return time.monotonic() > end

    for _ in range(TRIES):
        report = cost_ipc.measure(RUNS, None, is_over, (*OTHERS, *MEMORY), (MESSAGE_BYTES,), count=False)
        for found, kind, taken_ns in (
            *((latency_ns, one.kind, one.spread.min_ns) for one in report.latency),
            *((transfer_ns, one.kind, one.spread.min_ns) for one in report.throughput),
        ):
            found[kind] = min(taken_ns, found.get(kind, taken_ns))
        if _is_fastest(speed := Speed(latency_ns, transfer_ns)) or is_over():
            break
    return speed


def _is_fastest(speed: Speed) -> bool:
    """Data that is there already is handed over in the time of a byte; copies take the same everywhere."""
    latency, transfer = _best(speed.latency_ns), _best(speed.transfer_ns)
    return latency[0][1] < latency[1][1] and transfer[0][1] < COPIED * transfer[1][1]


def _add(memory: mmap.mmap, times: int) -> Play:
    yield
    for _ in range(times):
        _NUMBER.pack_into(memory, 0, _NUMBER.unpack_from(memory)[0] + 1)
    yield


def _count() -> int:
    """What two processes come to that add to one number at the same time."""
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    with Actor(_add, memory, ADDED) as a, Actor(_add, memory, ADDED) as b:
        for actor in (a, b):
            actor.step()
        for actor in (a, b):
            actor.go_on()
        for actor in (a, b):
            actor.told()
    return int(_NUMBER.unpack_from(memory)[0])


def observe_memory() -> Shared:
    both = _both()
    return Shared(both, _speed(), 2 * ADDED, _count())


def judge_memory(seen: Shared) -> Finding:
    both, speed = seen.both, seen.speed
    latency, transfer = _best(speed.latency_ns), _best(speed.transfer_ns)
    facts: dict[str, Value] = {
        "memory_inode": both.inode,
        "mapped": len(both.told_pids),
        "shared_pages": both.pages,
        "same_frames": both.same_frames,
        "other_frames": both.other_frames,
        "same_bytes": both.same_bytes,
        "memory_latency_ns": latency[0][1],
        "memory_latency_kind": latency[0][0],
        "other_latency_ns": latency[1][1],
        "other_latency_kind": latency[1][0],
        "woken_latency_ns": speed.latency_ns.get("shm-futex"),
        "memory_transfer_ns": transfer[0][1],
        "other_transfer_ns": transfer[1][1],
        "other_transfer_kind": transfer[1][0],
        "message_bytes": MESSAGE_BYTES,
        "added": seen.added,
        "counted": seen.counted,
    }
    one_memory = both.same_bytes and both.told_pids == both.pids
    if both.same_frames is not None:
        one_memory = one_memory and (both.same_frames, both.other_frames) == (both.pages, 0)
    # Nobody waits for anybody: what was added is lost, and who has to be woken up waits as with other kinds.
    woken_ns = speed.latency_ns.get("shm-futex", 0)
    left_alone = seen.counted < seen.added and woken_ns > DOMINATES * latency[0][1]
    pictures = (
        Picture("latencies", _bars(speed.latency_ns)),
        Picture("transfers", _bars(speed.transfer_ns)),
        Picture("memory-graph", both.graph),
    )
    return Finding(judged(one_memory and _is_fastest(speed), left_alone), facts, pictures)


def _best(taken_ns: dict[str, float]) -> tuple[tuple[str, float], tuple[str, float]]:
    """The least that shared memory took, and that anything else took."""
    found = sorted(taken_ns.items(), key=lambda one: one[1])
    memory, other = (next(one for one in found if (one[0] in MEMORY) == wanted) for wanted in (True, False))
    return memory, other


def _bars(taken_ns: dict[str, float]) -> Bars:
    found = sorted(taken_ns.items(), key=lambda one: one[1])
    return Bars("", "ns", True, tuple(Bar(kind, amount) for kind, amount in found))


class Same(NamedTuple):
    """Memory that a process which is there already shares with another one."""

    pid: int
    peer: int
    kind: str
    channels: int  # of shared memory, with any process
    size_bytes: int | None
    frames: Compared  # of the one that is compared
    graph: Graph


def observe_on(pid: int) -> Same:
    found = ipc.of_kinds(ipc.of_process(read_inventory(), pid), SHARED)
    joining = [one for one in found.channels if one.is_between and _mappers(one) > {pid}]
    if not joining:
        raise NotObserved("has-none", on_pid=pid, kinds=", ".join(SHARED))
    for one in joining:
        for peer in sorted(_mappers(one) - {pid}):
            try:
                frames = _compared(one, pid, peer)
            except KintroError:
                if os.path.exists(f"/proc/{peer}"):
                    raise
                continue  # it has ended
            if frames.same_frame or frames.different_frame:
                return Same(pid, peer, one.kind, len(joining), one.bytes, frames, picture(found, joining))
    raise NotObserved("no-common-pages", on_pid=pid, channels=len(joining))


def _mappers(one: Channel) -> set[int]:
    return {end.pid for end in one.endpoints if end.role.startswith("mapped")}


def judge_on(seen: Same) -> Finding:
    facts: dict[str, Value] = {
        "on_pid": seen.pid,
        "peer_pid": seen.peer,
        "kind": seen.kind,
        "channels": seen.channels,
        "shared_bytes": seen.size_bytes,
        "same_frames": seen.frames.same_frame,
        "other_frames": seen.frames.different_frame,
    }
    pictures = (Picture("on-graph", seen.graph),)
    return Finding(judged(not seen.frames.different_frame, False), facts, pictures)


EXPERIMENTS = (
    Experiment("M3", observe_memory, judge_memory, on=observe_on, judge_on=judge_on, on_root=True),
)
