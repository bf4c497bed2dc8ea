"""What a process dies of when it does what the CPU refuses: the signal, and the address that it is for.

A child of its own is made for that and followed with ptrace(2), which tells what a handler of the signal
would be told (siginfo_t of sigaction(2)), before the signal takes effect as always.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

LIFE_S = 10  # at most, of the child
_TRACEME, _CONT, _GETSIGINFO = 0, 7, 0x4202  # include/uapi/linux/ptrace.h
_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h
_WALL = 0x40000000  # include/uapi/linux/wait.h
_SIGINFO = struct.Struct("@iiixxxxQ")  # number, errno, code, address: include/uapi/asm-generic/siginfo.h
_SIGINFO_BYTES = 128
_REFUSALS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


class Death(NamedTuple):
    """How the child ended."""

    pid: int
    signal: int  # that killed it; 0: none did
    code: int | None  # why the kernel sent it: SEGV_… or SI_…; None: not told
    address: int | None


def of(act: Callable[[], Any], before: Callable[[int], Any] = lambda pid: None) -> Death:
    """Has a child do something, and tells what it died of. `before(pid)` is called right before that."""
    go_read, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(go)
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            signal.alarm(LIFE_S)
            _libc.ptrace(_TRACEME, 0, None, None)
            for number in _REFUSALS:
                signal.signal(number, signal.SIG_DFL)
            if os.read(go_read, 1):
                act()
        finally:
            os._exit(0)
    os.close(go_read)
    try:
        before(pid)
        os.write(go, b"!")
    except BaseException:
        os.close(go)  # then it does nothing
        _followed(pid)
        raise
    os.close(go)
    return _followed(pid)


def _followed(pid: int) -> Death:
    code, address = None, None
    while True:
        status = os.waitpid(pid, _WALL)[1]
        if not os.WIFSTOPPED(status):
            return Death(pid, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, code, address)
        number = os.WSTOPSIG(status)
        if number in _REFUSALS:
            info = ctypes.create_string_buffer(_SIGINFO_BYTES)
            if _libc.ptrace(_GETSIGINFO, pid, None, info) == 0:
                _, _, code, address = _SIGINFO.unpack_from(info)
        _libc.ptrace(_CONT, pid, None, number)  # if it was killed meanwhile, the next wait tells
