"""What strace tells of system calls that are refused before they do anything: a witness for ours."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

BASE = 0x10000000  # where the program has the memory that arguments can point to

_PROGRAM = f"""
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
/* stdin: how many calls, then each one's number and six arguments as u64, then the memory at {BASE:#x}. */
int main(void) {{
    struct sock_filter refuse[] = {{{{0x20, 0, 0, 0}}, {{0x15, 1, 0, SYS_exit_group}},
                                   {{6, 0, 0, 0x50000 | 38}}, {{6, 0, 0, 0x7fff0000}}}};
    struct sock_fprog program = {{4, refuse}};
    unsigned long calls, *at;
    char *memory = mmap((void *){BASE:#x}, 1 << 16, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (read(0, &calls, 8) != 8 || !(at = malloc(calls * 56)))
        return 2;
    for (long got = 0, n; got < calls * 56; got += n)
        if ((n = read(0, (char *)at + got, calls * 56 - got)) <= 0)
            return 3;
    for (long got = 0, n; (n = read(0, memory + got, (1 << 16) - got)) > 0; got += n)
        ;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &program, 0, 0))
        return 4;
    for (; calls--; at += 7)
        syscall(at[0], at[1], at[2], at[3], at[4], at[5], at[6]);
    syscall(SYS_exit_group, 0);
}}
"""


def build(directory: Path) -> Path:
    """The program; the test is skipped without a compiler or strace."""
    for tool in ("gcc", "strace"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is a part of the witness, and is not installed")
    source = directory / "calls.c"
    source.write_text(_PROGRAM)
    subprocess.run(["gcc", "-O1", "-w", "-o", directory / "calls", source], check=True)
    return directory / "calls"


def told(
    program: Path, calls: Sequence[tuple[int, Sequence[int]]], memory: bytes = b"", *options: str
) -> list[str]:
    """What strace writes of each of these (number, arguments): `openat(3, NULL, O_RDONLY)`."""
    words = [
        word for number, arguments in calls for word in (number, *arguments, *[0] * (6 - len(arguments)))
    ]
    given = b"".join((word & (1 << 64) - 1).to_bytes(8, "little") for word in (len(calls), *words))
    done = subprocess.run(
        ["strace", "-s", "4096", *options, "-o", "/dev/stderr", program],
        input=given + memory,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done
    _, _, behind = done.stderr.decode().partition("SECCOMP_MODE_FILTER, ")
    return re.findall(r"^(\w+\(.*\)) += -1 ENOSYS", behind, re.MULTILINE)
