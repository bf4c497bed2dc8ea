"""Holds a command right before it ends, while its memory is still there (ptrace(2), PTRACE_EVENT_EXIT).

The kernel's own stop: nothing is put into the program, and it runs at full speed until then. What it cannot
do: run beside another tracer of the same process, or keep set-user-ID programs their rights where the caller
is not root. And it holds the first thread: a program whose first thread ends before the others, or where
another one calls exec(2), is held at that moment.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable

from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.sources.command import Command

# include/uapi/linux/ptrace.h
_CONT, _DETACH, _SEIZE, _INTERRUPT, _LISTEN = 7, 17, 0x4206, 0x4207, 0x4208
_O_TRACEEXIT, _EVENT_EXIT, _EVENT_STOP = 0x40, 6, 128
_WALL = 0x40000000  # include/uapi/linux/wait.h
LOOK_S = 0.02  # between two looks

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


class ExitStop:
    """Runs a command that was not let go yet; a context manager. Leaving it lets the command end."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._traced = False
        self.at_exit = False  # it has come to its end, and waits there

    def __enter__(self) -> ExitStop:
        if _libc.ptrace(_SEIZE, self._command.pid, None, _O_TRACEEXIT) < 0:
            error = os.strerror(ctypes.get_errno())
            raise KintroError(f"cannot follow the command to its end: {error}", None, EX_UNAVAILABLE)
        self._traced = True
        return self

    def __exit__(self, *_: object) -> None:
        number = 0
        if self._traced and not self.at_exit:  # only who is stopped can be let go
            _libc.ptrace(_INTERRUPT, self._command.pid, None, None)
            status = os.waitpid(self._command.pid, _WALL)[1]
            if not os.WIFSTOPPED(status):
                self._command.status = status
                self._traced = False
            elif not status >> 16:  # a signal that is on its way to it
                number = os.WSTOPSIG(status)
        self._detach(number)

    def _detach(self, number: int = 0) -> None:
        if self._traced:
            _libc.ptrace(_DETACH, self._command.pid, None, number)
            self._traced = False

    def run(self, duration_s: float | None, look: Callable[[], None]) -> bool:
        """Until the command is about to end (True), or for so long (False); `look` is called now and then."""
        try:
            self._command.start()
        except KintroError:  # that it stopped at its exit was seen there, and there is nothing to look at
            self._detach()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._command.pid, 0)
            raise
        end = None if duration_s is None else time.monotonic() + duration_s
        while end is None or time.monotonic() < end:
            pid, status = os.waitpid(self._command.pid, os.WNOHANG | _WALL)
            if pid == 0:
                look()
                time.sleep(LOOK_S)
            elif not os.WIFSTOPPED(status):  # killed in a way that leaves no stop
                self._command.status = status
                self._traced = False
                return False
            elif self._stopped(status):
                return True
        return False

    def _stopped(self, status: int) -> bool:
        """Whether it is the stop at the exit; from another it goes on."""
        number, event = os.WSTOPSIG(status), status >> 16
        if number == signal.SIGTRAP and event == _EVENT_EXIT:
            self.at_exit = True
            return True
        if event == _EVENT_STOP and number != signal.SIGTRAP:  # stopped by a signal, as for a shell's Ctrl-Z
            _libc.ptrace(_LISTEN, self._command.pid, None, None)
        else:
            _libc.ptrace(_CONT, self._command.pid, None, 0 if event else number)
        return False
