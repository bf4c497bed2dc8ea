"""Experiments with the address space: where a process may go, how wide its addresses are, where they end."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import random
import signal
from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

from kintro.concepts import space_apart, space_forbidden, space_memory
from kintro.concepts.experiment import Experiment, Finding, NotObserved, Picture, judged
from kintro.concepts.scene import Actor, Play, drop_rights
from kintro.concepts.space_forbidden import marked, power_of_two, read_at
from kintro.concepts.words import Value
from kintro.errors import KintroError
from kintro.observers.memory_layout import layout
from kintro.observers.memory_records import AddressSpace
from kintro.observers.memory_space import read_space
from kintro.shapes import Layout
from kintro.sources import address_limits
from kintro.sources.last_signal import Death
from kintro.sources.mappings import Mapping, read_maps
from kintro.sources.proc_limits import read_auxv
from kintro.sources.processes import read_snapshot

_FIXED_NOREPLACE, _PROT_NONE = 0x100000, 0  # include/uapi/asm-generic/mman-common.h
_FAILED = ctypes.c_void_p(-1).value
_SI_KERNEL = 0x80  # include/uapi/asm-generic/siginfo.h: of no address, as after a general protection fault

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]


class Width(NamedTuple):
    """How wide addresses are, in several ways to know it."""

    pointer_bytes: int
    highest_pointer: int
    auxv_bytes: int  # of a word of what the kernel hands to a program
    user_border: int  # the first address that cannot be mapped
    va_bits: int | None  # that are translated
    cpu_bits: int | None  # that the CPU could translate
    hole_address: int
    hole: Death  # of who read there
    hole_faults: int | None  # page faults there, by the kernel's tracepoint; None: they are not told
    layout: Layout


def observe_width() -> Width:
    space, auxv = read_space(os.getpid(), kernel_symbols=True), read_auxv(os.getpid())
    frame, drawn = space.frame, layout(space)
    border = power_of_two(frame.task_size)
    address = random.randrange(border, (1 << 64) - border) if border < 1 << 63 else border
    death, faults = read_at(address)
    return Width(
        ctypes.sizeof(ctypes.c_void_p),
        ctypes.c_void_p(-1).value or 0,
        auxv.word_bytes if auxv else 0,
        frame.task_size,
        frame.va_bits,
        address_limits.cpu_va_bits(),
        address,
        death,
        None if faults is None else sum(fault.address == address for fault in faults),
        marked(drawn, address, death),
    )


def judge_width(seen: Width) -> Finding:
    bits = 8 * seen.pointer_bytes
    facts: dict[str, Value] = {
        "pointer_bytes": seen.pointer_bytes,
        "pointer_bits": bits,
        "word_bytes": seen.auxv_bytes,
        "addresses": seen.highest_pointer + 1,
        "translated_bits": seen.va_bits,
        "cpu_bits": seen.cpu_bits,
        "border_address": seen.user_border,
        "hole_address": seen.hole_address,
        "hole_signal": seen.hole.signal,
        "hole_code": seen.hole.code,
        "hole_faults": seen.hole_faults,
    }
    by_word = seen.auxv_bytes == seen.pointer_bytes and seen.highest_pointer + 1 == 1 << bits
    fewer = seen.va_bits is not None and seen.va_bits < bits
    # Before any page table is looked at: no page fault, or where none are told, another exception.
    untranslated = seen.hole_faults == 0 or (seen.hole_faults is None and seen.hole.code == _SI_KERNEL)
    refused = seen.hole.signal == signal.SIGSEGV and untranslated
    pictures = (Picture("untranslated", seen.layout),)
    return Finding(judged(by_word and seen.user_border <= 1 << bits, fewer and refused), facts, pictures)


class WidthOf(NamedTuple):
    """The same of another process."""

    word_bytes: int
    highest: int  # the end of its highest mapping
    va_bits: int | None


def observe_width_of(pid: int) -> WidthOf:
    auxv = read_auxv(pid)
    if auxv is None:
        raise NotObserved("no-memory")
    space = read_space(pid)
    return WidthOf(auxv.word_bytes, max(r.mapping.end for r in space.regions), space.frame.va_bits)


def judge_width_of(seen: WidthOf) -> Finding:
    bits = 8 * seen.word_bytes
    facts: dict[str, Value] = {
        "word_bytes": seen.word_bytes,
        "pointer_bits": bits,
        "highest_address": seen.highest,
        "translated_bits": seen.va_bits,
    }
    fewer = seen.va_bits is not None and seen.va_bits < bits
    return Finding(judged(seen.highest <= 1 << bits, fewer), facts)


class Border(NamedTuple):
    """Where user space ends, and what lies beyond. Addresses; None: not told."""

    accepted: int  # the highest page that could be mapped
    refused: int
    error: str
    processes: int  # whose mappings were looked at
    highest: int  # of the ends of all their mappings below the border or across it
    kernel_lowest: int | None  # of the kernel's symbols
    min_addr: int | None
    bottom: dict[str, str | None]  # `zero`, `allowed` → error of mapping there without rights; None: mapped
    layout: Layout


def observe_border() -> Border:
    border = address_limits.user_border()
    if border is None:
        raise NotObserved("no-border")
    mappings = list(_mappings(process.pid for process in read_snapshot().processes.values()))
    symbols = address_limits.kernel_symbols()
    lowest = [found[0] for found in symbols if found is not None]
    min_addr = address_limits.mmap_min_addr()
    with Actor(_map_at, (0, min_addr or 0)) as child:
        zero, allowed = child.step() or (None, None)  # there may be no other user that it could become
    return Border(
        border.accepted,
        border.refused,
        border.error,
        len(mappings),
        max(mapping.end for found in mappings for mapping in found if mapping.path != b"[vsyscall]"),
        min(lowest, default=None),
        min_addr,
        {"zero": zero, "allowed": allowed},
        layout(read_space(os.getpid(), kernel_symbols=True)),
    )


def _mappings(pids: Iterable[int]) -> Iterable[list[Mapping]]:
    """Of the processes whose mappings may be read, and that have any."""
    for pid in pids:
        try:
            found = read_maps(pid)
        except (KintroError, OSError):
            continue
        if found:
            yield found


def map_page(address: int) -> str | None:
    """Maps a page there; the name of the error, or None: it is mapped, now or before."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _FIXED_NOREPLACE
    if _libc.mmap(address, mmap.PAGESIZE, _PROT_NONE, flags, -1, 0) != _FAILED:
        return None
    code = ctypes.get_errno()
    return None if code == errno.EEXIST else errno.errorcode.get(code, str(code))


def _map_at(addresses: tuple[int, ...]) -> Play:
    drop_rights()
    yield tuple(map_page(address) for address in addresses)


def judge_border(seen: Border) -> Finding:
    bits = (seen.refused - 1).bit_length()
    facts: dict[str, Value] = {
        "accepted_address": seen.accepted,
        "border_address": seen.refused,
        "border_error": seen.error,
        "border_bits": bits,
        "short_bytes": (1 << bits) - seen.refused,
        "processes": seen.processes,
        "highest_address": seen.highest,
        "kernel_lowest_address": seen.kernel_lowest,
        "lowest_address": seen.min_addr,
        "zero_error": seen.bottom["zero"],
    }
    sharp = seen.refused - seen.accepted == mmap.PAGESIZE and (1 << bits) - seen.refused <= mmap.PAGESIZE
    below = seen.highest <= seen.refused and seen.processes > 0
    apart = seen.kernel_lowest is None or seen.kernel_lowest >= seen.refused
    not_from_zero = bool(seen.min_addr) and seen.bottom["zero"] is not None and seen.bottom["allowed"] is None
    pictures = (Picture("whole-space", seen.layout),)
    return Finding(judged(sharp and below and apart, not_from_zero), facts, pictures)


def judge_border_of(seen: AddressSpace) -> Finding:
    highest = max(r.mapping.end for r in seen.regions if r.kind != "vsyscall")
    lowest = min(region.mapping.start for region in seen.regions)
    facts: dict[str, Value] = {
        "mappings": len(seen.regions),
        "start_address": lowest,
        "highest_address": highest,
        "border_address": seen.frame.task_size,
        "lowest_address": seen.frame.mmap_min_addr,
    }
    return Finding(
        judged(highest <= seen.frame.task_size, False), facts, (Picture("whole-space", layout(seen)),)
    )


EXPERIMENTS = (
    *space_forbidden.EXPERIMENTS,
    Experiment("A2", observe_width, judge_width, on=observe_width_of, judge_on=judge_width_of),
    Experiment(
        "A3",
        observe_border,
        judge_border,
        on=partial(space_memory.look, kernel_symbols=True),
        judge_on=judge_border_of,
    ),
    *space_memory.EXPERIMENTS,
    *space_apart.EXPERIMENTS,
)
