"""Where results go: standard output or a file, with what can go wrong there."""

from __future__ import annotations

import errno
import io
import os
import select
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from kintro.errors import EX_IOERR, KintroError
from kintro.sources.command import calling_user

PIECE = 1 << 16  # bytes offered to a reader at a time
OFFER_MAX = 1 << 20  # bytes, before the caller gets his turn again


class Output:
    """Takes lines. A reader who leaves (`| head`) closes it silently; another failure is kept in `error`.

    After either, lines are dropped: what else is going on (a traced command, a recording) need not end. For a
    reader who is slow (`| less`) they wait here, up to `waiting_max` bytes, so that tracing is not held up:
    `offer` gives him what he takes at once, `flush` waits for him.
    """

    def __init__(self, path: str | None = None, waiting_max: int = PIECE, keeping: bool = False) -> None:
        """`waiting_max`: from there on `line` waits for the reader. `keeping`: until the first line a file
        holds what it held, so that it can be opened, and refused, before something that takes long."""
        path = None if path == "-" else path
        self._name = path or "standard output"
        self._file: TextIO = _opened(path, keeping) if path else sys.stdout
        self._kept = keeping and path is not None
        if isinstance(self._file, io.TextIOWrapper):  # a terminal may know fewer signs than Unicode
            self._file.reconfigure(errors="backslashreplace")
        self.closed = False
        self.error: KintroError | None = None
        terminal = self._file.isatty()
        self.width = _columns() if terminal else None
        self.colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self.interrupt_fd: int | None = None  # whoever waits for the reader ends when this can be read
        self._reader = _Reader.of(self._file)
        self._waiting = bytearray()
        self._waiting_max = waiting_max

    @property
    def waiting_fd(self) -> int | None:
        """The descriptor that will be writable when a slow reader takes more; None if nothing waits."""
        return self._reader.fd if self._reader and self._waiting else None

    def line(self, text: str) -> None:
        if self.closed:
            return
        if self._reader is None:
            try:
                if self._kept:
                    self._empty()
                self._file.write(text + "\n")
            except OSError as error:
                self._fail(error)
            return
        self._waiting += (text + "\n").encode(self._file.encoding or "utf-8", "backslashreplace")
        if len(self._waiting) > self._waiting_max:
            self._write(down_to=self._waiting_max, wait=True)

    def _empty(self) -> None:
        self._kept = False
        if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            self._file.truncate(0)

    def remark(self, text: str) -> None:
        """A sentence about the whole, folded to the terminal."""
        from kintro.renderers import terminal

        for line in terminal.sentence(text, self.width):
            self.line(terminal.styled(line, "title", self.colour))

    def offer(self) -> None:
        """Writes what the reader takes without waiting for him."""
        if self._reader is None:
            self.flush()
        else:
            self._write(down_to=max(0, len(self._waiting) - OFFER_MAX), wait=False)

    def flush(self, told_to_end: Callable[[], bool] = lambda: True) -> None:
        """Writes all and waits for the reader.

        When `interrupt_fd` can be read, `told_to_end` reads it. If that says so, the rest is an error.
        """
        if self._reader is not None:
            self._write(down_to=0, wait=True)
            while self._waiting and not told_to_end():
                self._write(down_to=0, wait=True)
            if self._waiting:
                self.closed = True
                left = f"{len(self._waiting)} bytes were not taken by whoever reads {self._name}"
                self.error = KintroError(left, "kintro was told to end before they were", EX_IOERR)
                self._waiting.clear()
        elif not self.closed:
            try:
                self._file.flush()
            except OSError as error:
                self._fail(error)

    def _write(self, down_to: int, wait: bool) -> None:
        reader = self._reader
        while reader is not None and len(self._waiting) > down_to:
            try:
                del self._waiting[: reader.take(bytes(self._waiting[:PIECE]))]
            except BlockingIOError:
                if not wait or not reader.wait(self.interrupt_fd):
                    return
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.closed = True
        self._waiting.clear()
        if not isinstance(error, BrokenPipeError):
            self.error = KintroError(f"cannot write {self._name}: {error.strerror}", None, EX_IOERR)
        if self._reader is None:  # what is still buffered must go somewhere when the interpreter ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._file.fileno())


class BinaryFile:
    """A file that takes pieces as they come. A failure is kept; what follows is dropped."""

    def __init__(self, path: str) -> None:
        self.error: KintroError | None = None
        self._path = path
        self._file = _opened(path).detach()

    def write(self, piece: bytes) -> None:
        if self.error is None:
            try:
                self._file.write(piece)
                self._file.flush()
            except OSError as error:
                self.error = KintroError(f"cannot write {self._path}: {error.strerror}", None, EX_IOERR)


class _Reader:
    """Whoever reads a pipe, a socket or a terminal, and may be slow."""

    def __init__(self, fd: int, is_socket: bool) -> None:
        self.fd = fd
        self._socket: Any = None
        self._own: io.FileIO | None = None  # on it O_NONBLOCK disturbs nobody else
        if is_socket:
            import socket

            self._socket = socket.socket(fileno=os.dup(fd))
            return
        try:
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            self._own = io.FileIO(os.open(f"/proc/self/fd/{fd}", flags), "w")
        except OSError:  # another user's terminal, after su
            pass

    @classmethod
    def of(cls, file: TextIO) -> _Reader | None:
        """None for a file: that is never waited for, only its disk."""
        try:
            mode = os.fstat(file.fileno()).st_mode
        except (OSError, ValueError):  # not a file of the kernel's
            return None
        if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or file.isatty()):
            return None
        file.flush()  # what was written before comes first
        return cls(file.fileno(), stat.S_ISSOCK(mode))

    def take(self, data: bytes) -> int:
        """How many bytes he took. BlockingIOError if none."""
        if self._socket is not None:
            return self._socket.send(data, 0x40)  # MSG_DONTWAIT
        if self._own is not None:
            written = self._own.write(data)
            if written is None:
                raise BlockingIOError
            return written
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        if not poll.poll(0):
            raise BlockingIOError
        return os.write(self.fd, data[: select.PIPE_BUF])

    def wait(self, interrupt_fd: int | None) -> bool:
        """Until he takes more; False if interrupted."""
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        if interrupt_fd is not None:
            poll.register(interrupt_fd, select.POLLIN)
        return interrupt_fd not in [fd for fd, _ in poll.poll()]


def _columns() -> int:
    import shutil  # slow to import, and only a terminal has columns

    return shutil.get_terminal_size().columns


def _opened(path: str, keeping: bool = False) -> io.TextIOWrapper:
    try:
        with as_calling_user():
            return open(path, "w", encoding="utf-8", opener=_keeping_opener if keeping else _opener)
    except OSError as error:
        if error.errno == errno.ENXIO and os.path.exists(path):
            raise KintroError(f"cannot write {path}: nobody reads it", None, EX_IOERR) from error
        raise KintroError(f"cannot write {path}: {error.strerror}", None, EX_IOERR) from error


def _opener(path: str, flags: int) -> int:
    """Does not wait for the reader of a FIFO: signals are held back, so nothing could end that."""
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY, 0o666)
    os.set_blocking(fd, True)
    return fd


def _keeping_opener(path: str, flags: int) -> int:
    return _opener(path, flags & ~os.O_TRUNC)


@contextmanager
def as_calling_user() -> Iterator[None]:
    """Files opened inside are opened with the rights of the user who called sudo, and become that user's.

    So root writes nowhere the user could not, whatever links lie there. All threads become that user
    (nptl(7)): no other may be at work.
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
