"""An experiment with what is not for user mode: the kernel's memory, and the hardware."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import random
import signal
from contextlib import ExitStack
from typing import NamedTuple

from kintro.concepts.experiment import Experiment, Finding, Picture, judged
from kintro.concepts.words import Value
from kintro.observers.faults_records import Fault
from kintro.observers.memory_layout import layout
from kintro.observers.memory_space import read_space
from kintro.observers.watch import watch
from kintro.shapes import Layout, Mark
from kintro.sources import address_limits, cpu, last_signal
from kintro.sources.last_signal import Death
from kintro.sources.mappings import read_maps

# mov edx, 0x80; in al, dx; ret: reads the port of power-on messages, of no use to anybody
_READ_PORT = {"x86_64": bytes.fromhex("ba80000000ecc3")}
_ELF = b"\x7fELF"


class Forbidden(NamedTuple):
    """What became of processes that read a kernel address and a port of the hardware."""

    target: int
    death: Death
    fault_address: int | None  # of the page fault, by the kernel's tracepoint; None: not seen
    fault_present: bool | None  # the page was there, but not for user mode
    port: Death | None  # None: not tried on this CPU, or no such code can be put into memory here
    meltdown: str | None  # what the kernel does against it, in its words
    vdso_bytes: int  # of the kernel's code that can be read
    vdso_start: bytes
    layout: Layout


def observe_forbidden() -> Forbidden:
    space = read_space(os.getpid(), kernel_symbols=True)
    image = address_limits.kernel_symbols().image
    half = (1 << 64) - power_of_two(space.frame.task_size)
    target = image[0] if image else half + mmap.PAGESIZE * random.randrange(1 << 30)
    death, faults = read_at(target)
    fault = next((fault for fault in faults or () if fault.address == target), None)
    if faults and fault is None:
        fault = faults[-1]
    vdso = next((region.mapping for region in space.regions if region.kind == "vdso"), None)
    code = ctypes.string_at(vdso.start, vdso.size_bytes) if vdso else b""
    return Forbidden(
        target,
        death,
        fault.address if fault else None,
        fault.present if fault else None,
        _read_port(),
        (cpu.mitigations() or {}).get("meltdown"),
        len(code),
        code[: len(_ELF)],
        marked(layout(space), target, death),
    )


def marked(drawn: Layout, address: int, death: Death) -> Layout:
    """With the address that was read."""
    marks = (*drawn.marks, Mark(address, "read here", f"killed by signal {death.signal}"))
    return drawn._replace(marks=tuple(sorted(marks, key=lambda mark: mark.address)))


def power_of_two(border: int) -> int:
    """The power of two that user space ends at, or a page below."""
    return 1 << (border - 1).bit_length()


def read_at(address: int) -> tuple[Death, list[Fault] | None]:
    """Has a child read a byte there; its page faults if they can be seen."""
    with ExitStack() as stack:
        watches = []

        def begin(pid: int) -> None:
            if os.geteuid() == 0:
                watches.append(stack.enter_context(watch(pid, read_maps, events=True)))

        death = last_signal.of(lambda: ctypes.string_at(address, 1), begin)
        if not watches or watches[0].no_faults:
            return death, None
        return death, watches[0].take().events


def _read_port() -> Death | None:
    code = _READ_PORT.get(platform.machine())
    if code is None:
        return None
    try:
        memory = mmap.mmap(-1, len(code), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return None
    memory.write(code)
    return last_signal.of(ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(memory))))


def judge_forbidden(seen: Forbidden) -> Finding:
    facts: dict[str, Value] = {
        "target_address": seen.target,
        "killed_by_signal": seen.death.signal,
        "told_address": seen.death.address,
        "fault_address": seen.fault_address,
        "fault_present": seen.fault_present,
        "port_signal": seen.port.signal if seen.port else None,
        "meltdown": seen.meltdown,
        "vdso_bytes": seen.vdso_bytes,
    }
    refused = seen.death.signal == signal.SIGSEGV and all(
        address in (None, seen.target) for address in (seen.death.address, seen.fault_address)
    )
    no_hardware = seen.port is None or seen.port.signal == signal.SIGSEGV
    readable = seen.vdso_bytes > 0 and seen.vdso_start == _ELF
    return Finding(
        judged(refused and no_hardware, readable), facts, (Picture("read-forbidden", seen.layout),)
    )


EXPERIMENTS = (Experiment("A1", observe_forbidden, judge_forbidden),)
