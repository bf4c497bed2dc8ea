"""An experiment with the memory of two processes: whose it is, and who may look into it."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from typing import NamedTuple

from kintro.concepts.experiment import Experiment, Finding, NotObserved, Picture, judged
from kintro.concepts.scene import NOBODY, Actor, Play, drop_rights
from kintro.concepts.space_memory import frames, own_memory
from kintro.concepts.words import Value
from kintro.observers.memory_space import read_space
from kintro.shapes import Table
from kintro.sources.mappings import read_maps

WORD_BYTES = 8
_PR_SET_DUMPABLE = 4  # include/uapi/linux/prctl.h

_libc = ctypes.CDLL(None, use_errno=True)


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("bytes", ctypes.c_size_t))


def peek(pid: int, address: int, size: int) -> tuple[bytes, str | None]:
    """Memory of another process by process_vm_readv(2), or the name of the error."""
    buffer = ctypes.create_string_buffer(size)
    here, there = _Iovec(ctypes.addressof(buffer), size), _Iovec(address, size)
    if _libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) == size:
        return buffer.raw, None
    return b"", errno.errorcode.get(ctypes.get_errno(), "?")


class Apart(NamedTuple):
    """Two processes that use the same address, and what becomes of an attempt to read there from outside."""

    address: int
    pids: tuple[int, int]
    words: tuple[str, str]  # what each has written there and still finds there
    found: tuple[str, str]
    frames_differ: bool | None  # None: not told
    borders: tuple[int, int]  # how far the user space of each reaches
    refused: str | None  # the error of one without permission; None: it could read
    permitted: str | None  # what one with permission has read; None: it could not


def _own(data: mmap.mmap) -> Play:
    word = os.urandom(WORD_BYTES)
    data[:WORD_BYTES] = word
    yield word.hex()
    yield bytes(data[:WORD_BYTES]).hex()
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # nobody without special rights may look into it now
    yield None


def _peek(pid: int, address: int, user: int = NOBODY) -> Play:
    drop_rights(user)
    yield peek(pid, address, WORD_BYTES)


def observe_apart() -> Apart:
    data, address = own_memory(1)
    with Actor(_own, data) as one, Actor(_own, data) as other:
        words = one.answer(), other.answer()
        found = one.answer(), other.answer()
        permitted, _ = peek(one.pid, address, WORD_BYTES)
        apart, _ = frames(one.pid, other.pid, address, 1)
        borders = tuple(read_space(actor.pid).frame.task_size for actor in (one, other))
        one.step()
        with Actor(_peek, one.pid, address) as stranger:
            refused = _refusal(stranger, one.pid)
        return Apart(
            address,
            (one.pid, other.pid),
            words,
            found,
            None if apart is None else apart == 1,
            (borders[0], borders[1]),
            refused,
            permitted.hex() or None,
        )


def _refusal(stranger: Actor, pid: int) -> str | None:
    told = stranger.step()
    if told is None:  # there is no other user here that it could become
        raise NotObserved("no-stranger")
    _, error = told
    if error == "ESRCH":
        raise NotObserved("ended", pid=pid)
    return error


def judge_apart(seen: Apart) -> Finding:
    facts: dict[str, Value] = {
        "same_address": seen.address,
        "one_found": seen.found[0],
        "other_found": seen.found[1],
        "frames_differ": seen.frames_differ,
        "border_address": seen.borders[0],
        "other_border_address": seen.borders[1],
        "refused_error": seen.refused,
        "permitted_found": seen.permitted,
    }
    own = seen.found == seen.words and seen.words[0] != seen.words[1] and seen.frames_differ is not False
    whole_space = seen.borders[0] == seen.borders[1] > seen.address
    holds = own and whole_space and seen.refused in ("EPERM", "EACCES")
    rows = tuple(
        (str(pid), f"0x{seen.address:x}", word) for pid, word in zip(seen.pids, seen.found, strict=True)
    )
    picture = Picture("same-address", Table(("pid", "address", "content"), rows))
    return Finding(judged(holds, seen.permitted == seen.words[0]), facts, (picture,))


class Locked(NamedTuple):
    """What becomes of attempts to read the memory of a process."""

    address: int
    refused: str | None
    permitted_bytes: int


def observe_locked(pid: int) -> Locked:
    mapping = next((m for m in read_maps(pid) if m.perms.startswith("r") and m.path != b"[vvar]"), None)
    if mapping is None:
        raise NotObserved("no-memory")
    owner = os.stat(f"/proc/{pid}").st_uid
    with Actor(_peek, pid, mapping.start, NOBODY - (owner == NOBODY)) as stranger:
        refused = _refusal(stranger, pid)
    permitted, _ = peek(pid, mapping.start, WORD_BYTES)
    return Locked(mapping.start, refused, len(permitted))


def judge_locked(seen: Locked) -> Finding:
    facts: dict[str, Value] = {
        "same_address": seen.address,
        "refused_error": seen.refused,
        "permitted_bytes": seen.permitted_bytes,
    }
    return Finding(judged(seen.refused in ("EPERM", "EACCES"), seen.permitted_bytes > 0), facts)


EXPERIMENTS = (
    Experiment("A5", observe_apart, judge_apart, on=observe_locked, judge_on=judge_locked, on_root=True),
)
