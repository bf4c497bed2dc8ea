"""Ways for two processes to send each other messages, made ready before they are forked.

For each kind programs of two parts (players.py): a ping-pong, where a message goes to the other one and one
comes back, and a stream, where all go the same way. Here are pipes, sockets and eventfd: writev(2) and
readv(2) of one piece, called by compiled code (c_chain.py). See also message_memory.py, message_loops.py.

Who takes a stream of bytes may find a part of a message. Sockets are told how much to wait for (SO_RCVLOWAT);
of messages so large that this does not help, and of pipes' beyond PIPE_BUF, a loop of Python takes the rest.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from itertools import repeat
from typing import NamedTuple

from kintro.sources.c_chain import Call, Chain, Message
from kintro.sources.players import Part, Program

IDLE = 200  # turns of a loop that does nothing
WARM = 4  # messages before the clock is looked at, in a ping-pong
_F_GETPIPE_SZ = 1032  # include/uapi/linux/fcntl.h
_COUNTER_BYTES = 8  # of an eventfd
_WHOLE_MAX = select.PIPE_BUF


class Way(NamedTuple):
    """A program, and how to tell whether it did what it should."""

    program: Program
    messages: int  # from one process to another, in one run
    taken: tuple[Message, ...]  # where messages arrive
    sent: bytes  # what has to be there afterwards
    empty: Callable[[], None] | None = None  # IDLE turns of the loop of a part, with calls that do nothing

    def clear(self) -> None:
        for message in self.taken:
            message.clear()

    @property
    def arrived(self) -> bool:
        return all(message.data == self.sent for message in self.taken)


class Limits(NamedTuple):
    """None: none that is known."""

    message_bytes: int | None = None
    queue_bytes: int | None = None
    queue_messages: int | None = None


class Kind:
    """One kind, with all that its programs need, until the stack is closed."""

    limits = Limits()

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._memory: list[object] = []  # what calls know by its address, there as long as the stack
        stack.callback(self._memory.clear)

    def _message(self, size_bytes: int) -> Message:
        message = Message(size_bytes)
        self._memory.append(message)
        return message

    def _filled(self, size_bytes: int) -> Message:
        message = self._message(size_bytes)
        message.fill()
        return message

    def ping_pong(self, times: int) -> Way:
        raise NotImplementedError

    def stream(self, size_bytes: int, messages: int) -> Way | None:
        """None: it carries no such message."""
        raise NotImplementedError

    def _chain(self, calls: Sequence[Call], times: int) -> Chain:
        return self._stack.enter_context(closing(Chain(calls, times)))

    def _played(self, calls: Sequence[Call], times: int) -> Part:
        return Part(self._chain(calls, times), self._chain(calls, WARM))

    def _idle(self, calls: Sequence[Call]) -> Chain:
        return self._chain([Call("abs", 1, call.memory, call.size) for call in calls], IDLE)


class Files(Kind):
    """What is written to and read from. Ends: how to make those of one who sends and of one who takes."""

    unit_bytes = 1

    def _ends(self, take_bytes: int) -> tuple[int, int]:
        """From the first to the second, as descriptors that are closed with the stack."""
        raise NotImplementedError

    def _both_ends(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Where the first sends to and takes from, and the second."""
        (into, out), (back_into, back_out) = self._ends(1), self._ends(1)
        return (into, back_out), (back_into, out)

    def ping_pong(self, times: int) -> Way:
        parts, taken, calls = [], [], []
        data = _one(self.unit_bytes)
        for first, (into, out) in zip((True, False), self._both_ends()):
            send, take = self._message(self.unit_bytes), self._message(self.unit_bytes)
            send.data = data
            calls = [Call("writev", into, send.iovec), Call("readv", out, take.iovec)]
            parts.append(self._played(calls if first else calls[::-1], times))
            taken.append(take)
        return Way(Program(*parts), 2 * times, tuple(taken), data, self._idle(calls))

    def stream(self, size_bytes: int, messages: int) -> Way | None:
        if self.limits.message_bytes is not None and size_bytes > self.limits.message_bytes:
            return None
        into, out = self._ends(size_bytes)
        send, take = self._filled(size_bytes), self._message(size_bytes)
        one = Part(self._chain([Call("writev", into, send.iovec)], messages))
        if self._whole(size_bytes):
            other = Part(self._chain([Call("readv", out, take.iovec)], messages))
        else:
            other = Part(lambda: _take_all(out, take, messages))
        return Way(Program(one, other), messages, (take,), send.data)

    def _whole(self, size_bytes: int) -> bool:
        """Whether one call takes all of a message."""
        return size_bytes <= _WHOLE_MAX

    def _kept(self, *fds: int) -> None:
        for fd in fds:
            self._stack.callback(os.close, fd)


def _one(size_bytes: int) -> bytes:
    return (1).to_bytes(size_bytes, "little")


def _take_all(fd: int, message: Message, messages: int) -> None:
    room = [message.room]
    for _ in repeat(None, messages):
        taken = os.readv(fd, room)
        while taken < message.size_bytes:
            more = os.readv(fd, [room[0][taken:]])
            if not more:
                raise OSError("the other one has ended")
            taken += more


class Pipe(Files):
    def __init__(self, stack: ExitStack) -> None:
        super().__init__(stack)
        self.limits = Limits(None, fcntl.fcntl(self._ends(1)[0], _F_GETPIPE_SZ))

    def _ends(self, take_bytes: int) -> tuple[int, int]:
        out, into = os.pipe2(os.O_CLOEXEC)
        self._kept(out, into)
        return into, out


class EventFd(Files):
    """Its message is a number that is added to a counter, and no data."""

    unit_bytes = _COUNTER_BYTES
    limits = Limits(_COUNTER_BYTES)

    def _ends(self, take_bytes: int) -> tuple[int, int]:
        make = ctypes.CDLL(None, use_errno=True).eventfd  # os.eventfd only from Python 3.10 with a new glibc
        fd = make(0, os.O_CLOEXEC)
        if fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._kept(fd)
        return fd, fd

    def stream(self, size_bytes: int, messages: int) -> Way | None:
        return None


class Sockets(Files):
    kind = socket.SOCK_STREAM

    def __init__(self, stack: ExitStack) -> None:
        super().__init__(stack)
        one, other = self._pair()
        with one, other:
            room = one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        # Of datagrams: sk_sndbuf - 32 of unix_dgram_sendmsg, net/unix/af_unix.c.
        self.limits = Limits(room - 32 if self.kind == socket.SOCK_DGRAM else None, room)

    def _pair(self) -> tuple[socket.socket, socket.socket]:
        return socket.socketpair(socket.AF_UNIX, self.kind)

    def _ends(self, take_bytes: int) -> tuple[int, int]:
        one, other = self._pair()
        for end in (one, other):
            self._stack.enter_context(end)
        if self.kind == socket.SOCK_STREAM:
            # Who waits for more than comes is not woken by what does come: only where all is taken at once.
            least = take_bytes if self._whole(take_bytes) else 1
            other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)
        return one.fileno(), other.fileno()

    def _both_ends(self) -> tuple[tuple[int, int], tuple[int, int]]:
        one, other = self._ends(1)
        return (one, one), (other, other)


class Datagrams(Sockets):
    kind = socket.SOCK_DGRAM

    def _whole(self, size_bytes: int) -> bool:
        return True


class Tcp(Sockets):
    def _pair(self) -> tuple[socket.socket, socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            one = socket.create_connection(server.getsockname())
            while True:  # somebody else may have been faster
                other, address = server.accept()
                if address == one.getsockname():
                    break
                other.close()
        for end in (one, other):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return one, other
