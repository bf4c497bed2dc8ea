"""Process life: what the raw records mean, by the kernel's own rules written down a second time."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifecycle_events import exec_, exit_, fork, reparent, thread

from kintro.observers.lifecycle import counted_as
from kintro.observers.lifecycle_records import (
    Exec,
    Fork,
    clone_flag_names,
    decode_exec,
    dtypes,
    signal_name,
)
from kintro.sources.probe_source import c_struct, probe_text
from kintro.sources.rows import Row

FILENAME_MAX, ARGV_MAX = 4096, 32768  # probes/lifecycle


def raw_exec(filename: bytes, argv: bytes, whole: int | None = None, read: int = 1) -> Row:
    """What the ring reader hands out for one exec event."""
    whole = len(argv) if whole is None else whole
    layout = c_struct(probe_text("lifecycle"), "exec_event")
    assert layout.variable
    named = dict(
        ts_ns=70, start_time_ns=60, pid=4, tid=5, ppid=6, uid=7, filename_bytes=len(filename),
        argv_bytes=len(argv), argv_whole_bytes=whole, argv_read=read, comm=b"ls",
    )  # fmt: skip
    return *(named[name] for name in layout.names), filename + argv


def decoded(*arguments: object, **named: object) -> Exec:
    return Exec(*decode_exec(raw_exec(*arguments, **named)))  # type: ignore[arg-type]


def test_an_exec_as_it_usually_is() -> None:
    assert decoded(b"/bin/ls\0", b"ls\0-l\0/tmp\0") == Exec(
        ts_ns=70, start_time_ns=60, pid=4, tid=5, ppid=6, uid=7, comm=b"ls", filename=b"/bin/ls",
        argv=[b"ls", b"-l", b"/tmp"], argv_truncated=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (b"", []),
        (b"\0", [b""]),
        (b"\0\0", [b"", b""]),
        (b"a\0\0b\0\0", [b"a", b"", b"b", b""]),
        (b"no nul", [b"no nul"]),
        (b"a\0no nul", [b"a", b"no nul"]),
        (b"\xff\xfe\0\n\x1b[31m\0", [b"\xff\xfe", b"\n\x1b[31m"]),
        (b"sp ace\0\xc3\xa4\0", [b"sp ace", b"\xc3\xa4"]),
    ],
)
def test_arguments(argv: bytes, expected: list[bytes]) -> None:
    assert decoded(b"/x\0", argv).argv == expected


def test_arguments_that_are_more_than_is_kept() -> None:
    kept = b"cat\0" + b"x" * (ARGV_MAX - 5)
    event = decoded(b"/bin/cat\0", kept, whole=1 << 20)
    assert event.argv == [b"cat", b"x" * (ARGV_MAX - 5)]
    assert event.argv_truncated


def test_arguments_that_could_not_be_read() -> None:
    event = decoded(b"/bin/ls\0", b"\0" * 9, read=0)
    assert (event.argv, event.filename, event.argv_truncated) == (None, b"/bin/ls", False)


@pytest.mark.parametrize(
    "filename", [b"", b"\0", b"/bin/ls\0", b"/no/nul", b"/" + b"d" * (FILENAME_MAX - 2) + b"\0"]
)
def test_filenames(filename: bytes) -> None:
    event = decoded(filename, b"x\0")
    assert (event.filename, event.argv) == (filename.rstrip(b"\0"), [b"x"])


@given(
    st.lists(st.lists(st.binary(max_size=9).map(lambda b: b.replace(b"\0", b"n")), min_size=1), max_size=5)
)
def test_any_arguments_of_several_execs(commands: list[list[bytes]]) -> None:
    rows = [
        decode_exec(raw_exec(b"/%d\0" % i, b"".join(a + b"\0" for a in argv)))
        for i, argv in enumerate(commands)
    ]
    assert [Exec(*row).argv for row in rows] == commands
    saved = np.array(rows, dtypes()["exec"])
    assert saved["argv"].tolist() == commands
    assert saved["filename"].tolist() == [b"/%d" % i for i in range(len(commands))]


# What numbers mean


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (0, []),
        (0x00004100, ["CLONE_VM", "CLONE_VFORK"]),
        (
            0x003D0F00,  # of pthread_create
            ["CLONE_VM", "CLONE_FS", "CLONE_FILES", "CLONE_SIGHAND", "CLONE_THREAD", "CLONE_SYSVSEM",
             "CLONE_SETTLS", "CLONE_PARENT_SETTID", "CLONE_CHILD_CLEARTID"],
        ),
        (0x01200000, ["CLONE_CHILD_CLEARTID", "CLONE_CHILD_SETTID"]),  # of fork
        (0x7E020000, ["CLONE_NEWNS", "CLONE_NEWCGROUP", "CLONE_NEWUTS", "CLONE_NEWIPC", "CLONE_NEWUSER",
                      "CLONE_NEWPID", "CLONE_NEWNET"]),
        (0x380000000, ["CLONE_IO", "CLONE_CLEAR_SIGHAND", "CLONE_INTO_CGROUP"]),
        (0x80, ["CLONE_NEWTIME"]),  # only through clone3: task_newtask never carries an exit signal
        (0x11, ["0x11"]),
        (0xFF00000000000100, ["CLONE_VM", "0xff00000000000000"]),
    ],
)  # fmt: skip
def test_clone_flags(flags: int, names: list[str]) -> None:
    assert clone_flag_names(flags) == names


def test_clone_flags_are_those_of_the_c_library() -> None:
    header = Path("/usr/include/linux/sched.h")
    if not header.exists():
        pytest.skip(f"{header} is the witness, and is not here: apt-get install linux-libc-dev")
    defined = {
        name: int(number, 16)
        for name, number in re.findall(
            r"^#define (CLONE_\w+)\s+(0x\w+?)U?L*\b", header.read_text(), re.MULTILINE
        )
    }
    assert len(defined) >= 26
    for name, bit in defined.items():
        assert clone_flag_names(bit) == [name]


@pytest.mark.parametrize(
    ("number", "name"),
    [(1, "SIGHUP"), (9, "SIGKILL"), (11, "SIGSEGV"), (15, "SIGTERM"), (31, "SIGSYS"), (32, "signal 32"),
     (33, "signal 33"), (34, "SIGRTMIN"), (37, "SIGRTMIN+3"), (63, "SIGRTMIN+29"), (64, "SIGRTMAX"),
     (65, "signal 65")],
)  # fmt: skip
def test_signal_names(number: int, name: str) -> None:
    assert signal_name(number) == name


@pytest.mark.parametrize(
    "wait_status",
    [*(code << 8 for code in (0, 1, 3, 127, 255)), *range(1, 32), *range(34, 65), 128 + 6, 128 + 11],
)
def test_wait_status(wait_status: int) -> None:
    event = exit_(wait_status=wait_status)
    if os.WIFEXITED(wait_status):
        assert (event.exit_code, event.signal) == (os.WEXITSTATUS(wait_status), None)
    else:
        expected = os.WTERMSIG(wait_status)
        assert (event.exit_code, event.signal) == (None, signal_name(expected))
        assert not (expected < 32) or event.signal == signal.Signals(expected).name
    assert event.core_dumped == os.WCOREDUMP(wait_status)


def cputime_adjust(utime: int, stime: int, rtime: int) -> tuple[int, int]:
    """kernel/sched/cputime.c of Linux 6.18 line by line, for a task whose times are asked for once."""
    if stime == 0:
        utime = rtime
        return utime, rtime - utime
    if utime == 0:
        stime = rtime
        return rtime - stime, stime
    stime = stime * rtime // (stime + utime)
    if stime > rtime:
        stime = rtime
    return rtime - stime, stime


TIME = st.integers(0, 1 << 62) | st.sampled_from([0, 1, 4_000_000])


@given(TIME, TIME, TIME)
def test_times_are_adjusted_as_the_kernel_does(utime: int, stime: int, runtime: int) -> None:
    event = exit_(utime_ns=utime, stime_ns=stime, runtime_ns=runtime)
    assert event.times_ns() == cputime_adjust(utime, stime, runtime)
    assert sum(event.times_ns()) == runtime


@pytest.mark.parametrize(
    ("event", "kind", "counted"),
    [
        (fork(), "process", "forks"),
        (fork(clone_flags=0x4100), "vfork", "forks"),
        (thread(12), "thread", "threads"),
        (fork(task_flags=0x00200000, clone_flags=0x800100), "kthread", "forks"),
    ],
)
def test_kinds_of_forks(event: Fork, kind: str, counted: str) -> None:
    assert (event.kind, counted_as(event)) == (kind, counted)


def test_what_other_events_count_for() -> None:
    events = [exec_(), exit_(), exit_(process=0), reparent()]
    assert [counted_as(event) for event in events] == ["execs", "exits", "", "reparents"]
