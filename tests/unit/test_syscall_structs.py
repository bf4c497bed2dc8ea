"""Structs behind arguments: members where the C headers have them, and how they are shown."""

from __future__ import annotations

import os
import re
import shutil
import socket
import struct
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kintro.observers.syscall_structs import (
    LAYOUTS,
    LAYOUTS_OTHER,
    LAYOUTS_X86,
    bit_numbers,
    signal_set,
    socket_address,
    structures,
    wait_status,
)
from kintro.observers.syscall_values import Call

NONE = Call([0] * 6, {})
HEADERS = (
    "fcntl mqueue poll sched signal stdio sys/epoll sys/resource sys/sem sys/socket sys/stat sys/statfs "
    "sys/sysinfo sys/time sys/uio sys/ioctl linux/io_uring linux/openat2 linux/perf_event linux/sched"
)
OF_C = {"stack": "stack_t", "siginfo": "siginfo_t", "siginfo_child": "siginfo_t"}
UNION = {"data": "data.u64"}
# No header for programs has these as the kernel has them
NOT_IN_C = {"sigaction", "sched_attr", "msgbuf"}
PATTERN = bytes((7 * at + 1) % 251 for at in range(512))


def test_members_are_where_the_headers_have_them(tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc reads the headers, and is not installed")
    layouts = {**LAYOUTS, **(LAYOUTS_X86 if os.uname().machine == "x86_64" else LAYOUTS_OTHER)}
    raw: Any = defaultdict(lambda: lambda value, data, call: value)
    ours, lines = {}, []
    for name, memory in structures(layouts, raw).items():
        for member, value in memory.show(PATTERN, NONE).items():
            if name in NOT_IN_C or not isinstance(value, int):
                continue
            ours[f"{name}.{member}"] = value & (1 << 64) - 1
            kind = OF_C.get(name, f"struct {name}")
            in_c = f"(unsigned long long)s.{UNION.get(member, member)}"
            copied = f"{{ {kind} s; memcpy(&s, pattern, sizeof s);"
            lines.append(f'{copied} printf("{name}.{member} %llu\\n", {in_c}); }}')
    source = tmp_path / "structs.c"
    source.write_text(
        "#define _GNU_SOURCE\n#include <string.h>\n"
        + "".join(f"#include <{header}.h>\n" for header in HEADERS.split())
        + f"static const unsigned char pattern[] = {{{', '.join(map(str, PATTERN))}}};\n"
        + "int main(void) {\n" + "\n".join(lines) + "\n}\n"
    )  # fmt: skip
    subprocess.run(["gcc", "-w", "-o", tmp_path / "structs", source], check=True)
    printed = subprocess.run([tmp_path / "structs"], capture_output=True, text=True, check=True).stdout
    theirs = {name: int(value) for name, value in re.findall(r"(\S+) (\d+)", printed)}
    assert len(theirs) > 60
    assert theirs == ours


@given(st.integers(0, 0xFFFF) | st.sampled_from([0xFF, 0xFFFF, 0x57F, 0x8B]))
def test_a_wait_status_is_what_wait_says(status: int) -> None:
    [told] = wait_status(struct.pack("=I", status), NONE)
    assert told.startswith("{WIFEXITED") == os.WIFEXITED(status)
    assert told.startswith("{WIFSTOPPED") == os.WIFSTOPPED(status)
    assert told.startswith("{WIFCONTINUED") == os.WIFCONTINUED(status)
    if os.WIFSIGNALED(status):
        assert told.startswith("{WIFSIGNALED") and ("WCOREDUMP" in told) == os.WCOREDUMP(status)
    if os.WIFEXITED(status):
        assert told == f"{{WIFEXITED(s) && WEXITSTATUS(s) == {os.WEXITSTATUS(status)}}}"


@given(st.integers(0, (1 << 64) - 1))
def test_a_set_of_signals_and_its_opposite(mask: int) -> None:
    shown = signal_set(mask, None, NONE)
    other = signal_set(~mask & (1 << 64) - 1, None, NONE)
    assert len(shown.split()) <= 32 or shown.startswith("~")
    if bin(mask).count("1") != 32:
        assert shown.lstrip("~") == other.lstrip("~") and shown != other


def test_sets_of_signals() -> None:
    assert signal_set(0, None, NONE) == "[]"
    assert signal_set(1 << 1 | 1 << 16, None, NONE) == "[INT CHLD]"
    assert signal_set(~(1 << 31 | 1 << 32), None, NONE) == "~[32 33]"
    assert signal_set((1 << 64) - 1, None, NONE) == "~[]"


@given(st.sets(st.integers(0, 1023)))
def test_numbers_of_bits(numbers: set[int]) -> None:
    data = sum(1 << number for number in numbers).to_bytes(128, "little")
    assert bit_numbers(data, NONE) == sorted(numbers)


def test_addresses_of_sockets() -> None:
    inet = (
        struct.pack("=H", socket.AF_INET) + struct.pack("!H", 8080) + socket.inet_aton("127.0.0.1") + bytes(8)
    )
    assert socket_address(inet, NONE) == {"sa_family": "AF_INET", "sin_port": 8080, "sin_addr": "127.0.0.1"}
    assert socket_address(struct.pack("=H", 1), NONE) == {"sa_family": "AF_UNIX"}
    assert socket_address(struct.pack("=H", 1) + b"/run/x\0rest", NONE)["sun_path"] == b"/run/x"
    netlink = struct.pack("=HHII", 16, 0, 5, 3)
    assert socket_address(netlink, NONE) == {"sa_family": "AF_NETLINK", "nl_pid": 5, "nl_groups": "0x3"}
    assert socket_address(struct.pack("=H", 999) + b"ab", NONE) == {"sa_family": "0x3e7", "sa_data": b"ab"}
    assert socket_address(inet[:5], NONE) == {"sa_family": "AF_INET", "sa_data": inet[2:5]}
