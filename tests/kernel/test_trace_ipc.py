"""Inter-process communication against a workload's own ledger: each channel, each message, each byte."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from .harness import (
    KINTRO,
    changed,
    environment,
    interrupt,
    json_lines,
    kintro,
    program,
    running,
    strictly,
    wait_for,
)
from .test_trace_syscalls import links_of

pytestmark = pytest.mark.kernel

TRACEPOINTS = 13  # that probes/traffic.c is attached to
SENT = ("sent_messages", "sent_bytes")
RECEIVED = ("received_messages", "received_bytes")
ROLES = ("anna", "bert")


class Told:
    """What `--json` told: operations, signals, and the summary, which must agree with one another."""

    def __init__(self, path: Path) -> None:
        *events, self.summary = json_lines(path)
        assert self.summary["type"] == "summary"
        self.operations = [event for event in events if event["type"] == "ipc"]
        self.signals = [event for event in events if event["type"] == "signal"]
        assert len(self.operations) + len(self.signals) == len(events)
        self.channels = self.summary["channels"]

    def assert_whole(self) -> Told:
        summary, operations = self.summary, self.operations
        assert (summary["lost"], summary["complete"]) == (0, True), summary
        assert summary["operations"] == len(operations)
        assert summary["signals"] == len(self.signals)
        assert summary["unfinished"] == sum(one["ret"] is None for one in operations)
        assert summary["early"] == sum(one["ts_ns"] is None for one in operations)
        assert sum(one["calls"] for one in self.channels) == len(operations)
        for way, names in (("send", SENT), ("receive", RECEIVED)):
            for name, what in zip(names, ("messages", "bytes"), strict=True):
                told = sum(one[what] for one in operations if one["direction"] == way)
                assert told == sum(one[name] for one in self.channels)
        for one in self.channels:
            for name in (*SENT, *RECEIVED, "calls", "wakes", "blocked_ns", "errors"):
                assert one[name] == sum(end[name] for end in one["endpoints"])
        for one in operations:
            assert one["duration_ns"] is None or 0 <= one["blocked_ns"] <= one["duration_ns"]
        for one in self.signals:
            assert one["latency_ns"] is None or one["latency_ns"] > 0
        return self

    def of(self, entry: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The channel of an entry of the ledger, and its end there."""
        [found] = [
            (channel, end)
            for channel in self.channels
            for end in channel["endpoints"]
            if (channel["kind"], end["pid"], end["fd"]) == (entry["kind"], entry["pid"], entry["fd"])
        ]
        return found


def workload(
    folder: Path, *options: str | Path, called: Sequence[str] = (KINTRO,)
) -> tuple[Told, list[dict[str, Any]], dict[str, Any]]:
    """What kintro told, what the workload did, and what `kintro ipc` finds while it waits at its end."""
    folder.mkdir()
    output, ledger = folder / "out.jsonl", folder / "ledger"
    command = program("traffic", ledger, folder)
    words = [*called, "trace-ipc", "--json", "-o", output, "--as-root", *options, "--", *command]
    with running(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        inventory = strictly(kintro("ipc", "--json").stdout)
        process.stdin.close()
        assert process.wait(60) == 0
    return Told(output).assert_whole(), json_lines(ledger), inventory


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return workload(tmp_path_factory.mktemp("traffic") / "w")


def assert_as_in_the_ledger(told: Told, ledger: list[dict[str, Any]]) -> None:
    kinds = set()
    for entry in ledger:
        if entry["kind"] in ("signal", "futex"):
            continue
        channel, end = told.of(entry)
        kinds.add(entry["kind"])
        assert channel["id"] == (entry["id"] or channel["id"]) and channel["id"]
        assert channel["name"] == entry.get("name", "")
        if "calls" in entry:
            assert (end["calls"], end["sent_messages"], end["received_messages"]) == (entry["calls"], 0, 0)
        else:
            assert [end[name] for name in SENT] == entry["sent"], entry
            assert [end[name] for name in RECEIVED] == entry["received"], entry
        assert end["comm"] in ROLES and end["errors"] == end["unfinished"] == 0
    assert kinds == {
        "pipe", "fifo", "unix", "tcp", "udp", "mqueue", "sysv-msg", "sysv-sem", "sysv-shm", "eventfd",
    }  # fmt: skip


def test_each_message_and_each_byte(traffic: Any) -> None:
    told, ledger, _ = traffic
    assert_as_in_the_ledger(told, ledger)


def test_both_ends_have_part_in_one_channel(traffic: Any) -> None:
    """But for the pipe that anna moves pages through, and what is only accepted at."""
    told, ledger, _ = traffic
    anna, bert = {entry["pid"] for entry in ledger}
    between = [one for one in told.channels if one["between_processes"]]
    assert all({end["pid"] for end in one["endpoints"]} == {anna, bert} for one in between)
    kinds = sorted(one["kind"] for one in between)
    assert kinds == sorted(
        [*("pipe", "pipe", "fifo", "unix", "unix", "unix", "tcp", "tcp", "udp", "mqueue"),
         *("sysv-msg", "sysv-sem", "sysv-shm", "eventfd", "futex")]
    )  # fmt: skip
    for one in between:
        assert one["sent_bytes"] == one["received_bytes"]


def test_the_same_channels_as_kintro_ipc(traffic: Any) -> None:
    """Kind, id and name; of those that are still open."""
    told, ledger, inventory = traffic
    listed = {(one["kind"], one["id"]): one["name"] for one in inventory["channels"]}
    looked_at = 0
    for entry in ledger:
        if entry["kind"] not in ("signal", "futex"):
            channel, _ = told.of(entry)
            assert listed[channel["kind"], channel["id"]] == channel["name"]
            looked_at += 1
    assert looked_at == 30


def test_who_sleeps_and_who_wakes(traffic: Any) -> None:
    """Bert was seen to sleep before anna wrote; each sleep on the futex ended by one call of his."""
    told, ledger, _ = traffic
    [write] = [one for one in ledger if (one["kind"], one.get("sent")) == ("pipe", [8, 800])]
    channel, _ = told.of(write)
    reads = [one for one in told.operations if one["channel"] == channel["id"] and one["op"] == "read"]
    assert 0 < reads[0]["blocked_ns"] <= reads[0]["duration_ns"]
    first = next(one for one in told.operations if one["channel"] == channel["id"] and one["op"] == "write")
    assert first["wakes"] >= 1
    [futex] = [one for one in told.channels if one["kind"] == "futex"]
    waits = [one for one in told.operations if one["kind"] == "futex" and one["direction"] == "wait"]
    wakes = [one for one in told.operations if one["kind"] == "futex" and one["direction"] == "wake"]
    assert len(waits) == len(wakes) == 3 and futex["calls"] == 6
    assert all(one["blocked_ns"] > 0 and one["ret"] == 0 for one in waits)
    assert all(one["wakes"] >= 1 and one["ret"] == 1 for one in wakes)
    assert told.summary["passed_over"] >= 3  # two that found another value, one that woke nobody


def test_a_message_that_is_only_looked_at_stays(traffic: Any) -> None:
    told, _, _ = traffic
    [peeked] = [one for one in told.operations if one["peeked"]]
    assert (peeked["op"], peeked["ret"], peeked["messages"], peeked["bytes"]) == ("recvfrom", 10, 0, 0)


def test_several_messages_of_one_call(traffic: Any) -> None:
    told, _, _ = traffic
    several = [(one["op"], one["messages"], one["bytes"]) for one in told.operations if one["messages"] > 1]
    assert sorted(several) == [("recvmmsg", 5, 200), ("sendmmsg", 5, 200)]


def assert_signals(told: Told, ledger: list[dict[str, Any]]) -> None:
    for entry in (one for one in ledger if one["kind"] == "signal"):
        [sums] = [
            one for one in told.summary["signal_sums"]
            if (one["number"], one["receiver"]["pid"]) == (entry["number"], entry["receiver"])
        ]  # fmt: skip
        assert sums["sender"] == {"pid": entry["pid"], "comm": "anna"}
        assert sums["actions"] == entry["actions"]
        single = [
            one for one in told.signals
            if (one["number"], one["receiver"]["pid"]) == (entry["number"], entry["receiver"])
        ]  # fmt: skip
        assert len(single) == sums["count"] == sum(entry["actions"].values())
        for one in single:
            arrives = one["action"] not in ("ignored", "merged")
            assert (one["delivered_ns"] is not None) == arrives == (one["latency_ns"] is not None)
            assert one["generated_ns"] is not None and one["code"] == "SI_USER" and one["to_process"]
        latencies = [one["latency_ns"] for one in single if one["latency_ns"] is not None]
        if latencies:
            assert sums["latency_max_ns"] == max(latencies)
            assert sums["latency_mean_ns"] == sum(latencies) // len(latencies)


def test_signals_from_sender_to_receiver(traffic: Any) -> None:
    told, ledger, _ = traffic
    assert_signals(told, ledger)


def test_the_same_again_and_again(tmp_path: Path) -> None:
    for number in range(5):
        told, ledger, _ = workload(tmp_path / str(number))
        assert_as_in_the_ledger(told, ledger)
        assert_signals(told, ledger)


def test_where_threads_have_no_place_by_their_tid(tmp_path: Path) -> None:
    """As where pid_max is above 65 536, or in a container."""
    called = changed("kintro.observers.thread_records", "module.TID_INDEX_MAX = 0")
    told, ledger, _ = workload(tmp_path / "w", called=called)
    assert_as_in_the_ledger(told, ledger)
    assert_signals(told, ledger)


def test_a_saved_session_tells_the_same(tmp_path: Path) -> None:
    saved, again = tmp_path / "saved", tmp_path / "again.jsonl"
    told, ledger, _ = workload(tmp_path / "w", "--save", saved)
    assert kintro("replay", saved, "--json", "-o", again).returncode == 0
    replayed = Told(again).assert_whole()
    assert replayed.operations == told.operations and replayed.signals == told.signals
    assert replayed.summary == told.summary
    assert_as_in_the_ledger(replayed, ledger)
    quiet = kintro("replay", saved, "--json", "-q").stdout.splitlines()
    assert [strictly(line) for line in quiet] == [told.summary]
    table = kintro("replay", saved, "-n", "2").stdout.decode()
    assert f"and {len(told.channels) - 2} more channels" in table


def test_only_a_summary(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    script = "head -c 1000000 /dev/zero | cat | wc -c"
    done = kintro("trace-ipc", "--json", "-q", "-o", output, "--", "sh", "-c", script, stdout=subprocess.PIPE)
    assert done.stdout == b"1000000\n"
    [summary] = json_lines(output)
    assert (summary["lost"], summary["complete"]) == (0, True)
    carried = [one for one in summary["channels"] if one["sent_bytes"] == 1_000_000]
    ends = [[(end["comm"], end["role"]) for end in one["endpoints"]] for one in carried]
    assert sorted(map(sorted, ends)) == [
        [("cat", "read"), ("head", "write")], [("cat", "write"), ("wc", "read")],
    ]  # fmt: skip
    assert all(one["received_bytes"] == 1_000_000 for one in carried)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_strace_sees_as_many_bytes(tmp_path: Path) -> None:
    script = "seq 3000 | tr 1 2 | sort | cat >/dev/null"
    seen = tmp_path / "strace"
    calls = "trace=read,write,readv,writev,splice"
    subprocess.run(["strace", "-f", "-y", "-e", calls, "-o", seen, "sh", "-c", script], check=True,
                   env=environment())  # fmt: skip
    lines = re.sub(r" <unfinished \.\.\.>\n", "\n", seen.read_text())
    written, begun = 0, {}
    for pid, call in re.findall(r"^(\d+) +(.*)$", lines, re.MULTILINE):
        if re.match(r"write\(\d+<pipe:", call):
            begun[pid] = True
        done = re.search(r"= (\d+)$", call)
        if done and begun.pop(pid, False):
            written += int(done[1])
    output = tmp_path / "out.jsonl"
    assert kintro("trace-ipc", "--json", "-o", output, "--", "sh", "-c", script).returncode == 0
    pipes = [one for one in Told(output).assert_whole().channels if one["kind"] == "pipe"]
    assert [sum(one[name] for one in pipes) for name in ("sent_bytes", "received_bytes")] == [written] * 2
    assert written > 30_000


READ = ("0", "63")  # on x86-64, and on others
EPOLL_WAIT = ("232", "281", "22")


def sleeps_in(pid: int, calls: tuple[str, ...]) -> bool:
    """Whether it sleeps in one of these system calls (proc_pid_syscall(5)); wchan differs by kernel."""
    return Path(f"/proc/{pid}/syscall").read_text().split()[0] in calls


def test_a_call_that_began_before_and_one_that_goes_on(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    script = "import os, sys; os.read(0, 10); os.read(0, 10)"
    words = [*program("traffic")[:3], "-c", script]
    with running(words, stdin=subprocess.PIPE) as reader:
        wait_for(lambda: sleeps_in(reader.pid, READ), "the read")
        trace = [KINTRO, "trace-ipc", "--json", "-o", output, "-p", reader.pid]
        with running(trace, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as tracer:
            wait_for(lambda: links_of(tracer.pid) == TRACEPOINTS, "the trace")
            assert reader.stdin is not None
            reader.stdin.write(b"hello")
            reader.stdin.flush()
            wait_for(lambda: output.exists() and b'"ret":5' in output.read_bytes(), "the first read")
            wait_for(lambda: sleeps_in(reader.pid, READ), "the second")
            assert interrupt(tracer)[0] == 0
    told = Told(output).assert_whole()
    [first, second] = told.operations
    assert (first["ts_ns"], first["duration_ns"], first["ret"], first["bytes"]) == (None, None, 5, 5)
    assert (second["ret"], second["bytes"], second["op"]) == (None, 0, "read")
    assert first["channel"] == second["channel"] and second["blocked_ns"] > 0
    [channel] = told.channels
    assert (channel["calls"], channel["unfinished"], channel["received_bytes"]) == (2, 1, 5)


def test_a_signal_from_outside(tmp_path: Path) -> None:
    """Its sender is not traced; it ends the process that is."""
    output = tmp_path / "out.jsonl"
    with running(["sleep", "60"]) as sleeper:
        trace = [KINTRO, "trace-ipc", "--json", "-o", output, "-p", sleeper.pid]
        with running(trace, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as tracer:
            wait_for(lambda: links_of(tracer.pid) == TRACEPOINTS, "the probe")
            wait_for(lambda: sleeps_in(tracer.pid, EPOLL_WAIT), "the trace")
            sleeper.send_signal(signal.SIGKILL)
            sleeper.wait(20)
            assert tracer.wait(20) == 0
    [told] = [one for one in Told(output).assert_whole().signals if one["signal"] == "SIGKILL"]
    assert (told["sender"]["pid"], told["receiver"]["pid"]) == (os.getpid(), sleeper.pid)
    assert (told["action"], told["receiver"]["comm"]) == ("default", "sleep")


def test_a_table(tmp_path: Path) -> None:
    done = kintro("trace-ipc", "--", "sh", "-c", "printf '\\033[31mhello' | cat >/dev/null; kill -USR1 $$")
    text = done.stdout.decode()
    assert done.returncode == 128 + signal.SIGUSR1
    [line] = [line for line in text.splitlines() if line.startswith("pipe")]
    assert re.search(r"^pipe +\d+ +3 +1 +10B +1 +10B ", line) and re.search(r"→ cat \(\d+\) fd 0$", line)
    assert "SIGUSR1" in text and "1 default" in text and "complete" in text and "\x1b" not in text
    lines = kintro("trace-ipc", "--events", "--", "sh", "-c", "echo hello | cat >/dev/null").stdout.decode()
    assert re.search(r"write fd 1 pipe:\d+ = 6", lines) and re.search(r"read fd 0 pipe:\d+ = 6", lines)
