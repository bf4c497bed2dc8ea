"""Arguments whose meaning depends on another one: the command of fcntl, the operation of futex and such."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from kintro.observers import syscall_names_files as files
from kintro.observers import syscall_names_network as network
from kintro.observers import syscall_names_tasks as tasks
from kintro.observers.syscall_structs import Memory, signal
from kintro.observers.syscall_values import (
    ABSENT,
    Call,
    Show,
    captured,
    enum,
    flags,
    hexadecimal,
    name_of,
    number,
    octal,
    pointed,
    pointer,
    signed,
)

_CREATES = 0o100 | 0o20000000  # O_CREAT, __O_TMPFILE: the same on all machines
_int = number(32, with_sign=True)


def word(value: int, data: bytes | None, call: Call) -> str | int:
    """A register of which nothing is known: small numbers decimal, others hexadecimal."""
    small = signed(value, 64)
    return small if -4096 <= small < 65536 else hex(value)


def mode_behind(at: int) -> Show:
    """A file mode that counts only if the open flags in argument `at` create a file."""
    return lambda value, data, call: octal(value, data, call) if call.registers[at] & _CREATES else ABSENT


def fixed_address(value: int, data: bytes | None, call: Call) -> Any:
    """mremap's fifth: MREMAP_FIXED and MREMAP_DONTUNMAP use it."""
    return pointer(value, data, call) if call.registers[3] & 6 else ABSENT


def attributes_of_queue(shown: Memory) -> Show:
    """mq_open's fourth."""
    show = pointed(shown.show)
    return lambda value, data, call: show(value, data, call) if call.registers[1] & _CREATES else ABSENT


def file_control(open_flags: Show, lock: Memory) -> tuple[Show, Show]:
    """fcntl's third argument, and its result."""
    of_name = {name.removeprefix("F_"): value for value, name in files.FCNTL.items()}
    without = {of_name[name] for name in ("GETFD", "GETFL", "GETOWN", "GETSIG", "GETLEASE", "GETPIPE_SZ")}
    without.add(of_name["GET_SEALS"])
    locks = {of_name[start + end] for start in ("", "OFD_") for end in ("GETLK", "SETLK", "SETLKW")}
    known: dict[int, Show] = {
        of_name["SETFD"]: flags(files.FD),
        of_name["SETFL"]: open_flags,
        of_name["ADD_SEALS"]: flags(files.SEALS),
        of_name["SETSIG"]: signal,
        of_name["SETLEASE"]: enum(files.LOCK),
        **dict.fromkeys(locks, pointed(lock.show)),
    }
    for name in ("DUPFD", "DUPFD_CLOEXEC", "DUPFD_QUERY", "SETOWN", "SETPIPE_SZ"):
        known[of_name[name]] = _int
    results: dict[int, Show] = {
        of_name["GETFD"]: flags(files.FD),
        of_name["GETFL"]: open_flags,
        of_name["GET_SEALS"]: flags(files.SEALS),
        of_name["GETLEASE"]: enum(files.LOCK),
    }

    def argument(value: int, data: bytes | None, call: Call) -> Any:
        command = signed(call.registers[1])
        return ABSENT if command in without else known.get(command, word)(value, data, call)

    def result(value: int, data: bytes | None, call: Call) -> Any:
        return results.get(signed(call.registers[1]), _int)(value, data, call)

    return argument, result


def device_control(window: Memory, whole: Memory) -> Show:
    """ioctl's third argument."""
    of_name = {name: value for value, name in files.IOCTL.items()}
    without = {of_name[name] for name in ("FIOCLEX", "FIONCLEX", "TIOCNOTTY", "TIOCEXCL", "TIOCNXCL")}
    known: dict[int, Show] = {
        **{of_name[name]: _int for name in ("TCSBRK", "TCXONC", "TCFLSH", "TIOCSCTTY", "FICLONE")},
        **{of_name[name]: pointed(window.show) for name in ("TIOCGWINSZ", "TIOCSWINSZ")},
    }
    for name in ("FIONREAD", "FIONBIO", "FIOASYNC", "TIOCOUTQ", "TIOCGPGRP", "TIOCSPGRP", "TIOCGSID"):
        known[of_name[name]] = pointed(whole.show)

    def argument(value: int, data: bytes | None, call: Call) -> Any:
        request = call.registers[1] & 0xFFFFFFFF
        return ABSENT if request in without else known.get(request, pointer)(value, data, call)

    return argument


# Names of options → how many arguments they have beside the option; all others have one
_PRCTL = {
    **dict.fromkeys(("GET_KEEPCAPS", "GET_DUMPABLE", "GET_TIMERSLACK", "GET_SECCOMP", "GET_SECUREBITS"), 0),
    **dict.fromkeys(("GET_IO_FLUSHER", "GET_TIMING"), 0),
    **dict.fromkeys(("SET_SECCOMP", "GET_SPECULATION_CTRL"), 2),
    **dict.fromkeys(
        ("SET_MM", "SET_NO_NEW_PRIVS", "GET_NO_NEW_PRIVS", "SET_THP_DISABLE", "GET_THP_DISABLE"), 4
    ),
    **dict.fromkeys(("CAP_AMBIENT", "SCHED_CORE", "SET_VMA", "SET_MDWE", "GET_MDWE"), 4),
    "SET_SPECULATION_CTRL": 3,
}


def process_control(at: int) -> Show:
    """prctl's argument at that place."""

    def argument(value: int, data: bytes | None, call: Call) -> Any:
        option = name_of(tasks.PRCTL, call.registers[0]).removeprefix("PR_")
        if at > _PRCTL.get(option, 1):
            return ABSENT
        if at == 1 and option == "SET_NAME":
            return captured(value, data, call)
        if at == 1 and option == "SET_PDEATHSIG":
            return signal(value, data, call)
        return word(value, data, call)

    return argument


# futex(2): operations by number
_PI = {6, 7, 8, 13}  # LOCK_PI, UNLOCK_PI, TRYLOCK_PI, LOCK_PI2: no value
_TIMED = {0, 6, 9, 11, 13}  # WAIT, LOCK_PI, WAIT_BITSET, WAIT_REQUEUE_PI, LOCK_PI2
_SECOND = {3, 4, 5, 11, 12}  # the REQUEUEs, WAKE_OP: a second futex
_VALUE2 = {3, 4, 5, 12}
_VALUE3 = {4, 5, 9, 10, 12}
_BITSET = {9, 10}
_COMPARED = {4, 12}  # CMP_REQUEUE, CMP_REQUEUE_PI: the third value is one as the first


def futex_operation(value: int, data: bytes | None, call: Call) -> str:
    private = "_PRIVATE" if value & 128 else ""
    clock = "|FUTEX_CLOCK_REALTIME" if value & 256 else ""
    return name_of(tasks.FUTEX, value & ~384) + private + clock


def _of_futex(operations: set[int], show: Show) -> Show:
    def argument(value: int, data: bytes | None, call: Call) -> Any:
        return show(value, data, call) if call.registers[1] & 127 in operations else ABSENT

    return argument


def futex_values() -> dict[str, Show]:
    """Those of its arguments that are numbers."""

    def third(value: int, data: bytes | None, call: Call) -> Any:
        operation, value = call.registers[1] & 127, value & 0xFFFFFFFF
        if operation in _BITSET and value == 0xFFFFFFFF:
            return "FUTEX_BITSET_MATCH_ANY"
        return value if operation in _COMPARED else hexadecimal(value, data, call)

    return {
        "futex_value": _of_futex(set(tasks.FUTEX) - _PI, number(32)),
        "futex_second": _of_futex(_SECOND, pointer),
        "futex_value3": _of_futex(_VALUE3, third),
    }


def futex_timeout(timespec: Memory) -> Show:
    """Its fourth: a time, or with some operations a second number."""
    timed, amount = pointed(timespec.show), number(32)

    def timeout(value: int, data: bytes | None, call: Call) -> Any:
        second = call.registers[1] & 127 in _VALUE2
        return amount(value, None, call) if second else timed(value, data, call)

    return _of_futex(_TIMED | _VALUE2, timeout)


def socket_protocol(value: int, data: bytes | None, call: Call) -> Any:
    """Named by the family, the call's first argument."""
    table = network.PROTOCOLS.get(call.registers[0] & 0xFFFFFFFF)
    return name_of(table, value) if table else _int(value, data, call)


def socket_level(value: int, data: bytes | None, call: Call) -> str:
    return name_of(network.LEVEL, value)


def socket_option(value: int, data: bytes | None, call: Call) -> str:
    """Named by the level."""
    return name_of(network.OPTIONS.get(call.registers[1] & 0xFFFFFFFF, {}), value)


def socket_value(shown: Mapping[str, Memory]) -> Memory:
    """An option's value: an int unless its option says otherwise."""
    known = {
        "SO_LINGER": shown["linger"],
        "SO_PEERCRED": shown["ucred"],
        **dict.fromkeys(("SO_RCVTIMEO_OLD", "SO_SNDTIMEO_OLD"), shown["timeval"]),
        **dict.fromkeys(("TCP_CONGESTION", "TCP_ULP", "SO_BINDTODEVICE"), shown["text"]),
    }

    def show(data: bytes, call: Call) -> Any:
        of = known.get(socket_option(call.registers[2], None, call))
        if of is not None and len(data) >= of.size:
            return of.show(data, call)
        return [struct.unpack("=i", data)[0]] if len(data) == 4 else data

    return Memory(1, show, element=False)


_SEM_WITHOUT = {0, 11, 12, 14, 15}  # IPC_RMID, GETPID, GETVAL, GETNCNT, GETZCNT


def semaphore_argument(value: int, data: bytes | None, call: Call) -> Any:
    """semctl's fourth."""
    command = call.registers[2] & 0xFFFFFFFF
    if command in _SEM_WITHOUT:
        return ABSENT
    return _int(value, data, call) if command == 16 else pointer(value, data, call)  # SETVAL


def waited(shown: Memory) -> Show:
    """A wait status: written only if a child was found."""
    show = pointed(shown.show)
    return lambda value, data, call: show(value, data if call.result else None, call)
