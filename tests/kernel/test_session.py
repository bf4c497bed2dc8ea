"""A saved session shows again what was seen live, byte for byte, to anybody, and also when it was cut off."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import (
    KINTRO,
    NOBODY,
    Seen,
    as_nobody,
    environment,
    kintro,
    program,
    running,
    seen_in,
    strictly,
    wait_for,
)

pytestmark = pytest.mark.kernel

VIEWS = {
    "text": [],
    "json": ["--json"],
    "tree": ["--tree"],
    "tree-json": ["--tree", "--json"],
    "quiet": ["-q"],
    "quiet-json": ["-q", "--json"],
    "quiet-tree": ["-q", "--tree"],
}
STREAMS = {"fork", "exec", "exit", "orphan", "reaper"}


@pytest.fixture
def nobodys() -> Iterator[Path]:
    """A folder of nobody's own."""
    folder = Path(tempfile.mkdtemp(prefix="kintro-test-"))
    os.chown(folder, NOBODY, -1)
    yield folder
    shutil.rmtree(folder)


def replayed_by_nobody(session: Path, folder: Path, *view: str) -> subprocess.CompletedProcess[bytes]:
    copy = folder / "copy"
    shutil.copytree(session, copy)
    for path in (copy, *copy.iterdir()):
        os.chown(path, NOBODY, -1)
    done = kintro("replay", copy, *view, cwd="/", **as_nobody())
    if b"Permission denied" in done.stderr and not done.stdout:
        pytest.skip("this checkout is not for nobody to read")
    return done


@pytest.mark.parametrize("threads", [[], ["--threads"]], ids=["", "threads"])
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_replay_is_the_live_run_again(
    tmp_path: Path, nobodys: Path, view: list[str], threads: list[str]
) -> None:
    session, live = tmp_path / "session", tmp_path / "live"
    command = program("counts", tmp_path / "ledger")
    done = kintro("trace-fork", *view, *threads, "--save", session, "-o", live, "--", *command)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    again = replayed_by_nobody(session, nobodys, *view, *threads)
    assert (again.returncode, again.stderr) == (0, b"")
    assert again.stdout == live.read_bytes() != b""


def test_every_view_of_a_storm(tmp_path: Path, nobodys: Path) -> None:
    """Many batches, many events of the same moment: the order of the replay is that of the live run."""
    session, live = tmp_path / "session", tmp_path / "live"
    command = ["/bin/sh", "-c", '"$@" & wait', "sh", *program("forks", tmp_path / "ledger", "4000")]
    done = kintro("trace-fork", "--json", "--save", session, "-o", live, "--", *command)
    assert (done.returncode, done.stderr) == (0, b"")
    assert replayed_by_nobody(session, nobodys, "--json").stdout == live.read_bytes()


def test_standard_output_is_the_same_as_a_file(tmp_path: Path) -> None:
    session = tmp_path / "session"
    done = kintro("trace-fork", "--save", session, "--", "/bin/sh", "-c", "/bin/true; exit 4")
    assert (done.returncode, done.stderr) == (4, b"")
    assert kintro("replay", session).stdout == done.stdout


def rows(session: Path, kind: str) -> list[dict[str, Any]]:
    """The rows of a stream as pyarrow reads them, up to where it ends or was cut."""
    ipc = pytest.importorskip("pyarrow.ipc", reason="pyarrow is the independent reader")
    found: list[dict[str, Any]] = []
    with ipc.open_stream((session / f"{kind}.arrows").read_bytes()) as stream:
        while True:
            try:
                batch = stream.read_next_batch()
            except (StopIteration, OSError):
                return found
            batch.validate(full=True)
            found += batch.to_pylist()


def assert_same_rows(session: Path, seen: Seen) -> None:
    ids = {"fork": ("ts_ns", "pid", "tid", "ppid", "start_time_ns"), "exec": ("ts_ns", "pid", "uid")}
    ids["exit"] = ("ts_ns", "pid", "ppid", "minor_faults")
    for kind, names in ids.items():
        saved = [tuple(row[name] for name in names) for row in rows(session, kind)]
        assert saved == [tuple(event[name] for name in names) for event in seen.of(kind)]
    argvs = [[a.decode("utf-8", "backslashreplace") for a in row["argv"]] for row in rows(session, "exec")]
    assert argvs == [event["argv"] for event in seen.of("exec")]
    orphans = [(row["pid"], row["parent_pid"]) for row in rows(session, "orphan")]
    told = [(event["pid"], event["old_ppid"]) for event in seen.of("reparent")]
    assert sorted(orphans) == sorted(told)


def test_pyarrow_reads_the_same_rows(tmp_path: Path) -> None:
    """A session keeps threads always, whether they are shown or not."""
    session, live = tmp_path / "session", tmp_path / "live"
    command = program("counts", tmp_path / "ledger")
    done = kintro("trace-fork", "--json", "--threads", "--save", session, "-o", live, "--", *command)
    assert done.returncode == 0
    assert {path.name for path in session.iterdir()} == {f"{s}.arrows" for s in STREAMS} | {"session.json"}
    assert_same_rows(session, seen_in(live))
    info = json.loads((session / "session.json").read_text())
    assert (info["verb"], info["finished"], info["options"]["command"]) == ("trace-fork", True, command)
    assert info["counts"]["forks"] == seen_in(live).summary["forks"]


def test_session_of_a_kintro_that_was_killed(tmp_path: Path, nobodys: Path) -> None:
    session = tmp_path / "session"
    command = [KINTRO, "trace-fork", "-q", "--save", session, "--", *program("until_eof", tmp_path / "pids")]
    with running(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        stream = session / "fork.arrows"
        wait_for(lambda: stream.exists() and stream.stat().st_size > 20_000, "some batches of forks")
        process.kill()
        process.wait()
    shown = replayed_by_nobody(session, nobodys, "--json")
    assert shown.returncode == 0
    assert b"was cut off" in shown.stderr and shown.stderr.count(b"\n") == 1
    *events, summary = [strictly(line) for line in shown.stdout.splitlines()]
    seen = Seen(events, summary)
    assert (summary["lost"], summary["complete"]) == (None, False)
    assert summary["forks"] == len(seen.forks) > 50
    assert_same_rows(session, seen)
    did = [int(line) for line in (tmp_path / "pids").read_text().split()]
    assert [fork["pid"] for fork in seen.forks] == did[: len(seen.forks)]
    text = kintro("replay", session)
    assert (text.returncode, b"lost unknown" in text.stdout, b"INCOMPLETE" in text.stdout) == (0, True, True)


def test_session_belongs_to_the_user_who_called_sudo(tmp_path: Path) -> None:
    sudo = environment(SUDO_UID=str(NOBODY), SUDO_GID=str(NOBODY), SUDO_USER="nobody")
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY, -1)
    done = kintro("trace-fork", "-q", "--save", theirs / "session", "--", "/bin/true", env=sudo)
    assert done.returncode == 0
    made = [theirs / "session", *(theirs / "session").iterdir()]
    assert {path.stat().st_uid for path in made} == {NOBODY}
    assert {oct(path.stat().st_mode & 0o777) for path in made} == {"0o700", "0o600"}
    again = kintro("replay", theirs / "session", "-q", cwd="/", **as_nobody())
    assert (again.returncode, again.stdout) == (0, done.stdout)
