"""An experiment with fork's event: who makes whom, also where that is not who becomes the parent."""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import NamedTuple

from kintro.concepts.experiment import Finding, Picture, judged
from kintro.concepts.family import WAIT_S
from kintro.concepts.scene import Actor, Play, require_all, require_host_pids
from kintro.concepts.words import Value
from kintro.observers import lifecycle, lifecycle_text
from kintro.observers.lifecycle_records import Fork
from kintro.shapes import Tree
from kintro.sources.filters import Filters

_CLONE_PARENT = 0x00008000  # include/uapi/linux/sched.h
# clone(2) with its flags as the first argument, by os.uname().machine
_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "ppc64le": 120}
_libc = ctypes.CDLL(None, use_errno=True)


class Sibling(NamedTuple):
    """A process made with CLONE_PARENT."""

    maker_pid: int
    pid: int  # as it told
    told_parent_pid: int


class Born(NamedTuple):
    """A fork, as the two processes and as the kernel tell it."""

    caller_pid: int
    got_pid: int  # what fork returned to the caller
    child_pid: int  # what getpid returned to the child
    told_parent_pid: int  # what getppid returned to the child
    sibling: Sibling | None  # None: clone(2) is refused, or how to call it is not known here
    forks: list[tuple[int, int, int]]  # creator's pid, parent's pid, child's pid
    lost: int | None
    tree: Tree


def _who_am_i() -> Play:
    yield os.getpid(), os.getppid()


def _makes_sibling(told: Connection) -> Play:
    made = _libc.syscall(_CLONE[os.uname().machine], _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
    if made == 0:
        told.send((os.getpid(), os.getppid()))
        os._exit(0)
    yield os.getpid() if made > 0 else None


def _sibling() -> Sibling | None:
    if os.uname().machine not in _CLONE:
        return None
    told, said = Pipe(duplex=False)
    with told, said, Actor(_makes_sibling, said) as maker:
        maker_pid = maker.step()
        if maker_pid is None or not told.poll(WAIT_S):
            return None
        made = Sibling(maker_pid, *told.recv())
    with suppress(ChildProcessError):  # it is our child, unless the kernel has it otherwise
        os.waitpid(made.pid, 0)
    return made


def observe_birth() -> Born:
    require_host_pids()
    told: list[tuple[int, int, int]] = []
    siblings: list[Sibling | None] = []

    def fork() -> None:
        with Actor(_who_am_i) as child:
            told.append((child.pid, *child.step()))
        siblings.append(_sibling())

    with lifecycle.trace(filters=Filters(pid=os.getpid()), during=fork) as run:
        events = list(run)
        require_all(run.summary.lost)
        forks = [(event.creator_pid, event.ppid, event.pid) for event in events if isinstance(event, Fork)]
        shown = lifecycle_text.tree(lifecycle_text.processes(events))
        return Born(os.getpid(), *told[0], siblings[0], forks, run.summary.lost, shown)


def judge_birth(seen: Born) -> Finding:
    creator, parent, child = seen.forks[0] if seen.forks else (None, None, None)
    sibling = seen.sibling
    maker, heir, _ = seen.forks[-1] if sibling and len(seen.forks) == 3 else (None, None, None)
    facts: dict[str, Value] = {
        "caller_pid": seen.caller_pid,
        "got_pid": seen.got_pid,
        "child_pid": seen.child_pid,
        "told_parent_pid": seen.told_parent_pid,
        "forks": len(seen.forks),
        "creator_pid": creator,
        "parent_pid": parent,
        "event_pid": child,
        "sibling_pid": sibling.pid if sibling else None,
        "sibling_maker_pid": maker,
        "sibling_parent_pid": heir,
        "lost": seen.lost,
    }
    agree = (creator, parent, child) == (seen.caller_pid, seen.told_parent_pid, seen.child_pid)
    related = seen.got_pid == seen.child_pid and parent == creator
    counted = len(seen.forks) == 3 if sibling is not None else len(seen.forks) in (1, 2)
    otherwise = sibling is not None and seen.forks[-1:] == [
        (sibling.maker_pid, sibling.told_parent_pid, sibling.pid)
    ]
    apart = otherwise and maker != heir == seen.caller_pid
    shown = Picture("fork-tree", seen.tree)
    return Finding(judged(agree and related and counted and seen.lost == 0, apart), facts, (shown,))
