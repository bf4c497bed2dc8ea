"""Ways for two processes to send each other messages, whose functions have too many arguments for a chain.

System V and POSIX message queues and signals, called by loops of Python through ctypes: what such a loop
takes beside its calls is measured with functions that do nothing (`empty`).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable
from contextlib import ExitStack
from itertools import repeat
from pathlib import Path
from typing import Any

from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.sources.c_chain import Message
from kintro.sources.messages import IDLE, WARM, Kind, Limits, Way
from kintro.sources.mqueue import Attributes
from kintro.sources.players import SIGNAL, Part, Program, peer

_IPC_PRIVATE, _IPC_CREAT, _IPC_RMID = 0, 0o1000, 0  # include/uapi/linux/ipc.h
_TYPE = 1  # of a System V message
_TYPE_BYTES = ctypes.sizeof(ctypes.c_long)
_MADE = struct.Struct("=ii")  # a queue, or -1 and errno

# They hold the interpreter's lock, as there is nobody else who wants it: less to do for each call.
_libc = ctypes.PyDLL(None, use_errno=True)

Function = Callable[..., int]
Calls = tuple[
    Function, tuple[Any, ...], Function, tuple[Any, ...]
]  # of sending and of taking, with arguments


def _limit(name: str) -> int | None:
    try:
        return int(Path("/proc/sys", name).read_text())
    except (OSError, ValueError):
        return None


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def _function(name: str) -> Any:
    if not hasattr(_libc, name):
        raise KintroError(f"the C library has no {name}", None, EX_UNAVAILABLE)
    return getattr(_libc, name)


def _turns(calls: Calls, times: int, first: bool) -> None:
    """Sends and takes in turn. Neither may fail."""
    send, sent, take, taken = calls if first else (calls[2], calls[3], calls[0], calls[1])
    failed = 0
    for _ in repeat(None, times):
        if send(*sent) < 0 or take(*taken) < 0:
            failed += 1
    if failed:
        raise _error()


def _only(call: Function, arguments: tuple[int, ...], times: int) -> None:
    failed = 0
    for _ in repeat(None, times):
        if call(*arguments) < 0:
            failed += 1
    if failed:
        raise _error()


def _part(calls: Callable[[], Calls], times: int, first: bool) -> Part:
    return Part(lambda: _turns(calls(), times, first), lambda: _turns(calls(), WARM, first))


def _empty(calls: Calls) -> Callable[[], None]:
    """The same with a function that does nothing with as many arguments."""
    nothing = _function("abs")
    sent, taken = ((ctypes.c_int(1), *arguments[1:]) for arguments in (calls[1], calls[3]))
    return lambda: _turns((nothing, sent, nothing, taken), IDLE, True)


class Queue(Kind):
    """A queue of messages."""

    def _open(self, size_bytes: int) -> int:
        raise NotImplementedError

    def _calls(self, into: int, send: Message, out: int, take: Message) -> Calls:
        raise NotImplementedError

    def ping_pong(self, times: int) -> Way:
        there, back = self._open(1), self._open(1)
        parts, taken, sent = [], [], b""
        for first, (into, out) in zip((True, False), ((there, back), (back, there))):
            send, take = self._filled(1), self._message(1)
            calls = self._calls(into, send, out, take)
            parts.append(_part(lambda calls=calls: calls, times, first))  # type: ignore[misc]
            taken.append(take)
            sent = send.data
        return Way(Program(*parts), 2 * times, tuple(taken), sent, _empty(calls))

    def stream(self, size_bytes: int, messages: int) -> Way | None:
        if self.limits.message_bytes is not None and size_bytes > self.limits.message_bytes:
            return None
        queue = self._open(size_bytes)
        send, take = self._filled(size_bytes), self._message(size_bytes)
        sending, sent, taking, taken = self._calls(queue, send, queue, take)
        one = Part(lambda: _only(sending, sent, messages))
        other = Part(lambda: _only(taking, taken, messages))
        return Way(Program(one, other), messages, (take,), send.data)


class SystemVQueue(Queue):
    """msgop(2). A queue outlives its processes: it is removed with the stack, or when kintro is gone."""

    def __init__(self, stack: ExitStack) -> None:
        super().__init__(stack)
        self.limits = Limits(_limit("kernel/msgmax"), _limit("kernel/msgmnb"))

    def _open(self, size_bytes: int) -> int:
        queue, remove = _made_for_a_while()
        self._stack.callback(remove)
        return queue

    def _message(self, size_bytes: int) -> Message:
        """The type comes first."""
        message = super()._message(size_bytes)
        # Right before the data, where nothing else lies.
        ctypes.memmove(message.address - _TYPE_BYTES, _TYPE.to_bytes(_TYPE_BYTES, "little"), _TYPE_BYTES)
        return message

    def _calls(self, into: int, send: Message, out: int, take: Message) -> Calls:
        sent = _arguments("ipzi", into, send.address - _TYPE_BYTES, send.size_bytes, 0)
        taken = _arguments("ipzli", out, take.address - _TYPE_BYTES, take.size_bytes, _TYPE, 0)
        return _function("msgsnd"), sent, _function("msgrcv"), taken


_C_TYPES = {"i": ctypes.c_int, "p": ctypes.c_void_p, "z": ctypes.c_size_t, "l": ctypes.c_long}


def _arguments(types: str, *values: int) -> tuple[Any, ...]:
    """Made once, as that takes time. Addresses have more bits than an int."""
    return tuple(_C_TYPES[letter](value) for letter, value in zip(types, values))


def _made_for_a_while() -> tuple[int, Callable[[], None]]:
    """A queue, and what removes it.

    A child makes it and removes it at the end of a pipe, which comes even when we are killed, at any time.
    """
    make = _function("msgget")
    (out, into), (told, tell) = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()  # a terminal's signals are not for it
            for fd in (into, told):
                os.close(fd)
            queue = make(_IPC_PRIVATE, _IPC_CREAT | 0o600)
            try:
                os.write(tell, _MADE.pack(queue, ctypes.get_errno()))
                os.close(tell)
                os.read(out, 1)
            finally:
                _libc.msgctl(queue, _IPC_RMID, None)
        finally:
            os._exit(0)
    os.close(out)
    os.close(tell)

    def remove() -> None:
        os.close(into)
        os.waitpid(pid, 0)

    with open(told, "rb") as answer:
        queue, error = _MADE.unpack(answer.read(_MADE.size) or _MADE.pack(-1, errno.ECHILD))
    if queue < 0:
        remove()
        raise OSError(error, os.strerror(error))
    return int(queue), remove


class PosixQueue(Queue):
    """mq_overview(7). It has no name but for a moment, and ends with its descriptors."""

    def __init__(self, stack: ExitStack) -> None:
        super().__init__(stack)
        size, messages = _limit("fs/mqueue/msgsize_max"), _limit("fs/mqueue/msg_max")
        self.limits = Limits(size, None, messages)
        self._opened = 0

    def _open(self, size_bytes: int) -> int:
        self._opened += 1
        name = f"/kintro-{os.getpid()}-{self._opened}".encode()
        attributes = Attributes(0, self.limits.queue_messages or 10, size_bytes, 0)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        queue = _function("mq_open")(name, flags, 0o600, ctypes.byref(attributes))
        if queue < 0:
            raise _error()
        _function("mq_unlink")(name)
        self._stack.callback(os.close, queue)
        return int(queue)

    def _calls(self, into: int, send: Message, out: int, take: Message) -> Calls:
        sent = _arguments("ipzi", into, send.address, send.size_bytes, 0)
        taken = _arguments("ipzp", out, take.address, take.size_bytes, 0)
        return _function("mq_send"), sent, _function("mq_receive"), taken


class Signals(Kind):
    """kill(2) and sigwait(3)."""

    limits = Limits(0)

    def ping_pong(self, times: int) -> Way:
        wanted, got = ctypes.create_string_buffer(128), ctypes.c_int()  # sigset_t
        self._memory += [wanted, got]
        _libc.sigemptyset(wanted)
        _libc.sigaddset(wanted, int(SIGNAL))
        taken = _arguments("pp", ctypes.addressof(wanted), ctypes.addressof(got))
        kill, sigwait = _function("kill"), _function("sigwait")

        def calls(pid: int | None = None) -> Calls:
            return kill, _arguments("ii", pid or peer(), int(SIGNAL)), sigwait, taken

        parts = (_part(calls, times, first) for first in (True, False))
        return Way(Program(*parts), 2 * times, (), b"", _empty(calls(1)))

    def stream(self, size_bytes: int, messages: int) -> Way | None:
        return None
