"""Families that experiments make: inits of pid namespaces, and children that outlive a parent."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterable
from typing import Any

from kintro.concepts.experiment import NotObserved
from kintro.concepts.scene import LIFE_S, Actor, Play
from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.sources.ancestors import missing, read_chain
from kintro.sources.processes import Process

WAIT_S = 10.0
_CLONE_NEWUSER, _CLONE_NEWPID = 0x10000000, 0x20000000  # include/uapi/linux/sched.h
_PAUSE_S = 0.0005
_libc = ctypes.CDLL(None, use_errno=True)


def init_of_namespace(play: Callable[..., Play], *arguments: Any) -> Play:
    """A play whose steps are those of another, done by pid 1 of a new pid namespace.

    First it tells that one's pid out here; None if this user may not make a namespace.
    """
    if _libc.unshare(_CLONE_NEWPID) and _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWPID):
        yield None
        return
    with Actor(play, *arguments) as init:
        word = yield init.pid
        while True:
            word = yield init.step(word)


def existing(init_pid: int | None) -> int:
    """The pid that init_of_namespace told, where nothing is observed without one."""
    if init_pid is None:
        raise NotObserved("no-namespace")
    return init_pid


def survivor(body: Callable[[], Any], keep: Iterable[int]) -> int:
    """The pid of a child that runs a function and may outlive its parent, with no other files than these."""
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(LIFE_S)
            begin = 3
            for fd in (*sorted(keep), os.sysconf("SC_OPEN_MAX")):
                os.closerange(begin, fd)
                begin = fd + 1
            body()
        finally:
            os._exit(0)
    return pid


def whole_chain(pid: int) -> list[Process]:
    """A process and its ancestors up to one without a parent; nothing is observed where one is hidden."""
    chain = read_chain(pid)
    if not chain:
        raise missing(pid)
    if chain[-1].ppid != 0:
        raise NotObserved("hidden", hidden=1)
    return chain


def wait_until(condition: Callable[[], Any]) -> None:
    """KintroError if it does not come true."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise KintroError("a process of the experiment does not answer", None, EX_UNAVAILABLE)
        time.sleep(_PAUSE_S)
