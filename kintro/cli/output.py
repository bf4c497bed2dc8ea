"""Where results go: standard output or a file, with what can go wrong there."""

from __future__ import annotations

import io
import os
import select
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from kintro.errors import EX_IOERR, KintroError
from kintro.sources.command import calling_user

WAITING_MAX = 256 << 20  # bytes that wait for a slow reader


class Output:
    """Takes lines. A reader who leaves (`| head`) closes it silently; another failure is kept in `error`.

    After either, lines are dropped: what else is going on (a traced command, a recording) need not end. For a
    reader who is slow (`| less`) they wait here, up to WAITING_MAX, so that tracing is not held up: `offer`
    gives him what he takes at once, `flush` waits for him.
    """

    def __init__(self, path: str | None = None) -> None:
        self._name = path or "standard output"
        self._file: TextIO = _opened(path) if path else sys.stdout
        if isinstance(self._file, io.TextIOWrapper):  # a terminal may know fewer signs than Unicode
            self._file.reconfigure(errors="backslashreplace")
        self.closed = False
        self.error: KintroError | None = None
        terminal = self._file.isatty()
        self.width = _columns() if terminal else None
        self.colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self.fd = _slow(self._file)  # of a reader who may be slow, else None
        self.interrupt_fd: int | None = None  # whoever waits for the reader ends when this can be read
        self._waiting = bytearray()

    @property
    def waiting(self) -> bool:
        return bool(self._waiting)

    def line(self, text: str) -> None:
        if self.closed:
            return
        if self.fd is None:
            try:
                self._file.write(text + "\n")
            except OSError as error:
                self._fail(error)
            return
        self._waiting += (text + "\n").encode(self._file.encoding or "utf-8", "backslashreplace")
        if len(self._waiting) > WAITING_MAX:
            self.flush()

    def offer(self) -> None:
        """Writes what the reader takes without waiting for him."""
        if self.fd is None:
            self.flush()
        else:
            self._write(0)

    def flush(self) -> None:
        """Writes all; waits for the reader, or until `interrupt_fd` can be read: the rest is then dropped."""
        if self.closed:
            return
        if self.fd is not None:
            self._write(None)
            return
        try:
            self._file.flush()
        except OSError as error:
            self._fail(error)

    def _write(self, timeout_ms: int | None) -> None:
        poll = select.poll()
        if self.fd is not None:
            poll.register(self.fd, select.POLLOUT)
        if timeout_ms is None and self.interrupt_fd is not None:
            poll.register(self.interrupt_fd, select.POLLIN)
        while self._waiting and not self.closed and self.fd is not None:
            ready = [fd for fd, _ in poll.poll(timeout_ms)]
            if self.fd not in ready:
                if self.interrupt_fd in ready:
                    self._waiting.clear()
                return
            try:
                written = os.write(self.fd, self._waiting[: select.PIPE_BUF])  # as much never blocks
            except OSError as error:
                self._fail(error)
                return
            del self._waiting[:written]

    def _fail(self, error: OSError) -> None:
        self.closed = True
        self._waiting.clear()
        if not isinstance(error, BrokenPipeError):
            self.error = KintroError(f"cannot write {self._name}: {error.strerror}", None, EX_IOERR)
        # What is still buffered must go somewhere when the interpreter flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._file.fileno())


def _slow(file: TextIO) -> int | None:
    """Its descriptor if it is a pipe, a socket or a terminal. A file is never waited for, only its disk."""
    try:
        mode = os.fstat(file.fileno()).st_mode
    except (OSError, ValueError):  # not a file of the kernel's
        return None
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or file.isatty():
        file.flush()  # what was written before comes first
        return file.fileno()
    return None


def _columns() -> int:
    import shutil  # slow to import, and only a terminal has columns

    return shutil.get_terminal_size().columns


def _opened(path: str) -> TextIO:
    try:
        with as_calling_user():
            return open(path, "w", encoding="utf-8")
    except OSError as error:
        raise KintroError(f"cannot write {path}: {error.strerror}", None, EX_IOERR) from error


@contextmanager
def as_calling_user() -> Iterator[None]:
    """Files opened inside are opened with the rights of the user who called sudo, and become that user's.

    So root writes nowhere the user could not, whatever links lie there.
    """
    user = calling_user()
    if user is None:
        yield
        return
    groups = os.getgroups()
    os.setgroups(os.getgrouplist(user.name, user.gid))
    os.setegid(user.gid)
    os.seteuid(user.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
