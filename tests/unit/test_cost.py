"""kintro cost: the loops without a compiler, the statistics, what is said of the machine, the command."""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_output import on_a_terminal

from kintro.cli import main
from kintro.cli.cost import SUBJECTS
from kintro.errors import EX_UNAVAILABLE, EX_USAGE, KintroError
from kintro.observers import cost_syscall, cost_text
from kintro.observers.cost_records import Machine, Report, Runs, costs, percentile
from kintro.renderers.text import cells
from kintro.sources import c_loop, cpu, vdso

KINTRO = [sys.executable, "-m", "kintro"]
WHAT = ["function", "vdso", "syscall", "touch", "fault"]
CLOCK_REALTIME_COARSE = 5  # include/uapi/linux/time.h: read from memory, whatever the clock source
COMPARATOR = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


def counted(calls: int, returned: Sequence[int]) -> tuple[int | None, list[tuple[int, int]]]:
    """What calls_ns gives for a function that returns these values in turn, and how it was called."""
    seen: list[tuple[int, int]] = []

    def function(first: int, second: int) -> int:
        seen.append((first, second))
        return returned[(len(seen) - 1) % len(returned)]

    callback = COMPARATOR(function)
    taken_ns = c_loop.calls_ns(ctypes.cast(callback, ctypes.c_void_p).value or 0, 5, 7, calls)
    return taken_ns, seen


@pytest.mark.parametrize("calls", [1, 23, 1009])
def test_a_function_is_called_so_often_with_these_arguments(calls: int) -> None:
    taken_ns, seen = counted(calls, [1, -1, 1 << 30])
    assert seen == [(5, 7)] * calls
    assert taken_ns is not None and taken_ns > 0


def test_a_function_that_returns_0_is_not_called_further() -> None:
    taken_ns, seen = counted(100, [3, 2, 1, 0])
    assert (taken_ns, len(seen)) == (None, 4)


def test_the_functions_that_are_called_are_those_they_are_taken_for() -> None:
    moment = (ctypes.c_long * 2)()
    before = time.time_ns()
    address = ctypes.addressof(moment)
    assert c_loop.calls_ns(c_loop.address("timespec_get"), address, cost_syscall.ONE, 3) is not None
    assert before <= moment[0] * 10**9 + moment[1] <= time.time_ns()
    assert COMPARATOR(c_loop.address("getppid"))(1, 1) == os.getppid()
    assert COMPARATOR(c_loop.address("getpid"))(1, 1) == os.getpid()
    assert COMPARATOR(c_loop.address("abs"))(41, 1) == 41


def test_each_fresh_page_is_a_fault_and_the_second_time_none() -> None:
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    found = [c_loop.touch(67) for _ in range(20)]
    assert resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before >= 20 * 67
    # The interpreter may now and then need a page itself.
    assert [statistics.median(run.first_faults for run in found), min(r.first_faults for r in found)] == [
        67,
        67,
    ]
    assert [statistics.median(run.again_faults for run in found), min(r.again_faults for r in found)] == [
        0,
        0,
    ]


def test_a_clock_without_vdso_is_told_from_one_with_it() -> None:
    assert vdso.vdso_answers(time.CLOCK_PROCESS_CPUTIME_ID) is False
    assert vdso.vdso_answers(time.CLOCK_THREAD_CPUTIME_ID) is False
    assert vdso.vdso_answers(CLOCK_REALTIME_COARSE) is True
    time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID)  # it was forbidden to the child only


def test_unknown_where_the_number_of_the_call_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vdso, "syscall_names", dict)
    assert vdso.vdso_answers() is None


# The machine


def test_what_sys_and_proc_say_of_a_cpu(tmp_path: Path) -> None:
    files = {
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: A CPU\t\nprocessor\t: 1\nmodel name\t: Another\n",
        "sys/devices/system/cpu/vulnerabilities/meltdown": "Mitigation: PTI\n",
        "sys/devices/system/cpu/vulnerabilities/l1tf": "Not affected\n",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cpu.model(tmp_path) == "A CPU"
    assert cpu.mitigations(tmp_path) == {"l1tf": "Not affected", "meltdown": "Mitigation: PTI"}
    assert cpu.clock_source(tmp_path) == "hpet"


def test_a_cpu_of_which_nothing_is_known(tmp_path: Path) -> None:
    assert cpu.model(tmp_path) is cpu.mitigations(tmp_path) is cpu.clock_source(tmp_path) is None


def test_pinned_to_a_cpu_and_back() -> None:
    before = os.sched_getaffinity(0)
    for wanted in before:
        with cpu.pinned(wanted) as chosen:
            assert (chosen, os.sched_getaffinity(0)) == (wanted, {wanted})
        assert os.sched_getaffinity(0) == before
    with cpu.pinned(None) as chosen:
        assert os.sched_getaffinity(0) == {chosen} <= before


def test_a_cpu_that_is_not_there() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(KintroError, match="cannot run on CPU 65535") as raised, cpu.pinned(65535):
        pass
    assert raised.value.exit_code == EX_USAGE
    assert os.sched_getaffinity(0) == before


# Figures


@given(st.lists(st.floats(0.5, 1e6), min_size=2, max_size=60))
def test_percentiles_against_the_standard_library(values: list[float]) -> None:
    tenths = statistics.quantiles(values, n=10, method="inclusive")
    assert percentile(values, 0.1) == pytest.approx(tenths[0])
    assert percentile(values, 0.9) == pytest.approx(tenths[-1])
    assert percentile(values, 0.5) == pytest.approx(statistics.median(values))
    assert (percentile(values, 0), percentile(values, 1)) == (min(values), max(values))


def report(answered: bool | None = True, mitigations: dict[str, str] | None = None) -> Report:
    """Of known figures: a system call takes 100 times what a function call takes, the vDSO 10 times."""
    found = costs(
        [
            Runs("function", "function (abs)", "how", 7, [2.0, 1.0, 3.0]),
            Runs("vdso", "vDSO (clock_gettime)", "how", 5, [20.0, 20.0, 20.0]),
            Runs("syscall", "syscall (getppid)", "how", 3, [200.0, 201.0, 199.0]),
            Runs("touch", "touch a page", "how", 2, [9.994, 9.994, 9.994], 1),
            Runs("fault", "page fault", "how", 2, [1500.4, 1500.4, 1e5], 6000),
        ]
    )
    machine = Machine(1, "A\x1b[31m CPU", "6.1", None, mitigations)
    return Report(
        "syscall", machine, found, {"vdso_answers": answered}, cost_syscall.findings(found, answered)
    )


def test_costs() -> None:
    found = report().costs
    assert [cost.ratio for cost in found] == [1, 10, 100, 4.997, 750.2]
    assert [cost.calls for cost in found] == [21, 15, 9, 6, 6]
    assert found[0][5:10] == (3, 2.0, 1.0, 1.2, 2.8)


def test_what_costs_come_to() -> None:
    first, second, third = report().findings
    assert "takes 198 ns more than a function call" in first
    assert "without entering the kernel, in 20 ns: a system call takes 10.0 times as long" in second
    assert third == "the kernel counted 6,000 page faults for 6 fresh pages"


def test_nothing_is_claimed_of_a_vdso_that_does_not_answer() -> None:
    assert "clock_gettime is a system call here" in report(False).findings[1]
    assert len(report(None).findings) == 2


def test_a_table_of_costs() -> None:
    rows = [[cell.text for cell in cost_text.row(cost, False)] for cost in report().costs]
    assert rows[0] == ["function (abs)", "2.00 ns", "1.00 ns", "1.20 ns", "2.80 ns", "1.00", "21"]
    assert rows[3][1] == "9.99 ns"
    assert rows[4] == ["page fault", "1500 ns", "1500 ns", "1500 ns", "80300 ns", "750", "6"]
    assert [cell.text for cell in cost_text.row(report().costs[0], True)][-1] == "how"


def test_names_from_the_machine_move_no_cursor() -> None:
    states = {"x\x1b[2J": "Mitigation: \x1b[1m"}
    lines = cost_text.summary_lines(report(mitigations=states))
    cells_shown = [
        cell.text for pair in cost_text.mitigations(report(mitigations=states).machine) for cell in pair
    ]
    assert "\x1b" not in "".join((*lines, *cells_shown))
    assert "clock source unknown" in lines[0]


def test_which_mitigations_are_on() -> None:
    states = {
        "a": "Mitigation: PTI",
        "b": "Not affected",
        "c": "Vulnerable: no microcode",
        "d": "Not affected",
    }
    shown = [
        (n.text, s.text, s.meaning) for n, s in cost_text.mitigations(report(mitigations=states).machine)
    ]
    assert shown == [
        ("a", "PTI", "good"),
        ("c", "Vulnerable: no microcode", "bad"),
        ("2 others", "not affected", "faint"),
    ]
    [(name, _)] = cost_text.mitigations(report().machine)
    assert name.text == "unknown"


# The command


def test_what_is_written_twice_is_the_same() -> None:
    assert SUBJECTS["syscall"][:3] == (cost_syscall.__name__, cost_text.__name__, cost_syscall.RUNS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "required: subject"),
        (["nothing"], "invalid choice: 'nothing'"),
        (["syscall", "--runs", "0"], "'0' is not a number of runs"),
        (["syscall", "--runs", "100001"], "'100001' is not a number of runs"),
        (["syscall", "--runs", "²"], "'²' is not a number of runs"),
        (["syscall", "--cpu", "-1"], "'-1' is not the number of a CPU"),
        (["syscall", "--cpu", "65536"], "'65536' is not the number of a CPU"),
    ],
)
def test_usage_errors(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["cost", *words])
    out, err = capsys.readouterr()
    assert (raised.value.code, out) == (EX_USAGE, "")
    assert said in err


def told(*options: str) -> dict[str, Any]:
    done = subprocess.run([*KINTRO, "cost", "syscall", "--json", *options], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    [line] = done.stdout.splitlines()
    return json.loads(line)


def test_json() -> None:
    chosen = max(os.sched_getaffinity(0))
    found = told("--runs", "3", "--cpu", str(chosen))
    assert (found["type"], found["subject"], found["cpu"]) == ("cost", "syscall", chosen)
    assert found["kernel"] == os.uname().release
    assert [cost["what"] for cost in found["costs"]] == WHAT
    for cost in found["costs"]:
        assert cost["runs"] == 3
        assert cost["min_ns"] <= cost["p10_ns"] <= cost["median_ns"] <= cost["p90_ns"]
        assert (cost["counted"] is None) == (cost["what"] not in ("touch", "fault"))
    assert found["costs"][0]["ratio"] == 1
    fault = found["costs"][-1]
    assert 0 <= fault["counted"] - fault["calls"] <= 3
    folder = Path("/sys/devices/system/cpu/vulnerabilities")
    if folder.is_dir():
        assert found["mitigations"] == {path.name: path.read_text().strip() for path in folder.iterdir()}
    assert found["vdso_answers"] in (True, False, None)


@pytest.mark.parametrize("columns", [80, 140])
def test_on_a_terminal(columns: int) -> None:
    text = on_a_terminal("cost", "syscall", "--runs", "2", columns=columns)
    lines = re.sub(r"\x1b\[\d*m", "", text).splitlines()
    assert max(cells(line) for line in lines) <= columns
    assert "…" not in text
    assert ("HOW" in lines[0], lines[1].startswith("function (abs)")) == (columns == 140, True)


def test_ctrl_c_shows_what_there_is() -> None:
    with subprocess.Popen(
        [*KINTRO, "cost", "syscall", "--json", "--runs", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        held = 1 << signal.SIGINT - 1
        while not int(blocked(process.pid), 16) & held:  # until then Python itself would be interrupted
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")
    assert 1 <= json.loads(out)["costs"][0]["runs"] < 100_000


def blocked(pid: int) -> str:
    return re.findall(r"^SigBlk:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[0]


def test_a_function_that_returns_0_is_an_error() -> None:
    calls = cost_syscall._Calls(10, 0, "abs")
    with pytest.raises(KintroError, match=r"abs\(\) of this C library returns 0") as raised:
        calls.run()
    assert raised.value.exit_code == EX_UNAVAILABLE


def test_the_next_function_takes_the_place_of_one_that_returns_0() -> None:
    calls = cost_syscall._Calls(10, 0, "abs", "getpid")
    calls.run()
    assert (calls.name, len(calls.ns)) == ("getpid", 1)
