"""The frame of an address space on machines that are not this one."""

from __future__ import annotations

import pytest

from kintro.observers.memory_frame import INFERRED, READ, TOP, frame
from kintro.observers.memory_records import Frame
from kintro.sources.address_limits import Border, KernelSymbols, cpu_va_bits, user_border

PAGE = 4096
UNTOLD = KernelSymbols(None, None)
ENDS = {("x86_64", 47): (1 << 47) - PAGE, ("x86_64", 56): (1 << 56) - PAGE, ("aarch64", 48): 1 << 48}


def made(machine: str, bits: int, symbols: KernelSymbols = UNTOLD, elf_bits: int = 64) -> Frame:
    end = ENDS[machine, bits]
    return frame(PAGE, machine, Border(end - PAGE, end, "ENOMEM"), None, 65536, symbols, elf_bits)


@pytest.mark.parametrize(
    ("machine", "bits", "va_bits", "levels"),
    [("x86_64", 47, 48, 4), ("x86_64", 56, 57, 5), ("aarch64", 48, 48, None)],
)
def test_machines(machine: str, bits: int, va_bits: int, levels: int | None) -> None:
    found = made(machine, bits)
    assert (found.va_bits, found.levels) == (va_bits, levels)
    assert found.task_size == ENDS[machine, bits]
    assert found.task_size_source.startswith("mmap in a child: 0x")
    assert (found.page_bytes, found.mmap_min_addr) == (PAGE, 65536)
    hole = found.kernel[0]
    assert (hole.start, hole.end, hole.name) == (1 << bits, TOP - (1 << bits), "canonical hole")
    for below, above in zip(found.kernel, found.kernel[1:]):
        assert below.start < below.end <= above.start
    assert found.kernel[-1].end <= TOP
    assert {region.source for region in found.kernel} == {INFERRED}


@pytest.mark.parametrize("bits", [47, 56])
def test_symbols_confirm_where_the_kernel_lies(bits: int) -> None:
    symbols = KernelSymbols(
        (0xFFFFFFFF9C000000, 0xFFFFFFFF9E000000), (0xFFFFFFFFC0100000, 0xFFFFFFFFC0200000)
    )
    read = {r.name.split(",")[0] for r in made("x86_64", bits, symbols).kernel if r.source == READ}
    assert read == {"kernel image", "modules and BPF programs"}


def test_symbols_elsewhere_confirm_nothing() -> None:
    symbols = KernelSymbols((0xFFFF800000000000, 0xFFFFFFFF9E000000), None)
    assert {region.source for region in made("x86_64", 47, symbols).kernel} == {INFERRED}


def test_a_program_of_32_bits() -> None:
    """It has less, and the kernel's half is where it always is."""
    found = made("x86_64", 47, elf_bits=32)
    assert found.task_size == 0xFFFFE000 and "32-bit" in found.task_size_source
    assert (found.va_bits, found.kernel) == (48, made("x86_64", 47).kernel)


@pytest.mark.parametrize("cpu_bits", [48, None])
def test_without_a_border(cpu_bits: int | None) -> None:
    found = frame(PAGE, "x86_64", None, cpu_bits, None, UNTOLD, 64)
    assert found.task_size == (1 << 47) - PAGE and found.task_size_source.startswith("inferred")
    assert (found.va_bits, found.mmap_min_addr, found.kernel) == (cpu_bits, None, ())


def test_a_machine_without_a_description() -> None:
    found = frame(PAGE, "riscv64", Border((1 << 38) - 2 * PAGE, 1 << 38, "ENOMEM"), None, 0, UNTOLD)
    assert (found.task_size, found.kernel, found.levels) == (1 << 38, (), None)


def test_no_child_no_border(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("os.fork", refuse)
    assert user_border() is None


def test_the_border_of_this_machine() -> None:
    border = user_border()
    assert border is not None
    assert border.refused - border.accepted == PAGE and border.error == "ENOMEM"
    bits = cpu_va_bits()
    assert bits is None or border.refused <= 1 << bits
