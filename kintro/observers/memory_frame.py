"""The frame of an address space: where user space ends, and how the kernel divides its own half.

The end of user space is tried out. The kernel's half is what the architecture's documentation says
(Documentation/arch/x86/x86_64/mm.rst, Documentation/arch/arm64/memory.rst); kallsyms confirms its code. Where
the direct map, vmalloc and vmemmap begin within their stretch is random at every boot, and not told.
"""

from __future__ import annotations

from collections.abc import Sequence

from kintro.observers.memory_records import Frame, KernelRegion
from kintro.sources.address_limits import Border, KernelSymbols

TOP = 1 << 64
READ, INFERRED = "read", "inferred"
TASK_SIZE_32 = 0xFFFFE000  # IA32_PAGE_OFFSET of arch/x86/include/asm/page_64_types.h

_X86_CODE = (
    (0xFFFFFE0000000000, 0xFFFFFE8000000000, "CPU entry areas"),
    (0xFFFFFF0000000000, 0xFFFFFF8000000000, "espfix stacks"),
    (0xFFFFFFEF00000000, 0xFFFFFFFF00000000, "EFI runtime services"),
    (0xFFFFFFFF80000000, 0xFFFFFFFFC0000000, "kernel image"),  # 1 GiB with KASLR, else 512 MiB
    (0xFFFFFFFFC0000000, 0xFFFFFFFFFF000000, "modules and BPF programs"),
    (0xFFFFFFFFFF000000, 0xFFFFFFFFFFE00000, "fixmap, vsyscall"),
)
_LAYOUTS: dict[tuple[str, int], tuple[tuple[int, int, str], ...]] = {
    ("x86_64", 47): (
        (0xFFFF800000000000, 0xFFFF880000000000, "hypervisor guard"),
        (0xFFFF880000000000, 0xFFFF888000000000, "LDT remap"),
        (0xFFFF888000000000, 0xFFFFC88000000000, "direct map of physical memory"),
        (0xFFFFC90000000000, 0xFFFFE90000000000, "vmalloc and ioremap"),
        (0xFFFFEA0000000000, 0xFFFFEB0000000000, "vmemmap, one struct page for each frame"),
        (0xFFFFEC0000000000, 0xFFFFFC0000000000, "KASAN shadow"),
        *_X86_CODE,
    ),
    ("x86_64", 56): (
        (0xFF00000000000000, 0xFF10000000000000, "hypervisor guard"),
        (0xFF10000000000000, 0xFF11000000000000, "LDT remap"),
        (0xFF11000000000000, 0xFF91000000000000, "direct map of physical memory"),
        (0xFFA0000000000000, 0xFFD2000000000000, "vmalloc and ioremap"),
        (0xFFD4000000000000, 0xFFD6000000000000, "vmemmap, one struct page for each frame"),
        (0xFFDF000000000000, 0xFFFFFC0000000000, "KASAN shadow"),
        *_X86_CODE,
    ),
    ("aarch64", 48): (
        (0xFFFF000000000000, 0xFFFF800000000000, "linear map of physical memory"),
        (0xFFFF800000000000, 0xFFFF800080000000, "modules"),
        (0xFFFF800080000000, 0xFFFFFBFFF0000000, "vmalloc, with the kernel image"),
        (0xFFFFFBFFF0000000, 0xFFFFFE0000000000, "fixed mappings, PCI I/O"),
        (0xFFFFFE0000000000, TOP, "vmemmap, one struct page for each frame"),
    ),
}


def frame(
    page_bytes: int,
    machine: str,
    border: Border | None,
    cpu_bits: int | None,
    min_addr: int | None,
    symbols: KernelSymbols,
    elf_bits: int | None = None,
) -> Frame:
    """The frame as it follows from what was tried and read. `elf_bits`: of the program that runs in it."""
    user_bits = (border.refused - 1).bit_length() if border else None
    va_bits = (user_bits + (machine == "x86_64")) if user_bits else cpu_bits
    if elf_bits == 32:
        task_size, source = TASK_SIZE_32, "inferred: a 32-bit program"
    elif border is not None:
        task_size = border.refused
        source = f"mmap in a child: 0x{border.accepted:x} accepted, 0x{border.refused:x} {border.error}"
    else:
        task_size, source = (1 << 47) - page_bytes, "inferred: no child could be made to try it"
    levels = {48: 4, 57: 5}.get(va_bits or 0) if machine == "x86_64" else None
    kernel = _kernel_half(_LAYOUTS.get((machine, user_bits or 0), ()), symbols)
    if kernel and kernel[0].start > 1 << (user_bits or 0):
        kernel = (KernelRegion(1 << (user_bits or 0), kernel[0].start, "canonical hole", INFERRED), *kernel)
    return Frame(page_bytes, task_size, source, va_bits, levels, min_addr, kernel)


def _kernel_half(
    documented: Sequence[tuple[int, int, str]], symbols: KernelSymbols
) -> tuple[KernelRegion, ...]:
    result = []
    for start, end, name in documented:
        inside = [s for s in (symbols.image, symbols.modules) if s and start <= s[0] and s[1] < end]
        if inside:
            name += f", symbols 0x{inside[0][0]:x} to 0x{inside[0][1]:x}"
        result.append(KernelRegion(start, end, name, READ if inside else INFERRED))
    return tuple(result)
