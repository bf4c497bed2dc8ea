"""What a child dies of: the signal, and the address that it is for."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal

import pytest

from kintro.sources import last_signal

SEGV_MAPERR, SEGV_ACCERR = 1, 2  # sigaction(2)


def test_of_an_address_where_nothing_is() -> None:
    with mmap.mmap(-1, mmap.PAGESIZE) as memory:
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    pids: list[int] = []
    death = last_signal.of(lambda: ctypes.string_at(address, 1), pids.append)
    assert death == (pids[0], signal.SIGSEGV, SEGV_MAPERR, address)


def test_of_an_address_that_may_only_be_read() -> None:
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    address = libc.mmap(None, ctypes.c_size_t(mmap.PAGESIZE), 1, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    death = last_signal.of(lambda: ctypes.memset(address + 5, 1, 1))
    assert death[1:] == (signal.SIGSEGV, SEGV_ACCERR, address + 5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_of_a_signal_without_an_address(number: int) -> None:
    death = last_signal.of(lambda: os.kill(os.getpid(), number))
    assert death[1:] == (number, None, None)


def test_of_nothing() -> None:
    death = last_signal.of(lambda: None)
    assert death[1:] == (0, None, None)
    assert not os.path.exists(f"/proc/{death.pid}")


def test_what_fails_before_leaves_no_child() -> None:
    pids: list[int] = []

    def fail(pid: int) -> None:
        pids.append(pid)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        last_signal.of(lambda: None, fail)
    assert not os.path.exists(f"/proc/{pids[0]}")
