"""Names made by strangers, processes that vanish, readers that leave, disks that are full: one clear line."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import (
    KINTRO,
    as_nobody,
    environment,
    json_lines,
    kintro,
    program,
    running,
    seen_in,
    strictly,
    trace,
    wait_for,
)

pytestmark = pytest.mark.kernel

# What a stranger may call a process: escapes, newlines, bytes that are no UTF-8, a reversal of direction.
NAMES = [
    b"\x1b[2J\x1b]0;x\x07",
    b"two\nlines\r\t",
    b"\xff\xfe\x80\xc3",
    "a\u202eb\u2028".encode(),
    b"\x9b31m",
    b" ",
]
RENAMED = """
import os, sys
for name in map(bytes.fromhex, sys.argv[1:]):
    if (pid := os.fork()) == 0:
        with open("/proc/self/comm", "wb", buffering=0) as comm:
            comm.write(name)
        os.waitpid(os.posix_spawn("/bin/true", [b"true", name, name + b"\\n"], {}), 0)
        os._exit(0)
    os.waitpid(pid, 0)
"""


def strange_command() -> list[str]:
    return ["/usr/bin/python3", "-S", "-E", "-c", RENAMED, *(name.hex() for name in NAMES)]


@pytest.mark.parametrize("view", [[], ["--tree"]])
def test_strange_names_as_text(view: list[str], tmp_path: Path) -> None:
    done = kintro("trace-fork", *view, "-o", tmp_path / "out", "--", *strange_command())
    text = (tmp_path / "out").read_bytes()
    assert (done.returncode, done.stderr) == (0, b"")
    assert not [byte for byte in text if byte < 0x20 and byte != 0x0A]
    lines = text.decode("utf-8").splitlines()  # strict; splits at U+2028 too
    assert all(character.isprintable() for line in lines for character in line)
    assert len(lines) == text.count(b"\n")
    if not view:  # a heading, an event a line, a summary
        assert len(lines) == 2 + len(NAMES) * 5 + 2
    assert any("\\x1b[2J" in line for line in lines)


@pytest.mark.parametrize("view", [[], ["--tree"]])
def test_strange_names_as_json(view: list[str], tmp_path: Path) -> None:
    done = kintro("trace-fork", *view, "--json", "-o", tmp_path / "out", "--", *strange_command())
    assert (done.returncode, done.stderr) == (0, b"")
    objects = json_lines(tmp_path / "out")
    if view:
        return
    expected = [name.decode("utf-8", "backslashreplace") for name in NAMES]
    told = [event for event in objects if event.get("filename") == "/bin/true"]
    assert [event["argv"] for event in told] == [["true", name, name + "\n"] for name in expected]
    comms = [event["comm"] for event in objects if event["type"] == "exit" and event["comm"] != "true"]
    assert comms[:-1] == [name[:15].decode("utf-8", "backslashreplace") for name in NAMES]


def test_strange_command_that_cannot_be_run() -> None:
    done = kintro("trace-fork", "--", b"\x1b[2Jno\nsuch\xff".decode("utf-8", "surrogateescape"))
    assert (done.returncode, done.stdout) == (127, b"")
    assert b"\x1b" not in done.stderr and done.stderr.count(b"\n") == 1


def test_output_that_knows_no_unicode(tmp_path: Path) -> None:
    """A terminal or file in an older encoding: what it does not have is written as an escape."""
    command = ["/bin/true", "grün ✓"]
    done = kintro("trace-fork", "--", *command, env=environment(PYTHONIOENCODING="ascii"))
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"1 exec" in done.stdout


@pytest.mark.parametrize("pid", ["4194304", "2147483647"])
def test_no_such_process(pid: str) -> None:
    done = kintro("trace-fork", "-p", pid)
    assert (done.returncode, done.stdout) == (66, b"")
    assert done.stderr.startswith(b"kintro: cannot trace process")
    done = kintro("trace-fork", "--pid-namespace", pid, "-d", "1")
    assert (done.returncode, done.stdout) == (66, b"")


@pytest.mark.parametrize(
    "arguments", [["-p", "0"], ["-p", "x"], ["-d", "0"], ["-d", "nan"], ["-p", "1", "--", "true"]]
)
def test_wrong_usage(arguments: list[str]) -> None:
    done = kintro("trace-fork", *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Traceback" not in done.stderr


@pytest.fixture
def short_lived() -> Iterator[list[int]]:
    """The pid of a process that lives some milliseconds, always a new one; half of them are reaped late."""
    pids, over = [0], threading.Event()

    def go_on() -> None:
        zombie: subprocess.Popen[bytes] | None = None
        number = 0
        while not over.is_set():
            process = subprocess.Popen(["/bin/sleep", f"0.{number % 50:02}"])
            pids[0] = process.pid
            number += 1
            if zombie is not None:
                zombie.wait()
                zombie = None
            if number % 2:
                zombie = process
            else:
                process.wait()
        if zombie is not None:
            zombie.wait()

    thread = threading.Thread(target=go_on)
    thread.start()
    wait_for(lambda: pids[0], "the first process")
    yield pids
    over.set()
    thread.join()


@pytest.mark.parametrize("attempt", range(10))
def test_process_that_ends_while_kintro_attaches(short_lived: list[int], attempt: int) -> None:
    done = kintro("trace-fork", "-p", str(short_lived[0]), timeout=20)
    assert done.returncode in (0, 66)
    assert done.stderr.startswith(b"kintro: ") if done.returncode else not done.stderr
    assert done.stderr.count(b"Traceback") == 0


def test_process_that_has_ended() -> None:
    """A zombie: there is nothing to wait for."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    try:
        wait_for(lambda: ") Z " in Path(f"/proc/{pid}/stat").read_text(), "the child to be a zombie")
        done = kintro("trace-fork", "-p", str(pid), timeout=10)
    finally:
        os.waitpid(pid, 0)
    assert done.returncode in (0, 66)


def test_without_root() -> None:
    done = kintro("trace-fork", "--", "/bin/true", **as_nobody())
    if done.returncode == 126 or b"Permission denied" in done.stderr:
        pytest.skip("this checkout is not for nobody to read")
    assert (done.returncode, done.stdout) == (77, b"")
    assert b"needs root" in done.stderr and b"sudo kintro trace-fork" in done.stderr


@pytest.mark.parametrize("view", [[], ["--json"], ["--tree"]])
def test_reader_that_leaves(view: list[str], tmp_path: Path) -> None:
    """`kintro … | head -1`: the command goes on to its end, and its status is kintro's."""
    command = program("forks", tmp_path / "ledger", "2000")
    script = f'"$@" >"{tmp_path}/stdout" 2>&1; exit 3'
    arguments = [KINTRO, "trace-fork", *view, "--", "/bin/sh", "-c", script, "sh", *command]
    with running(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(20) == 3
    assert (tmp_path / "ledger").exists()


def test_reader_of_the_whole_system_that_leaves() -> None:
    script = '"$@" | head -1'
    arguments = ["/bin/sh", "-c", script, "sh", KINTRO, "trace-fork", "--json"]
    with running(program("storm", "/dev/null", "noise", "loop"), stdin=subprocess.PIPE):
        done = subprocess.run(arguments, capture_output=True, env=environment(), timeout=20)
    assert (done.returncode, done.stderr) == (0, b"")
    strictly(done.stdout)


def test_full_output() -> None:
    with open("/dev/full", "wb") as full:
        done = kintro(
            "trace-fork", "--json", "--", "/bin/sh", "-c", "exit 5", stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == 74
    assert done.stderr == b"kintro: cannot write standard output: No space left on device\n"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with place for 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "nodev", folder]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_full_disk(tmp_path: Path, small_disk: Path) -> None:
    """Recording ends with one line; the trace and the command go on; what was saved can be shown."""
    session, count = small_disk / "session", 8000
    seen = trace(tmp_path, program("forks", tmp_path / "ledger", str(count)), "--save", str(session))
    assert (seen.status, (tmp_path / "ledger").exists()) == (74, True)
    assert seen.summary["forks"] == len(seen.forks) == count
    first, *rest = seen.stderr.splitlines()
    assert first.startswith(f"kintro: cannot write {session}") and "tracing goes on" in first
    assert all(line.startswith(("kintro: ", "    ")) for line in rest)
    again = tmp_path / "again"
    done = kintro("replay", session, "--json", "-o", again)
    assert (done.returncode, b"was cut off" in done.stderr) == (0, True)
    shown = seen_in(again)
    assert 0 < len(shown.events) < len(seen.events)
    assert all(event in seen.events for event in shown.events[:50])
    assert (shown.summary["lost"], shown.summary["complete"]) == (None, False)


@pytest.mark.parametrize("where", ["/no/such/folder/session", "/proc/session"])
def test_session_that_cannot_be_made(where: str) -> None:
    done = kintro("trace-fork", "--save", where, "--", "/bin/true")
    assert (done.returncode, done.stdout) == (74, b"")
    assert done.stderr.startswith(b"kintro: cannot write")


def test_session_that_exists(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    done = kintro("trace-fork", "--save", tmp_path / "old", "--", "/bin/sh", "-c", f": >'{tmp_path}/ran'")
    assert (done.returncode, (tmp_path / "ran").exists()) == (74, False)
    assert b"exists" in done.stderr
