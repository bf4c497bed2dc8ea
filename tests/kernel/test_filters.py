"""What each filter lets through while others fork beside: nothing of theirs, all of what was asked for."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .harness import (
    NOBODY,
    Seen,
    as_nobody,
    end_of,
    first_fork,
    interrupt,
    json_lines,
    kintro,
    program,
    running,
    seen_in,
    tracing,
    wait_for,
    wait_for_attached,
)

pytestmark = pytest.mark.kernel

CGROUP2 = next((p for p in map(Path, ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"))
                if (p / "cgroup.controllers").exists()), None)  # fmt: skip
LEAST_FORKS = 50


class Storm:
    """A process tree that forks all the time, until `end`."""

    def __init__(self, process: subprocess.Popen[bytes], ledger: Path) -> None:
        self.process, self._ledger = process, ledger

    @property
    def pid(self) -> int:
        """Of the process itself, as the host numbers it."""
        return self.process.pid

    def forks(self) -> list[dict[str, Any]]:
        return json_lines(self._ledger)

    def end(self) -> list[dict[str, Any]]:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(20)
        return self.forks()


@contextmanager
def storm(
    folder: Path, comm: str = "wanted", shape: str = "tree", before: tuple[str, ...] = (), **options: Any
) -> Iterator[Storm]:
    """`before`: a program that starts it, and its arguments."""
    ledger = folder / f"{comm}.jsonl"
    ledger.touch()
    ledger.chmod(0o666)
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)  # for nobody
    command = [*before, *program("storm", ledger, comm, shape)]
    with running(command, stdin=subprocess.PIPE, **options) as process:
        wait_for(lambda: len(ledger.read_bytes().splitlines()) > 20, "the storm to begin")
        yield Storm(process, ledger)


@pytest.fixture
def noise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storm]:
    """Another fork loop beside what is traced, of another user, comm, cgroup and namespace."""
    with storm(tmp_path_factory.mktemp("noise"), "noise", "loop") as running_storm:
        yield running_storm


def traced(tmp_path: Path, wanted: Storm, *options: str) -> tuple[Seen, list[dict[str, Any]], int]:
    """Traces the storm from its middle to its end: (what was seen, what was done, time of the first fork)."""
    output = tmp_path / "events.jsonl"
    with tracing(output, *options) as tracer:
        wait_for(first_fork(output), "a first fork event")
        done_before = len(wanted.forks())
        wait_for(lambda: len(wanted.forks()) > done_before + LEAST_FORKS, "more forks")
        did = wanted.end()
        status, stderr = end_of(tracer, 10) if "-p" in options else interrupt(tracer)
    assert status == 0, stderr
    seen = seen_in(output, status, stderr.encode())
    assert seen.summary["lost"] == 0
    return seen, did, seen.of("fork")[0]["ts_ns"]


def assert_none_of(seen: Seen, noise: Storm) -> None:
    """Nothing of the noise, which did go on, nor of anybody else: by the comm, which a fork hands down."""
    assert len(noise.end()) > LEAST_FORKS
    assert [event for event in seen.events if event["comm"] != "wanted"] == []


def assert_all_since(seen: Seen, did: list[dict[str, Any]], first_ns: int) -> None:
    """Every fork that began after the first one seen is there, with its parent."""
    since = {(note["pid"], note["ppid"]) for note in did if note["before_ns"] > first_ns}
    assert len(since) >= LEAST_FORKS
    assert since - {(fork["pid"], fork["ppid"]) for fork in seen.forks} == set()
    assert {fork["pid"] for fork in seen.forks} <= {note["pid"] for note in did}


@pytest.mark.parametrize("attempt", range(5))
def test_pid_with_descendants_that_fork_while_kintro_attaches(
    tmp_path: Path, noise: Storm, attempt: int
) -> None:
    """It also ends by itself when the last of them has ended."""
    with storm(tmp_path) as wanted:
        seen, did, first_ns = traced(tmp_path, wanted, "-p", str(wanted.pid))
    assert_all_since(seen, did, first_ns)
    assert_none_of(seen, noise)
    exits = {event["pid"] for event in seen.of("exit")}
    assert {fork["pid"] for fork in seen.forks} <= exits
    assert wanted.pid in exits
    seen.assert_whole()


def test_pid_without_its_descendants(tmp_path: Path, noise: Storm) -> None:
    with storm(tmp_path, shape="loop") as wanted:
        seen, did, first_ns = traced(tmp_path, wanted, "-p", str(wanted.pid), "--no-follow")
    own = [note for note in did if note["ppid"] == wanted.pid]
    since = {note["pid"] for note in own if note["before_ns"] > first_ns}
    forked = {fork["pid"] for fork in seen.forks}
    assert since <= forked <= {note["pid"] for note in own}
    assert {fork["creator_pid"] for fork in seen.forks} == {wanted.pid}
    assert {event["pid"] for event in seen.events if event["type"] != "fork"} == {wanted.pid}
    assert_none_of(seen, noise)


def test_pid_of_a_process_with_a_zombie_child(tmp_path: Path) -> None:
    """The zombie has ended: nothing is to be waited for but the process."""
    code = (
        "import os, sys\nif os.fork() == 0: os._exit(0)\nprint('x', flush=True)\nsys.stdin.read()\nos.fork()"
    )
    output = tmp_path / "events.jsonl"
    python = ["/usr/bin/python3", "-S", "-E", "-c", code]
    with running(python, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        stat = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        child = int(stat.read_text())
        wait_for(lambda: ") Z " in Path(f"/proc/{child}/stat").read_text(), "the child to be a zombie")
        with tracing(output, "-p", str(process.pid)) as tracer:
            wait_for_attached(tracer)
            process.stdin.close()
            status, stderr = end_of(tracer, 10)
    assert (status, stderr) == (0, "")
    assert seen_in(output).summary["forks"] == 1


def test_user(tmp_path: Path, noise: Storm) -> None:
    with storm(tmp_path, **as_nobody()) as wanted:
        seen, did, first_ns = traced(tmp_path, wanted, "-u", "nobody")
    assert_all_since(seen, did, first_ns)
    assert_none_of(seen, noise)


def test_user_by_number(tmp_path: Path) -> None:
    done = kintro("trace-fork", "--json", "-u", str(NOBODY), "--", "true")
    assert (done.returncode, b'"execs":0' in done.stdout) == (0, True)


def test_unknown_user() -> None:
    done = kintro("trace-fork", "-u", "no such user", "-d", "1")
    assert (done.returncode, b"no user" in done.stderr) == (66, True)


def test_comm(tmp_path: Path, noise: Storm) -> None:
    with storm(tmp_path) as wanted:
        seen, did, first_ns = traced(tmp_path, wanted, "--comm", "wanted")
    assert_all_since(seen, did, first_ns)
    assert {event["comm"] for event in seen.events} == {"wanted"}
    assert_none_of(seen, noise)


@pytest.mark.skipif(CGROUP2 is None, reason="cgroup2 is not mounted")
def test_cgroup(tmp_path: Path, noise: Storm) -> None:
    assert CGROUP2 is not None
    outer = CGROUP2 / f"kintro-test-{os.getpid()}"
    inner = outer / "inner"
    inner.mkdir(parents=True)
    try:
        move = f'echo $$ >"{inner}/cgroup.procs"; exec "$@"'
        with storm(tmp_path, before=("/bin/sh", "-c", move, "sh")) as wanted:
            seen, did, first_ns = traced(tmp_path, wanted, "--cgroup", str(outer))
        assert_all_since(seen, did, first_ns)
        assert_none_of(seen, noise)
    finally:
        wait_for(lambda: not (inner / "cgroup.procs").read_text(), "the cgroup to be empty")
        inner.rmdir()
        outer.rmdir()


def test_unknown_cgroup(tmp_path: Path) -> None:
    done = kintro("trace-fork", "--cgroup", tmp_path, "-d", "1")
    assert (done.returncode, done.stderr.startswith(b"kintro: ")) == (66, True)


def test_pid_namespace(tmp_path: Path, noise: Storm) -> None:
    """The storm's own pids are those of its namespace; kintro's are the host's, and ns_pid is the storm's."""
    with storm(tmp_path, before=("unshare", "--pid", "--fork", "--kill-child")) as wanted:
        children = Path(f"/proc/{wanted.pid}/task/{wanted.pid}/children")
        seen, did, first_ns = traced(tmp_path, wanted, "--pid-namespace", children.read_text().strip())
    since = {note["pid"] for note in did if note["before_ns"] > first_ns}
    assert since <= {fork["ns_pid"] for fork in seen.forks} <= {note["pid"] for note in did}
    assert_none_of(seen, noise)


def test_several_filters_must_all_hold(tmp_path: Path) -> None:
    """A command's descendants are followed, whether those between them pass the other filters or not."""
    output = tmp_path / "events.jsonl"
    shell = "/bin/true; /bin/false; /bin/true; exit 0"
    done = kintro("trace-fork", "--json", "-o", output, "--comm", "true", "--", "/bin/sh", "-c", shell)
    seen = seen_in(output, done.returncode)
    assert [event["type"] for event in seen.events] == ["exec", "exit", "exec", "exit"]
    assert {event["comm"] for event in seen.events} == {"true"}
