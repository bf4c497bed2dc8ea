"""kintro cost ipc: chains of calls, what is left behind, the sentences and tables, the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from test_output import on_a_terminal

from kintro.cli import cost
from kintro.observers import cost_ipc, cost_ipc_page, cost_ipc_records, cost_ipc_text
from kintro.observers.cost_ipc_findings import findings, times
from kintro.observers.cost_ipc_records import ONE_CPU, TWO_CPUS, Counted, Latency, Report, Throughput
from kintro.observers.cost_records import Machine
from kintro.observers.cost_switch_records import spread
from kintro.renderers.text import cells
from kintro.sources import message_loops
from kintro.sources.c_chain import Call, Chain, Message
from kintro.sources.messages import Limits

KINTRO = [sys.executable, "-m", "kintro"]


def test_calls_are_made_in_their_order() -> None:
    """A pipe that is filled and emptied in turn, and what went through it."""
    out, into = os.pipe()
    send, take = Message(4096), Message(4096)
    send.fill()
    chain = Chain([Call("writev", into, send.iovec), Call("readv", out, take.iovec)], 1009)
    chain()
    assert take.data == send.data and len(take.data) == 4096
    os.set_blocking(out, False)
    with pytest.raises(BlockingIOError):
        os.read(out, 1)
    chain.close()
    os.close(out), os.close(into)


def test_a_system_v_queue_goes_when_its_maker_is_killed() -> None:
    script = (
        "import os, signal\nfrom contextlib import ExitStack\nfrom kintro.sources import message_loops\n"
        "queue = message_loops.SystemVQueue(ExitStack())._open(1)\nprint(queue, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert done.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while done.stdout.strip() in queues():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_system_v_queue_goes_with_its_stack() -> None:
    with ExitStack() as stack:
        queue = str(message_loops.SystemVQueue(stack)._open(1))
        assert queue in queues()
    assert queue not in queues()


def queues() -> set[str]:
    return {line.split()[1] for line in Path("/proc/sysvipc/msg").read_text().splitlines()[1:]}


def test_the_second_cpu_is_the_next_one() -> None:
    assert cost_ipc.next_to(1, [0, 1, 3]) == (3,)
    assert cost_ipc.next_to(3, [0, 1, 3]) == (0,)
    assert cost_ipc.next_to(3, [3]) == ()


NS = {"pipe": 20_000.0, "shm-futex": 16_000.0, "shm-spin": 100.0}


def report(uncounted: str | None = None) -> Report:
    counted = None if uncounted else Counted(4, {"readv": 4, "writev": 4}, 3, 3)
    latency = tuple(
        Latency(kind, place, (0, 1), 4, 6, spread([ns] * 6), 60.0, counted)
        for kind, ns in NS.items()
        for place in (ONE_CPU, TWO_CPUS)
    )
    throughput = tuple(
        Throughput(kind, size, (0, 1), 4, 6, spread([ns + size] * 6), counted)
        for kind, ns in NS.items()
        for size in (1, 65536)
        if (kind, size) != ("pipe", 65536)
    )
    machine = Machine(0, "A\x1b[31m CPU", "6.1", None, None)
    limits = {"pipe": Limits(None, 65536)}
    missing = {"tcp": "no \x1bnet"}
    return Report(
        machine, (0, 1), False, tuple(NS), (1, 65536), latency, throughput, limits, missing, uncounted
    )


def test_what_it_comes_to() -> None:
    told = findings(report())
    assert told[1] == (
        "on two CPUs shm-spin has the lowest latency, 100 ns; the next is shm-futex with 16.0 µs, "
        "160 times that"
    )
    assert "16.0 µs on two CPUs, by pipe 20.0 µs, 1.25 times that" in told[2]
    assert told[3].startswith("spinning needs no wake-up, 100 ns instead of 16.0 µs")
    assert told[-1] == "in messages of 1 B shm-spin moves most, 198 times as much as pipe"
    lines = cost_ipc_text.summary_lines(report())
    assert "\x1b" not in "".join(lines) and "limits: pipe has room for 65,536 bytes" in lines


def test_how_many_times_as_much() -> None:
    assert [times(ratio) for ratio in (0.2134, 1.0, 99.96, 999.4, 999.6, 12345.6)] == [
        "0.213", "1", "100", "999", "1,000", "12,346",
    ]  # fmt: skip


def test_tables() -> None:
    shown = [[[cell.text for cell in row] for row in rows] for _, rows in cost_ipc_text.tables(report(), 80)]
    assert shown[0][0] == ["pipe, one CPU", *["20.0 µs"] * 3, "60 ns", "2.00", "0.75"]
    assert shown[1][0] == ["pipe", "0.05", "-"]
    assert len(shown) == 5
    unseen = [
        [[cell.text for cell in row] for row in rows] for _, rows in cost_ipc_text.tables(report("x"), 80)
    ]
    assert len(unseen) == 3 and unseen[0][0][-2:] == ["?", "?"]
    assert "kintro's probes could not count: x" in cost_ipc_text.summary_lines(report("x"))


def test_the_shape_of_the_page() -> None:
    shape = cost_ipc_page.comparison(report())
    assert [series.label for series in shape.series] == list(NS)
    assert [len(series.points) for series in shape.series] == [1, 2, 2]
    assert shape.bar_ticks[0] == (10.0, "10 ns") and shape.bar_ticks[-1] == (100_000.0, "100 µs")
    assert len(shape.tables) == 5
    assert cost_ipc_page.tens([]) == [] and cost_ipc_page.tens([10.0]) == [10.0, 100.0]


def test_what_is_written_twice_is_the_same() -> None:
    assert cost.SUBJECTS["ipc"][:3] == (cost_ipc.__name__, cost_ipc_text.__name__, cost_ipc.RUNS)
    assert cost.KINDS == cost_ipc_records.KINDS == tuple(cost_ipc.MAKERS)


def told(*options: str) -> dict[str, Any]:
    done = subprocess.run([*KINTRO, "cost", "ipc", "--json", *options], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_json() -> None:
    found = told("--runs", "2", "--kind", "mqueue", "--kind", "shm-futex", "--size", "16K", "--size", "64")
    assert (found["type"], found["subject"]) == ("cost", "ipc")
    assert {one["kind"] for one in found["latency"]} == {"mqueue", "shm-futex"}
    sizes = [(one["kind"], one["bytes"]) for one in found["throughput"]]
    most = found["limits"]["mqueue"]["message_bytes"]
    assert sizes == [
        ("mqueue", 64),
        *[("mqueue", 16384)] * (most >= 16384),
        ("shm-futex", 64),
        ("shm-futex", 16384),
    ]
    assert all(one["median_ns"] > 0 and one["low_ns"] is None for one in found["latency"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("switch", "--kind", "pipe"), "are for ipc"),
        (("ipc", "--html", "x", "--json"), "--html is a view of its own"),
        (("ipc", "--size", "0"), "not a number of bytes"),
        (("ipc", "--size", "17M"), "not a number of bytes"),
    ],
)
def test_wrong_usage(options: tuple[str, ...], said: str) -> None:
    done = subprocess.run([*KINTRO, "cost", *options], capture_output=True, text=True)
    assert done.returncode == 2 and said in done.stderr


def test_on_a_terminal() -> None:
    text = on_a_terminal("cost", "ipc", "--runs", "1", "--kind", "pipe", "--size", "1", columns=80)
    assert "…" not in text and "A MESSAGE OF 1 B" in text
    assert max(cells(line) for line in text.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()) <= 90
