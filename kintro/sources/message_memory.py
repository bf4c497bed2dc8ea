"""Messages through shared memory, made ready before the two processes are forked; see messages.py.

stpcpy(3) copies a message in and the other one copies it out, as the kernel does with a pipe. When it is
there, and when its place is free again, is told by sem_post(3) and sem_wait(3), which sleep by futex(2), or
by pthread_spin_lock(3), which does not sleep. A spin lock that another one unlocks is undefined by POSIX;
that of glibc is one number that knows no owner.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.sources.c_chain import Call, Message, Shared
from kintro.sources.messages import Kind, Way
from kintro.sources.players import Part, Program

PLACES_BYTES, PLACES_MAX = 256 << 10, 16  # room for messages of a stream
_LINE = 128  # what CPUs fetch together, at most


class Memory(Kind):
    """Shared memory. `wait` and `tell`: of what tells that there is something."""

    wait, tell = "sem_wait", "sem_post"

    def _make(self, address: int, there: bool) -> None:
        if ctypes.CDLL(None).sem_init(ctypes.c_void_p(address), 1, int(there)):
            raise KintroError("the C library makes no semaphore between processes", None, EX_UNAVAILABLE)

    def _signs(self, there: Sequence[bool]) -> list[int]:
        """So many semaphores or locks, each with something to take or not."""
        memory = Shared(_LINE * len(there))
        self._memory.append(memory)
        addresses = [memory.address + _LINE * number for number in range(len(there))]
        for address, each in zip(addresses, there):
            self._make(address, each)
        return addresses

    def ping_pong(self, times: int) -> Way:
        full = self._signs((False, False))
        places, ends = [self._message(1) for _ in full], [(self._filled(1), self._message(1)) for _ in full]
        parts, calls = [], []
        for number, (send, take) in enumerate(ends):
            to, back = number, 1 - number
            sending = [_copy(places[to], send), _sign(self.tell, full[to])]
            taking = [_sign(self.wait, full[back]), _copy(take, places[back])]
            calls = sending + taking if number == 0 else taking + sending
            parts.append(self._played(calls, times))
        taken = tuple(take for _, take in ends)
        return Way(Program(*parts), 2 * times, taken, ends[0][0].data, self._idle(calls))

    def stream(self, size_bytes: int, messages: int) -> Way | None:
        number = max(2, min(PLACES_MAX, PLACES_BYTES // size_bytes))
        number = max(count for count in range(1, number + 1) if messages % count == 0)
        places = [self._message(size_bytes) for _ in range(number)]
        free, full = self._signs([True] * number), self._signs([False] * number)
        send, take = self._filled(size_bytes), self._message(size_bytes)
        sending, taking = [], []
        for place, a, b in zip(places, free, full):
            sending += [_sign(self.wait, a), _copy(place, send), _sign(self.tell, b)]
            taking += [_sign(self.wait, b), _copy(take, place), _sign(self.tell, a)]
        one, other = (Part(self._chain(calls, messages // number)) for calls in (sending, taking))
        return Way(Program(one, other), messages, (take,), send.data)


class SpunMemory(Memory):
    wait, tell = "pthread_spin_lock", "pthread_spin_unlock"

    def _make(self, address: int, there: bool) -> None:
        libc = ctypes.CDLL(None)
        libc.pthread_spin_init(ctypes.c_void_p(address), 1)
        if not there:
            libc.pthread_spin_lock(ctypes.c_void_p(address))


def _copy(target: Message, source: Message) -> Call:
    return Call("stpcpy", target.address, source.address, source.size_bytes + 1)


_BESIDE = ctypes.create_string_buffer(64)  # what functions of one argument get as memory


def _sign(function: str, address: int) -> Call:
    return Call(function, address, ctypes.addressof(_BESIDE))
