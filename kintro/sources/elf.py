"""What the kernel and the dynamic loader map of an ELF file: its program headers (elf(5)).

Files are strangers': nothing in them is trusted, and what makes no sense is no ELF file.
"""

from __future__ import annotations

import os
import stat
import struct
from typing import NamedTuple

PT_LOAD, PT_GNU_RELRO = 1, 0x6474E552  # include/uapi/linux/elf.h
PF_X, PF_W, PF_R = 1, 2, 4
_HEADERS_MAX = 1024  # program headers; the kernel takes at most 64 KiB of them


class Segment(NamedTuple):
    """A program header. Addresses as in the file: where it lies is that plus the load bias."""

    kind: int  # PT_…
    flags: int  # PF_R | PF_W | PF_X
    offset: int  # in the file, bytes
    vaddr: int
    file_bytes: int
    memory_bytes: int  # what is more than file_bytes is zero: the bss


class Elf(NamedTuple):
    bits: int  # 32 or 64
    entry: int  # address where it begins to run
    segments: tuple[Segment, ...]  # PT_LOAD and PT_GNU_RELRO, as in the file

    @property
    def loads(self) -> tuple[Segment, ...]:
        return tuple(segment for segment in self.segments if segment.kind == PT_LOAD)


def parse_elf(head: bytes) -> tuple[int, int, int] | None:
    """Offset, size and number of the program headers, from the first 64 bytes; None if it is no ELF file."""
    if len(head) < 64 or head[:4] != b"\x7fELF" or head[4] not in (1, 2) or head[5] not in (1, 2):
        return None
    order = "<" if head[5] == 1 else ">"
    offset = struct.unpack_from(order + ("I" if head[4] == 1 else "Q"), head, 28 if head[4] == 1 else 32)[0]
    size, number = struct.unpack_from(order + "HH", head, 42 if head[4] == 1 else 54)
    return (offset, size, number) if size >= (32 if head[4] == 1 else 56) else None


def parse_segments(head: bytes, table: bytes, size: int) -> Elf:
    """From the first 64 bytes of a file and its program headers, `size` bytes each."""
    bits = 32 if head[4] == 1 else 64
    order = "<" if head[5] == 1 else ">"
    found = []
    for at in range(0, len(table) - size + 1, size):
        if bits == 64:
            kind, flags, offset, vaddr, _, in_file, in_memory = struct.unpack_from(
                order + "IIQQQQQ", table, at
            )
        else:
            kind, offset, vaddr, _, in_file, in_memory, flags = struct.unpack_from(
                order + "IIIIIII", table, at
            )
        if kind in (PT_LOAD, PT_GNU_RELRO):
            found.append(Segment(kind, flags, offset, vaddr, in_file, in_memory))
    entry = struct.unpack_from(order + ("Q" if bits == 64 else "I"), head, 24)[0]
    return Elf(bits, entry, tuple(found))


def read_elf(path: str | bytes, inode: int | None = None) -> Elf | None:
    """The program headers of a regular file; None if it is no ELF file, cannot be read or is another file.

    `inode`, where given, has to be the file's: names change hands.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or inode not in (None, status.st_ino):
            return None
        head = os.pread(fd, 64, 0)
        where = parse_elf(head)
        if where is None or where[2] > _HEADERS_MAX:
            return None
        offset, size, number = where
        return parse_segments(head, os.pread(fd, size * number, offset), size)
    except (OSError, OverflowError):
        return None
    finally:
        os.close(fd)
