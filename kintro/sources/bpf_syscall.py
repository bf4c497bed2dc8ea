"""bpf(2), as far as kintro calls it itself: maps, programs, and attaching to raw tracepoints."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
import time
from pathlib import Path

from kintro.errors import EX_UNAVAILABLE, KintroError

NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}  # syscall tables

# include/uapi/linux/bpf.h: enum bpf_cmd, and what else goes with them.
_MAP_CREATE, _MAP_UPDATE_ELEM, _MAP_DELETE_ELEM, _MAP_GET_NEXT_KEY = 0, 2, 3, 4
_PROG_LOAD, _PROG_TEST_RUN, _RAW_TRACEPOINT_OPEN = 5, 10, 17
_MAP_LOOKUP_BATCH, _MAP_LOOKUP_AND_DELETE_BATCH = 24, 25
_ON_CPU = 1  # BPF_F_TEST_RUN_ON_CPU
_PERF_EVENT, _RAW_TRACEPOINT = 7, 17  # enum bpf_prog_type
_MEMBARRIER = {"x86_64": 324, "aarch64": 283, "riscv64": 283, "ppc64le": 365, "s390x": 356}
_MEMBARRIER_CMD_GLOBAL = 1  # include/uapi/linux/membarrier.h
BATCH = 16384  # elements read at a time; more than any bucket of a hash has
_libc = ctypes.CDLL(None, use_errno=True)


def bpf(command: int, attributes: bytes) -> int:
    """bpf(2); what it opens is closed on exec. OSError if the kernel refuses."""
    number = NUMBERS.get(os.uname().machine)
    if number is None or struct.calcsize("P") != 8:
        raise KintroError(f"kintro cannot trace on {os.uname().machine} yet", None, EX_UNAVAILABLE)
    for _ in range(5):  # EAGAIN: a signal came while the verifier was at work
        buffer = ctypes.create_string_buffer(attributes, 128)
        result = int(_libc.syscall(number, command, buffer, 128))
        if result >= 0:
            return result
        error = ctypes.get_errno()
        if error not in (11, 4):  # EAGAIN, EINTR
            break
    raise OSError(error, os.strerror(error))


def update(fd: int, key: bytes, value: bytes) -> None:
    """Writes an element of a map."""
    key_at, value_at = (
        ctypes.create_string_buffer(key, len(key)),
        ctypes.create_string_buffer(value, len(value)),
    )
    addresses = ctypes.addressof(key_at), ctypes.addressof(value_at)
    bpf(_MAP_UPDATE_ELEM, struct.pack("=IxxxxQQQ", fd, *addresses, 0))


def delete(fd: int, key: bytes) -> None:
    """Takes an element out of a map, if it is there."""
    at = ctypes.create_string_buffer(key, len(key))
    with contextlib.suppress(FileNotFoundError):
        bpf(_MAP_DELETE_ELEM, struct.pack("=IxxxxQQQ", fd, ctypes.addressof(at), 0, 0))


def is_empty(fd: int, key_bytes: int) -> bool:
    """Whether a hash map has no element."""
    key = ctypes.create_string_buffer(key_bytes)
    with contextlib.suppress(FileNotFoundError):
        bpf(_MAP_GET_NEXT_KEY, struct.pack("=IxxxxQQQ", fd, 0, ctypes.addressof(key), 0))
        return False
    return True


def take_all(fd: int) -> tuple[bytes, bytes]:
    """Takes all elements out of a hash map: its keys one behind the other, and their values (Linux 5.6).

    What a program adds meanwhile may be lost: see `wait_for_programs`.
    """
    return _batches(fd, _MAP_LOOKUP_AND_DELETE_BATCH)


def read_all(fd: int) -> tuple[bytes, bytes]:
    """The same, but they stay there."""
    return _batches(fd, _MAP_LOOKUP_BATCH)


def _batches(fd: int, command: int) -> tuple[bytes, bytes]:
    _, key_bytes, value_bytes, entries, _ = map_attributes(fd)
    entries = min(entries, BATCH)
    keys = ctypes.create_string_buffer(entries * key_bytes)
    values = ctypes.create_string_buffer(entries * value_bytes)
    place = ctypes.create_string_buffer(4)
    begin, place_at = 0, ctypes.addressof(place)
    addresses = place_at, ctypes.addressof(keys), ctypes.addressof(values)
    all_keys = all_values = b""
    more = True
    while more:
        # struct { in_batch, out_batch, keys, values, count, map_fd, elem_flags, flags }
        attributes = ctypes.create_string_buffer(
            struct.pack("=QQQQIIQQ", begin, *addresses, entries, fd, 0, 0)
        )
        more = _libc.syscall(NUMBERS[os.uname().machine], command, attributes, 56) == 0
        error = ctypes.get_errno()
        if not more and error != errno.ENOENT:  # which says that there are no more
            raise OSError(error, os.strerror(error))
        begin = place_at
        (count,) = struct.unpack_from("=I", attributes, 32)
        all_keys += ctypes.string_at(keys, count * key_bytes)
        all_values += ctypes.string_at(values, count * value_bytes)
    return all_keys, all_values


def wait_for_programs() -> None:
    """Returns when no BPF program runs any more that ran before: 5 to 30 ms.

    They run inside of RCU read sections, and for the end of those membarrier(2) waits.
    """
    number = _MEMBARRIER.get(os.uname().machine)
    if number is None or _libc.syscall(number, _MEMBARRIER_CMD_GLOBAL, 0, 0) < 0:
        time.sleep(0.05)  # with nohz_full CPUs it is refused; a program runs for microseconds


def attach_raw_tracepoint(program_fd: int, name: str) -> int:
    """The descriptor of a link that holds the program attached."""
    at = ctypes.create_string_buffer(name.encode())
    return bpf(_RAW_TRACEPOINT_OPEN, struct.pack("=QIxxxx", ctypes.addressof(at), program_fd))


def run_on_cpu(program_fd: int, cpu: int) -> None:
    """Runs a program for raw tracepoints once, in an interrupt of that CPU (Linux 5.10).

    Its arguments are not there. OSError, ENXIO if the CPU is offline.
    """
    bpf(_PROG_TEST_RUN, struct.pack("=I60xII", program_fd, _ON_CPU, cpu))


def fdinfo(fd: int) -> dict[str, str]:
    """What /proc tells of a BPF descriptor."""
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def map_attributes(fd: int) -> list[int]:
    """What a map is created with, as `create_map` takes it."""
    info = fdinfo(fd)
    return [int(info[name], 0) for name in ("map_type", "key_size", "value_size", "max_entries", "map_flags")]


def create_map(name: str, attributes: list[int]) -> int:
    """Its descriptor. `attributes`: type, bytes of a key, bytes of a value, entries, flags."""
    packed = struct.pack("=5I8x16s", *attributes, name.encode()[:15])
    try:
        return bpf(_MAP_CREATE, packed)
    except PermissionError:  # before 5.11 maps count as locked memory; bcc too lifts the limit
        import resource

        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return bpf(_MAP_CREATE, packed)


def program_type(name: str) -> int:
    """enum bpf_prog_type of a probe's function: `perf_…` runs at a perf event, all others at tracepoints."""
    return _PERF_EVENT if name.startswith("perf_") else _RAW_TRACEPOINT


def load_program(name: str, code: bytes) -> int:
    """The descriptor of a program, once the verifier has let it through. Its name tells its type."""
    at, gpl = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    values = len(code) // 8, ctypes.addressof(at), ctypes.addressof(gpl), name.encode()[:15]
    return bpf(_PROG_LOAD, struct.pack("=IIQQ24x16s", program_type(name), *values))
