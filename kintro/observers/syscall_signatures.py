"""What the arguments of system calls are, what memory has to be captured for them, and how they are told.

The prototypes are text (syscall_prototypes_*): `name(type argument, ...) type of the result`. No type there
is a number, `none` a call that does not come back. An indented line goes on with the one before it. A type
with `in` or `out` before it is what the argument points to, at the entry or at the exit:

    in timespec name             one of them
    in iovec[count] name         as many as the argument `count` says; the call's result if that is `result`
    in sockaddr[len<=128] name   bytes as many as `len` says, at most 128
    out sockaddr[*len<=128] name the same, where `len` points to the number (socklen_t *)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from kintro.observers.syscall_prototypes_files import FILES
from kintro.observers.syscall_prototypes_network import NETWORK
from kintro.observers.syscall_prototypes_tasks import TASKS, TASKS_OTHER, TASKS_X86
from kintro.observers.syscall_types import Pointed, types
from kintro.observers.syscall_values import ABSENT, Call, Cut, Show, array, pointed, signed

# What the probe captures for an argument, and hands on
NOTHING = 0
FD = 1  # which file the descriptor refers to
STRING = 2  # text at the entry up to its NUL, or cut at STRING_MAX bytes
STRINGS = 3  # texts at the entry that an array of pointers, ended by NULL, points to; each with its NUL
BYTES_IN = 4  # at the entry: args[which] * size bytes
BYTES_OUT = 5  # at the exit of a call that did not fail: the same; result * size bytes if which is RESULT
FIXED_IN = 6  # at the entry: size bytes
FIXED_OUT = 7  # at the exit of a call that did not fail: size bytes
BYTES_AT = 8  # the same, as many as the u32 says that args[which] points to, at most size
SIZED_IN = 9  # at the entry: args[which] bytes, at most size
SIZED_OUT = 10  # at the exit of a call that did not fail: args[which] or (RESULT) result bytes, at most size
RESULT = 6  # as `which`

STRING_MAX = 4096  # with its NUL
CAPTURED = {
    "fd": FD,
    "dirfd": FD,
    "path": STRING,
    "string": STRING,
    "prctl_2": STRING,
    "strings": STRINGS,
}


class Argument(NamedTuple):
    """One argument: `capture`, `which` and `size` are for the probe."""

    name: str
    show: Show
    capture: int = NOTHING
    which: int = 0
    size: int = 1


class Signature(NamedTuple):
    """One system call. `result` is None if it never returns; `new_fd`: its result is a descriptor."""

    arguments: tuple[Argument, ...]
    result: Show | None
    new_fd: bool = False


_PROTOTYPE = re.compile(r"(\w+)\((.*)\) ?(\w*)")
_ARGUMENT = re.compile(r"(?:(in|out) )?(\w+)(?:\[(\*?)(\w+)(?:<=(\d+))?\])? (\w+)")


@cache
def signatures(machine: str) -> Mapping[str, Signature]:
    """Name → signature of the calls whose arguments are known, on a machine as uname(2) tells it."""
    registers, behind = types(machine)
    text = FILES + NETWORK + TASKS + (TASKS_X86 if machine == "x86_64" else TASKS_OTHER)
    lines = text.replace("\n    ", " ").splitlines()
    return dict(parse(line, registers, behind) for line in lines if line)


def parse(line: str, registers: Mapping[str, Show], behind: Mapping[str, Pointed]) -> tuple[str, Signature]:
    """A prototype's name and signature."""
    found = _PROTOTYPE.fullmatch(line)
    assert found, line
    name, inner, result = found.groups()
    parts = [_ARGUMENT.fullmatch(part) for part in inner.split(", ")] if inner else []
    order = [part[6] if part else "" for part in parts]
    made = []
    for part in parts:
        assert part, line
        way, kind, at, count, limit, argument = part.groups()
        if way is None:
            made.append(Argument(argument, registers[kind], CAPTURED.get(kind, NOTHING)))
            continue
        what, is_in = behind[kind], way == "in"
        if count is None:
            made.append(Argument(argument, what.show, FIXED_IN if is_in else FIXED_OUT, 0, what.size))
            continue
        which = RESULT if count == "result" else order.index(count)
        if limit is not None:
            capture = BYTES_AT if at else SIZED_IN if is_in else SIZED_OUT
            made.append(Argument(argument, what.show, capture, which, int(limit)))
            continue
        show = what.show if what.element is None else pointed(array(what.size, what.element))
        made.append(Argument(argument, show, BYTES_IN if is_in else BYTES_OUT, which, what.size))
    returns = None if result == "none" else registers[result or "long"]
    return name, Signature(tuple(made), returns, result in ("fd", "fcntl_result"))


def arguments(signature: Signature, call: Call) -> dict[str, Any]:
    """Name → value of the arguments that the call looks at; values as syscall_values tells."""
    shown = {}
    for at, (argument, value) in enumerate(zip(signature.arguments, call.registers)):
        data = call.captured.get(at)
        if data is not None:
            data = _marked(argument, data, call)
        told = argument.show(value, data, call)
        if told is not ABSENT:
            shown[argument.name] = told
    return shown


def result(signature: Signature, call: Call) -> Any:
    """The value of a result that is no error; None if the call has not returned."""
    if call.result is None or signature.result is None:
        return None
    return signature.result(call.result & (1 << 64) - 1, None, call)


def _marked(argument: Argument, data: bytes, call: Call) -> bytes:
    """What was captured; `Cut` where the process had more of it."""
    if argument.capture == STRING:
        text, nul, _ = data.partition(b"\0")
        return text if nul and len(text) < STRING_MAX - 1 else Cut(text)
    if argument.capture in (BYTES_IN, BYTES_OUT, SIZED_IN, SIZED_OUT):
        number = call.result if argument.which == RESULT else signed(call.registers[argument.which], 64)
        size = argument.size if argument.capture in (BYTES_IN, BYTES_OUT) else 1
        return data if number is None or len(data) >= number * size else Cut(data)
    return data
