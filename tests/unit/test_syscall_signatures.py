"""Prototypes of system calls, against what the kernel says of its arguments, and what is made of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kintro.observers.syscall_guesses import all_signatures
from kintro.observers.syscall_signatures import (
    FD,
    RESULT,
    STRING,
    STRINGS,
    arguments,
    result,
    signatures,
)
from kintro.observers.syscall_values import Call, Cut, text
from kintro.sources import syscall_formats
from kintro.sources.syscall_formats import parse_format, read_formats
from kintro.sources.syscall_names import syscall_names

MACHINE = os.uname().machine
NUMBERS = {name: number for number, name in syscall_names().items()}
# Calls whose function in the kernel has another name
OF_KERNEL = {"stat": "newstat", "lstat": "newlstat", "fstat": "newfstat", "uname": "newuname"} | {
    "sendfile": "sendfile64",
    "umount2": "umount",
}


@pytest.fixture
def formats() -> dict[str, syscall_formats.Fields]:
    found = read_formats([OF_KERNEL.get(name, name) for name in NUMBERS])
    if not found:
        pytest.skip("the kernel tells nothing of its calls: no root, or no CONFIG_FTRACE_SYSCALLS")
    return {name: found[of] for name in NUMBERS if (of := OF_KERNEL.get(name, name)) in found}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "riscv64"])
def test_prototypes_are_of_calls_that_there_are(machine: str) -> None:
    everywhere = set(syscall_names("x86_64").values()) | set(syscall_names("aarch64").values())
    assert set(signatures(machine)) <= everywhere
    assert len(signatures(machine)) > 250
    for name, signature in signatures(machine).items():
        assert len(signature.arguments) <= 6, name
        assert len({argument.name for argument in signature.arguments}) == len(signature.arguments)
        for argument in signature.arguments:
            assert 0 <= argument.which <= RESULT and 0 < argument.size <= 4096


def test_prototypes_have_as_many_arguments_as_the_kernel_says(formats: dict[str, Any]) -> None:
    known = {name: signature for name, signature in signatures(MACHINE).items() if name in formats}
    assert len(known) > 250
    counts = {name: (len(known[name].arguments), len(formats[name])) for name in known}
    wrong = {name: count for name, count in counts.items() if count[0] != count[1]}
    assert wrong == {}


def test_texts_and_descriptors_are_where_the_kernel_says(formats: dict[str, Any]) -> None:
    """`const char *` there is a text here, and what is called fd there a descriptor."""
    signs = {
        (name, at): (kind, field, signatures(MACHINE)[name].arguments[at])
        for name in signatures(MACHINE).keys() & formats.keys()
        for at, (kind, field) in enumerate(formats[name])
    }
    texts = {key for key, (kind, _, _) in signs.items() if kind == "const char *"}
    ours = {key for key, (_, _, argument) in signs.items() if argument.capture == STRING}
    assert texts - ours == {("write", 1), ("pwrite64", 1), ("mq_timedsend", 1)}  # data with a length
    plain = {"prctl", "mount", "umount2", "utime", "utimes"}  # a number there, and `char *`
    assert {name for name, _ in ours - texts} == plain
    fds = {key for key, (kind, field, _) in signs.items() if field in ("fd", "dfd") and "*" not in kind}
    fds -= {("close_range", 0), ("pidfd_getfd", 1)}  # the begin of a range; a descriptor of another process
    assert fds <= {key for key, (_, _, argument) in signs.items() if argument.capture == FD}


def test_all_calls_of_the_kernel_have_a_signature(formats: dict[str, Any]) -> None:
    found = all_signatures(NUMBERS, formats, MACHINE)
    assert set(found) == set(NUMBERS)
    guessed = found["file_getattr" if "file_getattr" in formats else "name_to_handle_at"].arguments
    assert [argument.capture for argument in guessed[:2]] == [FD, STRING]
    assert [argument.capture for argument in found["process_mrelease"].arguments] == [FD, 0]
    call = Call([7, (1 << 32) - 2, 0, 4096, (1 << 64) - 1, 1 << 40], {})
    assert arguments(all_signatures(["new_call"], None, MACHINE)["new_call"], call) == {
        "arg0": 7, "arg1": "0xfffffffe", "arg2": 0, "arg3": 4096, "arg4": -1, "arg5": "0x10000000000",
    }  # fmt: skip


def test_formats_without_a_mount(formats: dict[str, Any]) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    nowhere = Path("/nonexistent")
    assert read_formats(["openat", "no_such_call"], nowhere) == {"openat": formats["openat"]}
    assert Path("/proc/self/mountinfo").read_text() == before


def test_a_format() -> None:
    head = "\tfield:int common_pid;\toffset:4;\tsize:4;\n\n\tfield:int __syscall_nr;\toffset:8;\tsize:4;\n"
    body = "\tfield:const char * filename;\toffset:16;\tsize:8;\n\tfield:umode_t mode;\toffset:24;\tsize:8;\n"
    behind = "\tfield:__data_loc char[] __filename_val;\toffset:32;\tsize:4;\tsigned:0;\n"
    assert parse_format(head) == ()
    assert parse_format(head + body + behind) == (("const char *", "filename"), ("umode_t", "mode"))


@given(st.integers(0, (1 << 64) - 1), st.binary(max_size=200))
def test_no_value_of_an_argument_is_an_error(register: int, data: bytes) -> None:
    """Whatever a process has in its registers and memory, and however little was captured of it."""
    for signature in signatures(MACHINE).values():
        call = Call([register] * 6, dict.fromkeys(range(6), data), register >> 1)
        for value in (*arguments(signature, call).values(), result(signature, call)):
            assert text(value).isprintable()


def test_results() -> None:
    known = signatures(MACHINE)

    def of(name: str, returned: int | None, registers: list[int]) -> str:
        return text(result(known[name], Call(registers + [0] * 6, {}, returned)))

    assert of("openat", 3, []) == "3"
    assert of("mmap", 0x7F0000000000, []) == "0x7f0000000000"
    assert of("read", 0, []) == "0"
    assert of("umask", 0o22, []) == "022"
    assert of("fcntl", 0o2001, [3, 3]) == "O_WRONLY|O_APPEND"
    assert of("fcntl", 4, [3, 1030]) == "4"
    assert of("fcntl", 1, [3, 1]) == "FD_CLOEXEC"
    assert result(known["exit_group"], Call([0] * 6, {}, 0)) is None
    assert result(known["read"], Call([0] * 6, {})) is None
    assert {name for name, signature in known.items() if signature.new_fd} >= {
        "openat",
        "dup",
        "fcntl",
        "accept4",
    }


def test_texts_are_cut_where_the_probe_cuts() -> None:
    chdir = signatures(MACHINE)["chdir"]
    paths = [
        arguments(chdir, Call([1] * 6, {0: data}))["path"] for data in (b"a\0", b"a", b"x" * 4095 + b"\0")
    ]
    assert [(len(path), isinstance(path, Cut)) for path in paths] == [(1, False), (1, True), (4095, True)]
    execve = signatures(MACHINE)["execve"]
    call = Call([1, 2, 3, 0, 0, 0], {0: b"/bin/ls\0", 1: b"ls\0-l\0"})
    assert [argument.capture for argument in execve.arguments] == [STRING, STRINGS, 0]
    assert text(arguments(execve, call)) == '{pathname="/bin/ls", argv=["ls", "-l"], envp=0x3}'
