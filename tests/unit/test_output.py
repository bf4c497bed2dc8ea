"""Where results go: a terminal, a pipe, a file; and what can go wrong there."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import pwd
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lifecycle_events import exit_, fork
from saved_session import save_lifecycle

from kintro.cli import main
from kintro.cli.output import Output, as_calling_user
from kintro.errors import EX_IOERR, KintroError
from kintro.renderers.text import cells

KINTRO = [sys.executable, "-m", "kintro"]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be called by sudo")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A session of a process with 99 children, whose tree has letters that are not in ASCII."""
    path = tmp_path_factory.mktemp("sessions") / "s"
    records = [fork(11, 10), *(fork(pid, 11) for pid in range(12, 111)), exit_(11, ts_ns=10**9)]
    return str(save_lifecycle(path, records))


def kintro(*arguments: str, **other: Any) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONUNBUFFERED": ""} | other.pop("env", {})
    streams = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) | other
    return subprocess.run([*KINTRO, *arguments], env=environment, **streams)


# As a whole

SHOWN = [
    ["--help"],
    ["--version"],
    ["replay", "--help"],
    ["completion", "bash"],
    ["replay", "SESSION"],
    ["replay", "SESSION", "--json"],
    ["replay", "SESSION", "--tree"],
    ["doctor", "--json"],
]


@pytest.mark.parametrize("arguments", SHOWN, ids=" ".join)
@pytest.mark.parametrize("buffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_reader_who_has_left(arguments: list[str], buffered: str, session: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = [session if word == "SESSION" else word for word in arguments]
    done = kintro(*words, stdout=writer, env={"PYTHONUNBUFFERED": buffered})
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 0 or arguments[0] == "doctor"  # that one says what works by its code


@pytest.mark.parametrize("arguments", SHOWN, ids=" ".join)
@pytest.mark.parametrize("buffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_full_disk(arguments: list[str], buffered: str, session: str) -> None:
    words = [session if word == "SESSION" else word for word in arguments]
    with open("/dev/full", "w") as full:
        done = kintro(*words, stdout=full, env={"PYTHONUNBUFFERED": buffered})
    assert done.stderr == "kintro: cannot write standard output: No space left on device\n"
    assert done.returncode == EX_IOERR


@pytest.mark.parametrize("arguments", SHOWN, ids=" ".join)
def test_no_standard_output_at_all(arguments: list[str], session: str) -> None:
    words = [session if word == "SESSION" else word for word in arguments]
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *KINTRO, *words], stderr=subprocess.PIPE, text=True)
    assert "bug in kintro" not in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_of_another_encoding(encoding: str, session: str) -> None:
    done = kintro("replay", session, "--tree", env={"PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1 + 101 + 1  # a heading, the processes, the summary


def test_to_a_file(session: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", session, "--json"]) == 0
    shown = capsys.readouterr().out
    assert main(["replay", session, "--json", "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr() == ("", "")
    assert (tmp_path / "out").read_text() == shown
    assert [json.loads(line)["type"] for line in shown.splitlines()] == ["fork"] * 100 + ["exit", "summary"]


@pytest.mark.parametrize(
    ("path", "why"),
    [("", "Is a directory"), ("no/such", "No such file or directory"), ("file/x", "Not a directory")],
)
def test_to_a_file_that_cannot_be(
    path: str, why: str, session: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["replay", session, "-o", str(tmp_path / path)]) == EX_IOERR
    assert capsys.readouterr() == ("", f"kintro: cannot write {tmp_path / path}: {why}\n")


def test_to_a_full_file(session: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", session, "-o", "/dev/full"]) == EX_IOERR
    assert capsys.readouterr().err == "kintro: cannot write /dev/full: No space left on device\n"


def on_a_terminal(*arguments: str, columns: int = 60, **environment: str) -> str:
    """What kintro writes to a terminal of that width."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
    known = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [*KINTRO, *arguments], stdin=slave, stdout=slave, env=known | {"TERM": "xterm"} | environment
    )
    os.close(slave)
    parts = []
    while True:
        try:
            parts.append(os.read(master, 1 << 16))
        except OSError:  # EIO: no one has the other end open
            break
    os.close(master)
    assert process.wait() == 0
    return b"".join(parts).decode().replace("\r\n", "\n")


def test_colours_and_width_of_a_terminal(session: str) -> None:
    text = on_a_terminal("replay", session, columns=60)
    assert "\x1b[36mfork" in text
    lines = re.sub(r"\x1b\[\d*m", "", text).splitlines()
    assert max(cells(line) for line in lines[:-1]) <= 60  # the last one, the summary, may be wrapped


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_when_there_are_colours(environment: dict[str, str], coloured: bool, session: str) -> None:
    assert ("\x1b" in on_a_terminal("replay", session, "-q", **environment)) == coloured


def test_no_colours_in_a_pipe(session: str) -> None:
    assert "\x1b" not in kintro("replay", session, "--tree").stdout


# The class


@contextmanager
def stdout_to(descriptor: int) -> Iterator[None]:
    before = sys.stdout
    with open(descriptor, "w", encoding="utf-8") as sys.stdout:
        try:
            yield
        finally:
            sys.stdout = before


def test_lines_arrive() -> None:
    reader, writer = os.pipe()
    with stdout_to(writer):
        output = Output()
        assert (output.width, output.colour, output.closed, output.error) == (None, False, False, None)
        output.line("one")
        output.line("zwei ä")
        output.flush()
        del output
    with open(reader, encoding="utf-8") as file:
        assert file.read() == "one\nzwei ä\n"


def test_a_reader_who_leaves_closes_it_silently() -> None:
    reader, writer = os.pipe()
    with stdout_to(writer):
        output = Output()
        output.line("one")
        output.flush()
        os.close(reader)
        output.line("two")
        output.flush()
        assert (output.closed, output.error) == (True, None)
        for _ in range(2):
            output.line("x" * 100_000)
            output.flush()
        assert output.error is None


LINES = [f"line {number} " + "x" * 90 for number in range(5000)]  # more than a pipe holds


def test_a_slow_reader_is_not_waited_for_and_gets_all_in_order() -> None:
    reader, writer = os.pipe()
    with stdout_to(writer):
        output = Output(waiting_max=1 << 20)
        for line in LINES:
            output.line(line)
            output.offer()
        assert output.waiting_fd
        read = os.read(reader, 8192)
        output.offer()  # as much as there is room for now
        thread = threading.Thread(target=output.flush)
        thread.start()
        while not read.endswith(f"{LINES[-1]}\n".encode()):
            read += os.read(reader, 8192)
        thread.join()
        assert output.waiting_fd is None
    os.close(reader)
    assert read.decode().splitlines() == LINES


def test_the_wait_for_a_slow_reader_can_be_ended() -> None:
    reader, writer = os.pipe()
    with stdout_to(writer):
        output = Output(waiting_max=1 << 20)
        output.interrupt_fd = os.eventfd(1)
        for line in LINES:
            output.line(line)
        output.flush()
        assert (output.closed, output.waiting_fd) == (True, None)
        os.close(output.interrupt_fd)
        del output._reader
    with open(reader) as file:
        read = file.read()
    assert read
    assert "\n".join(LINES).startswith(read)
    left = len("\n".join(LINES)) + 1 - len(read)
    assert output.error is not None
    assert output.error.message == f"{left} bytes were not taken by whoever reads standard output"


def test_no_more_waits_for_a_slow_reader_than_memory_should_hold() -> None:
    reader, writer = os.pipe()
    read: list[bytes] = []

    def drain() -> None:
        while piece := os.read(reader, 65536):
            read.append(piece)

    thread = threading.Thread(target=drain)
    with stdout_to(writer):
        output = Output(waiting_max=10_000)
        thread.start()
        for line in LINES:
            output.line(line)
            assert len(output._waiting) <= 10_000
        output.flush()
        del output
    thread.join()
    os.close(reader)
    assert b"".join(read).decode().splitlines() == LINES


def test_a_full_disk_is_kept_as_an_error() -> None:
    output = Output("/dev/full")
    output.line("one")
    assert not output.closed
    output.flush()
    assert output.closed
    assert output.error is not None
    assert (output.error.message, output.error.exit_code) == (
        "cannot write /dev/full: No space left on device", EX_IOERR,
    )  # fmt: skip
    output.line("x" * 100_000)
    output.flush()


@pytest.fixture
def caller(monkeypatch: pytest.MonkeyPatch) -> pwd.struct_passwd:
    """An ordinary user, as if calling sudo."""
    user = pwd.getpwnam("nobody")
    monkeypatch.setenv("SUDO_UID", str(user.pw_uid))
    return user


@needs_root
def test_a_file_belongs_to_who_called_sudo(caller: pwd.struct_passwd, tmp_path: Path) -> None:
    before = os.geteuid(), os.getegid(), os.getgroups()
    with as_calling_user():
        mine = os.geteuid(), os.getegid(), sorted(os.getgroups())
    groups = sorted(os.getgrouplist(caller.pw_name, caller.pw_gid))
    assert mine == (caller.pw_uid, caller.pw_gid, groups)
    assert (os.geteuid(), os.getegid(), os.getgroups()) == before
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    tmp_path.chmod(0o777)
    Output(str(tmp_path / "out")).flush()
    found = (tmp_path / "out").stat()
    assert (found.st_uid, found.st_gid) == (caller.pw_uid, caller.pw_gid)


@needs_root
@pytest.mark.usefixtures("caller")
def test_no_file_is_written_where_the_caller_could_not(tmp_path: Path) -> None:
    groups = os.getgroups()
    target = tmp_path / "root's"
    target.write_text("precious")
    target.chmod(0o600)
    with pytest.raises(KintroError, match="Permission denied") as raised:
        Output(str(target))
    assert raised.value.exit_code == EX_IOERR
    assert target.read_text() == "precious"
    assert (os.geteuid(), os.getegid(), os.getgroups()) == (0, 0, groups)
