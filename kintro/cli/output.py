"""Where results go: standard output or a file, with what can go wrong there."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from kintro.errors import EX_IOERR, KintroError
from kintro.sources.command import calling_user


class Output:
    """Takes lines. A reader who leaves (`| head`) closes it silently; another failure is kept in `error`.

    After either, lines are dropped: what else is going on (a traced command, a recording) need not end.
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

    def line(self, text: str) -> None:
        if not self.closed:
            try:
                self._file.write(text + "\n")
            except OSError as error:
                self._fail(error)

    def flush(self) -> None:
        if not self.closed:
            try:
                self._file.flush()
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.closed = True
        if not isinstance(error, BrokenPipeError):
            self.error = KintroError(f"cannot write {self._name}: {error.strerror}", None, EX_IOERR)
        # What is still buffered must go somewhere when the interpreter flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._file.fileno())


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
