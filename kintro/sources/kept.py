"""Keeps a compiled probe between runs, so that a second start needs neither compiler nor BTF.

What is kept: the attributes of the maps and the bytecode of the programs, in a file of /var/cache/kintro.

What is trusted, and why: bytecode runs in the kernel, so a kept file counts as much as kintro itself. Only
root reads or writes any. The folder, and each one above it, belongs to root, no one else may write to it,
and none is a symbolic link; the folder and its files are closed to all others. All of them are looked at by
the descriptor that is then used: nothing can be exchanged in between. A file is plain JSON below a checksum
and is never executed as Python; the kernel's verifier judges its programs as it does those of the compiler.

A file counts for one Key: whatever the bytecode depends on, word for word, of which its name is a checksum.
It tells which compiler made it, and counts only as long as that is still there, unchanged. What does not
fit or is damaged is compiled again.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import struct
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from kintro import __version__
from kintro.sources.bpf_syscall import create_map, load_program

FOLDER = Path("/var/cache/kintro")
FILES_MAX = 64
BYTES_MAX = 16 << 20  # of a file
UNUSED_S = 90 * 86400  # after which a file is dropped
_FORMAT = b"kintro kept probe 2"
_NAME = re.compile(r"([0-9a-f]{8})-[0-9a-f]{8}")
_TEMPORARY = re.compile(r"\.(\d+)\.\d+\.new")
# Beside this file: they make what is compiled.
_SOURCES = ("bpf.py", "bpf_syscall.py", "btf.py", "headers.py", "kept.py")
_VARIABLES = (b"ARCH", b"LD_LIBRARY_PATH", b"LD_PRELOAD")  # which bcc is found, and what it makes

_LD_IMM64, _PSEUDO_MAP_FD = 0x18, 1  # include/uapi/linux/bpf.h
_INSTRUCTION = struct.Struct("=BBhi")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Key(NamedTuple):
    """What a compiled probe depends on."""

    kernel: str
    rest: str

    @property
    def name(self) -> str:
        """Of its file: a checksum of the kernel and one of all."""
        return f"{zlib.crc32(self.kernel.encode()):08x}-{zlib.crc32(repr(self).encode()):08x}"


class Image(NamedTuple):
    """A compiled probe. Code is in hexadecimal; where it names a map there is a 0 for its descriptor."""

    maps: Mapping[str, list[int]]  # name → type, bytes of a key, bytes of a value, entries, flags
    programs: Mapping[str, tuple[str, dict[str, str]]]  # name → code, {byte offset: name of the map}
    made_by: Mapping[str, list[int]]  # path of a file of the compiler → its `identity`


def unlinked(code: bytes, maps: Mapping[int, str]) -> tuple[str, dict[str, str]]:
    """A program as in Image.programs, of code in which `maps`, by descriptor, are named.

    ValueError if it refers to anything else outside of itself.
    """
    unbound, names, offset = bytearray(code), dict[str, str](), 0
    while offset < len(code):
        opcode, registers, _, value = _INSTRUCTION.unpack_from(code, offset)
        source = registers >> 4 if sys.byteorder == "little" else registers & 15
        if opcode == _LD_IMM64 and source:
            if source != _PSEUDO_MAP_FD or value not in maps:
                raise ValueError(f"instruction {offset // 8} refers to what is not a map of the probe")
            names[str(offset)] = maps[value]
            struct.pack_into("=i", unbound, offset + 4, 0)
        offset += 16 if opcode == _LD_IMM64 else 8
    return unbound.hex(), names


def loaded(image: Image) -> tuple[dict[str, int], dict[str, int]]:
    """Programs and maps, name → descriptor. OSError if the kernel refuses; nothing stays open then."""
    programs, maps = dict[str, int](), dict[str, int]()
    try:
        for name, attributes in image.maps.items():
            maps[name] = create_map(name, attributes)
        codes = {name: _bound(*program, maps) for name, program in image.programs.items()}
        # Each in a thread of its own: the verifier takes its time, and needs no other lock.
        errors: list[Exception] = []

        def load(name: str) -> None:
            try:
                programs[name] = load_program(name, codes[name])
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=load, args=(name,)) for name in codes]
        begun = 0
        try:
            for thread in threads:
                thread.start()
                begun += 1
        finally:
            for thread in threads[:begun]:
                thread.join()
        if errors:
            raise errors[0]
    except BaseException:
        for fd in (*programs.values(), *maps.values()):
            os.close(fd)
        raise
    return {name: programs[name] for name in image.programs}, maps


def _bound(code: str, names: Mapping[str, str], maps: Mapping[str, int]) -> bytes:
    """A program's code with the descriptors of its maps."""
    bound = bytearray.fromhex(code)
    for offset, name in names.items():
        struct.pack_into("=i", bound, int(offset) + 4, maps[name])
    return bytes(bound)


def identity(path: str) -> list[int]:
    """Tells a file from whatever may take its place. OSError if there is none."""
    return [(status := os.stat(path)).st_size, status.st_mtime_ns, status.st_ino]


def key_of(text: str, parameters: Mapping[str, int]) -> Key | None:
    """Of a probe on this kernel, by its text and its #defines; None if that cannot be told."""
    try:
        # The notes hold the build id. A host's name is not the kernel's.
        about = Path("/sys/kernel/notes").read_bytes(), os.stat("/sys/kernel/btf/vmlinux").st_size
        sources = [Path(__file__).with_name(source).read_bytes() for source in _SOURCES]
    except OSError:
        return None
    limits = os.sysconf("SC_PAGESIZE"), os.sysconf("SC_NPROCESSORS_CONF")
    variables = [os.environb.get(name) for name in _VARIABLES]
    rest = __version__, text, *parameters.items(), limits, variables, sources
    return Key(repr([*os.uname()[2:], *about]), repr(rest))


def encoded(key: Key, image: Image) -> bytes:
    """The bytes of a kept file."""
    body = json.dumps({"key": key._asdict(), **image._asdict()}).encode()
    return b"%b %08x\n%b" % (_FORMAT, zlib.crc32(body), body)


def decoded(key: Key, data: bytes) -> Image:
    """The inverse. ValueError if it is damaged, of another format or of another key."""
    head, _, body = data.partition(b"\n")
    if head != b"%b %08x" % (_FORMAT, zlib.crc32(body)):
        raise ValueError("damaged")
    fields = json.loads(body)
    if Key(**fields.pop("key")) != key:
        raise ValueError("another key's content")
    return Image(**fields)


@contextlib.contextmanager
def _opened(folder: Path, top: Path, owner: int) -> Iterator[int]:
    """A descriptor of the folder, made if it is missing. PermissionError where anyone else may write."""
    if os.geteuid() != owner:
        raise PermissionError("not the owner of what is kept")
    parts = folder.relative_to(top).parts
    fds = [os.open(top, _DIRECTORY)]
    try:
        for part in parts:
            _require_own(fds[-1], owner, 0o022)
            if len(fds) == len(parts):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=fds[-1])
            fds.append(os.open(part, _DIRECTORY, dir_fd=fds[-1]))
        _require_own(fds[-1], owner, 0o077)
        yield fds[-1]
    finally:
        for fd in fds:
            os.close(fd)


def _require_own(fd: int, owner: int, closed: int) -> os.stat_result:
    status = os.fstat(fd)
    if status.st_uid != owner or status.st_mode & closed:
        raise PermissionError("open to others")
    return status


class Store:
    """The folder of kept files; what it cannot do it leaves undone. Tests have another `top` and `owner`."""

    def __init__(self, folder: Path = FOLDER, top: Path = Path("/"), owner: int = 0) -> None:
        self._where = folder, top, owner

    def read(self, key: Key) -> Image | None:
        """What is kept of it, if it is to be trusted and its compiler is still there."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # else a FIFO would block
        try:
            with _opened(*self._where) as fd, open(os.open(key.name, flags, dir_fd=fd), "rb") as file:
                status = _require_own(file.fileno(), self._where[2], 0o177)
                if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                    return None
                image = decoded(key, file.read(BYTES_MAX))
                if any(identity(path) != was for path, was in image.made_by.items()):
                    return None
                with contextlib.suppress(OSError):  # not where /var can only be read
                    os.utime(file.fileno())  # its last use, which `_tidy` goes by
                return image
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def write(self, key: Key, image: Image) -> None:
        """Keeps it, in one step; takes away what was left over, is old or is of another kernel."""
        temporary = f".{os.getpid()}.{time.time_ns()}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with contextlib.suppress(OSError), _opened(*self._where) as fd:
            try:
                with open(os.open(temporary, flags, 0o600, dir_fd=fd), "wb") as file:
                    file.write(encoded(key, image))
                os.rename(temporary, key.name, src_dir_fd=fd, dst_dir_fd=fd)
            except OSError:
                os.unlink(temporary, dir_fd=fd)
            _tidy(fd, key.name)

    def remove(self, key: Key) -> None:
        with contextlib.suppress(OSError), _opened(*self._where) as fd:
            os.unlink(key.name, dir_fd=fd)


def _tidy(fd: int, name: str) -> None:
    used: list[tuple[float, str]] = []
    for entry in os.listdir(fd):
        left, known = _TEMPORARY.fullmatch(entry), _NAME.fullmatch(entry)
        if known and known[1] == name[:8]:
            used.append((os.stat(entry, dir_fd=fd, follow_symlinks=False).st_mtime, entry))
        elif known or (left and not os.path.exists(f"/proc/{left[1]}")):
            os.unlink(entry, dir_fd=fd)
    oldest = time.time() - UNUSED_S
    for number, (moment, entry) in enumerate(sorted(used, reverse=True)):
        if number >= FILES_MAX or moment < oldest:
            os.unlink(entry, dir_fd=fd)
