"""How far user space reaches, tried out, and what the kernel tells of its own half.

Borders are found by mmap(2) in a child, so that nothing is mapped in the caller even for a moment.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import re
import struct
from pathlib import Path
from typing import NamedTuple

from kintro.sources import host

_FIXED_NOREPLACE, _PROT_NONE = 0x100000, 0  # include/uapi/asm-generic/mman-common.h
_REPORT = struct.Struct("=QQi")  # accepted, refused, errno


class Border(NamedTuple):
    """The end of what mmap(2) accepts."""

    accepted: int  # address of the highest page that could be mapped
    refused: int  # the next one, at which the kernel said no
    error: str  # its errno


class KernelSymbols(NamedTuple):
    """First and last address of the symbols in /proc/kallsyms (proc_kallsyms(5)); None: not told."""

    image: tuple[int, int] | None  # the kernel's own
    modules: tuple[int, int] | None  # of modules and BPF programs


def user_border() -> Border | None:
    """Where user space ends, found by mapping single pages in a child. None if no child can be made."""
    read, write = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(read)
        os.close(write)
        return None
    if pid == 0:
        try:
            os.write(write, _REPORT.pack(*_search()))
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        report = pipe.read()
    with contextlib.suppress(ChildProcessError):  # SIGCHLD is ignored: nobody learns how it ended
        os.waitpid(pid, 0)
    if len(report) != _REPORT.size:
        return None
    accepted, refused, error = _REPORT.unpack(report)
    return Border(accepted, refused, errno.errorcode.get(error, str(error)))


def _search() -> tuple[int, int, int]:
    """The highest page accepted, the one behind it, and why that was refused."""
    page = mmap.PAGESIZE
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _FIXED_NOREPLACE

    def fails(address: int) -> int:
        """0 if a page can be mapped there, else the errno. What is mapped already could be, too."""
        got = libc.mmap(address, page, _PROT_NONE, flags, -1, 0)
        if got == ctypes.c_void_p(-1).value:
            code = ctypes.get_errno()
            return 0 if code == errno.EEXIST else code
        return 0 if got == address else errno.ENOMEM

    low = high = page  # in pages: the border is above low and not above high
    for bits in range(30, 64):
        low = (1 << bits - 1) // page
        high = (1 << bits) // page
        if fails(high * page):  # the first power of two that user space does not reach
            break
    while high - low > 1:
        middle = (low + high) // 2
        if fails(middle * page):
            high = middle
        else:
            low = middle
    return low * page, high * page, fails(high * page)


def cpu_va_bits(root: Path = host.ROOT) -> int | None:
    """Bits of an address that the CPU translates (/proc/cpuinfo on x86); None where it does not say."""
    text = host.read_text("proc/cpuinfo", root) or ""
    match = re.search(r"^address sizes\s*:.*?(\d+) bits virtual", text, re.MULTILINE)
    return int(match[1]) if match else None


def mmap_min_addr(root: Path = host.ROOT) -> int | None:
    """The lowest address that an unprivileged process may map (proc_sys_vm(5))."""
    return host.read_int("proc/sys/vm/mmap_min_addr", root)


def kernel_symbols(root: Path = host.ROOT) -> KernelSymbols:
    """Where the kernel's code lies; to whom the addresses may not be known (kptr_restrict) they are 0."""
    own, others = list[int](), list[int]()
    try:
        with open(root / "proc/kallsyms", "rb") as file:
            for line in file:
                words = line.split()
                address = int(words[0], 16)
                if address >> 63:  # offsets of per-CPU variables are symbols too
                    (others if len(words) > 3 else own).append(address)
    except (OSError, ValueError, IndexError):
        return KernelSymbols(None, None)
    return KernelSymbols(*((min(found), max(found)) if found else None for found in (own, others)))
