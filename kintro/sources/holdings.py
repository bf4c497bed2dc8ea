"""What each process holds of what it may share with others: descriptors, shared mappings, pending signals.

How: everything of one process is read below one open /proc/PID, so that it is of one process, whoever gets
its pid afterwards. A process that ends meanwhile is dropped and counted. Cost: 0.2 ms for a process, most of
it for its mappings, and what descriptors.py tells for each descriptor.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import or_
from pathlib import Path
from typing import NamedTuple

from kintro.sources.descriptors import Descriptor, read_descriptors
from kintro.sources.host import ROOT
from kintro.sources.mapped_name import likely_name

# A shared mapping of a file. The first segment of System V's has inode 0.
_SHARED = re.compile(
    rb"^([0-9a-f]+)-([0-9a-f]+) ([r-])([w-])[x-]s [0-9a-f]+ ([0-9a-f]+):([0-9a-f]+) (\d+) +(/.*)$",
    re.MULTILINE,
)
_DEVICES = re.compile(rb"/dev/(?!shm/|zero$)|/proc/|/sys/")
_STATUS = re.compile(rb"^(State|NSpid|Threads|SigPnd|ShdPnd):[ \t]*(.*)$", re.MULTILINE)
_ENDED = (FileNotFoundError, ProcessLookupError, NotADirectoryError)


class SharedMapping(NamedTuple):
    """All shared mappings of one file in one process."""

    path: bytes
    dev: int
    inode: int
    access: str  # `read`, `write`, `read-write`; what any of them may
    times: int  # mappings
    size_bytes: int | None  # of the file; None: not ours to ask


class Pending(NamedTuple):
    """Signals that wait to be delivered, as bit masks: bit n - 1 for signal n."""

    process: int
    threads: int  # of any thread
    signals: int  # those of the process and of each thread; a real-time one that is queued twice is one


class Holdings(NamedTuple):
    pid: int
    comm: bytes
    ns_pid: int  # in its own pid namespace
    net: int | None  # inode number of its network namespace; None: not ours to see, or a zombie
    ipc: int | None
    descriptors: tuple[Descriptor, ...]
    mappings: tuple[SharedMapping, ...]
    pending: Pending
    readable: bool  # False: descriptors and mappings are not ours to see


def read_all(root: Path = ROOT) -> tuple[list[Holdings], int]:
    """Every process by pid, and how many ended while they were read."""
    pids = sorted(int(name) for name in os.listdir(root / "proc") if name.isdigit())
    found, vanished = [], 0
    for pid in pids:
        holdings = read_holdings(pid, root)
        if holdings is None:
            vanished += 1
        else:
            found.append(holdings)
    return found, vanished


def read_holdings(pid: int, root: Path = ROOT) -> Holdings | None:
    """What one process holds; None if it has ended."""
    try:
        at = os.open(root / f"proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except _ENDED:
        return None
    try:
        return _holdings(pid, at)
    except _ENDED:
        return None
    finally:
        os.close(at)


def _holdings(pid: int, at: int) -> Holdings:
    comm = _read("comm", at).removesuffix(b"\n")
    status = dict(_STATUS.findall(_read("status", at)))
    threads = [int(status[b"SigPnd"], 16)] if int(status[b"Threads"]) == 1 else _of_threads(at)
    masks = int(status[b"ShdPnd"], 16), *threads
    pending = Pending(masks[0], reduce(or_, threads, 0), sum(mask.bit_count() for mask in masks))
    ns_pid = int(status.get(b"NSpid", b"%d" % pid).split()[-1])
    descriptors: list[Descriptor] = []
    mappings: list[SharedMapping] = []
    readable = True
    net = ipc = None
    living = _living(at, status)
    if living is not None:
        try:
            net, ipc = _namespace("net", living), _namespace("ipc", living)
            descriptors = read_descriptors(living)
            mappings = list(_mappings(_read("maps", living), living))
        except PermissionError:
            readable = False
        finally:
            os.close(living)
    return Holdings(pid, comm, ns_pid, net, ipc, tuple(descriptors), tuple(mappings), pending, readable)


def _living(at: int, status: Mapping[bytes, bytes]) -> int | None:
    """An open folder, to be closed, of a thread that has not ended; None for a zombie.

    /proc/PID is that of the first thread. Where that has ended before others, it has let go of all they
    share.
    """
    if not _has_ended(status):
        return os.dup(at)
    for tid in _tids(at) if int(status[b"Threads"]) > 1 else ():
        try:
            thread = os.open(f"task/{tid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=at)
        except _ENDED:
            continue
        try:
            if not _has_ended(dict(_STATUS.findall(_read("status", thread)))):
                return thread
        except _ENDED:
            pass
        os.close(thread)
    return None


def _has_ended(status: Mapping[bytes, bytes]) -> bool:
    return status[b"State"][:1] in (b"Z", b"X")


def _tids(at: int) -> list[str]:
    folder = os.open("task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=at)
    try:
        return os.listdir(folder)
    finally:
        os.close(folder)


def _of_threads(at: int) -> list[int]:
    """Signals that wait for each thread."""
    masks = []
    for tid in _tids(at):
        try:
            masks.append(int(dict(_STATUS.findall(_read(f"task/{tid}/status", at)))[b"SigPnd"], 16))
        except _ENDED:
            continue
    return masks


def parse_shared(data: bytes) -> Iterator[tuple[SharedMapping, bytes]]:
    """The shared mappings in /proc/PID/maps, each file once, with the addresses of one of its mappings."""
    first: dict[tuple[int, int, bytes], bytes] = {}
    seen: dict[tuple[int, int, bytes], list[str]] = {}
    for start, end, reads, writes, major, minor, inode, printed in _SHARED.findall(data):
        path, _ = likely_name(printed)
        if _DEVICES.match(path):
            continue
        key = (os.makedev(int(major, 16), int(minor, 16)), int(inode), path)
        first.setdefault(key, b"%s-%s" % (start, end))
        access = ("r" if reads == b"r" else "") + ("w" if writes == b"w" else "")
        seen.setdefault(key, []).append(access)
    names = {"r": "read", "w": "write", "rw": "read-write", "": "none"}
    for key, addresses in first.items():
        dev, inode, path = key
        letters = "".join(letter for letter in "rw" if any(letter in access for access in seen[key]))
        yield SharedMapping(path, dev, inode, names[letters], len(seen[key]), None), addresses


def _mappings(data: bytes, at: int) -> Iterator[SharedMapping]:
    for mapping, addresses in parse_shared(data):
        try:
            size = os.stat(b"map_files/" + addresses, dir_fd=at).st_size
        except OSError:
            size = None
        yield mapping._replace(size_bytes=size)


def _namespace(kind: str, at: int) -> int | None:
    try:
        return os.stat(f"ns/{kind}", dir_fd=at).st_ino
    except OSError:
        return None


def _read(name: str, at: int) -> bytes:
    with open(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=at), "rb", buffering=0) as file:
        return file.read()
