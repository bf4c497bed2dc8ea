"""Sessions: what is written is read again, whatever happened to the writer, the disk or the files."""

from __future__ import annotations

import errno
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kintro.errors import EX_IOERR, EX_NOINPUT, EX_SOFTWARE, KintroError
from kintro.sources.arrow import _offsets
from kintro.sources.session import BINARY, LIST, SessionWriter, read_batches, read_session

FORK = np.dtype([("ts_ns", "u8"), ("pid", "u4"), ("comm", "S16")])
EXEC = np.dtype([("pid", "u4"), ("args", LIST), ("file", BINARY)])


def array(dtype: np.dtype, rows: list[tuple]) -> np.ndarray:
    batch = np.zeros(len(rows), dtype)
    for i, name in enumerate(dtype.names or ()):
        column = [row[i] for row in rows]
        batch[name] = np.fromiter(column, object, len(rows)) if dtype[name].kind == "O" else column
    return batch


def forks(first: int, count: int = 3) -> np.ndarray:
    return array(FORK, [(i * 10, i, b"task-%d" % i) for i in range(first, first + count)])


def read_rows(path: Path, kind: str = "fork", dtype: np.dtype = FORK) -> list[list[tuple]]:
    return [batch.tolist() for batch in read_batches(path, kind, dtype)]


def save_forks(path: Path, batches: int) -> list[list[tuple]]:
    """A finished session of so many batches of forks; the rows that it must give."""
    with SessionWriter(path, {"fork": FORK}, {}) as session:
        for i in range(batches):
            session.write("fork", forks(i))
        session.close({})
    return [forks(i).tolist() for i in range(batches)]


# Round trip

FIELDS: dict[Any, st.SearchStrategy] = {
    **{
        np.dtype(f"{sign}{width}"): st.integers(
            int(np.iinfo(f"{sign}{width}").min), int(np.iinfo(f"{sign}{width}").max)
        )
        for sign in "iu"
        for width in (1, 2, 4, 8)
    },
    np.dtype("?"): st.booleans(),
    np.dtype("S1"): st.binary(max_size=1),
    np.dtype("S16"): st.binary(max_size=16),
}
OBJECTS = [
    (BINARY, st.none() | st.binary()),
    (np.dtype("O"), st.none() | st.binary()),
    (LIST, st.none() | st.lists(st.binary(), max_size=4)),
]


@st.composite
def recordings(draw: st.DrawFn) -> tuple[np.dtype, list[np.ndarray]]:
    fields = draw(st.lists(st.sampled_from([*FIELDS.items(), *OBJECTS]), min_size=1, max_size=6))
    aligned = draw(st.booleans())  # as C lays a struct out, with padding
    dtype = np.dtype([(f"f{i}", field) for i, (field, _) in enumerate(fields)], align=aligned)
    row = st.tuples(*(values for _, values in fields))
    batches = draw(st.lists(st.lists(row, max_size=6), max_size=4))
    return dtype, [array(dtype, rows) for rows in batches]


def expected(batch: np.ndarray) -> list[tuple]:
    """The rows of a batch, each C char array up to its first NUL."""
    strings = [batch.dtype[name].kind == "S" for name in batch.dtype.names or ()]
    return [
        tuple(value.split(b"\0")[0] if is_string else value for value, is_string in zip(row, strings))
        for row in batch.tolist()
    ]


@given(recordings())
def test_what_is_written_is_read(recording: tuple[np.dtype, list[np.ndarray]]) -> None:
    dtype, batches = recording
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "session")
        with SessionWriter(path, {"seen": dtype}, {"command": "x"}) as session:
            for batch in batches:
                session.write("seen", batch)
            session.close({"lost": 0})
        saved = read_session(path)
        read = list(read_batches(saved, "seen", dtype))
        assert not saved.cut
        assert [batch.tolist() for batch in read] == [expected(batch) for batch in batches if len(batch)]
        assert all(batch.dtype == dtype for batch in read)


@given(recordings())
def test_pyarrow_reads_the_same(recording: tuple[np.dtype, list[np.ndarray]]) -> None:
    pyarrow_ipc = pytest.importorskip("pyarrow.ipc", reason="pyarrow is the independent reader")
    dtype, batches = recording
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "session")
        with SessionWriter(path, {"seen": dtype}, {}) as session:
            for batch in batches:
                session.write("seen", batch)
        table = pyarrow_ipc.open_stream((path / "seen.arrows").read_bytes()).read_all()
    table.validate(full=True)
    assert table.column_names == list(dtype.names or ())
    assert [tuple(row.values()) for row in table.to_pylist()] == [row for b in batches for row in expected(b)]


def test_arrow_types(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is the independent reader")
    types = {"a": "u1", "b": "i2", "c": "u4", "d": "i8", "e": "?", "f": "S16", "g": BINARY, "h": LIST}
    with SessionWriter(tmp_path / "s", {"seen": np.dtype(list(types.items()))}, {}):
        pass
    schema = pyarrow.ipc.open_stream((tmp_path / "s/seen.arrows").read_bytes()).schema
    assert [(field.name, str(field.type), field.nullable) for field in schema] == [
        ("a", "uint8", False),
        ("b", "int16", False),
        ("c", "uint32", False),
        ("d", "int64", False),
        ("e", "bool", False),
        ("f", "binary", False),
        ("g", "binary", True),
        ("h", "list<item: binary>", True),
    ]


def test_info_is_header_and_footer(tmp_path: Path) -> None:
    with SessionWriter(tmp_path / "s", {"fork": FORK}, {"command": ["ls"], "lost": None}) as session:
        before = read_session(tmp_path / "s")
        session.close({"lost": np.uint64(7)})
        session.close({"lost": 8})  # the first one counts
    after = read_session(tmp_path / "s")
    assert (before.info["lost"], before.info["finished"], before.cut) == (None, False, True)
    assert (after.info["lost"], after.info["finished"], after.cut) == (7, True, False)
    assert after.info["command"] == ["ls"]
    assert sorted(os.listdir(tmp_path / "s")) == ["fork.arrows", "session.json"]


def test_some_fields_are_enough(tmp_path: Path) -> None:
    save_forks(tmp_path / "s", 1)
    (batch,) = read_batches(tmp_path / "s", "fork", np.dtype([("comm", "S16"), ("ts_ns", "u8")]))
    assert batch.tolist() == [(b"task-0", 0), (b"task-1", 10), (b"task-2", 20)]


# Cut short


def test_cut_at_every_byte(tmp_path: Path) -> None:
    """Exactly the batches that are whole are read; where they end, the file's size told while writing."""
    path = tmp_path / "s"
    batches = {
        "fork": [forks(0), forks(3, 1), forks(4, 2)],
        "exec": [
            array(EXEC, [(1, [b"ls", b"\xff\0"], b"/bin/ls"), (2, None, None)]),
            array(EXEC, [(3, [], b"")]),
        ],
    }
    ends: dict[str, list[int]] = {"fork": [], "exec": []}
    with SessionWriter(path, {"fork": FORK, "exec": EXEC}, {}) as session:
        for kind in batches:
            for batch in batches[kind]:
                session.write(kind, batch)
                ends[kind].append((path / f"{kind}.arrows").stat().st_size)
        session.close({})
    for kind, dtype in (("fork", FORK), ("exec", EXEC)):
        file = path / f"{kind}.arrows"
        whole = file.read_bytes()
        for size in range(len(whole)):
            file.write_bytes(whole[:size])
            left = sum(end <= size for end in ends[kind])
            assert read_rows(path, kind, dtype) == [batch.tolist() for batch in batches[kind][:left]], size
            assert read_session(path).cut, size
        file.write_bytes(whole)
        assert not read_session(path).cut


WRITE_FOREVER = """
import itertools, json, os, resource, signal, sys
import numpy as np
from kintro.errors import KintroError
from kintro.sources.session import SessionWriter
path, limit, killed_after = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
dtype = np.dtype([("ts_ns", "u8"), ("pid", "u4"), ("comm", "S16")])
session = SessionWriter(path, {"fork": dtype}, {})
for i in itertools.count():
    if killed_after and i == killed_after:
        os.kill(os.getpid(), signal.SIGKILL)
    size = os.path.getsize(path + "/fork.arrows")
    try:
        session.write("fork", np.array([(j * 10, j, b"task-%d" % j) for j in range(i, i + 3)], dtype))
    except KintroError as error:
        print(json.dumps([i, size, error.message, error.exit_code]))
        break
session.close({})
"""


def write_forever(path: Path, limit: int = 0, killed_after: int = 0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WRITE_FOREVER, str(path), str(limit), str(killed_after)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_kill_9_keeps_what_was_written(tmp_path: Path) -> None:
    assert write_forever(tmp_path / "s", killed_after=23).returncode == -signal.SIGKILL
    assert read_rows(tmp_path / "s") == [forks(i).tolist() for i in range(23)]
    assert read_session(tmp_path / "s").cut


def assert_readable_to(path: Path, written: int, size: int) -> None:
    session = read_session(path)
    assert session.cut and session.info["finished"] is False
    assert written > 10
    assert read_rows(path) == [forks(i).tolist() for i in range(written)]
    assert (path / "fork.arrows").stat().st_size == size  # no half a batch for other readers to stumble over


def test_file_size_limit(tmp_path: Path) -> None:
    path = tmp_path / "s"
    child = write_forever(path, limit=20_000)
    assert child.returncode == 0, child.stderr
    written, size, message, exit_code = json.loads(child.stdout)
    assert message == f"cannot write {path}/fork.arrows: File too large"
    assert exit_code == EX_IOERR
    assert_readable_to(path, written, size)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small tmpfs: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_full_disk(small_disk: Path) -> None:
    path = small_disk / "s"
    written = 0
    with SessionWriter(path, {"fork": FORK}, {}) as session:
        with pytest.raises(KintroError) as failure:
            while written < 10_000:
                size = (path / "fork.arrows").stat().st_size
                session.write("fork", forks(written))
                written += 1
        session.write("fork", forks(0))  # told once, and nothing more is taken
        session.close({})
    assert failure.value.message == f"cannot write {path}/fork.arrows: No space left on device"
    assert failure.value.exit_code == EX_IOERR
    assert_readable_to(path, written, size)


def test_failed_footer_leaves_the_session_unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    session = SessionWriter(tmp_path / "s", {"fork": FORK}, {})
    session.write("fork", forks(0))
    with monkeypatch.context() as patch, pytest.raises(KintroError, match=r"session.json: No space left"):
        patch.setattr(os, "rename", no_space)
        session.close({"lost": 0})
    saved = read_session(tmp_path / "s")
    assert saved.cut and "lost" not in saved.info
    assert read_rows(tmp_path / "s") == [forks(0).tolist()]


def test_interrupted_write_leaves_no_half_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite

    def interrupted(fd: int, data: memoryview, offset: int) -> int:
        pwrite(fd, data[: len(data) // 2], offset)
        raise KeyboardInterrupt

    with SessionWriter(tmp_path / "s", {"fork": FORK}, {}) as session:
        session.write("fork", forks(0))
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(os, "pwrite", interrupted)
            session.write("fork", forks(100))
        session.write("fork", forks(3))
        session.close({})
    assert read_rows(tmp_path / "s") == [forks(0).tolist(), forks(3).tolist()]
    assert not read_session(tmp_path / "s").cut


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:7], offset))
    assert save_forks(tmp_path / "s", 2) == read_rows(tmp_path / "s")
    assert not read_session(tmp_path / "s").cut


def test_error_of_the_observer_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), SessionWriter(tmp_path / "s", {"fork": FORK}, {}) as session:
        session.write("fork", forks(0))
        raise ZeroDivisionError
    assert read_session(tmp_path / "s").cut
    assert read_rows(tmp_path / "s") == [forks(0).tolist()]


def test_full_disk_at_the_end_is_told_unless_it_hides_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name, error in (("s", None), ("t", ZeroDivisionError)):
        with (
            monkeypatch.context() as patch,
            pytest.raises(error or KintroError),
            SessionWriter(tmp_path / name, {"fork": FORK}, {}) as session,
        ):
            session.write("fork", forks(0))
            patch.setattr(os, "pwrite", no_space)
            if error:
                raise error
        assert read_session(tmp_path / name).cut
        assert read_rows(tmp_path / name) == [forks(0).tolist()]


# Who may read it, and what root is not led to overwrite


def modes(path: Path) -> dict[str, str]:
    return {p.name: oct(p.stat().st_mode & 0o777) for p in [path, *path.iterdir()]}


def test_modes(tmp_path: Path) -> None:
    save_forks(tmp_path / "s", 1)
    assert modes(tmp_path / "s") == {"s": "0o700", "session.json": "0o600", "fork.arrows": "0o600"}


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files to another user needs root")
def test_sudo_caller_owns_the_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", "12345")
    monkeypatch.setenv("SUDO_GID", "23456")
    session = SessionWriter(tmp_path / "s", {"fork": FORK}, {})
    unfinished = {p.name: (p.stat().st_uid, p.stat().st_gid) for p in [session.path, *session.path.iterdir()]}
    session.close({})
    finished = {p.name: (p.stat().st_uid, p.stat().st_gid) for p in [session.path, *session.path.iterdir()]}
    assert unfinished == finished == dict.fromkeys(["s", "session.json", "fork.arrows"], (12345, 23456))


def test_existing_folder_is_refused(tmp_path: Path) -> None:
    rows = save_forks(tmp_path / "s", 1)
    with pytest.raises(KintroError, match=r"s exists$"):
        SessionWriter(tmp_path / "s", {"fork": FORK}, {})
    assert read_rows(tmp_path / "s") == rows


def test_missing_parent(tmp_path: Path) -> None:
    with pytest.raises(KintroError, match=r"cannot write .*/no/s: No such file or directory") as failure:
        SessionWriter(tmp_path / "no/s", {"fork": FORK}, {})
    assert failure.value.exit_code == EX_IOERR


@pytest.mark.parametrize("target_exists", [True, False])
def test_symlink_for_the_folder_is_refused(tmp_path: Path, target_exists: bool) -> None:
    if target_exists:
        (tmp_path / "target").mkdir()
    (tmp_path / "s").symlink_to(tmp_path / "target")
    with pytest.raises(KintroError, match=r"s exists$"):
        SessionWriter(tmp_path / "s", {"fork": FORK}, {})
    assert not target_exists or os.listdir(tmp_path / "target") == []
    assert (tmp_path / "target").exists() == target_exists


def test_folder_exchanged_for_a_symlink_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mkdir = os.mkdir
    mkdir(tmp_path / "target")

    def exchanged(path: Path, mode: int) -> None:
        mkdir(path, mode)
        os.rename(path, tmp_path / "away")
        os.symlink(tmp_path / "target", path)

    monkeypatch.setattr(os, "mkdir", exchanged)
    with pytest.raises(KintroError, match="cannot write"):
        SessionWriter(tmp_path / "s", {"fork": FORK}, {})
    assert os.listdir(tmp_path / "target") == []


def test_folder_exchanged_for_another_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its owner would become the caller of sudo."""
    mkdir = os.mkdir
    mkdir(tmp_path / "other")
    (tmp_path / "other/precious").touch()

    def exchanged(path: Path, mode: int) -> None:
        mkdir(path, mode)
        os.rename(path, tmp_path / "away")
        os.rename(tmp_path / "other", path)

    monkeypatch.setattr(os, "mkdir", exchanged)
    with pytest.raises(KintroError, match="was replaced while it was made"):
        SessionWriter(tmp_path / "s", {"fork": FORK}, {})
    assert os.listdir(tmp_path / "s") == ["precious"]


@pytest.mark.parametrize("name", ["fork.arrows", "session.json.tmp"])
@pytest.mark.parametrize("moment", ["mkdir", "listdir"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_link_in_the_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, moment: str, link: Callable
) -> None:
    """Planted before the folder is opened, and in the last moment before the files are made."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    real = getattr(os, moment)

    def planting(*args: Any) -> Any:
        result = real(*args)
        link(victim, tmp_path / "s" / name)
        return result

    monkeypatch.setattr(os, moment, planting)
    with pytest.raises(KintroError) as failure:
        SessionWriter(tmp_path / "s", {"fork": FORK}, {})
    assert failure.value.exit_code == EX_IOERR
    assert victim.read_text() == "precious"


# What is no session, or damaged


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"kintro_session": 1, "finished": true}',
        b'{"kintro_session": 1, "kinds": []}',
        b'{"kintro_session": "1", "kinds": [], "finished": true}',
        b'{"kintro_session": 1, "kinds": "fork", "finished": true}',
        b'{"kintro_session": 1, "kinds": [1], "finished": true}',
        b'{"kintro_session": 1, "kinds": ["../fork"], "finished": true}',
    ],
)
def test_damaged_info(tmp_path: Path, text: bytes) -> None:
    save_forks(tmp_path / "s", 1)
    (tmp_path / "s/session.json").write_bytes(text)
    with pytest.raises(KintroError, match=r"s/session.json is damaged") as failure:
        read_session(tmp_path / "s")
    assert failure.value.exit_code == EX_NOINPUT


def test_newer_format(tmp_path: Path) -> None:
    save_forks(tmp_path / "s", 1)
    info = json.loads((tmp_path / "s/session.json").read_text())
    (tmp_path / "s/session.json").write_text(json.dumps(info | {"kintro_session": 2}))
    with pytest.raises(KintroError, match="session format 2, newer than this kintro") as failure:
        read_session(tmp_path / "s")
    assert failure.value.exit_code == EX_NOINPUT


def test_what_is_no_session(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "fifo").mkdir()
    os.mkfifo(tmp_path / "fifo/session.json")
    said = {}
    for name in ("nothing", "file", "empty", "fifo"):
        with pytest.raises(KintroError) as failure:
            read_session(tmp_path / name)
        assert failure.value.exit_code == EX_NOINPUT
        said[name] = failure.value.message.replace(str(tmp_path), "")
    assert said == {
        "nothing": "no session /nothing",
        "file": "/file is not a session: it is no folder",
        "empty": "/empty is not a session: it has no session.json",
        "fifo": "cannot read /fifo/session.json: not a regular file",
    }


def test_missing_stream(tmp_path: Path) -> None:
    save_forks(tmp_path / "s", 1)
    (tmp_path / "s/fork.arrows").unlink()
    with pytest.raises(KintroError, match=r"cannot read .*/fork.arrows: No such file") as failure:
        read_session(tmp_path / "s")
    assert failure.value.exit_code == EX_NOINPUT


@pytest.mark.parametrize(
    ("kind", "dtype", "message"),
    [
        ("exec", FORK, "has no 'exec', only: fork"),
        ("fork", np.dtype([("ppid", "u4")]), "'ppid' is missing or of another type"),
        ("fork", np.dtype([("pid", "i4")]), "'pid' is missing or of another type"),
        ("fork", np.dtype([("comm", LIST)]), "'comm' is missing or of another type"),
        ("fork", np.dtype([("comm", "S5")]), "6 bytes for a field of 5"),
    ],
)
def test_stream_that_does_not_fit(tmp_path: Path, kind: str, dtype: np.dtype, message: str) -> None:
    save_forks(tmp_path / "s", 1)
    with pytest.raises(KintroError, match=message) as failure:
        list(read_batches(tmp_path / "s", kind, dtype))
    assert failure.value.exit_code == EX_NOINPUT


def test_damage_at_every_byte_is_told_or_harmless(tmp_path: Path) -> None:
    """A changed byte gives other values or a KintroError that names the file: nothing else, and no crash."""
    path = tmp_path / "s"
    with SessionWriter(path, {"exec": EXEC}, {}) as session:
        session.write("exec", array(EXEC, [(1, [b"ls", b"-l"], b"/bin/ls"), (2, None, None)]))
        session.close({})
    whole = (path / "exec.arrows").read_bytes()
    told = 0
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        (path / "exec.arrows").write_bytes(damaged)
        try:
            read_rows(path, "exec", EXEC)
        except KintroError as error:
            assert str(path / "exec.arrows") in error.message
            assert error.exit_code == EX_NOINPUT
            told += 1
    assert 50 < told < len(whole)


def test_negative_body_length(tmp_path: Path) -> None:
    """nanoarrow 0.9 would crash on it, and a scan that follows it would never end."""
    with SessionWriter(tmp_path / "s", {"fork": FORK}, {}) as session:
        file = tmp_path / "s/fork.arrows"
        start = file.stat().st_size
        session.write("fork", forks(0))
        message = file.read_bytes()[start:]
        session.close({})
    metadata = 8 + int.from_bytes(message[4:8], "little")
    body_length = struct.pack("<q", len(message) - metadata)
    assert message[:metadata].count(body_length) == 1
    forged = message[:metadata].replace(body_length, struct.pack("<q", -metadata))
    file.write_bytes(file.read_bytes().replace(message[:metadata], forged))
    assert read_rows(tmp_path / "s") == []
    assert read_session(tmp_path / "s").cut


# What only a bug in kintro does


@pytest.mark.parametrize(
    "dtype",
    [
        np.dtype("u4"),
        np.dtype([("a", "f8")]),
        np.dtype([("a", ">u4")]),
        np.dtype([("a", "u8", (6,))]),
        np.dtype([("a", np.dtype("O", metadata={"arrow": "map"}))]),
    ],
)
def test_dtype_that_no_session_holds(tmp_path: Path, dtype: np.dtype) -> None:
    with pytest.raises(KintroError) as failure:
        SessionWriter(tmp_path / "s", {"seen": dtype}, {})
    assert failure.value.exit_code == EX_SOFTWARE
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("value", ["text", 1, [b"list"], {}])
def test_object_that_no_session_holds(tmp_path: Path, value: object) -> None:
    with SessionWriter(tmp_path / "s", {"exec": EXEC}, {}) as session:
        good = array(EXEC, [(1, [b"ls"], b"/bin/ls")])
        session.write("exec", good)
        for bad in (array(EXEC, [(1, None, value)]), array(EXEC, [(1, [value], None)])):
            with pytest.raises(KintroError, match="'exec' does not fit") as failure:
                session.write("exec", bad)
            assert failure.value.exit_code == EX_SOFTWARE
        session.write("exec", good)
        session.close({})
    assert read_rows(tmp_path / "s", "exec", EXEC) == [good.tolist(), good.tolist()]


def test_offsets_are_32_bits_wide() -> None:
    assert _offsets([2**31 - 2, 1]).tolist() == [0, 2**31 - 2, 2**31 - 1]
    with pytest.raises(ValueError, match="2 GiB"):
        _offsets([2**31 - 2, 2])


def test_wrong_calls(tmp_path: Path) -> None:
    session = SessionWriter(tmp_path / "s", {"fork": FORK}, {})
    for kind, batch in (("exec", forks(0)), ("fork", array(EXEC, [])), ("fork", forks(0).reshape(1, 3))):
        with pytest.raises(KintroError) as failure:
            session.write(kind, batch)
        assert failure.value.exit_code == EX_SOFTWARE
    with pytest.raises(KintroError, match=r"session.json cannot hold this"):
        session.close({"lost": object()})
    with pytest.raises(KintroError, match="no open stream of 'fork'"):
        session.write("fork", forks(0))
    with pytest.raises(KintroError, match=r"'\.\./x' is no name"):
        SessionWriter(tmp_path / "t", {"../x": FORK}, {})
