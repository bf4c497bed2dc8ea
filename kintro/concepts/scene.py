"""Processes that play a part in an experiment, step by step. They never outlive it."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Generator
from contextlib import suppress
from multiprocessing import Pipe
from types import TracebackType
from typing import Any, TypeAlias

from kintro.concepts.experiment import EVENTS_LOST, NotObserved
from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.sources import host

Play: TypeAlias = Generator[Any, Any, None]  # what a process does, step by step

LIFE_S = 60  # at most
STEP_S = 10.0
NOBODY = 65534  # a user id that by convention owns nothing
_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h
_libc = ctypes.CDLL(None)  # here, as an actor may be made where nothing can be loaded


class Actor:
    """A child process that runs a generator: each `step` resumes it and returns what it yields next.

    A context manager that ends it. `status` is its wait status (waitpid(2)) once it has ended.
    """

    def __init__(self, play: Callable[..., Play], *arguments: Any) -> None:
        self._line, theirs = Pipe()
        self.status: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            self._line.close()
            _play(theirs, play, arguments)
        theirs.close()

    def step(self, word: Any = None) -> Any:
        """What the play yields next; `word` is what its last `yield` gives it. None when it is over."""
        self.go_on(word)
        return self.told()

    def answer(self) -> Any:
        """As `step`. KintroError if the play is over instead: that is no answer, not even a false one."""
        told = self.step()
        if told is None:
            raise KintroError("a process of the experiment has ended early", None, EX_UNAVAILABLE)
        return told

    def go_on(self, word: Any = None) -> None:
        """Resumes the play and does not wait for what it yields next: `told` does."""
        with suppress(BrokenPipeError):  # what it said before is still to be read
            self._line.send(word)

    def told(self) -> Any:
        try:
            if self._line.poll(STEP_S):
                return self._line.recv()
        except (EOFError, ConnectionError):
            return None
        raise KintroError("a process of the experiment does not answer", None, EX_UNAVAILABLE)

    def wait(self) -> int:
        """Its wait status; waits for its end."""
        if self.status is None:
            self.status = os.waitpid(self.pid, 0)[1]
        return self.status

    def __enter__(self) -> Actor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.status is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)  # before its line ends, at which it would end by itself
            self.wait()
        self._line.close()


def die_with_parent(life_s: int = LIFE_S) -> None:
    """Ends this process with the thread that made it, and in any case after a while."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM, signal.SIGTERM})
    signal.alarm(life_s)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def require_host_pids() -> None:
    """Where pids are not those of the kernel's events and records, nothing is observed."""
    if not host.in_initial_pid_namespace():
        raise NotObserved("container")


def require_all(lost: int | None, complete: bool | None = True) -> None:
    """Events that were lost may be those that matter: nothing is concluded from the others."""
    if lost or complete is False:
        raise NotObserved(EVENTS_LOST, lost=lost)


def drop_rights(user: int = NOBODY) -> None:
    """Root becomes a user without any rights, for the rest of this process; anybody else stays as he is."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # which a change of user undoes


def _play(line: Any, play: Callable[..., Play], arguments: tuple[Any, ...]) -> None:
    code = 1
    try:
        die_with_parent()
        steps = play(*arguments)
        word = line.recv()
        told = next(steps)
        while True:
            line.send(told)
            word = line.recv()
            told = steps.send(word)
    except (StopIteration, EOFError):
        code = 0
    finally:
        os._exit(code)
