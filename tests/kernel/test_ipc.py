"""`kintro ipc` against workloads that keep a ledger, and against lsfd, ss and lsipc."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .harness import json_lines, kintro, program, running, strictly

pytestmark = pytest.mark.kernel

NEW = {"here": [], "elsewhere": ["unshare", "--net", "--ipc", "--pid", "--fork"]}


class Shared(NamedTuple):
    """What the workload says, and what kintro found meanwhile."""

    ledger: list[dict[str, Any]]
    found: dict[str, Any]
    pid: int

    @property
    def ends(self) -> dict[str, set[tuple[Any, ...]]]:
        """Channel → its ends as (kind, pid in its namespace, fd, role)."""
        ends = defaultdict(set)
        for entry in self.ledger:
            if entry["what"] == "end":
                ends[entry["channel"]].add((entry["kind"], entry["pid"], entry["fd"], entry["role"]))
        return ends

    def channel(self, word: str) -> dict[str, Any]:
        """The one that kintro found to have exactly the ends of this channel of the workload's."""
        [found] = [c for c in self.found["channels"] if ends_of(c) == self.ends[word] and ours(c)]
        return found


def ends_of(channel: dict[str, Any]) -> set[tuple[Any, ...]]:
    return {(channel["kind"], end["ns_pid"], end["fd"], end["role"]) for end in channel["endpoints"]}


def ours(channel: dict[str, Any]) -> bool:
    """Whether the workload's processes have all ends: a pid of a namespace is not one process's alone."""
    return {end["comm"] for end in channel["endpoints"]} <= {
        "anna",
        "bert",
        "carl",
        Path(sys.executable).name,
    }


@contextmanager
def workload(
    folder: Path, before: Sequence[str] = (), **options: Any
) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """The ledger and the pid of a workload that has done all it does, and waits."""
    command = [*before, *program("ipc", folder / "ledger", folder, os.urandom(4).hex())]
    with running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield json_lines(folder / "ledger"), process.pid
        process.stdin.close()
        assert process.wait(20) == 0


def inventory(*arguments: str, **options: Any) -> dict[str, Any]:
    done = kintro("ipc", "--json", *arguments, **options)
    assert (done.returncode, done.stderr) == (0, b"")
    return strictly(done.stdout)


@pytest.fixture(params=NEW, scope="module")
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    with workload(tmp_path_factory.mktemp("ipc"), NEW[request.param]) as (ledger, pid):
        yield Shared(ledger, inventory(), pid)


WORDS = (
    "pipe", "fifo", "peer", "listener", "unix", "dgram", "tcp4", "tcp6", "tcp4-listener", "tcp6-listener",
    "udp",
    "mqueue", "msg", "sem", "shm", "posix-shm", "posix-sem", "memfd", "anon", "file", "eventfd", "signalfd",
    "pidfd", "signal",
)  # fmt: skip


def test_the_workload_has_one_of_each_kind(shared: Shared) -> None:
    from kintro.observers.ipc_records import KINDS

    assert set(shared.ends) == set(WORDS)
    assert {kind for ends in shared.ends.values() for kind, *_ in ends} == set(KINDS)


@pytest.mark.parametrize("word", WORDS)
def test_each_channel_has_its_ends_and_nobody_elses(shared: Shared, word: str) -> None:
    found = shared.channel(word)
    [wanted] = [
        entry["facts"] for entry in shared.ledger if (entry["what"], entry["channel"]) == ("channel", word)
    ]
    target = wanted.pop("target_ns_pid", None)
    assert {name: found[name] for name in wanted} == wanted
    if target is not None:
        [end] = [end for end in found["endpoints"] if end["role"] == "target"]
        assert (end["ns_pid"], end["pid"]) == (target, found["target"])


def test_nothing_else_joins_these_processes(shared: Shared) -> None:
    """But the pipes by which they wait for one another, standard streams and the ledger's kinds."""
    known = [shared.channel(word)["id"] for word in WORDS]
    by_comm = [
        c for c in shared.found["channels"]
        if {"anna", "bert", "carl"} & {end["comm"] for end in c["endpoints"]} and c["id"] not in known
    ]  # fmt: skip
    steps = [c for c in by_comm if c["kind"] == "pipe" and not c["ends_not_seen"]]
    others = [c for c in by_comm if c not in steps]
    pids = {end["pid"] for c in steps for end in c["endpoints"]}
    assert len(steps) <= 4 + 3 and len(pids) >= 4
    assert [c for c in others if c["kind"] not in ("pipe", "file")] == []
    assert [c for c in others if c["kind"] == "file" and c["between_processes"]] == []


def test_pids_are_those_of_the_reader(shared: Shared) -> None:
    for channel in map(shared.channel, WORDS):
        for end in channel["endpoints"]:
            assert Path(f"/proc/{end['pid']}/comm").read_text().rstrip("\n") == end["comm"]
            status = Path(f"/proc/{end['pid']}/status").read_text()
            assert int(re.search(r"NSpid:.*?(\d+)$", status, re.MULTILINE)[1]) == end["ns_pid"]


def test_a_process_has_its_own_channels_with_all_ends(shared: Shared) -> None:
    [bert] = {end["pid"] for end in shared.channel("pipe")["endpoints"] if end["role"] == "read"}
    found = inventory(str(bert))
    wanted = [c for c in shared.found["channels"] if any(end["pid"] == bert for end in c["endpoints"])]
    assert [(c["kind"], c["id"]) for c in found["channels"]] == [(c["kind"], c["id"]) for c in wanted]
    assert all(any(end["pid"] == bert for end in c["endpoints"]) for c in found["channels"])
    only = inventory(str(bert), "--kind", "tcp", "--kind", "fifo")
    assert {c["kind"] for c in only["channels"]} == {"tcp", "fifo"}


# Witnesses


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Shared]:
    with workload(tmp_path) as (ledger, pid):
        yield Shared(ledger, inventory(), pid)


def said(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_lsfd_has_the_same_pipes(here: Shared) -> None:
    rows = json.loads(said("lsfd", "-J", "-o", "PID,ASSOC,TYPE,INODE,MODE"))["lsfd"]
    holders = defaultdict(set)
    for row in rows:
        if row["type"] == "FIFO" and str(row["assoc"]).isdigit():
            holders[row["inode"]].add((row["pid"], int(row["assoc"]), row["mode"][:2]))
    modes = {"read": "r-", "write": "-w", "read-write": "rw"}
    for word in ("pipe", "fifo"):
        found = here.channel(word)
        ends = {(end["pid"], end["fd"], modes[end["role"]]) for end in found["endpoints"]}
        assert ends == holders[int(found["id"].rpartition(":")[2])]


def test_ss_has_the_same_sockets(here: Shared) -> None:
    """Each end: its own inode, its peer's, and who holds it."""
    rows = {}
    for line in said("ss", "-xpanH").splitlines():
        words = line.split()
        users = {(int(pid), int(fd)) for pid, fd in re.findall(r"pid=(\d+),fd=(\d+)", line)}
        numbers = [int(word) for word in words[2:8] if word.isdigit()]
        rows[numbers[2]] = (numbers[3], users)
    for word in ("peer", "unix"):
        found = here.channel(word)
        a, b = map(int, found["id"].split("-"))
        assert rows[a][0] == b and rows[b][0] == a
        assert rows[a][1] | rows[b][1] == {(end["pid"], end["fd"]) for end in found["endpoints"]}
    for word, options in (("tcp4", "-4"), ("tcp6", "-6")):
        found = here.channel(word)
        server, client = found["name"].split(" → ")[::-1]
        users, queued = set(), 0
        for line in said("ss", "-tpanH", options).splitlines():
            words = line.split()
            if {words[3], words[4]} == {server, client}:
                users |= {(int(pid), int(fd)) for pid, fd in re.findall(r"pid=(\d+),fd=(\d+)", line)}
                queued += int(words[1]) + int(words[2])
        assert users == {(end["pid"], end["fd"]) for end in found["endpoints"]}
        assert queued == found["bytes"] == 11


def test_lsipc_has_the_same_objects(here: Shared) -> None:
    found = {(c["kind"], c["id"]): c for c in here.found["channels"]}
    for option, kind, fields in (
        ("-q", "sysv-msg", {"usedbytes": "bytes", "msgs": "messages"}),
        ("-s", "sysv-sem", {"nsems": "semaphores"}),
        ("-m", "sysv-shm", {"size": "bytes", "nattch": "attached"}),
    ):
        columns = ",".join(["ID", *(name.upper() for name in fields)])
        rows = json.loads(said("lsipc", option, "-J", "-b", "-o", columns))
        for row in next(iter(rows.values())):
            channel = found.get((kind, str(row["id"])))
            if channel is None:  # made meanwhile, by others
                continue
            if row["id"] in {int(here.channel(word)["id"]) for word in ("msg", "sem", "shm")}:
                assert {ours: int(row[name]) for name, ours in fields.items()} == {
                    ours: channel[ours] for ours in fields.values()
                }
        ids = {int(row["id"]) for row in next(iter(rows.values()))}
        assert {int(here.channel({"-q": "msg", "-s": "sem", "-m": "shm"}[option])["id"])} <= ids


def test_looking_takes_nothing_out_of_a_channel(here: Shared) -> None:
    again = Shared(here.ledger, inventory(), here.pid)
    for word in ("pipe", "fifo", "peer", "tcp4", "mqueue", "msg"):
        assert again.channel(word)["bytes"] == here.channel(word)["bytes"] > 0
