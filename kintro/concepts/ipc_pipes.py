"""Experiments with pipes: what is left of the messages that are written to one."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import NamedTuple

from kintro.concepts.experiment import Experiment, Finding, Picture, judged
from kintro.concepts.ipc_sight import (
    End,
    channel,
    ends,
    holdings,
    judge_held,
    may_trace,
    ours,
    picture,
)
from kintro.concepts.scene import Actor, Play
from kintro.concepts.words import Value
from kintro.observers import calls
from kintro.observers.ipc import read_inventory
from kintro.shapes import Graph

MESSAGES, SIZE_MAX = (8, 15), 250  # one page holds them all, and as packets 16 do; every pipe has so much


class Passed(NamedTuple):
    """Messages that one process wrote to a pipe, and what another one read from it."""

    inode: int
    ends: list[End]  # as they are
    told_ends: list[End]  # by the inventory
    waiting_bytes: int | None  # between writing and reading
    wrote: list[int]  # bytes by each call
    read: list[int]
    same_bytes: bool
    graph: Graph


class Pipes(NamedTuple):
    stream: Passed
    traced: tuple[list[int], list[int]] | None  # what the kernel says was written and read; None: no root
    packets: Passed  # by a pipe with O_DIRECT


def _write(ends: tuple[int, int], messages: Sequence[bytes]) -> Play:
    os.close(ends[0])
    yield [os.write(ends[1], message) for message in messages]
    yield


def _read(ends: tuple[int, int], size: int, amount: int) -> Play:
    os.close(ends[1])
    yield
    parts: list[bytes] = []
    while sum(map(len, parts)) < amount and (part := os.read(ends[0], size)):
        parts.append(part)
    yield parts


def _passed(flags: int, size: int) -> Passed:
    messages = [random.randbytes(random.randint(1, SIZE_MAX)) for _ in range(random.randint(*MESSAGES))]
    all_bytes = b"".join(messages)
    pipe = os.pipe2(os.O_CLOEXEC | flags)
    inode = os.fstat(pipe[0]).st_ino
    with Actor(_write, pipe, messages) as writer, Actor(_read, pipe, size, len(all_bytes)) as reader:
        reader.step()
        for end in pipe:
            os.close(end)
        wrote = writer.step()
        found = read_inventory()
        one = channel(found, "pipe", lambda pipe: pipe.id == str(inode))
        parts = reader.step()
        return Passed(
            inode,
            sorted([(writer.pid, pipe[1], "write"), (reader.pid, pipe[0], "read")], key=str),
            ends(one),
            one.bytes,
            wrote,
            [len(part) for part in parts],
            b"".join(parts) == all_bytes,
            picture(found, [one]),
        )


def observe_pipes() -> Pipes:
    size = random.randint(SIZE_MAX + 1, 2 * SIZE_MAX)  # more than any message has
    told: list[Passed] = []

    def pass_on() -> None:
        told.append(_passed(0, size))

    traced = None
    if may_trace():
        with calls.trace(filters=ours(), expression="read,write", during=pass_on) as run:
            made = [(seen.name, seen.call.returned, seen.files.get("fd")) for seen in run]
        name = b"pipe:[%d]" % told[0].inode
        wrote, read = (
            [size or 0 for call, size, file in made if (call, file) == (way, name)]
            for way in ("write", "read")
        )
        traced = wrote, read
    else:
        pass_on()
    return Pipes(told[0], traced, _passed(os.O_DIRECT, size))


def judge_pipes(seen: Pipes) -> Finding:
    stream, packets = seen.stream, seen.packets
    facts: dict[str, Value] = {
        "pipe_inode": stream.inode,
        "writer_pid": next(pid for pid, _, role in stream.ends if role == "write"),
        "reader_pid": next(pid for pid, _, role in stream.ends if role == "read"),
        "ends": len(stream.told_ends),
        "written_bytes": sum(stream.wrote),
        "waiting_bytes": stream.waiting_bytes,
        "writes": len(stream.wrote),
        "reads": len(stream.read),
        "traced_writes": len(seen.traced[0]) if seen.traced else None,
        "traced_reads": len(seen.traced[1]) if seen.traced else None,
        "same_bytes": stream.same_bytes,
        "packet_writes": len(packets.wrote),
        "packet_reads": len(packets.read),
    }
    joined = stream.told_ends == stream.ends and stream.waiting_bytes == sum(stream.wrote)
    # Its bytes arrive in order; how many a read returns has nothing to do with how many a write gave.
    streamed = stream.same_bytes and stream.read != stream.wrote
    told_so = seen.traced is None or seen.traced == (stream.wrote, stream.read)
    kept = packets.same_bytes and packets.read == packets.wrote
    pictures = (Picture("pipe-graph", stream.graph),)
    return Finding(judged(joined and streamed and told_so, kept), facts, pictures)


EXPERIMENTS = (
    Experiment("M1", observe_pipes, judge_pipes, on=holdings("pipe", "fifo"), judge_on=judge_held),
)
