"""The processes of one moment: equal to what psutil and ps say, whole while processes come and go."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from children import as_nobody, child, wait_for, zombie

from kintro.errors import EX_NOINPUT, EX_NOPERM, KintroError
from kintro.sources import ancestors, processes
from kintro.sources.processes import TICK_NS, Process, Snapshot, read_process, read_snapshot

STORM = """
import ctypes, os, sys, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans come here
end, first = time.monotonic() + float(sys.argv[1]), os.getpid()
for _ in range(4):
    if os.fork() == 0:
        while time.monotonic() < end and os.getppid() == first:
            pid = os.fork()
            if pid == 0:
                os.fork() or os.fork()
                os._exit(0)  # before its children, as the case may be
            os.waitpid(pid, 0)
        os._exit(0)
try:
    while True:
        os.waitpid(-1, 0)
except ChildProcessError:
    pass
"""


@contextmanager
def storm(seconds: float) -> Iterator[subprocess.Popen]:
    """Processes that fork, end before their children, and are waited for or not."""
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", STORM, str(seconds)])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def stable(say: Callable[[int], object], snapshot: Snapshot) -> Iterator[tuple[Process, object]]:
    """What a witness says of each process of which kintro says the same before and after."""
    for process in snapshot.processes.values():
        try:
            said = say(process.pid)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        after = read_process(process.pid)
        if after is not None and after._replace(state="") == process._replace(state=""):
            yield process, said


def test_every_process_is_as_psutil_has_it() -> None:
    boot_s = psutil.boot_time()

    def say(pid: int) -> object:
        one = psutil.Process(pid)
        with one.oneshot():
            uids = one.uids()
            return (
                one.ppid(), one.num_threads(), uids.real, uids.effective,
                round((one.create_time() - boot_s) * 1e9 / TICK_NS),
            )  # fmt: skip

    compared = 0
    for process, said in stable(say, read_snapshot()):
        ours = process.ppid, process.threads, process.uid, process.euid, process.start_time_ns // TICK_NS
        assert ours == said
        compared += 1
    assert compared > 20


def test_every_process_is_as_ps_has_it() -> None:
    fields = "pid,ppid,pgid,sid,nlwp,ruid,euid,comm:64"
    snapshot = read_snapshot()
    lines = subprocess.run(["ps", "-e", "-o", fields], capture_output=True, text=True, check=True).stdout
    said = {int(line.split(None, 1)[0]): line.split(None, 7) for line in lines.splitlines()[1:]}
    compared = 0
    for process, words in stable(lambda pid: said.get(pid), snapshot):
        if not isinstance(words, list) or " <defunct>" in words[7]:
            continue
        ours = (
            process.pid, process.ppid, process.pgid, process.sid, process.threads, process.uid, process.euid,
        )  # fmt: skip
        assert ours == tuple(map(int, words[:7]))
        if not process.is_kernel_thread:  # a worker's name tells what it does
            assert process.comm.decode(errors="replace").strip() == words[7].strip()
        compared += 1
    assert compared > 20


def test_every_process_is_listed_once_and_below_one_that_is_listed() -> None:
    snapshot = read_snapshot()
    pids = {pid for pid in psutil.pids() if psutil.pid_exists(pid)}
    again = {process.pid for process in snapshot.processes.values() if read_process(process.pid) == process}
    assert again <= pids and os.getpid() in snapshot.processes
    assert_a_tree(snapshot)


def assert_a_tree(snapshot: Snapshot) -> None:
    found = snapshot.processes
    assert list(found) == sorted(found) and all(pid == process.pid for pid, process in found.items())
    for process in found.values():
        assert process.ppid in found or process.ppid == 0 or process.pid in snapshot.hidden_parents
        if process.ppid in found:
            assert found[process.ppid].start_time_ns <= process.start_time_ns
        chain = {process.pid}
        while process.ppid in found:
            process = found[process.ppid]
            assert process.pid not in chain
            chain.add(process.pid)


def test_a_snapshot_in_a_storm_of_forks_is_a_tree() -> None:
    with storm(60):
        vanished = below = rounds = 0
        while rounds < 5 or not (vanished and below):
            assert rounds < 500, "a storm in which nothing ended while it was read"
            snapshot = read_snapshot(threads=bool(rounds % 2))
            assert_a_tree(snapshot)
            assert snapshot.hidden_parents == frozenset() or os.geteuid() != 0
            vanished += snapshot.vanished
            below += sum(STORM.encode() in process.argv for process in snapshot.processes.values()) - 1
            rounds += 1


def test_threads_are_those_of_the_process() -> None:
    leave = threading.Event()
    workers = [threading.Thread(target=leave.wait) for _ in range(5)]
    for worker in workers:
        worker.start()
    try:
        process = read_snapshot(threads=True).processes[os.getpid()]
    finally:
        leave.set()
        for worker in workers:
            worker.join()
    tids = {thread.tid for thread in process.thread_list}
    assert {worker.native_id for worker in workers} <= tids and os.getpid() not in tids
    assert process.threads == len(tids) + 1


def test_a_thread_is_no_process() -> None:
    leave = threading.Event()
    worker = threading.Thread(target=leave.wait)
    worker.start()
    try:
        tid = worker.native_id or 0
        assert read_process(tid) is None and ancestors.read_chain(tid) == []
        assert ancestors.missing(tid).message == f"{tid} is a thread of process {os.getpid()}"
    finally:
        leave.set()
        worker.join()


def test_a_zombie_and_a_command_line() -> None:
    with zombie() as pid:
        found = read_process(pid)
        assert found is not None and (found.state, found.argv, found.is_zombie) == ("Z", (), True)
    words = [b"a b", b"", b"\xff\n", b"x" * 40_000]
    with child("say(1)", *words) as (running, _):
        found = read_process(running.pid)
        assert found is not None and found.argv_truncated
        assert found.argv[-4:-1] == tuple(words[:3]) and len(b"\0".join(found.argv)) == processes.ARGV_MAX
    assert read_process(running.pid) is None


def test_pids_in_each_namespace() -> None:
    if os.geteuid() != 0:
        pytest.skip("unshare(2) of a pid namespace needs root")
    argv = ["unshare", "-pf", "--mount-proc", "sh", "-c", "echo; sleep 100 & read line"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as outer:
        assert outer.stdout is not None and outer.stdin is not None
        outer.stdout.readline()
        found = read_snapshot().processes
        inside = [process for process in found.values() if process.ppid == outer.pid]
        [init] = inside
        wait_for(lambda: any(p.ppid == init.pid for p in read_snapshot().processes.values()))
        [sleep] = [p for p in read_snapshot().processes.values() if p.ppid == init.pid]
        outer.stdin.close()
    assert init.ns_pids == (init.pid, 1) and sleep.ns_pids == (sleep.pid, 2)
    assert found[outer.pid].ns_pids == (outer.pid,)


def stat(pid: int, ppid: int, start: int = 5) -> bytes:
    return b"%d (x) S %d 0 0 0 -1 0%s %d%s\n" % (pid, ppid, b" 0" * 12, start, b" 0" * 30)


def lay(root: Path, pid: int, ppid: int) -> None:
    folder = root / f"proc/{pid}"
    folder.mkdir(parents=True)
    (folder / "stat").write_bytes(stat(pid, ppid))
    (folder / "status").write_bytes(b"Name:\tx\nTgid:\t%d\nUid:\t7\t8\t7\t7\n" % pid)
    (folder / "cmdline").write_bytes(b"x\0")


def test_a_parent_that_is_not_to_be_seen(tmp_path: Path) -> None:
    """As hidepid=2 has it: no such folder, but children that name it."""
    lay(tmp_path, 10, 3)
    lay(tmp_path, 11, 10)
    snapshot = read_snapshot(tmp_path)
    assert (set(snapshot.processes), snapshot.hidden_parents) == ({10, 11}, {10})
    assert snapshot.processes[11].euid == 8 and snapshot.processes[11].ns_pids == (11,)
    assert [process.pid for process in ancestors.read_chain(11, tmp_path)] == [11, 10]


def test_what_is_not_listed_but_there_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parent that began, with a low pid, after the listing had passed it; its child has a high one."""
    lay(tmp_path, 10, 3)
    lay(tmp_path, 3, 0)
    late = [entry for entry in processes._listed(tmp_path) if entry[0] != 3]
    monkeypatch.setattr(processes, "_listed", lambda root: iter(late))
    snapshot = read_snapshot(tmp_path)
    assert (list(snapshot.processes), snapshot.hidden_parents) == ([3, 10], frozenset())


def test_who_ends_between_the_two_passes_is_dropped_and_its_child_goes_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pid, ppid in ((1, 0), (10, 1), (11, 10), (12, 11)):
        lay(tmp_path, pid, ppid)
    read = processes.read_process

    def ends(pid: int, root: Path, threads: bool = False) -> Process | None:
        found = read(pid, root, threads)
        if pid == 12 and (root / "proc/11").exists():  # the last of the first pass
            for name in ("stat", "status", "cmdline"):
                (root / "proc/11" / name).unlink()
            (root / "proc/11").rmdir()
            (root / "proc/12/stat").write_bytes(stat(12, 1))
        return found

    monkeypatch.setattr(processes, "read_process", ends)
    snapshot = read_snapshot(tmp_path)
    assert {pid: process.ppid for pid, process in snapshot.processes.items()} == {1: 0, 10: 1, 12: 1}
    assert snapshot.vanished == 1


def test_a_chain_is_that_of_psutil() -> None:
    chain = ancestors.read_chain(os.getpid())
    assert [process.pid for process in chain] == [os.getpid(), *(p.pid for p in psutil.Process().parents())]
    assert ancestors.read_chain(1 << 30) == []
    assert ancestors.missing(1 << 30).exit_code == EX_NOINPUT


def test_what_nobody_may_see() -> None:
    """Without privileges every process is seen; the namespaces of others are not."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    seen = as_nobody(lambda: [sorted(read_snapshot().processes), ancestors.read_namespaces(1)["pid"]])
    assert {1, os.getpid(), os.getppid()} <= set(seen[0]) and seen[1] is None


def test_hidepid() -> None:
    """In a mount namespace of its own, as a user without privileges."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    code = """
import json, os
from kintro.sources.processes import read_snapshot
from kintro.sources.ancestors import read_chain
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
s = read_snapshot()
try:
    chain = len(read_chain(os.getppid()))
except Exception as error:
    chain = error.exit_code
mine = os.getpid() in s.processes
print(json.dumps([mine, len(s.processes), s.unreadable > 0, list(s.hidden_parents) == [os.getpid()], chain]))
"""
    for option, wanted in (("2", [True, 1, False, True, 0]), ("1", [True, 1, True, True, EX_NOPERM])):
        script = f'mount -t proc -o hidepid={option} proc /proc && exec "$@"'
        run = ["unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-c", code]
        done = subprocess.run(run, capture_output=True, text=True, check=False)
        assert done.stdout.strip() == str(wanted).replace("True", "true").replace("False", "false"), done


def test_an_unreadable_process_is_an_error(tmp_path: Path) -> None:
    lay(tmp_path, 10, 0)
    (tmp_path / "proc/10/status").unlink()
    (tmp_path / "proc/10/status").mkdir()
    with pytest.raises(KintroError, match="cannot read"):
        read_process(10, tmp_path)
