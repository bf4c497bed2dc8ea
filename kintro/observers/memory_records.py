"""What is seen of an address space: regions with their kind, and the frame they lie in."""

from __future__ import annotations

from typing import NamedTuple

from kintro.sources.mappings import Mapping, Usage

KINDS = (
    "text", "rodata", "data", "bss", "heap", "stack", "thread-stack", "anon", "file", "shared", "memfd",
    "shm", "vdso", "vvar", "vsyscall", "gap",
)  # fmt: skip


class Region(NamedTuple):
    """A mapping, and what it is."""

    mapping: Mapping
    usage: Usage | None  # None: only /proc/PID/maps could be read, or it is the vsyscall page
    kind: str  # one of KINDS
    what: str  # for people: `libc.so.6, code`; from strangers' names, not escaped
    reason: str  # how the kind is known: `PT_LOAD r-x of the ELF file`, `holds start_stack of /proc/PID/stat`
    owner: str = ""  # what it is a part of: the path of a file, also for its bss, else `[heap]`, `[anon]`, …


class Frame(NamedTuple):
    """The address space that regions lie in. Addresses in bytes; None where not known."""

    page_bytes: int
    task_size: int  # first address that user space cannot map
    task_size_source: str  # how it is known
    va_bits: int | None  # bits of a virtual address that the CPU translates
    levels: int | None  # of page tables
    mmap_min_addr: int | None  # below it nothing is mapped (proc_sys_vm(5))
    kernel: tuple[KernelRegion, ...]  # the other half, ascending


class KernelRegion(NamedTuple):
    """A stretch of kernel addresses."""

    start: int
    end: int  # exclusive; 1 << 64 at the top
    name: str  # `direct map`, `vmalloc`, `kernel text`, `modules`, `canonical hole`
    source: str  # `read` (kallsyms) or `inferred` (Documentation/arch/x86/x86_64/mm.rst)


class AddressSpace(NamedTuple):
    """A snapshot of one process's memory."""

    pid: int
    comm: bytes
    exe: bytes | None
    frame: Frame
    regions: tuple[Region, ...]  # by address, ascending
    rollup: Usage | None = None  # the kernel's own sums, read right afterwards
