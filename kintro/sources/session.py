"""Sessions: what was seen, kept in a folder that is read again with no kernel and no root.

A session is `session.json` (what was recorded, how, how much was lost) and one Arrow IPC stream per kind
of record, `<kind>.arrows`, that pyarrow and Polars, and through them pandas and DuckDB, open as it is.

How: a batch is a structured numpy array as it came from the ring. Its columns become Arrow columns of the
same name: integers of 8 to 64 bits and bool as they are; `S<n>`, a C char array, as binary up to its first
NUL; objects as binary (bytes or None), or as list<binary> (a list of bytes, or None) if the field's dtype
is LIST. Text is binary because names and arguments need not be UTF-8. A batch goes to the kernel whole,
before write() returns, so kill -9 or a full disk loses at most the batch in flight.

Cost: a few copies in memory and one write(2) per batch; nothing per row in Python, except for objects.

Safety: root may be asked to write where others can. The folder is always new (0700), every file in it is
created (0600), never reopened, and no symlink is followed. Under sudo all of it belongs to the caller.

What it cannot do: outlive a power failure (only session.json is fsynced), take batches from two threads,
keep what follows the first NUL of an `S<n>`, hold 2 GiB of binary data of one column in one batch, notice
changed values (there is no checksum), vouch for nanoarrow on a stream that a stranger has forged.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import re
import stat
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nanoarrow as na
import numpy as np
from nanoarrow.c_array_stream import CArrayStream
from nanoarrow.ipc import InputStream, StreamWriter

from kintro.errors import EX_IOERR, EX_NOINPUT, EX_SOFTWARE, KintroError

FORMAT = 1  # of session.json, and of what the columns of a dtype become
INFO = "session.json"
BINARY = np.dtype("O", metadata={"arrow": "binary"})  # bytes or None; a plain "O" means the same
LIST = np.dtype("O", metadata={"arrow": "list"})  # list of bytes, or None

_KIND = re.compile(r"[a-z][a-z0-9_]{0,63}")  # a kind is part of a file's name
_SCHEMA, _RECORD_BATCH = 1, 3  # MessageHeader in Arrow's format/Message.fbs


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
        schemas = {kind: _schema(kind, dtype) for kind, dtype in kinds.items()}
        self._folder = _make_folder(self.path)
        try:
            for kind, schema in schemas.items():
                with _told(f"write {self.path / kind}.arrows", EX_IOERR):
                    self._streams[kind] = _Stream(
                        _create(self._folder, f"{kind}.arrows"), kinds[kind], schema
                    )
                self._append(kind, CArrayStream.from_c_arrays([], schema))
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
            self._append(kind, _encode(stream.schema, batch, kind))

    def close(self, footer: dict | None = None) -> None:
        """Ends the streams; with a footer, adds it to session.json and marks the session as finished."""
        if self._folder < 0:
            return
        try:
            for kind in self._streams:
                if not self._failed:
                    self._append(kind, None)
            if footer is not None and not self._failed:
                self._replace_info(footer | {"finished": True})
        finally:
            self._release()

    def _append(self, kind: str, message: Any) -> None:
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

    def __init__(self, fd: int, dtype: np.dtype, schema: Any) -> None:
        self.fd, self.dtype, self.schema, self.size = fd, dtype, schema, 0
        # nanoarrow writes to memory only: what is raised in its callback (Ctrl-C, errno) would be lost.
        self.buffer = io.BytesIO()
        self.writer = StreamWriter.from_writable(self.buffer)

    def append(self, message: Any) -> None:
        """Appends a schema or a batch, or the end-of-stream marker for None: whole or not at all."""
        self.buffer.seek(0)
        self.buffer.truncate()
        if message is None:
            self.writer.close()
        else:
            self.writer.write_stream(message)
        left, end = memoryview(self.buffer.getvalue()), self.size
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
        batches[kind], ended = _scan(path / f"{kind}.arrows")
        cut = cut or not ended
    return Session(path, info, cut, batches)


def read_batches(
    session_or_path: Session | str | os.PathLike[str], kind: str, dtype: np.dtype
) -> Iterator[np.ndarray]:
    """Every whole batch of a kind, as it was written; KintroError for what is damaged or does not fit dtype.

    Fields that the stream has and dtype has not are left out.
    """
    session = session_or_path if isinstance(session_or_path, Session) else read_session(session_or_path)
    wanted = _schema(kind, dtype)
    if kind not in session.batches:
        raise _unreadable(f"{session.path} has no {kind!r}, only: {', '.join(session.batches)}")
    if session.batches[kind] == 0:
        return
    path = session.path / f"{kind}.arrows"
    try:
        with (
            _told(f"read {path}", EX_NOINPUT),
            _open_regular(path) as file,
            InputStream.from_readable(file) as source,
            na.c_array_stream(source) as stream,
        ):
            columns = {
                field.name: (i, _formats(field)) for i, field in enumerate(stream.get_schema().children)
            }
            for field in wanted.children:
                if columns.get(field.name, (0, None))[1] != _formats(field):
                    raise _unreadable(f"{path}: {field.name!r} is missing or of another type")
            indices = [columns[field.name][0] for field in wanted.children]
            for array in itertools.islice(stream, session.batches[kind]):
                yield _decode(array, indices, dtype)
    except (RuntimeError, ValueError, MemoryError) as error:  # nanoarrow's own is a RuntimeError
        raise _unreadable(f"{path} is damaged: {error}") from None


def _scan(path: Path) -> tuple[int, bool]:
    """How many whole batches a stream has, and whether it has its end; reads the framing only.

    A message is 0xFFFFFFFF, the i32 length of its metadata, the metadata, and a body whose length these
    tell; length 0 ends the stream (arrow.apache.org/docs/format/Columnar.html). It is also what keeps
    nanoarrow 0.9 from crashing on a negative length of a body.
    """
    with _told(f"read {path}", EX_NOINPUT), _open_regular(path) as file:
        size, position, messages = os.fstat(file.fileno()).st_size, 0, 0
        while len(prefix := file.read(8)) == 8:
            marker, length = struct.unpack("<Ii", prefix)
            if marker != 0xFFFFFFFF or not 0 <= length <= size - position - 8:
                break
            if length == 0:
                return max(messages - 1, 0), messages > 0
            header_type, body_length = _parse_message(file.read(length))
            position += 8 + length + body_length
            if header_type != (_RECORD_BATCH if messages else _SCHEMA) or body_length < 0 or position > size:
                break
            messages += 1
            file.seek(position)
    return max(messages - 1, 0), False


def _parse_message(metadata: bytes) -> tuple[int, int]:
    """(header type, body length) of a message; (0, 0) if the bytes are none.

    The flatbuffer table Message starts with its distance from its vtable, which is u16s: its size, that of
    the table, and where in the table the fields are. Field 1 is header_type (u8), field 3 bodyLength (i64);
    a field that is 0 may be absent.
    """
    try:
        (table,) = struct.unpack_from("<I", metadata)
        vtable = table - struct.unpack_from("<i", metadata, table)[0]
        end = vtable + struct.unpack_from("<H", metadata, vtable)[0]
        fields = [offset for (offset,) in struct.iter_unpack("<H", metadata[vtable + 4 : end])] + [0] * 4
        body_length = struct.unpack_from("<q", metadata, table + fields[3])[0] if fields[3] else 0
        return metadata[table + fields[1]], body_length
    except (struct.error, IndexError):
        return 0, 0


def _schema(kind: str, dtype: np.dtype) -> Any:
    if not _KIND.fullmatch(kind) or not dtype.names:
        raise _bug(f"{kind!r} is no name for a kind, or its dtype has no fields: {dtype}")
    return na.c_schema(na.struct({name: _arrow_type(dtype[name]) for name in dtype.names}, nullable=False))


def _arrow_type(dtype: np.dtype) -> Any:
    if dtype.kind == "O" and dtype.metadata == LIST.metadata:
        return na.list_(na.binary())
    if dtype.kind == "O" and dtype.metadata in (None, BINARY.metadata):
        return na.binary()
    if dtype.kind == "S" and dtype.itemsize:
        return na.binary(nullable=False)
    if dtype.kind in "iub" and dtype.isnative:
        return getattr(na, "bool_" if dtype.kind == "b" else dtype.name)(nullable=False)  # na.uint32 for u4
    raise _bug(f"a session cannot hold {dtype!r}")


def _formats(schema: Any) -> tuple:
    return (schema.format, *(_formats(child) for child in schema.children))


def _encode(schema: Any, batch: np.ndarray, kind: str) -> Any:
    try:
        columns = [_encode_column(field, batch[field.name]) for field in schema.children]
        return na.c_array_from_buffers(schema, len(batch), [None], children=columns)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _bug(f"a batch of {kind!r} does not fit into a session: {error}") from error


def _encode_column(schema: Any, column: np.ndarray) -> Any:
    """The Arrow array of a column; its buffers are a bitmap of what is not null, offsets if any, values."""
    buffers: list[Any]
    if schema.format == "+l":
        values = [() if value is None else value for value in column]
        items = na.c_array(list(itertools.chain.from_iterable(values)), schema.child(0))
        valid = np.packbits([value is not None for value in column], bitorder="little")
        buffers = [valid, _offsets([len(value) for value in values])]
        return na.c_array_from_buffers(schema, len(column), buffers, children=[items])
    if column.dtype.kind == "O":
        return na.c_array(column.tolist(), schema)
    if column.dtype.kind == "S":
        # One pass per byte of the width, in place: for S16 half the time of np.minimum.accumulate.
        chars = np.ascontiguousarray(column).view(np.uint8).reshape(len(column), -1)
        keep = chars != 0
        for i in range(1, chars.shape[1]):
            keep[:, i] &= keep[:, i - 1]
        buffers = [None, _offsets(np.count_nonzero(keep, axis=1)), chars[keep]]
    elif column.dtype.kind == "b":
        buffers = [None, np.packbits(column, bitorder="little")]
    else:
        buffers = [None, np.ascontiguousarray(column)]
    return na.c_array_from_buffers(schema, len(column), buffers)


def _offsets(lengths: Any) -> np.ndarray:
    ends = np.cumsum(lengths, dtype=np.int64)
    if ends[-1] > np.iinfo(np.int32).max:
        raise ValueError("a column of 2 GiB or more")
    return np.concatenate([[0], ends]).astype(np.int32)


def _decode(array: Any, indices: list[int], dtype: np.dtype) -> np.ndarray:
    rows = np.empty(array.length, dtype)
    for name, i in zip(dtype.names or (), indices):
        rows[name] = _decode_column(array.child(i), dtype[name])
    return rows


def _decode_column(array: Any, dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "O":
        return np.fromiter(na.Array(array).to_pylist(), object, array.length)
    view, rows = array.view(), array.length
    if dtype.kind == "b":
        return np.unpackbits(np.frombuffer(view.buffer(1), np.uint8), count=rows, bitorder="little")
    if dtype.kind in "iu":
        return np.frombuffer(view.buffer(1), dtype, rows)
    offsets, data = np.frombuffer(view.buffer(1), np.int32, rows + 1), np.frombuffer(view.buffer(2), np.uint8)
    lengths = np.diff(offsets)
    if lengths.max() > dtype.itemsize:
        raise ValueError(f"{lengths.max()} bytes for a field of {dtype.itemsize}")
    chars = np.zeros((rows, dtype.itemsize), np.uint8)
    chars[np.arange(dtype.itemsize) < lengths[:, None]] = data[offsets[0] : offsets[-1]]
    return chars.reshape(-1).view(dtype)


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
