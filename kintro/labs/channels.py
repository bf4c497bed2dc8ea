"""The lab channels: who is at which end of a channel, and what waits in it."""

from __future__ import annotations

from collections.abc import Iterator

from kintro.labs.lab import Lab
from kintro.labs.stage import Stage
from kintro.observers import ipc
from kintro.observers.ipc_records import Channel

BYTES = 100, 999  # what is shown to the byte


def play(stage: Stage) -> Iterator[str]:
    told = stage.begin("channels", stage.draw(*BYTES), stage.draw(*BYTES), stage.draw(0, 1))
    names = "first_pid", "second_pid", "pipe_inode", "socket_inode"
    stage.shown.update(program_pid=stage.pid, **{name: told[name] for name in names})
    pipe, socket = _channels(told["pipe_inode"], told["socket_inode"])
    written = pipe.bytes or 0
    readers = [end.pid for end in pipe.endpoints if end.role == "read"]
    stage.facts.update(pipe_bytes=written, socket_bytes=socket.bytes or 0)
    if len(readers) == 1:
        stage.facts["reader_pid"] = readers[0]
    yield "look"
    stage.step()
    pipe, _ = _channels(told["pipe_inode"], told["socket_inode"])
    stage.facts.update(left_bytes=pipe.bytes or 0, stays=pipe.bytes == written)
    yield "ended"


def _channels(pipe_inode: int, socket_inode: int) -> tuple[Channel, Channel]:
    found = ipc.read_inventory().channels
    [pipe] = [one for one in found if one.kind == "pipe" and one.id == str(pipe_inode)]
    [socket] = [one for one in found if one.kind == "unix" and str(socket_inode) in one.id.split("-")]
    return pipe, socket


LAB = Lab("channels", play)
