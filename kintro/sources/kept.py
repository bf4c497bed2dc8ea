"""Keeps a compiled probe between runs, so that a second start needs neither compiler nor BTF; and bpf(2).

What is kept: the attributes of the maps and the bytecode of the programs, in a file of /var/cache/kintro.

What is trusted, and why: bytecode runs in the kernel, so a kept file counts as much as kintro itself. Only
root reads or writes any. The folder, and each one above it, belongs to root, no one else may write to it,
and none is a symbolic link; the folder and its files are closed to all others. All of them are looked at by
the descriptor that is then used: nothing can be exchanged in between. A file is plain JSON below a checksum
and is never executed as Python; the kernel's verifier judges its programs as it does those of the compiler.

A file's name is a digest of whatever the bytecode depends on; the file tells which compiler made it, and
counts only as long as that is still there, unchanged. What does not fit or is damaged is compiled again.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import stat
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from kintro import __version__
from kintro.errors import EX_UNAVAILABLE, KintroError

FOLDER = Path("/var/cache/kintro")
FILES_MAX = 16
BYTES_MAX = 16 << 20  # of a file
UNUSED_S = 90 * 86400  # after which a file is dropped
_FORMAT = b"kintro kept probe 1"
_NAME = re.compile(r"([0-9a-f]{16})-[0-9a-f]{64}")
_TEMPORARY = re.compile(r"\.(\d+)\.\d+\.new")
_SOURCES = ("bpf.py", "btf.py", "headers.py", "kept.py")  # beside this file: they make what is compiled
_VARIABLES = (b"ARCH", b"LD_LIBRARY_PATH", b"LD_PRELOAD")  # which bcc is found, and what it makes

# include/uapi/linux/bpf.h: enum bpf_cmd, and what else goes with them.
_MAP_CREATE, _MAP_UPDATE_ELEM, _MAP_DELETE_ELEM, _MAP_GET_NEXT_KEY = 0, 2, 3, 4
_PROG_LOAD, _RAW_TRACEPOINT_OPEN = 5, 17
_RAW_TRACEPOINT, _LD_IMM64, _PSEUDO_MAP_FD = 17, 0x18, 1
_INSTRUCTION = struct.Struct("=BBhi")
_SYSCALLS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Image:
    """A compiled probe. Code is in hexadecimal; where it names a map there is a 0 for its descriptor."""

    maps: Mapping[str, list[int]]  # name → type, bytes of a key, bytes of a value, entries, flags
    programs: Mapping[str, tuple[str, dict[str, str]]]  # name → code, {byte offset: name of the map}
    made_by: Mapping[str, list[int]]  # path of a file of the compiler → its `identity`


def bpf(command: int, attributes: bytes) -> int:
    """bpf(2); what it opens is closed on exec. OSError if the kernel refuses."""
    number = _SYSCALLS.get(os.uname().machine)
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


def attach_raw_tracepoint(program_fd: int, name: str) -> int:
    """The descriptor of a link that holds the program attached."""
    at = ctypes.create_string_buffer(name.encode())
    return bpf(_RAW_TRACEPOINT_OPEN, struct.pack("=QIxxxx", ctypes.addressof(at), program_fd))


def fdinfo(fd: int) -> dict[str, str]:
    """What /proc tells of a BPF descriptor."""
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def map_attributes(fd: int) -> list[int]:
    """What a map is created with, as in Image.maps."""
    info = fdinfo(fd)
    return [int(info[name], 0) for name in ("map_type", "key_size", "value_size", "max_entries", "map_flags")]


def _create_map(name: str, attributes: list[int]) -> int:
    packed = struct.pack("=5I8x16s", *attributes, name.encode()[:15])
    try:
        return bpf(_MAP_CREATE, packed)
    except PermissionError:  # before 5.11 maps count as locked memory; bcc too lifts the limit
        import resource

        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return bpf(_MAP_CREATE, packed)


def _load_program(name: str, code: bytes) -> int:
    at, gpl = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    values = len(code) // 8, ctypes.addressof(at), ctypes.addressof(gpl), name.encode()[:15]
    return bpf(_PROG_LOAD, struct.pack("=IIQQ24x16s", _RAW_TRACEPOINT, *values))


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
            maps[name] = _create_map(name, attributes)
        for name, (code, names) in image.programs.items():
            bound = bytearray.fromhex(code)
            for offset, map_name in names.items():
                struct.pack_into("=i", bound, int(offset) + 4, maps[map_name])
            programs[name] = _load_program(name, bytes(bound))
    except BaseException:
        for fd in (*programs.values(), *maps.values()):
            os.close(fd)
        raise
    return programs, maps


def identity(path: str) -> list[int]:
    """Tells a file from whatever may take its place. OSError if there is none."""
    return [(status := os.stat(path)).st_size, status.st_mtime_ns, status.st_ino]


def name_of(text: str, parameters: Mapping[str, int]) -> str | None:
    """The name of the kept file of a probe on this kernel; None if that cannot be told."""
    import hashlib

    try:
        # The notes hold the build id. A host's name is not the kernel's.
        about = Path("/sys/kernel/notes").read_bytes(), os.stat("/sys/kernel/btf/vmlinux").st_size
        kernel = [*os.uname()[2:], *about]
        sources = [Path(__file__).with_name(source).read_bytes() for source in _SOURCES]
    except OSError:
        return None
    limits = os.sysconf("SC_PAGESIZE"), os.sysconf("SC_NPROCESSORS_CONF")
    variables = [os.environb.get(name) for name in _VARIABLES]
    others = repr([__version__, text, *parameters.items(), limits, variables]).encode()
    of_kernel = hashlib.sha256(repr(kernel).encode()).hexdigest()
    of_all = hashlib.sha256(repr([of_kernel, sources, others]).encode()).hexdigest()
    return f"{of_kernel[:16]}-{of_all}"


def encoded(name: str, image: Image) -> bytes:
    """The bytes of a kept file."""
    import hashlib

    body = json.dumps({"name": name, **asdict(image)}).encode()
    return b"%b %b\n%b" % (_FORMAT, hashlib.sha256(body).hexdigest().encode(), body)


def decoded(name: str, data: bytes) -> Image:
    """The inverse. ValueError if it is damaged, of another format or of another name."""
    import hashlib

    head, _, body = data.partition(b"\n")
    if head != b"%b %b" % (_FORMAT, hashlib.sha256(body).hexdigest().encode()):
        raise ValueError("damaged")
    fields = json.loads(body)
    if fields.pop("name") != name:
        raise ValueError("another file's content")
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

    def read(self, name: str) -> Image | None:
        """What is kept under a name, if it is to be trusted and its compiler is still there."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # else a FIFO would block
        try:
            with _opened(*self._where) as fd, open(os.open(name, flags, dir_fd=fd), "rb") as file:
                status = _require_own(file.fileno(), self._where[2], 0o177)
                if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                    return None
                image = decoded(name, file.read(BYTES_MAX))
                if any(identity(path) != was for path, was in image.made_by.items()):
                    return None
                os.utime(file.fileno())  # its last use, which `_tidy` goes by
                return image
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def write(self, name: str, image: Image) -> None:
        """Keeps it, in one step; takes away what was left over, is old or is of another kernel."""
        temporary = f".{os.getpid()}.{time.time_ns()}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with contextlib.suppress(OSError), _opened(*self._where) as fd:
            try:
                with open(os.open(temporary, flags, 0o600, dir_fd=fd), "wb") as file:
                    file.write(encoded(name, image))
                os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
            except OSError:
                os.unlink(temporary, dir_fd=fd)
            _tidy(fd, name)

    def remove(self, name: str) -> None:
        with contextlib.suppress(OSError), _opened(*self._where) as fd:
            os.unlink(name, dir_fd=fd)


def _tidy(fd: int, name: str) -> None:
    used: list[tuple[float, str]] = []
    for entry in os.listdir(fd):
        left, known = _TEMPORARY.fullmatch(entry), _NAME.fullmatch(entry)
        if known and known[1] == name[:16]:
            used.append((os.stat(entry, dir_fd=fd, follow_symlinks=False).st_mtime, entry))
        elif known or (left and not os.path.exists(f"/proc/{left[1]}")):
            os.unlink(entry, dir_fd=fd)
    oldest = time.time() - UNUSED_S
    for number, (moment, entry) in enumerate(sorted(used, reverse=True)):
        if number >= FILES_MAX or moment < oldest:
            os.unlink(entry, dir_fd=fd)
