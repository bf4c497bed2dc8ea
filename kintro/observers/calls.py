"""System calls one by one: who made which, with what arguments, what came of it, how long it took.

Probe: probes/calls.c. Records are what it sends, in raw units; a Seen is a call with what is known of it: its
thread's name, the memory that its arguments refer to, the files behind its descriptors.

What it cannot see: calls that never reach the kernel (the vDSO answers clock_gettime and the like); memory
that is not there at the entry of a call that never returns; the arguments of fork's and clone's return in
the child, which is not told as a call.
"""

from __future__ import annotations

import stat
import struct
from collections import deque
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from kintro.observers import syscall_signatures as signatures
from kintro.observers import syscall_values as values
from kintro.observers.calls_records import (
    ARGUMENTS,
    AT_ENTRY,
    AT_EXIT,
    COMPAT,
    COMPAT_SLOT,
    LISTS,
    MOVES,
    NO_ERRORS,
    OTHER_SLOT,
    RESULT_FD,
    SLOTS,
    TOLD_BITS,
    TRACED,
    Call,
    File,
    Text,
    Thread,
)
from kintro.observers.syscall_guesses import guessed
from kintro.observers.syscall_signatures import Signature
from kintro.observers.syscalls import error_name

if TYPE_CHECKING:
    from kintro.sources.trace import Account

settled = None  # nothing is under way in the kernel once a process has ended

# include/uapi/linux/magic.h
_PIPEFS, _SOCKFS, _ANON_INODE, _NSFS, _PIDFS = 0x50495045, 0x534F434B, 0x09041934, 0x6E736673, 0x50494446


UNKNOWN = guessed(None, "")  # a call of which nothing is known: six numbers
_AT_EXIT = (signatures.BYTES_OUT, signatures.FIXED_OUT, signatures.BYTES_AT, signatures.SIZED_OUT)
_DUPFD = (0, 1030)  # F_DUPFD, F_DUPFD_CLOEXEC: the commands of fcntl that return a descriptor
# These give other paths to files that are open.
_MOVES = ("rename", "renameat", "renameat2", "mount", "umount2", "move_mount", "pivot_root")
_NAMES_KEPT = 16  # by address of a struct file
WITHOUT_ERRORS = (
    "rt_sigreturn",
    "sigreturn",
)  # what it returns is a register of the program that was interrupted


class Seen(NamedTuple):
    """A call, and what is known of it."""

    call: Call
    name: str
    thread: Thread | None  # None if that was lost
    arguments: Mapping[str, Any]  # by name, as syscall_signatures tells them
    files: Mapping[
        str, bytes
    ]  # of the arguments that are descriptors, and of `return`: as /proc/PID/fd has it
    result: Any  # None if it did not return
    error: str | None

    @property
    def comm(self) -> bytes | None:
        return self.thread.comm if self.thread is not None else None


class Names(NamedTuple):
    """What calls are named on a machine, and what their arguments mean."""

    calls: Mapping[int, str]
    compat: Mapping[int, str]  # those of 32 bits
    signatures: Mapping[str, Signature]

    def of(self, call: Call) -> str:
        if call.flags & COMPAT:
            return self.compat.get(call.nr, str(call.nr))
        return self.calls.get(call.nr, str(call.nr))


class Story:
    """Puts together what is sent of calls. Feed it records in order of time."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._threads: dict[int, Thread] = {}
        self._files: dict[int, deque[File]] = {}  # by address of the struct file
        self._texts: dict[int, dict[int, Text]] = {}  # by tid, of one call each; by argument

    def calls(self, records: Iterable[Any]) -> Iterator[Seen]:
        for record in records:
            if isinstance(record, Call):
                yield self._seen(record)
            elif isinstance(record, Text):
                self._keep(record)
            elif isinstance(record, File):
                self._files.setdefault(record.file >> TOLD_BITS, deque(maxlen=_NAMES_KEPT)).append(record)
            else:
                self._introduce(record)

    def _introduce(self, thread: Thread) -> None:
        known = self._threads.get(thread.tid)
        self._threads[thread.tid] = thread
        if thread.old_tid in self._texts:
            self._texts[thread.tid] = self._texts.pop(thread.old_tid)
        elif known is not None and known.start_time_ns != thread.start_time_ns:
            self._texts.pop(thread.tid, None)  # of another thread, which had this id before

    def _path(self, file: int) -> bytes | None:
        """Of the file that was told as this; None if that was lost or is too long ago."""
        told = reversed(self._files.get(file >> TOLD_BITS, ()))
        return next((path_of(known) for known in told if known.file == file), None)

    def _keep(self, text: Text) -> None:
        of_thread = self._texts.setdefault(text.tid, {})
        if any(other.number != text.number for other in of_thread.values()):
            of_thread.clear()  # of a call that a filter left out when it returned
        of_thread[text.argument] = text

    def _seen(self, call: Call) -> Seen:
        names, thread = self._names, self._threads.get(call.tid)
        name = names.of(call)
        texts = self._texts.pop(call.tid, {})
        signature = names.signatures.get(name, UNKNOWN) if not call.flags & COMPAT else UNKNOWN
        captured = {place: _whole(text) for place, text in texts.items() if text.number == call.number}
        raw = values.Call(call.arguments, captured, call.returned)
        return Seen(
            call,
            name,
            thread if thread is not None and thread.pid == call.pid else None,
            signatures.arguments(signature, raw),
            self._paths(call, name, signature),
            signatures.result(signature, raw),
            None if call.error is None or name in WITHOUT_ERRORS else error_name(call.error),
        )

    def _paths(self, call: Call, name: str, signature: Signature) -> dict[str, bytes]:
        """What the descriptors of a call refer to."""
        places = [a.name for a in signature.arguments if a.capture in (signatures.FD, signatures.DIRFD)]
        if signature.new_fd and call.error is None and not (name == "fcntl" and call.arg1 not in _DUPFD):
            places = [*places[:1], *[""] * (1 - len(places)), "return"]
        found = {}
        for place, file in zip(places, (call.file0, call.file1)):
            path = self._path(file)
            if path is not None:
                found[place] = path
        return found


def passes(seen: Seen, chosen: Container[str] | None, failed: bool, slower_ns: int) -> bool:
    """As probes/calls.c decides, for a session that has more: calls that never return are not left out."""
    duration_ns = seen.call.duration_ns
    if chosen is not None and seen.name not in chosen:
        return False
    if failed and seen.error is None and seen.call.returned is not None:
        return False
    return duration_ns is None or duration_ns >= slower_ns


def _whole(text: Text) -> bytes:
    """A list that was cut has no NUL at its end: see syscall_signatures.STRINGS."""
    return text.data.removesuffix(b"\0") if text.cut else text.data


def path_of(file: File) -> bytes:
    """The name of an open file as readlink(2) of /proc/PID/fd/N gives it: see proc_pid_fd(5)."""
    names = file.data.split(b"\0")[:-1]
    kind = stat.S_IFMT(file.mode)
    if file.magic == _PIPEFS and kind == stat.S_IFIFO:
        return b"pipe:[%d]" % file.inode
    if file.magic == _SOCKFS:
        return b"socket:[%d]" % file.inode
    if file.magic == _ANON_INODE:
        return b"anon_inode:" + b"".join(names)
    if file.magic == _NSFS:
        return b"%s:[%d]" % (b"".join(names), file.inode)
    if file.magic == _PIDFS:
        return b"anon_inode:[pidfd]"
    path = b"/" + b"/".join(name for name in reversed(names) if name != b"/")
    if file.cut:
        path = b"..." + path
    return path + b" (deleted)" if file.deleted else path


def spec(name: str | None, signature: Signature, traced: bool) -> bytes:
    """What the probe is told of a call: struct spec of probes/calls.h."""
    flags, place_of_list, descriptors, arguments = TRACED if traced else 0, 0, 0, b""
    for place, argument in enumerate(signature.arguments[:ARGUMENTS]):
        kind, which = argument.capture, argument.which
        if kind in _AT_EXIT:
            flags |= AT_EXIT
        elif kind != signatures.NOTHING:
            flags |= AT_ENTRY
        if kind == signatures.STRINGS:
            flags, place_of_list = flags | LISTS, place
        if kind in (signatures.FD, signatures.DIRFD):
            which, descriptors = min(descriptors, 1), descriptors + 1
        arguments += struct.pack("=BBH", kind, which, argument.size)
    if signature.new_fd:
        flags |= RESULT_FD
    if name in WITHOUT_ERRORS:
        flags |= NO_ERRORS
    if name in _MOVES:
        flags |= MOVES
    return struct.pack("=HH", flags, place_of_list) + arguments.ljust(4 * ARGUMENTS, b"\0")


def specs(names: Names, chosen: Container[str] | None) -> list[bytes]:
    """By slot, of all calls; `chosen`: the names of those to trace, None for all."""
    by_slot = []
    for slot in range(SLOTS):
        table = names.calls if slot < COMPAT_SLOT else names.compat
        number = slot % COMPAT_SLOT
        name = table.get(number) if number < OTHER_SLOT else None
        of_slot = {name} if number < OTHER_SLOT else {table[n] for n in table if n >= OTHER_SLOT}
        traced = chosen is None or any(name in chosen for name in of_slot)
        signature = names.signatures.get(name or "", UNKNOWN) if slot < COMPAT_SLOT else UNKNOWN
        by_slot.append(spec(name, signature, traced))
    return by_slot


class Summary(NamedTuple):
    """What a run counted, by counters in the kernel. None: not known, as of a session that was cut off."""

    duration_ns: int | None
    calls: int  # that were told
    errors: int | None
    unfinished: int | None  # of these calls: they never returned, or not while the trace went on
    early: int | None  # of these calls: they had begun before the trace
    passed_over: int | None  # calls that --failed or --slower left out
    refused: int | None  # calls that seccomp, ptrace or the process itself answered: not told
    lost: int | None
    complete: bool  # nothing was lost, and as many calls were told as had begun


_COUNTERS = ("call_sent", "entered", "errors", "died", "early", "passed_over", "refused")
_TALLY = ("duration_ns", "lost", "under_way", *_COUNTERS)


def tally(account: Account, under_way: int) -> dict[str, int]:
    """What a session keeps of an Account; `under_way`: calls that went on when the trace had ended."""
    counters = account.counters
    lost = account.lost + counters["overtaken"]
    kept = {name: counters[name] for name in _COUNTERS}
    return {"duration_ns": account.duration_ns, "lost": lost, "under_way": under_way} | kept


def is_tally(found: object) -> bool:
    """Whether this, from a session of any origin, has the form that `tally` gives."""
    return (
        isinstance(found, dict)
        and set(found) == set(_TALLY)
        and all(isinstance(value, int) for value in found.values())
    )


def summary(seen: int, counted: Mapping[str, int] | None) -> Summary:
    """From the kernel's counts (see `tally`); without them what was seen is all that is known."""
    if counted is None:
        return Summary(None, seen, None, None, None, None, None, None, False)
    c = counted
    return Summary(
        c["duration_ns"],
        c["call_sent"] + c["under_way"],
        c["errors"],
        c["died"] + c["under_way"],
        c["early"],
        c["passed_over"],
        c["refused"],
        c["lost"],
        c["lost"] == 0 and c["entered"] == c["call_sent"] - c["early"] + c["passed_over"] + c["under_way"],
    )
