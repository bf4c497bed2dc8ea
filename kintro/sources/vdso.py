"""Whether the vDSO tells the time, or clock_gettime(2) is a system call like any other (vdso(7)).

A child forbids itself that one system call with a seccomp filter and asks for the time: without an error, it
got the time in user mode.
"""

from __future__ import annotations

import ctypes
import os
import struct
import time

from kintro.sources.syscall_names import syscall_names

# include/uapi/linux: prctl.h, seccomp.h, bpf_common.h
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_YES, _NO, _UNKNOWN = range(3)


def vdso_answers(clock: int = time.CLOCK_REALTIME) -> bool | None:
    """Whether the time of a clock can be had without a system call. None: it cannot be found out.

    To be called while there is no other thread: it forks.
    """
    number = next((nr for nr, name in syscall_names().items() if name == "clock_gettime"), None)
    if number is None:
        return None
    pid = os.fork()
    if pid == 0:
        answer = _UNKNOWN
        try:
            if _forbid(number):
                answer = _NO
                time.clock_gettime(clock)
                answer = _YES
        finally:
            os._exit(answer)
    return {_YES: True, _NO: False}.get(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _forbid(number: int) -> bool:
    """Has a system call fail with EPERM for the rest of this process (seccomp(2)). False: it cannot."""
    words = [(_LOAD_WORD, 0, 0, 0), (_JUMP_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | 1)]
    words.append((_RETURN, 0, 0, _ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *word) for word in words))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(words), ctypes.addressof(code)))
    prctl = ctypes.CDLL(None).prctl
    prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    if prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    return prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program), 0, 0) == 0
