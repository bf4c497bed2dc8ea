"""The pure half of kintro task: names, conversions, comparison, text and JSON."""

from __future__ import annotations

import json
import mmap
import re
from pathlib import Path

import pytest

from kintro.observers import task_text
from kintro.observers.task import compared, kernel_value
from kintro.observers.task_fields import all_sources
from kintro.observers.task_names import (
    CAPABILITIES,
    capability_names,
    flag_names,
    signal_names,
    state_letter,
)
from kintro.observers.task_records import Field, Member, Task, Value
from kintro.observers.task_source import cpu_list, device, handled
from kintro.renderers import jsonl, terminal

# Names and conversions


@pytest.mark.parametrize(
    ("state", "exit_state", "letter"),
    [
        (0, 0, "R"), (1, 0, "S"), (0x101, 0, "S"), (2, 0, "D"), (0x102, 0, "D"), (4, 0, "T"), (0x104, 0, "T"),
        (8, 0, "t"), (0x80, 0x20, "Z"), (0x80, 0x10, "X"), (0x40, 0, "P"), (0x402, 0, "I"), (0x200, 0, "R"),
        (0x1000, 0, "D"), (0x8000, 0, "D"), (0x2001, 0, "S"), (0x2402, 0, "I"), (0x800, 0, "R"),
    ],
)  # fmt: skip
def test_the_letter_of_a_state(state: int, exit_state: int, letter: str) -> None:
    assert state_letter(state, exit_state) == letter


def test_capabilities_are_those_of_the_c_header() -> None:
    header = Path("/usr/include/linux/capability.h")
    if not header.exists():
        pytest.skip(f"{header} is the witness, and is not here: apt-get install linux-libc-dev")
    found = re.findall(r"^#define CAP_(\w+)\s+(\d+)\s*$", header.read_text(), re.MULTILINE)
    assert len(found) >= 41
    for name, bit in found:
        assert capability_names(1 << int(bit)) == [name]
    assert capability_names(1 << len(CAPABILITIES)) == [f"CAP_{len(CAPABILITIES)}"]


def test_names_of_sets() -> None:
    assert signal_names(1 | 1 << 8 | 1 << 36 | 1 << 63) == ["HUP", "KILL", "RTMIN+3", "RTMAX"]
    assert flag_names(0x200000 | 0x4 | 0x10) == ["EXITING", "0x10", "KTHREAD"]
    assert (signal_names(0), capability_names(0), flag_names(0)) == ([], [], [])


def test_handlers() -> None:
    actions = bytearray(64 * 32)
    for number, handler in ((1, 1), (2, 0x5555_0000_1000), (64, 1)):
        actions[(number - 1) * 32 : (number - 1) * 32 + 8] = handler.to_bytes(8, "little")
    assert handled(bytes(actions), ignored=True) == 1 | 1 << 63
    assert handled(bytes(actions), ignored=False) == 1 << 1


def test_cpus_of_this_machine() -> None:
    possible = Path("/sys/devices/system/cpu/possible").read_text().strip()
    assert cpu_list((1 << 64) - 1) == cpu_list(b"\xff" * 1024) == possible
    assert (cpu_list(1), cpu_list(0)) == ("0", "")


def test_a_device_number_as_stat_encodes_it() -> None:
    assert device(136, 0, 3) == 136 << 8 | 3
    assert device(4, 64, 1) == 4 << 8 | 65
    assert device(136, 0, 0x12345) == 0x45 | 136 << 8 | 0x123 << 20
    assert task_text.shown("device", device(136, 0, 0x12345)) == f"136:{0x12345}"


# Comparison


@pytest.mark.parametrize(
    ("how", "before", "proc", "after", "equal"),
    [
        ("same", 5, 5, 5, True), ("same", 5, 5, 6, True), ("same", 4, 5, 5, True), ("same", 4, 5, 6, False),
        ("same", None, 5, None, None), ("same", 5, None, 5, None), ("same", (1, 2), (1, 2), (1, 2), True),
        ("grows", 4, 5, 6, True), ("grows", 5, 5, 5, True), ("grows", 6, 5, 7, False),
        ("grows", 3, 5, 4, False), ("about", 5, 5, 5, None),
        ("begins", b"kworker/0:1", b"kworker/0:1", b"kworker/0:1", True),
        ("begins", b"kworker/0:1", b"kworker/0:1-events", b"kworker/0:1", None),
        ("begins", b"bash", b"sh", b"bash", False),
    ],
)  # fmt: skip
def test_compared(how: str, before: Value, proc: Value, after: Value, equal: bool | None) -> None:
    assert compared(how, before, proc, after) is equal


def test_a_null_pointer_is_what_the_field_says_of_it() -> None:
    sources = {(source.group, source.name): source for source in all_sources()}
    assert len(sources) == len(all_sources())
    assert kernel_value(sources["files", "open_files"], {}) == 0
    assert kernel_value(sources["memory", "vm_size"], {}) is None
    assert kernel_value(sources["memory", "vm_size"], None) is None
    assert (
        kernel_value(sources["memory", "vm_peak"], {"mm->hiwater_vm": 1, "mm->total_vm": 2})
        == 2 * mmap.PAGESIZE
    )


# Text and JSON


def task(*fields: Field, no_kernel: str | None = None) -> Task:
    return Task(12, 12, b"a\x1b[31m", 7, fields, no_kernel)


def field(unit: str, proc: Value | None, kernel: Value | None, equal: bool | None, path: str = "a") -> Field:
    return Field("group", "name", unit, proc, kernel, (Member(f"task_struct.{path}", 24, 8),), equal, "why")


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        ("number", 0, "0"), ("number", (), "none"), ("number", (3, 1), "3 1"), ("answer", False, "no"),
        ("limit", (1, (1 << 64) - 1), "1 / unlimited"), ("limit", (7, 7), "7"), ("bytes", 4096, "4 KiB"),
        ("ns", 1500, "1.50 µs"), ("octal", 0o22, "0022"), ("device", 0, "none"), ("address", 1, "0x1"),
        ("signals", 0, "0"), ("policy", 1, "1 SCHED_FIFO"), ("policy", 99, "99"), ("seccomp", 2, "2 filter"),
        ("state", "Z", "Z (zombie)"), ("text", b"a\x1b\n", "a\\x1b\\n"), ("number", None, ""),
    ],
)  # fmt: skip
def test_a_value_for_people(unit: str, value: Value | None, text: str) -> None:
    assert task_text.shown(unit, value) == text


@pytest.mark.parametrize("width", [80, 140])
def test_rows_fit_and_lose_nothing(width: int) -> None:
    wide = task_text.is_wide(width)
    columns = task_text.columns(wide)
    long = field(
        "number", tuple(range(100, 130)), (1, 2), False, "thread_pid->numbers[].ns->ns.inum->x->y->z"
    )
    lines = [terminal.line(columns, row, width, False) for row in task_text.rows(long, wide, width)]
    assert max(map(len, lines)) <= width and not any("…" in line for line in lines)
    numbers = [str(number) for number in range(100, 130)]
    assert [word for word in " ".join(lines).split() if word in numbers] == numbers
    assert "≠" in lines[0] and ("24" in lines[0].split()) == wide
    rest = "".join(line[-(width - sum(c.width or 0 for c in columns) - len(columns) + 1) :] for line in lines)
    assert "z" in rest


def test_signs() -> None:
    def sign(equal: bool | None, proc: int | None = 1) -> str:
        [row] = task_text.rows(field("number", proc, 1, equal), False, 80)
        return row[3].text

    assert [sign(True), sign(False), sign(None), sign(None, None)] == ["=", "≠", "≈", ""]


def test_names_below_a_set() -> None:
    every = (1 << len(CAPABILITIES)) - 1
    assert task_text.details(field("capabilities", every, every, True)) == "all"
    assert task_text.details(field("capabilities", every - 2, None, None)) == "all but DAC_OVERRIDE"
    assert task_text.details(field("capabilities", 2, 2, True)) == "DAC_OVERRIDE"
    assert task_text.details(field("signals", None, 1, None)) == "HUP"
    assert task_text.details(field("policy", 1, 1, True)) == ""


def test_the_last_lines() -> None:
    described = task(field("number", 1, 1, True), field("number", 1, 2, False), field("number", 1, 2, None))
    assert list(task_text.summary_lines(described)) == [
        "1 fields are equal, 1 differ, 1 can be compared only roughly (≈)", "name: why",
    ]  # fmt: skip
    alone = task(field("number", 1, None, None), no_kernel="root it needs")
    assert list(task_text.summary_lines(alone)) == ["the KERNEL column is empty: root it needs"]
    assert task_text.title(described) == "a\\x1b[31m: process 12"


def test_json() -> None:
    found = json.loads(jsonl.line(task_text.as_json(task(field("signals", 1, 3, False, "signal->x")))))
    assert {name: found[name] for name in ("type", "pid", "tid", "comm", "start_time_ns", "no_kernel")} == {
        "type": "task", "pid": 12, "tid": 12, "comm": "a\x1b[31m", "start_time_ns": 7, "no_kernel": None,
    }  # fmt: skip
    assert found["fields"] == [
        {
            "group": "group", "name": "name", "unit": "signals", "proc": 1, "kernel": 3, "equal": False,
            "note": "why", "names": ["HUP"], "member": "task_struct.signal->x", "offset": 24,
            "members": [{"path": "task_struct.signal->x", "offset": 24, "size": 8}],
        }
    ]  # fmt: skip
