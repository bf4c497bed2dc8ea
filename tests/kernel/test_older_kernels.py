"""What the compiler here has made of the probes, held to what older kernels and other compilers ask of it.

Stands in for machines that are not here; `script/test --kernels` starts some of them.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import pytest

from kintro.observers import switches_read, thread_records
from kintro.sources.bpf import Loading
from kintro.sources.filters import Filters
from kintro.sources.kept import Store

pytestmark = pytest.mark.kernel

# linux/bpf_common.h, linux/bpf.h
LDX, ST, STX, JMP, JMP32 = 1, 2, 3, 5, 6
ADD_TO_REGISTER, ATOMIC = 0x07, 0xC0
JA, CALL, EXIT = 0x00, 0x80, 0x90
FRAME = 10
STACK_BYTES, SPARE_BYTES = 512, 64  # the second for a compiler that inlines more than this one

BY_TID = {"THREADS": 32768, "TID_INDEX": 1}
HASHED = {"THREADS": thread_records.THREADS}
TASKS = {"TASKS": switches_read.TASKS, "TIDS": switches_read.TIDS}
VARIANTS = [
    ("lifecycle", {}), ("lifecycle", {"THREADS": 1}),
    ("syscalls", BY_TID | {"BY_PROCESS": 1}), ("syscalls", HASHED | {"BY_PROCESS": 1}),
    ("calls", BY_TID), ("calls", HASHED), ("traffic", BY_TID), ("traffic", HASHED),
    ("switches", TASKS), ("switches", TASKS | {"TIMELINE": 1}),
    ("switches", TASKS | {"TIDS": 32768, "TID_INDEX": 1, "TIMELINE": 1}),
    ("faults", {"EVENTS": 1}), ("task", {}),
]  # fmt: skip


class Instruction(NamedTuple):
    opcode: int
    registers: int
    offset: int
    value: int

    @property
    def kind(self) -> int:
        return self.opcode & 7

    @property
    def to(self) -> int:
        return self.registers & 15

    @property
    def source(self) -> int:
        return self.registers >> 4


def programs(name: str, defines: dict[str, int], filters: Filters) -> dict[str, list[Instruction]]:
    loading = Loading(name, filters, defines)
    loading.result()
    loading.close()
    assert loading._key is not None
    image = Store().read(loading._key)
    assert image is not None
    return {
        program: [Instruction(*parts) for parts in struct.iter_unpack("=BBhi", bytes.fromhex(code))]
        for program, (code, _) in image.programs.items()
    }


def stack_bytes(code: list[Instruction]) -> int:
    offsets = [0]
    for one in code:
        written = one.kind in (ST, STX) and one.to == FRAME
        if written or (one.kind == LDX and one.source == FRAME):
            offsets.append(one.offset)
        elif one.opcode == ADD_TO_REGISTER and -STACK_BYTES <= one.value < 0:  # of an address in the frame
            offsets.append(one.value)
    return -min(offsets)


def follow(code: list[Instruction], at: int) -> list[tuple[int, bool]]:
    """Where it goes on, and whether a loop may be closed that way in Linux 6.1 (check_cfg, verifier.c)."""
    one = code[at]
    if one.kind not in (JMP, JMP32) or one.opcode & 0xF0 == CALL:
        return [(at + 1, False)]
    if one.opcode & 0xF0 == EXIT:
        return []
    if one.opcode & 0xF0 == JA:
        return [(at + 1 + one.offset, True)]
    return [(at + 1, True), (at + 1 + one.offset, True)]


def loops_by_falling_through(code: list[Instruction]) -> list[tuple[int, int]]:
    found, done, on_path = [], set[int](), {0}
    path = [(0, iter(follow(code, 0)))]
    while path:
        at, ways = path[-1]
        for to, may_close in ways:
            if to in on_path and not may_close:
                found.append((at, to))
            elif to not in on_path and to not in done:
                on_path.add(to)
                path.append((to, iter(follow(code, to))))
                break
        else:
            path.pop()
            on_path.remove(at)
            done.add(at)
    return found


@pytest.mark.parametrize("filters", [Filters(), Filters(pid=1, uid=0, comm=b"x")], ids=["all", "filtered"])
@pytest.mark.parametrize(
    ("name", "defines"), VARIANTS, ids=[f"{name}-{'-'.join(defines)}" for name, defines in VARIANTS]
)
def test_programs(name: str, defines: dict[str, int], filters: Filters) -> None:
    for program, code in programs(name, defines, filters).items():
        assert loops_by_falling_through(code) == [], program
        # The result of an atomic operation is there from 5.12 on: its code is not 0, as that of an addition.
        assert [one for one in code if one.kind == STX and one.opcode & 0xE0 == ATOMIC and one.value] == [], (
            program
        )
        assert stack_bytes(code) <= STACK_BYTES - SPARE_BYTES, program


def test_what_is_looked_for_is_found() -> None:
    """A loop as LLVM 14 laid one out, an atomic addition with its result, a deep stack."""
    count = Instruction(0x07, 1, 0, 1)
    loop = [
        Instruction(0x05, 0, 1, 0), count, Instruction(0x15, 1, 1, 8), Instruction(0x05, 0, -3, 0),
        Instruction(0x95, 0, 0, 0),
    ]  # fmt: skip
    assert loops_by_falling_through(loop) == [(1, 2)]
    bottom_tested = [count, Instruction(0x55, 1, -2, 8), Instruction(0x95, 0, 0, 0)]
    assert loops_by_falling_through(bottom_tested) == []
    assert stack_bytes([Instruction(0x7B, FRAME, -480, 0)]) == 480
