"""kintro cost switch: loops around any function, the two that play, the statistics, what is shown."""

from __future__ import annotations

import ctypes
import itertools
import json
import mmap
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_output import on_a_terminal

from kintro.cli.cost import SUBJECTS
from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.observers import cost_switch, cost_switch_records, cost_switch_text
from kintro.observers.cost_records import Machine, median_interval
from kintro.observers.cost_switch_records import BETWEEN, SETS_BYTES, WHAT, Check, Report, Sample
from kintro.renderers.text import cells
from kintro.sources import c_loop, c_stream, cpu
from kintro.sources.ping_pong import Job, Pair, Run, make_barrier

KINTRO = [sys.executable, "-m", "kintro"]
WRITER = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_size_t)


def called(returned: Sequence[int], calls: int, text: int | None = None) -> list[tuple[int, int, int]]:
    """How a stream's function is called that returns these values in turn."""
    seen: list[tuple[int, int, int]] = []

    def function(argument: int, address: int, size: int) -> int:
        seen.append((argument, address if text else ctypes.c_char.from_address(address).value[0], size))
        return returned[(len(seen) - 1) % len(returned)]

    callback = WRITER(function)
    stream = c_stream.opened(ctypes.cast(callback, ctypes.c_void_p).value or 0, 41)
    c_stream.turns(stream, text, calls)
    c_stream.close(stream)
    return seen


@pytest.mark.parametrize("returned", [[0], [1], [0, -1], [0xFFFFFFFF, 0], [7, 1, 0]])
def test_a_function_is_called_so_often_whatever_it_returns(returned: Sequence[int]) -> None:
    assert called(returned, 1009) == [(41, c_stream.BYTE, 1)] * 1009


@pytest.mark.parametrize("size", [1, 2, 4095, 100_000])
@pytest.mark.parametrize("whole", [False, True])
def test_a_text_is_read_and_handed_on_once_a_turn(size: int, whole: bool) -> None:
    text = c_stream.Text(100_000)
    address = text.address(size)
    assert ctypes.string_at(address) == b"x" * size
    assert called([size if whole else 0], 103, address) == [(41, address, size)] * 103


def test_bytes_go_through_a_pipe_one_by_one() -> None:
    out, into = os.pipe()
    writing, reading = (
        c_stream.opened(c_loop.address(name), end) for name, end in (("write", into), ("read", out))
    )
    c_stream.turns(writing, None, 2003)
    c_stream.turns(reading, None, 2000)
    assert os.read(out, 100) == b"xxx"
    for stream in (writing, reading):
        c_stream.close(stream)
    os.close(out), os.close(into)


def test_a_loop_that_would_stop_is_an_error() -> None:
    with pytest.raises(ValueError, match="returned 0"):
        c_loop.calls(c_loop.address("abs"), 0, 1, 5)


# The two


@contextmanager
def barrier(parties: int) -> Iterator[list[int]]:
    """Two streams that wait at one barrier."""
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    make_barrier(address, parties, True)
    yield [c_stream.opened(c_loop.address("pthread_barrier_wait"), address) for _ in range(2)]


@pytest.mark.parametrize("threads", [False, True])
def test_who_plays(threads: bool) -> None:
    with Pair(threads) as pair:
        (pid, tid), (other_pid, other_tid) = pair.tasks
        assert tid != other_tid and (pid == other_pid) == threads
        assert {pid, other_pid} & {os.getpid()} == set()
        assert Path(f"/proc/{other_pid}/task/{other_tid}").is_dir()
    assert not Path(f"/proc/{pid}").exists() and not Path(f"/proc/{other_pid}").exists()


@pytest.mark.parametrize("threads", [False, True])
def test_at_a_barrier_one_of_the_two_sleeps_each_time(threads: bool) -> None:
    with cpu.pinned(None), barrier(2) as streams, Pair(threads) as pair:
        before = pair.counts()
        runs = pair.run(*(Job(stream, 1000) for stream in streams))
        after = pair.counts()
    # Whoever lost the CPU just before it slept may find the other one there.
    assert 900 <= sum(run.voluntary for run in runs) <= 1000
    assert sum(run.switches for run in runs) >= 1000
    for run, (voluntary, involuntary), (now_voluntary, now_involuntary) in zip(runs, before, after):
        assert run.cpu_ns > 0
        assert run.voluntary <= now_voluntary - voluntary <= run.voluntary + 10
        assert run.involuntary <= now_involuntary - involuntary


def test_calls_beforehand_do_not_count() -> None:
    with cpu.pinned(None), barrier(2) as streams, Pair(False) as pair:
        runs = pair.run(*(Job(stream, 3, before=500) for stream in streams))
        assert sum(run.voluntary for run in runs) <= 3
        with pytest.raises(KintroError, match="ended before its time") as raised:
            os.kill(pair.tasks[0][0], signal.SIGKILL)
            pair.run(*(Job(stream, 3) for stream in streams))
    assert raised.value.exit_code == EX_UNAVAILABLE


def test_nobody_is_left_when_their_maker_is_killed() -> None:
    script = (
        "import os, signal\nfrom kintro.sources.ping_pong import Pair\n"
        "with Pair(False) as pair:\n"
        "    print(*(pid for pid, _ in pair.tasks), flush=True)\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)  # to its EOF
    assert done.returncode == -signal.SIGKILL
    assert len(done.stdout.split()) == 2


# Figures


def test_median_intervals_as_in_tables() -> None:
    """Ranks of the 95 % interval: W. J. Conover, Practical Nonparametric Statistics, and others."""
    ranks = {6: (1, 6), 10: (2, 9), 20: (6, 15), 25: (8, 18), 50: (18, 33), 100: (40, 61)}
    for number, (low, high) in ranks.items():
        assert median_interval(range(number, 0, -1)) == (low, high)
    assert median_interval([1.0] * 5) is None and median_interval([]) is None


@given(st.integers(6, 14))
def test_a_median_interval_covers_what_it_says(number: int) -> None:
    """Of all ways to be below or above the median, all equally likely."""
    low, high = median_interval(range(1, number + 1)) or (0, 0)
    covered = sum(low <= sum(below) < high for below in itertools.product((0, 1), repeat=number))
    assert covered / 2**number >= 0.95
    narrower = sum(low < sum(below) < high - 1 for below in itertools.product((0, 1), repeat=number))
    assert narrower / 2**number < 0.95


def sample(switches: int, ns: int, alone_ns: int = 100) -> Sample:
    return Sample((Run(0, switches - 1, 0), Run(alone_ns + ns * switches, 0, 1)), alone_ns)


def report(checks: tuple[Check, ...] | None = (), most_ns: int = 9_000) -> Report:
    """By each way a switch takes 1 µs between threads and 1.5 µs between processes."""
    ns = {"threads": 1000, "processes": 1500}
    samples = {between: [sample(4, ns[between])] * 6 for between in BETWEEN}
    sets = dict(zip(SETS_BYTES, (0, 5, 700, most_ns)))
    return Report(
        Machine(1, "A\x1b[31m CPU", "6.1", None, None),
        tuple(
            cost_switch_records.direct((what, between), 3, samples[between])
            for between in BETWEEN
            for what in WHAT
        ),
        tuple(cost_switch_records.apart(what, samples["processes"], samples["threads"]) for what in WHAT),
        tuple(
            cost_switch_records.indirect(
                between, size, [sample(2, ns[between] + more)] * 6, samples[between], [float(size)] * 6
            )
            for between in BETWEEN
            for size, more in sets.items()
        ),
        checks,
        None if checks is not None else "needs \x1broot",
    )


def test_what_a_switch_took() -> None:
    one = sample(4, 1000)
    assert (one.switches, one.cpu_ns, one.ns) == (4, 4100, 1000)
    disturbed = Sample((Run(5100, 4, 0), Run(0, 1, 0)), 1100, 1)  # alone 100, and a switch of 1000
    assert (disturbed.ns, disturbed.calls_ns) == (1000, 20)
    found = cost_switch_records.direct(("pipe", "threads"), 3, [one, sample(8, 3000, 800)])
    assert (found.calls, found.voluntary, found.involuntary, found.switches) == (6, 10, 2, 12)
    assert (found.calls_ns, found.spread.median_ns, found.spread.low_ns) == (62.5, 2000, None)


def test_the_indirect_part_is_what_it_takes_more() -> None:
    with_it = [sample(2, ns) for ns in (5000, 7000, 9000)]
    without = [sample(4, ns) for ns in (1000, 1500, 1000)]
    found = cost_switch_records.indirect("threads", 4096, with_it, without, [3.0, 1.0, 2.0])
    assert (found.switches, found.work_ns, found.spread.median_ns) == (6, 2, 7000)
    assert (found.indirect.median_ns, found.indirect.min_ns) == (5500, 4000)


def test_processes_and_threads_are_compared_round_by_round() -> None:
    """A round that was slow for both is no difference."""
    threads = [sample(4, ns) for ns in (1000, 9000, 1000, 1000, 1000, 1000)]
    processes = [sample(4, ns) for ns in (1100, 9080, 990, 1070, 1060, 1050)]
    found = cost_switch_records.apart("pipe", processes, threads)
    assert (found.what, found.more.median_ns) == ("pipe", 65)
    assert (found.more.low_ns, found.more.high_ns) == (-10, 100)
    few = report()._replace(apart=(cost_switch_records.apart("pipe", processes[:3], threads[:3]),))
    assert "80 ns more (too few runs to say from where to where) by pipe" in cost_switch_text.findings(few)[0]


def test_tables() -> None:
    for wide in (False, True):
        first, second = cost_switch_text.tables(report(), 140 if wide else 80)
        texts = [cell.text for cell in first[1][0]]
        assert texts[:7] == ["processes, pipe", *["1.50 µs"] * 3, "25 ns", "24", "1.33"]
        assert len(texts) == len(first[0]) == (12 if wide else 7)
        rows = [[cell.text for cell in row] for row in second[1]]
        assert rows[0] == ["processes, 0", "1.50 µs", *"----", "12"]
        assert rows[-1] == ["threads, 8 MiB", "10.0 µs", *["9.00 µs"] * 3, "8.39 ms", "12"]
    assert cost_switch_text.span(-1234.4) == "-1.23 µs"
    assert cost_switch_text.span(-0.4) == "0 ns"


def test_what_it_comes_to() -> None:
    lines = cost_switch_text.summary_lines(report((Check("pipe", "threads", 3, 4, 5, 3, 4),)))
    assert lines[2].endswith(
        "a switch takes 500 ns more (500 ns to 500 ns) by pipe, 500 ns more (500 ns to 500 ns) by futex, "
        "500 ns more (500 ns to 500 ns) by yield"
    )
    assert "with 8 MiB each, a switch between processes takes 7.0 times as long" in lines[3]
    assert lines[4].endswith("kintro's probe saw 7, the kernel 7")
    assert lines[5].startswith("assumed: a call takes as long with a switch as without one")
    assert "\x1b" not in "".join(lines)


def test_nothing_is_said_of_an_indirect_part_that_may_be_none() -> None:
    assert not any("8 MiB" in line for line in cost_switch_text.summary_lines(report(most_ns=-20)))


def test_a_probe_that_is_not_there_or_does_not_agree() -> None:
    [line] = [line for line in cost_switch_text.summary_lines(report(None)) if "probe" in line]
    assert line.endswith("could not count them too: needs \\x1broot")
    off = Check("pipe", "threads", 3, 4, 5, 4, 3)
    assert not off.agrees
    assert any(
        line.endswith("7, the kernel 7: they do not agree")
        for line in cost_switch_text.summary_lines(report((off,)))
    )


# The command


def test_what_is_written_twice_is_the_same() -> None:
    assert SUBJECTS["switch"][:3] == (cost_switch.__name__, cost_switch_text.__name__, cost_switch.RUNS)
    assert set(cost_switch.SET_CALLS) == set(SETS_BYTES)


def told(*options: str) -> dict[str, Any]:
    done = subprocess.run([*KINTRO, "cost", "switch", "--json", *options], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    [line] = done.stdout.splitlines()
    return json.loads(line)


@pytest.mark.parametrize(("runs", "said"), [("2", b""), ("14", b"measuring for some 2 s, or until Ctrl-C")])
def test_on_a_terminal_it_says_how_long_it_takes(runs: str, said: bytes) -> None:
    terminal, stderr = pty.openpty()
    command = [*KINTRO, "cost", "switch", "--json", "--runs", runs]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=stderr, check=True)
    os.write(stderr, b"|")  # so that there is something to read
    os.close(stderr)
    told, *_ = os.read(terminal, 1 << 10).split(b"|")
    os.close(terminal)
    assert told.startswith(said) and bool(told) is bool(said)


def test_json() -> None:
    chosen = max(os.sched_getaffinity(0))
    found = told("--runs", "6", "--cpu", str(chosen))
    assert (found["type"], found["subject"], found["cpu"]) == ("cost", "switch", chosen)
    ways = [(way["between"], way["what"]) for way in found["switches"]]
    assert ways == list(itertools.product(BETWEEN, WHAT))
    for way in found["switches"]:
        assert (way["runs"], way["calls"]) == (6, 6 * cost_switch.CALLS)
        assert way["switches"] == way["voluntary"] + way["involuntary"] > 0
        # Fewer than six in ten would mean that the two hardly play with each other.
        assert way["switches"] >= 0.6 * way["calls"]
        assert way["calls_ns"] > 0
    assert [one["what"] for one in found["address_space"]] == list(WHAT)
    for one in found["address_space"]:
        assert one["min_ns"] <= one["low_ns"] <= one["median_ns"] <= one["high_ns"]
    sets = [(one["between"], one["bytes"]) for one in found["working_sets"]]
    assert sets == list(itertools.product(BETWEEN, SETS_BYTES))
    for one in (*found["switches"], *found["working_sets"]):
        assert one["min_ns"] == one["low_ns"] <= one["p10_ns"] <= one["median_ns"] <= one["p90_ns"]
        assert one["p90_ns"] <= one["high_ns"]
    for one in found["working_sets"]:
        assert (one["indirect"] is None) == (one["bytes"] == 0)
    assert (found["probe"] is None) != (found["no_probe"] is None)
    assert found["confidence"] == 0.95 and len(found["assumed"]) == 4


@pytest.mark.parametrize("columns", [80, 140])
def test_on_a_terminal(columns: int) -> None:
    text = on_a_terminal("cost", "switch", "--runs", "2", columns=columns)
    lines = re.sub(r"\x1b\[\d*m", "", text).splitlines()
    assert max(cells(line) for line in lines) <= columns
    assert "…" not in text
    assert ("INVOLUNTARY" in lines[0], lines[1].split()[:2]) == (columns == 140, ["processes,", "pipe"])
