"""The lab zombie: what is left of a process that has ended while its parent does not ask how."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.labs.lab import Lab
from kintro.labs.stage import Stage
from kintro.observers import tree
from kintro.sources.proc_status import read_status
from kintro.sources.procfs import read_stat


def play(stage: Stage) -> Iterator[str]:
    children = stage.draw(3, 9)
    reaped = stage.draw(1, children - 1)
    told = stage.begin("zombie", reaped, *(stage.draw(1, 99) for _ in range(children)))
    parent, zombie = stage.pid, told["zombie_pid"]
    stage.shown.update(parent_pid=parent, zombie_pid=zombie)
    stat = read_stat(zombie)
    stage.facts.update(
        zombies=_zombies(parent),
        status=stat.exit_code,
        code=os.waitstatus_to_exitcode(stat.exit_code),
        memory_bytes=read_status(zombie).vm_size_bytes or 0,
    )
    yield "look"
    _kill(zombie, parent)
    stage.facts["killed"] = read_stat(zombie).state != "Z"
    yield "kill"
    stage.step()
    stage.facts["left"] = _zombies(parent)
    yield "reap"


def _kill(pid: int, parent: int) -> None:
    """A child of the program, and nobody else: a student's program may name anybody to a root's kintro."""
    fd = os.pidfd_open(pid)
    try:
        if read_stat(pid).ppid != parent:
            raise KintroError(f"process {pid} is no child of the lab's program", None, EX_UNAVAILABLE)
        signal.pidfd_send_signal(fd, signal.SIGKILL)
    finally:
        os.close(fd)


def _zombies(parent: int) -> int:
    nodes = tree.nodes(tree.read_snapshot(), parent)
    return sum(node.process.is_zombie and node.process.ppid == parent for node in nodes)


LAB = Lab("zombie", play)
