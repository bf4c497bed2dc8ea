"""An experiment with orphans: who takes the children of one that ends before them."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import NamedTuple

from kintro.concepts.experiment import Finding, Picture, judged
from kintro.concepts.family import (
    WAIT_S,
    existing,
    init_of_namespace,
    survivor,
    wait_until,
)
from kintro.concepts.scene import Actor, Play, require_all, require_host_pids
from kintro.concepts.words import Value
from kintro.observers import lifecycle, lifecycle_text
from kintro.observers.lifecycle_records import Event, Fork, Reparent
from kintro.shapes import Table, Tree
from kintro.sources import procfs
from kintro.sources.filters import Filters

_PR_SET_CHILD_SUBREAPER = 36  # include/uapi/linux/prctl.h
_libc = ctypes.CDLL(None, use_errno=True)


class Handover(NamedTuple):
    """A child that lost its parent."""

    head_pid: int  # who stands above the one that ended: a subreaper, an init; or just that one
    told_pid: int | None  # the parent that the child found itself to have then, in its own pid namespace
    old_pid: int | None  # of the kernel's event; None: there was none
    new_pid: int | None
    reason: str | None


class Handovers(NamedTuple):
    """With nobody in between, below a pid namespace's init, below a subreaper, and of a thread."""

    plain: Handover
    namespace: Handover
    subreaper: Handover
    thread: Handover
    lost: int | None
    tree: Tree


def _tell_new_parent(old: int, told: Connection) -> None:
    wait_until(lambda: os.getppid() != old)
    told.send(os.getppid())


def _ends_first(told: Connection) -> Play:
    parent = os.getpid()
    survivor(lambda: _tell_new_parent(parent, told), [told.fileno()])
    yield parent


def _has_one_that_ends(told: Connection, subreaper: bool) -> Play:
    if subreaper:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield os.getpid()
    with Actor(_ends_first, told) as parent:
        parent.step()
        parent.step()
        parent.wait()
    yield True


def _thread_ends_first(told: Connection) -> Play:
    """One of two threads has a child, and ends."""
    go, said = Pipe(duplex=False)

    def child() -> None:
        go.recv()
        told.send(os.getppid())

    made = threading.Thread(target=lambda: survivor(child, [go.fileno(), told.fileno()]))
    yield os.getpid()
    made.start()
    made.join()
    wait_until(lambda: made.native_id not in procfs.thread_ids(os.getpid()))
    said.send(True)
    yield True


def observe_handover() -> Handovers:
    require_host_pids()
    tellers: list[Connection] = []
    heads: list[int] = []
    with ExitStack() as stack:
        actors = []
        for play, arguments in (
            (_has_one_that_ends, (False,)),
            (init_of_namespace, (False,)),
            (_has_one_that_ends, (True,)),
            (_thread_ends_first, ()),
        ):
            told, said = Pipe(duplex=False)
            stack.callback(told.close)
            inner = (_has_one_that_ends,) if play is init_of_namespace else ()
            actors.append(stack.enter_context(Actor(play, *inner, said, *arguments)))
            said.close()
            tellers.append(told)
            heads.append(existing(actors[-1].step()))
        answers: list[int | None] = []

        def act() -> None:
            actors[1].step()  # the init tells its own name for itself
            for actor, told in zip(actors, tellers):
                actor.step()
                answers.append(told.recv() if told.poll(WAIT_S) else None)

        with lifecycle.trace(filters=Filters(pid=os.getpid()), during=act) as run:
            events = list(run)
            lost = run.summary.lost
    require_all(lost)
    plain, namespace, subreaper, thread = (found(events, *one) for one in zip(heads, answers))
    shown = lifecycle_text.tree(lifecycle_text.processes(events))
    return Handovers(plain, namespace, subreaper, thread, lost, shown)


def found(events: Iterable[Event], head: int, told: int | None) -> Handover:
    """The first change of parent among those below `head`, who is of the initial pid namespace."""
    below = {head}
    for event in events:
        if isinstance(event, Fork) and event.ppid in below and event.kind != "thread":
            below.add(event.pid)
        elif isinstance(event, Reparent) and event.pid in below:
            return Handover(head, told, event.old_ppid, event.new_ppid, event.reason)
    return Handover(head, told, None, None, None)


def judge_handover(seen: Handovers) -> Finding:
    facts: dict[str, Value] = {"lost": seen.lost}
    for name in ("plain", "namespace", "subreaper", "thread"):
        one = getattr(seen, name)
        facts |= {
            f"{name}_head_pid": one.head_pid,
            f"{name}_new_pid": one.new_pid,
            f"{name}_told_pid": one.told_pid,
            f"{name}_reason": one.reason,
        }
    plain, inner = seen.plain, seen.namespace
    # With a subreaper above the whole experiment, as in a user's session, init does not get it.
    to_root = plain.reason in ("init", "subreaper") and plain.told_pid == plain.new_pid not in (
        None,
        plain.old_pid,
    )
    to_init = (inner.reason, inner.new_pid, inner.told_pid) == ("namespace-init", inner.head_pid, 1)
    reaper, thread = seen.subreaper, seen.thread
    before_init = (reaper.reason, reaper.new_pid, reaper.told_pid) == (
        "subreaper", reaper.head_pid, reaper.head_pid,
    )  # fmt: skip
    before_all = (thread.reason, thread.new_pid, thread.told_pid) == (
        "thread", thread.head_pid, thread.head_pid,
    )  # fmt: skip
    rows = [
        (str(one.old_pid), str(one.new_pid), one.reason or "", str(one.told_pid))
        for one in (plain, inner, reaper, thread)
    ]
    table = Table(("parent that ended", "new parent", "why", "as the child was told"), tuple(rows))
    shown = Picture("handovers", table), Picture("fork-tree", seen.tree)
    holds = to_root and to_init and seen.lost == 0
    return Finding(judged(holds, before_init and before_all), facts, shown)
