"""Values of arguments and the text of them."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import pytest
from calls_told import BASE, build, told
from hypothesis import given
from hypothesis import strategies as st

from kintro.observers.syscall_values import (
    Call,
    Cut,
    array,
    directory,
    escaped,
    number,
    octal,
    one,
    pointed,
    signed,
    strings,
    text,
)

NONE = Call([0] * 6, {})
VALUES = st.recursive(
    st.none() | st.integers() | st.binary() | st.just("O_RDWR"),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["st_mode", "fd"]), inner),
)


@given(st.binary())
def test_escapes_are_those_of_c(data: bytes) -> None:
    shown = escaped(data)
    assert shown.isprintable()
    assert codecs.escape_decode(shown.encode())[0] == data


@given(VALUES)
def test_text_is_safe_to_print(value: object) -> None:
    assert text(value).isprintable()


def test_text_is_what_strace_writes(tmp_path: Path) -> None:
    """write(2) of every ASCII character before every other one that matters, and of what is no UTF-8."""
    program = build(tmp_path)
    pairs = [bytes((first, second)) for first in range(128) for second in b'\0a07 8"\\\n']
    samples = [*pairs, b"\xff", b"\xc3(", bytes(range(128)), b""]
    calls, memory = [], b""
    for sample in samples:
        calls.append((1, [99, BASE + len(memory), len(sample)]))
        memory += sample
    theirs = told(program, calls, memory)
    assert [line for line in theirs if line.startswith("write(99, ")] == theirs
    assert theirs == [f"write(99, {text(sample)}, {len(sample)})" for sample in samples]


def test_values_as_text() -> None:
    assert text(None) == "NULL"
    assert text(-1) == "-1"
    assert text("O_RDONLY|O_CLOEXEC") == "O_RDONLY|O_CLOEXEC"
    assert text(Cut(b"ab\n")) == '"ab\\n"...'
    assert text("grün 🐟".encode()) == '"grün 🐟"'
    assert text("a\u202eb".encode()) == '"a\\342\\200\\256b"'
    assert text([3, b"x", {"k": None}]) == '[3, "x", {k=NULL}]'
    assert escaped(b"/tmp/a>b\n", "<>") == "/tmp/a\\76b\\n"
    assert text({"fd": 3, "events": "POLLIN"}) == "{fd=3, events=POLLIN}"


@given(st.integers(0, (1 << 64) - 1))
def test_registers_are_cut_to_the_width_of_c(value: int) -> None:
    low = value & 0xFFFFFFFF
    assert signed(value) == int.from_bytes(low.to_bytes(4, "little"), "little", signed=True)
    assert number(64, with_sign=True)(value, None, NONE) & (1 << 64) - 1 == value
    assert number(32)(value, None, NONE) == low
    assert number(32, with_sign=True)(value, None, NONE) == signed(value)


def test_descriptors_and_modes() -> None:
    assert directory(0xFFFFFF9C, None, NONE) == directory((1 << 64) - 100, None, NONE) == "AT_FDCWD"
    assert directory(3, None, NONE) == 3
    assert [octal(mode, None, NONE) for mode in (0, 0o7, 0o644, 0o4755)] == ["000", "007", "0644", "04755"]


@given(st.lists(st.binary().map(lambda data: data.replace(b"\0", b"")), max_size=5))
def test_strings_of_argv(argv: list[bytes]) -> None:
    data = b"".join(one + b"\0" for one in argv)
    assert strings(1, data, NONE) == argv
    assert strings(1, data + b"cu", NONE) == [*argv, Cut(b"cu")]
    assert isinstance(strings(1, data + b"cu", NONE)[-1], Cut)


def test_pointers() -> None:
    show = pointed(one("i", number(32, with_sign=True)))
    assert show(0, None, NONE) is None
    assert show(0x7FFC, None, NONE) == "0x7ffc"
    assert show(0x7FFC, b"\xfe\xff\xff\xff", NONE) == [-2]
    assert show(0x7FFC, b"\xfe\xff", NONE) == "0x7ffc"  # cut short
    two = pointed(array(2, lambda data, call: data.decode()))
    assert two(1, b"abcd", NONE) == ["ab", "cd"] and two(1, Cut(b"abc"), NONE) == ["ab", "..."]


@pytest.mark.parametrize("value", [None, 3, "x", b"\xff", Cut(b"a"), [1], {"fd": 3}])
def test_values_have_a_json_form(value: object) -> None:
    from kintro.renderers import jsonl

    json.loads(jsonl.line({"value": value}))
