"""Names of flags and numbers against the C headers that are installed, and against what strace writes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from calls_told import build, told
from hypothesis import given
from hypothesis import strategies as st

from kintro.observers import syscall_names_files as files
from kintro.observers import syscall_names_network as network
from kintro.observers import syscall_names_tasks as tasks
from kintro.observers.syscall_signatures import arguments, signatures
from kintro.observers.syscall_values import Call, bits, flags, named, names_of, text
from kintro.sources.syscall_names import syscall_names

KERNEL = (
    "asm/ioctls asm/poll asm/prctl asm/siginfo asm/signal asm/socket asm/termbits linux/bpf "
    "linux/close_range linux/eventfd linux/eventpoll linux/fadvise linux/falloc linux/fcntl linux/fiemap "
    "linux/fs linux/futex linux/if_tun linux/in linux/in6 linux/inotify linux/io_uring linux/ipc "
    "linux/kvm linux/magic linux/membarrier "
    "linux/memfd linux/mman linux/mount linux/msg linux/netlink linux/openat2 linux/perf_event linux/pidfd "
    "linux/prctl linux/random linux/resource linux/rseq linux/sched linux/seccomp linux/sem linux/shm "
    "linux/signalfd linux/sockios linux/stat linux/tcp linux/time linux/timerfd linux/timex linux/wait "
    "linux/xattr"
)
LIBRARY = "fcntl sched signal sys/eventfd sys/mount sys/socket sys/stat netinet/in"
MACHINE = os.uname().machine


def tables(found: dict[str, Any]) -> Iterator[tuple[int, str]]:
    for value, name in found.items():
        if isinstance(name, dict):
            yield from tables(name)
        else:
            yield value, name


def known() -> dict[str, int]:
    """Name → number, of all tables; what differs by machine as it is here."""
    here = "OPEN_ARM64" if MACHINE == "aarch64" else "OPEN"
    names: dict[str, int] = {}
    for module in (files, tasks, network):
        for title, table in vars(module).items():
            other = title.startswith("OPEN") and title != here
            if isinstance(table, dict) and title.isupper() and title[0] != "_" and not other:
                for value, name in tables(table):
                    if re.fullmatch(r"[A-Z_]\w+", name):
                        assert names.setdefault(name, value) == value, name
    return names


def compiled(names: list[str], headers: str, directory: Path) -> dict[str, int]:
    """Name → number, as the headers have it; names that they have not are left out."""
    source = directory / "names.c"

    def compile_with(names: list[str]) -> str:
        lines = [f"#if __has_include(<{h}.h>)\n#include <{h}.h>\n#endif" for h in headers.split()]
        lines += ["#include <stdio.h>", "int main(void) {"]
        lines += [f'printf("{name} %lld\\n", (long long)({name}));' for name in names]
        source.write_text("#define _GNU_SOURCE\n" + "\n".join(lines) + "\n}\n")
        command = ["gcc", "-w", "-o", directory / "names", source]
        done = subprocess.run(
            command, capture_output=True, text=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}
        )
        return done.stderr

    unknown = set(re.findall(r"'(\w+)' undeclared", compile_with(names)))
    left = compile_with([name for name in names if name not in unknown])
    assert left == "", left
    lines = subprocess.run(
        [directory / "names"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return {name: int(value) for name, value in (line.split() for line in lines)}


def test_numbers_are_those_of_the_headers(tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc reads the headers, and is not installed")
    ours = known()
    theirs = compiled(list(ours), KERNEL, tmp_path)
    theirs |= compiled([name for name in ours if name not in theirs], LIBRARY, tmp_path)
    assert len(theirs) > 0.85 * len(ours)  # the rest is newer than the headers, or inside of the kernel
    wrong = {
        name: hex(value) for name, value in theirs.items() if value & 0xFFFFFFFF != ours[name] & 0xFFFFFFFF
    }
    assert wrong == {}


# Call, the place of an argument, and the values that are told of it
ONES = [1 << bit for bit in range(32)]
BITS = [0, *ONES, 3, 7, 0x40001, 0xFFFF]
NUMBERS = list(range(48))
# Names that strace 6.1 has, and the man pages' that we have
SAME = {"FASYNC": "O_ASYNC", "WSTOPPED": "WUNTRACED"}
SPOKEN: list[tuple[str, int, list[int], dict[int, int]]] = [
    ("openat", 2, [0, 1, 2, 3, *ONES, 0o20200000, 0o4010000, 0o2204000], {}),
    ("mmap", 2, [0, 1, 2, 3, 4, 7, 8, 0x1000000], {}),
    ("mmap", 3, [1, 2, 3, 0x22, 0x32, 0x4022, 0x20022, 0x100022], {}),
    ("madvise", 2, NUMBERS, {}),
    ("mremap", 3, [0, 1, 2, 3, 5, 7], {}),
    ("msync", 2, [0, 1, 2, 4, 5], {}),
    ("lseek", 2, list(range(5)), {}),
    ("access", 1, list(range(8)), {}),
    ("faccessat2", 3, [0, 0x100, 0x200, 0x300, 0x1000], {}),
    ("newfstatat", 3, [0, 0x100, 0x800, 0x1000, 0x1900], {}),
    ("statx", 2, [0, 0x100, 0x800, 0x1000, 0x2000, 0x4000, 0x4900], {}),
    ("statx", 3, [0, 1, 0x7FF, 0xFFF, 0x17FF, 0x800], {}),
    ("unlinkat", 2, [0, 0x200], {}),
    ("renameat2", 4, [0, 1, 2, 4, 6], {}),
    ("chmod", 1, [0, 1, 0o44, 0o644, 0o4755, 0o1777, 0o7777], {}),
    ("fcntl", 1, [*range(12), 15, 16, 36, 37, 38, *range(1024, 1027), *range(1029, 1035)], {}),
    ("fcntl", 2, [0, 1], {1: 2}),
    ("fcntl", 2, [0, 1, 2, 0o2000, 0o4000, 0o6001], {1: 4}),
    ("flock", 1, [1, 2, 4, 5, 6, 8], {}),
    ("fallocate", 1, [0, 1, 2, 3, 8, 0x10, 0x20, 0x40], {}),
    ("memfd_create", 1, [0, 1, 2, 3, 4], {}),
    ("pipe2", 1, [0, 0o2000000, 0o4000, 0o2004000, 0o40000], {}),
    ("eventfd2", 1, [0, 1, 0o2000000, 0o2004001], {}),
    ("epoll_create1", 0, [0, 0o2000000], {}),
    ("epoll_ctl", 1, [1, 2, 3], {}),
    ("inotify_init1", 0, [0, 0o2000000, 0o4000], {}),
    ("inotify_add_watch", 2, [1, 2, 0x100, 0x1000000, 0x80000002], {}),
    ("splice", 5, [0, 1, 2, 4, 8, 15], {}),
    ("umount2", 1, [0, 1, 2, 4, 8, 15], {}),
    ("mount", 3, [0, 1, 2, 15, 0x1000, 0x4000, 0x5000, 0x80000, 0x200000], {}),
    ("fadvise64", 3, list(range(6)), {}),
    ("mlockall", 0, [1, 2, 3, 4, 7], {}),
    ("ioctl", 1, [0x5401, 0x5402, 0x5413, 0x541B, 0x5421, 0x5451, 0x540F, 0x40049409, 0x80045430], {}),
    ("socket", 0, list(range(1, 45)), {}),
    ("socket", 1, [1, 2, 3, 4, 5, 10, 0o2000001, 0o2004002], {0: 1}),
    ("socket", 2, [0, 1, 6, 17, 132, 136, 255], {0: 2, 1: 1}),
    ("socket", 2, [0, 6, 17, 58], {0: 10, 1: 1}),
    ("socket", 2, [0, 4, 9, 12, 15, 16], {0: 16, 1: 3}),
    ("sendto", 3, [bit for bit in BITS if bit < 0x20000], {}),
    ("shutdown", 1, [0, 1, 2], {}),
    ("setsockopt", 2, list(range(1, 74)), {1: 1}),
    ("setsockopt", 2, list(range(1, 35)), {1: 6}),
    ("setsockopt", 1, [0, 1, 6, 17, 41, 263, 270], {}),
    ("kill", 1, [0, *range(1, 32)], {}),
    ("rt_sigprocmask", 0, [0, 1, 2], {}),
    ("wait4", 2, [0, 1, 2, 3, 8, 0x40000000, 0x80000001], {}),
    ("waitid", 3, [4, 5, 2, 6, 0x1000004], {}),
    ("waitid", 0, [0, 1, 2, 3], {}),
    ("prlimit64", 1, list(range(16)), {}),
    ("getrusage", 0, [0, 1, -1], {}),
    ("unshare", 0, [0x80, 0x200, 0x20000, 0x7E020000], {}),
    ("futex", 1, [0, 128, 1, 129, 3, 4, 5, 6, 7, 8, 9, 137, 393, 138, 11, 12, 13], {}),
    ("sched_setscheduler", 1, [0, 1, 2, 3, 5, 6], {}),
    ("clock_gettime", 0, list(range(10)), {}),
    ("clock_nanosleep", 1, [0, 1], {}),
    ("timerfd_create", 1, [0, 0o4000, 0o2004000], {}),
    ("timerfd_settime", 1, [0, 1, 3], {}),
    ("setitimer", 0, [0, 1, 2], {}),
    ("signalfd4", 3, [0, 0o4000, 0o2004000], {}),
    ("getrandom", 2, [0, 1, 2, 4, 5], {}),
    ("msgget", 1, [0, 0o600, 0o1600, 0o3600], {}),
    ("msgget", 0, [0, 0x1234], {}),
    ("msgrcv", 4, [0, 0o4000, 0o10000, 0o14000], {}),
    ("shmget", 2, [0o600, 0o1600, 0o5600], {}),
    ("shmat", 2, [0, 0o10000, 0o20000], {}),
    ("seccomp", 0, [0, 1, 2, 3], {}),
    ("perf_event_open", 4, [0, 1, 8, 9], {}),
    ("membarrier", 0, [0, 1, 2, 8, 16], {}),
    ("prctl", 0, [n for n in range(1, 46) if n not in (17, 18, 43, 44)], {}),
    ("mq_open", 1, [0, 1, 0o102, 0o300], {}),
    ("mq_open", 2, [0o600], {1: 0o102}),
    ("dup3", 2, [0, 0o2000000], {}),
    ("close_range", 2, [0, 2, 4, 6], {}),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("told"))


def outer(line: str) -> list[str]:
    """The arguments in a line of strace's, without comments; commas inside of brackets part none."""
    inner = re.sub(r" /\*.*?\*/", "", line[line.index("(") + 1 : -1])
    return re.findall(r"(?:[^,{}\[\]]|\{[^}]*\}|\[[^\]]*\])+", inner.replace(", ", ","))


@pytest.mark.skipif(MACHINE != "x86_64", reason="arguments of the witness are x86-64's")
@pytest.mark.parametrize(("name", "at", "values", "others"), SPOKEN)
def test_a_flag_is_called_what_strace_calls_it(
    program: Path, name: str, at: int, values: list[int], others: dict[int, int]
) -> None:
    numbers = {called: number for number, called in syscall_names().items()}
    calls = []
    for value in values:
        registers = [0] * 6
        for place, other in {**others, at: value}.items():
            registers[place] = other & (1 << 64) - 1
        calls.append((numbers[name], registers))
    signature = signatures(MACHINE)[name]
    theirs = told(program, calls)
    assert len(theirs) == len(calls)
    wrong = []
    for (_, registers), line in zip(calls, theirs):
        told_by_us = arguments(signature, Call(registers, {})).get(signature.arguments[at].name)
        ours, parts = text(told_by_us), outer(line)
        if at < len(parts) and "???" not in parts[at]:
            meant = [
                "|".join(SAME.get(word, word) for word in parts[at].split("|")),
                *parts[at].split(" or "),
            ]
            if ours not in (*meant, parts[at]):
                wrong.append((ours, line))
    assert wrong == []


@given(st.integers(0, 0xFFFFFFFF))
def test_names_of_flags_are_the_whole_value(value: int) -> None:
    numbers = {name: number for number, name in files.OPEN.items()}
    parts = [numbers[name] if name in numbers else int(name, 0) for name in names_of(files.OPEN, value)]
    total = 0
    for part in parts:
        assert total & part == 0  # none is told twice
        total |= part
    assert total == value


def test_tables_from_text() -> None:
    assert named("A_", "X Y=5 Z") == {0: "A_X", 5: "A_Y", 6: "A_Z"}
    assert bits("B_", "N=0 X=1 Y Z=0x10 Q") == {0: "B_N", 1: "B_X", 2: "B_Y", 16: "B_Z", 32: "B_Q"}
    show = flags({4: "FOUR", 8: "EIGHT"}, 3, {0: "NONE", 2: "TWO"})
    shown = [show(value, None, Call([], {})) for value in (0, 6, 1, 14 | 1 << 40)]
    assert shown == ["NONE", "TWO|FOUR", "0x1", "TWO|FOUR|EIGHT"]
