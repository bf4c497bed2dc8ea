"""kintro tree, ancestry and pids beside a trace of every fork, exit and change of parent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kintro.sources.processes import Snapshot, read_snapshot

from .harness import (
    KINTRO,
    environment,
    interrupt,
    json_lines,
    kintro,
    program,
    running,
    seen_in,
    tracing,
    wait_for,
)

pytestmark = pytest.mark.kernel


LASTING = 4  # processes of workloads/storm.py that are there from its beginning to its end


def test_each_process_of_a_snapshot_lived_at_its_moment_below_that_parent(tmp_path: Path) -> None:
    """In a storm of forks, by what a trace of the whole system saw of the same time."""
    output, ledger = tmp_path / "events", tmp_path / "ledger"
    snapshots: list[tuple[int, Snapshot]] = []
    with tracing(output, "-o", output) as tracer:
        with running(program("storm", ledger, "storming", "tree"), stdin=subprocess.PIPE) as storm:
            wait_for(
                lambda: output.exists() and b'"storming"' in output.read_bytes(), "the first traced fork"
            )
            caught = 0  # short-lived ones; and some have to end while they are read
            while caught < 60 or not any(snapshot.vanished for _, snapshot in snapshots):
                assert len(snapshots) < 500
                begun_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
                snapshots.append((begun_ns, read_snapshot()))
                found = snapshots[-1][1].processes.values()
                caught += sum(p.comm == b"storming" for p in found) - LASTING
            assert storm.stdin is not None
            storm.stdin.close()
            storm.wait(30)
        interrupt(tracer)
    seen = seen_in(output)
    assert seen.summary["lost"] == 0
    compared = 0
    for begun_ns, snapshot in snapshots:
        compared += as_traced(begun_ns, snapshot, seen.events)
    assert compared > 20


def as_traced(begun_ns: int, snapshot: Snapshot, events: list[dict[str, Any]]) -> int:
    """Compares the processes whose fork was seen; returns how many there were."""
    moment = snapshot.taken_ns
    parents: dict[int, list[tuple[int, int]]] = {}  # pid → (since, parent), of its last life until then
    ended: set[int] = set()  # before reading began
    for event in events:
        pid, ts_ns = event["pid"], event["ts_ns"]
        if event["type"] == "fork" and event["kind"] != "thread" and event["start_time_ns"] <= moment:
            parents[pid] = [(ts_ns, event["ppid"])]
            ended.discard(pid)
        elif event["type"] == "reparent" and pid in parents:
            parents[pid].append((ts_ns, event["new_ppid"]))
        elif event["type"] == "exit" and event["process"] and ts_ns < begun_ns:
            ended.add(pid)
    compared = 0
    for process in snapshot.processes.values():
        if process.pid not in parents:
            continue
        compared += 1
        then = [ppid for since, ppid in parents[process.pid] if since <= moment][-1:]
        later = [ppid for since, ppid in parents[process.pid] if since > moment]
        assert process.ppid in then + later, (process, parents[process.pid], moment)
        assert process.pid not in ended or process.is_zombie  # until it is waited for
    return compared


SCRIPT = """
import os, sys, time
def middle():
    pid = os.fork()
    if pid == 0:
        os.setsid()
        time.sleep(60)
    print(pid, os.getpid(), flush=True)
    os._exit(7)
pid = os.fork()
if pid == 0:
    middle()
os.waitpid(pid, 0)
print(os.getpid(), flush=True)
sys.stdin.readline()
"""


def test_a_chain_through_one_that_has_ended(tmp_path: Path) -> None:
    """A process starts another, which starts a third and ends: /proc has lost who started that."""
    command = [sys.executable, "-I", "-S", "-c", SCRIPT]
    session = tmp_path / "session"
    trace = [KINTRO, "trace-fork", "-q", "--save", session, "--as-root", "--", *command]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with running(trace, **pipes) as tracer:
        assert tracer.stdout is not None and tracer.stdin is not None
        daemon, middle, first = map(
            int, b" ".join([tracer.stdout.readline(), tracer.stdout.readline()]).split()
        )
        try:
            tracer.stdin.close()
            tracer.stdin = None
            tracer.wait(30)
            now = json.loads(kintro("ancestry", "--json", str(daemon)).stdout)
            traced = json.loads(kintro("ancestry", "--json", "--traced", session, str(daemon)).stdout)
            text = kintro("ancestry", "--traced", session, str(daemon)).stdout.decode()
        finally:
            os.kill(daemon, 9)
    assert middle not in [one["pid"] for one in now["ancestors"]]
    chain = traced["ancestors"]
    assert [one["pid"] for one in chain[:3]] == [daemon, middle, first]
    assert [one["alive"] for one in chain[:3]] == [True, False, False]
    assert (chain[0]["sid"], chain[0]["fork_ppid"], chain[1]["exit_code"]) == (daemon, middle, 7)
    [change] = chain[0]["reparents"]
    assert (change["old_ppid"], change["new_ppid"]) == (middle, now["ancestors"][0]["ppid"])
    assert chain[0]["start_time_ns"] // 10**7 - now["ancestors"][0]["start_time_ns"] // 10**7 in (-1, 0, 1)
    assert f"handed on from {middle} to" in text and "exit 7 after" in text


INSIDE = """
import os, sys
print(flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[1])):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    print(pid)
    os.waitpid(pid, 0)
sys.stdout.flush()
sys.stdin.readline()
"""


def test_ids_are_told_as_they_are_given_out_and_where_they_start_over(tmp_path: Path) -> None:
    """In a pid namespace with ids up to 399: from there to 300, as the program itself sees it."""
    if tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) < (6, 14):
        pytest.skip("pid_max is one for all namespaces on this kernel")
    shell = 'echo 400 > /proc/sys/kernel/pid_max && exec "$@"'
    inside = ["sh", "-c", shell, "sh", sys.executable, "-I", "-S", "-c", INSIDE, "1000"]
    output = tmp_path / "ids"
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with running(["unshare", "-pf", "--mount-proc", *inside], **pipes) as outer:
        assert outer.stdin is not None and outer.stdout is not None
        outer.stdout.readline()
        [init] = map(int, Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split())
        words = ["pids", "--watch", "--json", "--pid-namespace", str(init), "-o", output]
        with running([KINTRO, *words], stderr=subprocess.PIPE, env=environment()) as watch:
            wait_for(lambda: attached(watch.pid), "the trace")
            outer.stdin.write(b"\n")
            outer.stdin.flush()
            told = [int(outer.stdout.readline()) for _ in range(1000)]
            wait_for(lambda: f'"id":{told[-1]},' in output.read_text().splitlines()[-1], "the last id")
            status, stderr = interrupt(watch)
        outer.stdin.write(b"\n")
    assert status == 0, stderr
    *events, summary = json_lines(output)
    assert [event["id"] for event in events if event["type"] == "id"] == told
    wraps = [(event["after"], event["id"]) for event in events if event["type"] == "wrap"]
    assert wraps == [(a, b) for a, b in pairwise(told) if b < a]
    assert wraps and set(wraps) == {(399, 300)}
    assert (summary["ids"], summary["wraps"], summary["skipped"], summary["lost"]) == (1000, len(wraps), 0, 0)


def attached(pid: int) -> bool:
    """Whether a kintro has its programs in the kernel: descriptors of raw tracepoints (bpf(2))."""
    links = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(os.readlink(fd))
        except OSError:
            continue
    return sum("raw_tracepoint" in link or "bpf_link" in link for link in links) >= 4


def test_every_id_of_the_system_is_told(tmp_path: Path) -> None:
    output = tmp_path / "ids"
    done = kintro("pids", "--watch", "--json", "-d", "1", "-o", output)
    assert done.returncode == 0, done.stderr
    *events, summary = json_lines(output)
    told = [event for event in events if event["type"] == "id"]
    assert (summary["ids"], summary["lost"], summary["kernel_forks"]) == (len(told), 0, len(told))
    assert len({event["id"] for event in told}) == len(told) or summary["wraps"]
    text = kintro("pids", "--watch", "-q", "-d", "0.2").stdout.decode().splitlines()
    assert " ids in 20" in text[-1] and text[0].split()[:3] == ["TIME(s)", "EVENT", "ID"]
