"""Sessions: what was seen, kept in a folder that is read again with no kernel and no root.

A session is `session.json` (what was recorded, how, how much was lost) and one Arrow IPC stream per kind
of record, `<kind>.arrows`, that pyarrow and Polars, and through them pandas and DuckDB, open as it is.

How: a batch is a structured numpy array as it came from the ring; arrow.py makes a message of it, which goes
to the kernel whole before write() returns, so kill -9 or a full disk loses at most the batch in flight.

Safety: root may be asked to write where others can. The folder is always new (0700), every file in it is
created (0600), never reopened, and no symlink is followed. Under sudo all of it belongs to the caller.

What it cannot do: outlive a power failure (only session.json is fsynced), take batches from two threads,
keep what follows the first NUL of an `S<n>`, hold 2 GiB of binary data of one column in one batch, notice
changed values (there is no checksum), vouch for nanoarrow on a stream that a stranger has forged.
"""

from __future__ import annotations

import contextlib
import heapq
import io
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kintro.errors import EX_IOERR, EX_NOINPUT, EX_SOFTWARE, KintroError

if TYPE_CHECKING:
    from kintro.sources.arrow import Encoder

FORMAT = 1  # of session.json, and of what the columns of a dtype become
INFO = "session.json"
BINARY = np.dtype("O", metadata={"arrow": "binary"})  # bytes or None; a plain "O" means the same
LIST = np.dtype("O", metadata={"arrow": "list"})  # list of bytes, or None

_KIND = re.compile(r"[a-z][a-z0-9_]{0,63}")  # a kind is part of a file's name


@dataclass(frozen=True, slots=True)
class Session:
    """A saved session: where it is, what it says of itself, and how much of it is there."""

    path: Path
    info: dict[str, Any]  # session.json
    cut: bool  # recording did not come to its end, or the end of a stream is missing
    batches: dict[str, int]  # how many whole batches there are of each kind


class SessionWriter:
    """Writes a new session; leaving the `with` without close(footer) leaves it marked as unfinished.

    KintroError if the folder exists or something cannot be written. After a failed write the session takes
    no more: later calls do nothing, it stays unfinished, and what was written before can be read.
    """

    def __init__(self, path: str | os.PathLike[str], kinds: Mapping[str, np.dtype], header: dict) -> None:
        self.path = Path(path)
        self._header = dict(header)
        self._failed = False
        self._streams: dict[str, _Stream] = {}
        encoders = {kind: _encoder(kind, dtype) for kind, dtype in kinds.items()}
        self._folder = _make_folder(self.path)
        try:
            for kind, encoder in encoders.items():
                with _told(f"write {self.path / kind}.arrows", EX_IOERR):
                    fd = _create(self._folder, f"{kind}.arrows")
                self._streams[kind] = _Stream(fd, kinds[kind], encoder)
                self._append(kind, encoder.head())
            self._replace_info({"finished": False})
        except BaseException:
            self._release()
            raise

    def __enter__(self) -> SessionWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.close()
        except KintroError:
            if kind is None:  # else it would hide what went wrong first
                raise

    def write(self, kind: str, batch: np.ndarray) -> None:
        """Appends a batch, which is with the kernel when this returns; an empty batch writes nothing."""
        if self._folder < 0 or kind not in self._streams:
            raise _bug(f"{self.path}: no open stream of {kind!r}")
        stream = self._streams[kind]
        if batch.ndim != 1 or batch.dtype != stream.dtype:
            raise _bug(f"{self.path}: {kind!r} takes rows of {stream.dtype}, not of {batch.dtype}")
        if len(batch) and not self._failed:
            try:
                message = stream.encoder.batch(batch)
            except (TypeError, ValueError, RuntimeError) as error:
                raise _bug(f"a batch of {kind!r} does not fit into a session: {error}") from error
            self._append(kind, message)

    def close(self, footer: dict | None = None) -> None:
        """Ends the streams; with a footer, adds it to session.json and marks the session as finished."""
        if self._folder < 0:
            return
        try:
            for kind, stream in self._streams.items():
                if not self._failed:
                    self._append(kind, stream.encoder.end())
            if footer is not None and not self._failed:
                self._replace_info(footer | {"finished": True})
        finally:
            self._release()

    def _append(self, kind: str, message: bytes) -> None:
        try:
            with _told(f"write {self.path / kind}.arrows", EX_IOERR):
                self._streams[kind].append(message)
        except KintroError as error:
            self._failed = True
            error.hint = "what was recorded before can be read"
            raise

    def _replace_info(self, more: dict) -> None:
        """Whoever reads session.json, even after a crash, finds the old one or the new one, never a half."""
        info = self._header | more | {"kintro_session": FORMAT, "kinds": list(self._streams)}
        try:
            text = json.dumps(info, indent=1, default=np.generic.item)
        except (TypeError, ValueError) as error:
            raise _bug(f"{INFO} cannot hold this: {error}") from error
        with _told(f"write {self.path / INFO}", EX_IOERR):
            with open(_create(self._folder, f"{INFO}.tmp"), "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.rename(f"{INFO}.tmp", INFO, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            os.fsync(self._folder)

    def _release(self) -> None:
        for fd in [*(stream.fd for stream in self._streams.values()), self._folder]:
            with contextlib.suppress(OSError):
                os.close(fd)
        self._folder = -1


class _Stream:
    """An open `<kind>.arrows`; `size` is where its last whole message ends."""

    def __init__(self, fd: int, dtype: np.dtype, encoder: Encoder) -> None:
        self.fd, self.dtype, self.encoder, self.size = fd, dtype, encoder, 0

    def append(self, message: bytes) -> None:
        """Appends a message whole or not at all."""
        left, end = memoryview(message), self.size
        try:
            while left:
                written = os.pwrite(self.fd, left, end)
                left, end = left[written:], end + written
            self.size = end
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(self.fd, self.size)
            raise


def read_session(path: str | os.PathLike[str]) -> Session:
    """The session in a folder; KintroError if there is none, or none that this kintro can read."""
    from kintro.sources import arrow  # as in _encoder

    path = Path(path)
    with _told(f"read {path}", EX_NOINPUT):
        if not path.is_dir():
            raise _unreadable(
                f"{path} is not a session: it is no folder" if path.exists() else f"no session {path}"
            )
        if not (path / INFO).exists():
            raise _unreadable(f"{path} is not a session: it has no {INFO}")
    try:
        with _told(f"read {path / INFO}", EX_NOINPUT), _open_regular(path / INFO) as file:
            info = json.load(file)
        version, kinds, cut = info["kintro_session"], info["kinds"], info["finished"] is not True
        if version > FORMAT:
            raise _unreadable(f"{path}: session format {version}, newer than this kintro ({FORMAT})")
        if not isinstance(kinds, list) or not all(_KIND.fullmatch(kind) for kind in kinds):
            raise ValueError("no list of kinds")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _unreadable(f"{path / INFO} is damaged: {error!r}") from None
    batches = {}
    for kind in kinds:
        stream = path / f"{kind}.arrows"
        with _told(f"read {stream}", EX_NOINPUT), _open_regular(stream) as file:
            batches[kind], ended = arrow.whole_batches(file)
        cut = cut or not ended
    return Session(path, info, cut, batches)


def read_batches(
    session_or_path: Session | str | os.PathLike[str], kind: str, dtype: np.dtype
) -> Iterator[np.ndarray]:
    """Every whole batch of a kind, as it was written; KintroError for what is damaged or does not fit dtype.

    Fields that the stream has and dtype has not are left out.
    """
    session = session_or_path if isinstance(session_or_path, Session) else read_session(session_or_path)
    if kind not in session.batches:
        raise _unreadable(f"{session.path} has no {kind!r}, only: {', '.join(session.batches)}")
    if session.batches[kind] == 0:
        return
    path = session.path / f"{kind}.arrows"
    from kintro.sources import arrow  # as in _encoder

    try:
        with _told(f"read {path}", EX_NOINPUT), _open_regular(path) as file:
            yield from arrow.batches(file, session.batches[kind], dtype)
    except TypeError as error:
        raise _unreadable(f"{path}: {error}") from None
    except (RuntimeError, ValueError, MemoryError) as error:  # nanoarrow's own is a RuntimeError
        raise _unreadable(f"{path} is damaged: {error}") from None


def read_records(
    session: Session, records: Mapping[str, type], dtypes: Mapping[str, np.dtype]
) -> Iterator[Any]:
    """All of a session, by their first field; of one time, in order of `records`: kind → named tuple."""

    def of(kind: str, record: type) -> Iterator[Any]:
        for batch in read_batches(session, kind, dtypes[kind]):
            yield from map(record, *zip(*batch.tolist(), strict=True))

    return heapq.merge(*(of(kind, record) for kind, record in records.items()), key=itemgetter(0))


def _encoder(kind: str, dtype: np.dtype) -> Encoder:
    from kintro.sources import arrow  # 20 ms, only where a session is kept or read

    if not _KIND.fullmatch(kind) or not dtype.names:
        raise _bug(f"{kind!r} is no name for a kind, or its dtype has no fields: {dtype}")
    try:
        return arrow.Encoder(dtype)
    except TypeError as error:
        raise _bug(str(error)) from None


def _make_folder(path: Path) -> int:
    """A descriptor of a new folder; what is done through it nobody can lead elsewhere by renaming."""
    with _told(f"write {path}", EX_IOERR):
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            raise KintroError(f"{path} exists", "a session wants a new folder", EX_IOERR) from None
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        if os.listdir(folder):  # whoever may write beside it put another in its place
            os.close(folder)
            raise KintroError(f"{path} was replaced while it was made", None, EX_IOERR)
        _give_to_caller(folder)
        return folder


def _create(folder: int, name: str) -> int:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    _give_to_caller(fd)
    return fd


def _give_to_caller(fd: int) -> None:
    """Under sudo, to who called it; where a file system knows no owners that cannot be, and need not."""
    uid, gid = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() == 0 and uid.isdecimal() and gid.isdecimal():
        with contextlib.suppress(OSError, OverflowError):
            os.fchown(fd, int(uid), int(gid))


def _open_regular(path: Path) -> io.BufferedReader:
    """Opens a file for reading, but not a fifo or a device that a stranger's folder may have for one."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _unreadable(f"cannot read {path}: not a regular file")
    return open(fd, "rb")


@contextlib.contextmanager
def _told(what: str, exit_code: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise KintroError(f"cannot {what}: {error.strerror}", exit_code=exit_code) from error


def _unreadable(message: str) -> KintroError:
    return KintroError(message, exit_code=EX_NOINPUT)


def _bug(message: str) -> KintroError:
    return KintroError(message, exit_code=EX_SOFTWARE)
