"""Reads a process's address space: its mappings, and the clues by which their kinds are found out."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Mapping

from kintro.errors import EX_NOINPUT, EX_NOPERM, KintroError
from kintro.observers.memory_frame import frame
from kintro.observers.memory_kinds import Clues, Key, regions
from kintro.observers.memory_records import AddressSpace
from kintro.sources import address_limits as limits
from kintro.sources import mappings as m
from kintro.sources import procfs
from kintro.sources.elf import Elf, read_elf
from kintro.sources.proc_limits import Auxv, read_auxv

_TRIES, _PAUSE_S = 5, 0.001  # for the stack pointers of threads that run


def read_space(pid: int, kernel_symbols: bool = False) -> AddressSpace:
    """The address space of a process. Without the right to read smaps, regions have no usage.

    `kernel_symbols`: compare the kernel's half with /proc/kallsyms, which takes 0.1 s. KintroError: no such
    process, not permitted, or no address space (a kernel thread, a zombie).
    """
    facts = procfs.read_stat(pid)
    found: list[tuple[m.Mapping, m.Usage | None]]
    try:
        found = [*m.read_smaps(pid)]
    except KintroError as error:
        if error.exit_code != EX_NOPERM:
            raise
        found = [(mapping, None) for mapping in m.read_maps(pid)]
    rollup = _rollup(pid) if found and found[0][1] is not None else None
    if not found:
        raise KintroError(_why_none(facts), None, EX_NOINPUT)
    auxv = read_auxv(pid)
    clues = Clues(
        files=_elf_files(pid, (mapping for mapping, _ in found)),
        vdso=auxv.sysinfo_ehdr if auxv else None,
        start_brk=facts.start_brk or None,
        start_stack=facts.startstack or None,
        stack_pointers=_stack_pointers(pid),
    )
    page = os.sysconf("SC_PAGESIZE")
    symbols = limits.kernel_symbols() if kernel_symbols else limits.KernelSymbols(None, None)
    space = frame(
        page,
        os.uname().machine,
        limits.user_border(),
        limits.cpu_va_bits(),
        limits.mmap_min_addr(),
        symbols,
        _elf_bits(auxv),
    )
    kinds = tuple(regions(found, clues, page))
    return AddressSpace(pid, facts.comm, procfs.read_exe(pid), space, kinds, rollup)


def _rollup(pid: int) -> m.Usage | None:
    try:
        return m.read_smaps_rollup(pid)
    except KintroError:  # it has ended, or the kernel is older than 4.14
        return None


def _why_none(facts: procfs.Stat) -> str:
    name = f"process {facts.pid} ({facts.comm.decode('utf-8', 'backslashreplace')})"
    if facts.is_kernel_thread:
        return f"{name} is a kernel thread: it has no address space of its own"
    if facts.state in "ZX":
        return f"{name} has ended: its address space is gone"
    return f"{name} is ending: it has no address space any more"


def _elf_bits(auxv: Auxv | None) -> int | None:
    return 8 * auxv.word_bytes if auxv else None


def _elf_files(pid: int, found: Iterable[m.Mapping]) -> Mapping[Key, Elf]:
    """The program headers of the mapped files that are ELF files and can be read."""
    files: dict[Key, Elf] = {}
    seen: set[Key] = set()
    for mapping in found:
        key = mapping.dev, mapping.inode
        if not mapping.inode or key in seen or not mapping.path.startswith(b"/"):
            continue
        seen.add(key)
        link = b"/proc/%d/map_files/%x-%x" % (pid, mapping.start, mapping.end)
        for path in (link, b"/proc/%d/root" % pid + mapping.path, mapping.path):
            elf = read_elf(path, mapping.inode) if _is_regular(path) else None
            if elf is not None:
                files[key] = elf
                break
    return files


def _is_regular(path: bytes) -> bool:
    """Asked before a file is opened: to open a device can do things."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def _stack_pointers(pid: int) -> Mapping[int, int]:
    """tid → stack pointer of the threads beside the first, as far as they sleep now or soon."""
    try:
        missing = [tid for tid in procfs.thread_ids(pid) if tid != pid]
    except KintroError:
        return {}
    found: dict[int, int] = {}
    for attempt in range(_TRIES):
        for tid in list(missing):
            pointer = procfs.read_stack_pointer(pid, tid)
            if pointer:
                found[tid] = pointer
                missing.remove(tid)
        if not missing or (not found and attempt):  # not one of them may be asked
            break
        time.sleep(_PAUSE_S)
    return found
