"""perf_event_open(2), as far as kintro needs it: BPF programs that run at each event of the kernel's software
counters.

An event is one of a CPU and sees all processes on it: the program picks. Such a program is skipped, without
being counted, where a bpf(2) call on a map or another program of its kind was interrupted
(bpf_prog_active in kernel/bpf/); perf's own count goes on, so that a comparison tells.

What it cannot see: CPUs that are taken into service later.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct

from kintro.errors import EX_UNAVAILABLE, KintroError

_NUMBERS = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "ppc64le": 319, "s390x": 331}

# include/uapi/linux/perf_event.h
SOFTWARE_EVENTS = {"page_faults_min": 5, "page_faults_maj": 6}  # PERF_COUNT_SW_…
_TYPE_SOFTWARE, _SAMPLE_ADDR, _DISABLED, _FD_CLOEXEC = 1, 1 << 3, 1, 8
_IOC_ENABLE, _IOC_SET_BPF = 0x2400, 0x40042408
_ATTR_BYTES = 64  # PERF_ATTR_SIZE_VER0

_libc = ctypes.CDLL(None, use_errno=True)


def attach_everywhere(program_fd: int, event: str) -> list[int]:
    """Runs a program at each event of all CPUs in service, until the descriptors returned are closed."""
    fds: list[int] = []
    try:
        for cpu in sorted(_online_cpus()):
            fds.append(_open(SOFTWARE_EVENTS[event], cpu))
            fcntl.ioctl(fds[-1], _IOC_SET_BPF, program_fd)
            fcntl.ioctl(fds[-1], _IOC_ENABLE, 0)
    except OSError:
        for fd in fds:
            os.close(fd)
        raise
    return fds


def count(fds: list[int]) -> int:
    """How many events there were since they were attached, by perf's own count."""
    return sum(struct.unpack("=Q", os.read(fd, 8))[0] for fd in fds)


def _open(config: int, cpu: int) -> int:
    number = _NUMBERS.get(os.uname().machine)
    if number is None:
        raise KintroError(f"kintro cannot trace on {os.uname().machine} yet", None, EX_UNAVAILABLE)
    # type, size, config, sample_period, sample_type, read_format, flags
    values = (_TYPE_SOFTWARE, _ATTR_BYTES, config, 1, _SAMPLE_ADDR, 0, _DISABLED)
    attributes = ctypes.create_string_buffer(struct.pack("=IIQQQQQ", *values), _ATTR_BYTES)
    fd = int(_libc.syscall(number, attributes, -1, cpu, -1, _FD_CLOEXEC))
    if fd < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return fd


def _online_cpus() -> set[int]:
    """sysfs-devices-system-cpu, online: `0-3,5`."""
    found: set[int] = set()
    with open("/sys/devices/system/cpu/online") as file:
        for part in file.read().strip().split(","):
            first, _, last = part.partition("-")
            found.update(range(int(first), int(last or first) + 1))
    return found
