"""System calls one by one: who made which, with what arguments, what came of it, how long it took.

Probe: probes/calls.c. Records are what it sends, in raw units; a Seen is a call with what is known of it: its
thread's name, the memory that its arguments refer to, the files behind its descriptors.

What it cannot see: calls that never reach the kernel (the vDSO answers clock_gettime and the like); memory
that is not there at the entry of a call that never returns; the arguments of fork's and clone's return in
the child, which is not told as a call.
"""

from __future__ import annotations

import stat
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from kintro.observers import syscall_signatures as signatures
from kintro.observers import syscall_values as values
from kintro.observers.calls_records import (
    COMPAT,
    DECODE,
    PROBE,
    RECORDS,
    TOLD_BITS,
    Call,
    File,
    Text,
    Thread,
    dtypes,
)
from kintro.observers.syscall_guesses import guessed
from kintro.observers.syscall_signatures import Signature
from kintro.observers.syscalls import error_name
from kintro.sources.bpf import Loading
from kintro.sources.command import picked
from kintro.sources.filters import Filters
from kintro.sources.rows import pumped, records
from kintro.sources.trace import Account, Trace, is_number

# include/uapi/linux/magic.h
PIPEFS, SOCKFS, _ANON_INODE, _NSFS, _PIDFS = 0x50495045, 0x534F434B, 0x09041934, 0x6E736673, 0x50494446

UNKNOWN = guessed(None, "")  # a call of which nothing is known: six numbers
_DUPFD = (0, 1030)  # F_DUPFD, F_DUPFD_CLOEXEC: the commands of fcntl that return a descriptor
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
    files: Mapping[str, bytes]  # of arguments that are descriptors, and of `return`: as /proc/PID/fd has it
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

    def signature(self, call: Call) -> Signature:
        return UNKNOWN if call.flags & COMPAT else self.signatures.get(self.of(call), UNKNOWN)


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
        signature = names.signature(call)
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
        places = [a.name for a in signature.arguments if a.capture == signatures.FD]
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
    data = text.data or b""  # null: of a session that somebody has forged
    return data.removesuffix(b"\0") if text.cut else data


def path_of(file: File) -> bytes:
    """The name of an open file as readlink(2) of /proc/PID/fd/N gives it: see proc_pid_fd(5)."""
    names = (file.data or b"").split(b"\0")[:-1]
    kind = stat.S_IFMT(file.mode)
    if file.magic == PIPEFS and kind == stat.S_IFIFO:
        return b"pipe:[%d]" % file.inode
    if file.magic == SOCKFS:
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
_TALLY = ("duration_ns", "lost", "under_way", "waiting", *_COUNTERS)


def tally(account: Account, under_way: int, waiting: int) -> dict[str, int]:
    """What a session keeps of an Account.

    `under_way`: calls that went on when the trace had ended; `waiting`: others that had begun before it.
    """
    counters = account.counters
    lost = account.lost + counters["overtaken"]
    kept = {name: counters[name] for name in _COUNTERS}
    return {
        "duration_ns": account.duration_ns,
        "lost": lost,
        "under_way": under_way,
        "waiting": waiting,
    } | kept


def is_tally(found: object) -> bool:
    """Whether this, from a session of any origin, has the form that `tally` gives."""
    return isinstance(found, dict) and set(found) == set(_TALLY) and all(map(is_number, found.values()))


def summary(seen: int, counted: Mapping[str, int] | None) -> Summary:
    """From the kernel's counts (see `tally`); without them what was seen is all that is known."""
    if counted is None:
        return Summary(None, seen, None, None, None, None, None, None, False)
    c = counted
    return Summary(
        c["duration_ns"],
        c["call_sent"] + c["under_way"] + c["waiting"],
        c["errors"],
        c["died"] + c["under_way"] + c["waiting"],
        c["early"] + c["waiting"],
        c["passed_over"],
        c["refused"],
        c["lost"],
        c["lost"] == 0 and c["entered"] == c["call_sent"] - c["early"] + c["passed_over"] + c["under_way"],
    )


class Run:
    """A trace to iterate over: gives calls as they return until it ends; then `summary` has the counts."""

    def __init__(self, trace: Trace, names: Names, tally: Callable[[Account], Mapping[str, int]]) -> None:
        self._trace, self._names, self._tally = trace, names, tally
        self._seen = 0

    def __iter__(self) -> Iterator[Seen]:
        trace = self._trace
        for seen in Story(self._names).calls(pumped(records(trace.rows(), RECORDS), trace.drain)):
            self._seen += 1
            yield seen

    def stop(self) -> None:
        """Makes the iteration come to its end."""
        self._trace.stop()

    @property
    def summary(self) -> Summary:
        """What was counted. Of use when the iteration is over."""
        account = self._trace.account
        return summary(self._seen, self._tally(account) if account else None)


@contextmanager
def trace(
    command: Sequence[str] | None = None,
    filters: Filters | None = None,
    duration_s: float | None = None,
    expression: str | None = None,
    text_bytes: int = 32,
    failed: bool = False,
    slower_ns: int = 0,
    during: Callable[[], Any] | None = None,
) -> Iterator[Run]:
    """Traces single system calls, of a command and its descendants if one is given; `with trace(...) as run`.

    `during` is called when the iteration has begun and all is attached; the trace ends when it returns. The
    rest is as on the command line. Raises KintroError for whatever stands against it, as that tells it.
    """
    from kintro.observers import calls_names, calls_read, thread_records
    from kintro.sources.columns import Columns

    filters, make = picked(command, filters)
    names, _ = calls_names.of_this_kernel()
    chosen = calls_names.chosen(expression, names)
    request = calls_read.Request(names, chosen, text_bytes, failed, slower_ns)
    loading = Loading(PROBE, filters, thread_records.defines())
    with Trace(loading, Columns(DECODE, dtypes()), None, make, duration_s, during) as running:
        request.prepare(running)
        yield Run(running, names, request.tally)
