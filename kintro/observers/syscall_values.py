"""Values of system calls' arguments: how a register or captured memory is shown, and the line's text of it.

A value is made for JSON first: int, str (names of flags, hexadecimal addresses), bytes (text or data of the
process; `Cut` when there was more), None (a NULL pointer), list and dict. `text` makes of it what a line
shows, in the form strace(1) uses.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple


class Call(NamedTuple):
    """One call, as the probe tells it."""

    registers: Sequence[int]  # u64, six of them
    captured: Mapping[int, bytes]  # by the argument's index; one that is not there could not be read
    result: int | None = None  # s64; None while the call has not returned


class Cut(bytes):
    """Bytes of which the process had more than was captured."""


class Absent:
    """What stands for an argument that the call does not look at, such as the mode without O_CREAT."""


ABSENT = Absent()

# What a register is, with what was captured for it, shown as a value.
Show = Callable[[int, bytes | None, Call], Any]
# The same for memory that was captured.
ShowBytes = Callable[[bytes, Call], Any]


def signed(value: int, bits: int = 32) -> int:
    """A register cut to that many bits, as a number with sign."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def number(bits: int, with_sign: bool = False) -> Show:
    mask = (1 << bits) - 1
    return lambda value, data, call: signed(value, bits) if with_sign else value & mask


def pointer(value: int, data: bytes | None, call: Call) -> str | None:
    return hex(value) if value else None


def hexadecimal(value: int, data: bytes | None, call: Call) -> str:
    return hex(value) if value else "0"


def octal(value: int, data: bytes | None, call: Call) -> str:
    """A file mode: `0644`."""
    return f"0{value & 0xFFFF:o}".rjust(3, "0")


def absent(value: int, data: bytes | None, call: Call) -> Absent:
    """For a register that holds nothing."""
    return ABSENT


def directory(value: int, data: bytes | None, call: Call) -> int | str:
    return "AT_FDCWD" if signed(value) == -100 else signed(value)


def captured(value: int, data: bytes | None, call: Call) -> Any:
    """Text or data as it is."""
    return pointer(value, None, call) if data is None else data


def strings(value: int, data: bytes | None, call: Call) -> Any:
    """Texts that a NUL ends each; one without was cut, and more may follow."""
    if data is None:
        return pointer(value, None, call)
    *found, rest = data.split(b"\0")
    return [*found, Cut(rest)] if rest else found


def pointed(show: ShowBytes) -> Show:
    """What a pointer points to; the address if that could not be captured."""

    def shown(value: int, data: bytes | None, call: Call) -> Any:
        if data is None or value == 0:
            return pointer(value, None, call)
        try:
            return show(data, call)
        except struct.error:  # less than that was captured
            return pointer(value, None, call)

    return shown


def one(form: str, show: Show) -> ShowBytes:
    """A number in memory, as [number]."""
    return lambda data, call: [show(struct.unpack_from("=" + form, data)[0], None, call)]


def array(size: int, show: ShowBytes) -> ShowBytes:
    """Elements of `size` bytes one behind the other."""

    def shown(data: bytes, call: Call) -> list[Any]:
        found = [show(data[at : at + size], call) for at in range(0, len(data) - size + 1, size)]
        return [*found, "..."] if isinstance(data, Cut) else found

    return shown


# Names of numbers


def named(prefix: str, names: str, step: Callable[[int], int] = lambda value: value + 1) -> dict[int, str]:
    """A table from `A=5 B C`: a name without a number has the one that follows, the first one 0."""
    table, value = {}, 0
    for word in names.split():
        name, _, told = word.partition("=")
        value = int(told, 0) if told else value
        table[value] = prefix + name
        value = step(value)
    return table


def bits(prefix: str, names: str) -> dict[int, str]:
    """The same for flags: a name without a number has the next higher bit."""
    return named(prefix, names, lambda value: value << 1)


def name_of(table: Mapping[int, str], value: int, width: int = 32) -> str:
    """The name, else the number in hexadecimal."""
    value &= (1 << width) - 1
    return table.get(value) or hex(value)


def enum(table: Mapping[int, str], width: int = 32) -> Show:
    return lambda value, data, call: name_of(table, value, width)


def names_of(table: Mapping[int, str], value: int) -> list[str]:
    """Names of the flags in a value; what is left over in hexadecimal."""
    found = []
    for flag, name in table.items():
        if flag and value & flag == flag:
            found.append(name)
            value &= ~flag
    return [*found, hex(value)] if value else found


def flags(
    table: Mapping[int, str], field: int = 0, names: Mapping[int, str] | None = None, width: int = 32
) -> Show:
    """Flags joined by `|`. The bits in `field` are a number, which `names` names and which comes first."""

    def shown(value: int, data: bytes | None, call: Call) -> str:
        value &= (1 << width) - 1
        found = [name_of(names, value & field)] if names is not None else []
        return "|".join(found + names_of(table, value & ~field)) or table.get(0, "0")

    return shown


# Text

_SHORT = {9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def escaped(data: bytes, also: str = "") -> str:
    """Bytes as in a string of C. Printable UTF-8 stays; all else, and the characters in `also`, in octal."""
    text = data.decode("utf-8", "surrogateescape")
    if text.isprintable() and not any(c in text for c in '"\\' + also):
        return text
    parts = []
    for i, c in enumerate(text):
        if ord(c) in _SHORT and c not in also:
            parts.append(_SHORT[ord(c)])
        elif c.isprintable() and c not in also:
            parts.append(c)
        else:  # three digits only where a digit follows
            digits = "03o" if text[i + 1 : i + 2] in tuple("01234567") else "o"
            octets = c.encode("utf-8", "surrogateescape")
            parts += [f"\\{octet:03o}" for octet in octets[:-1]] + [f"\\{octets[-1]:{digits}}"]
    return "".join(parts)


def text(value: Any) -> str:
    """A value as a line shows it: safe to print, whatever the process had in its memory."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f'"{escaped(value)}"' + ("..." if isinstance(value, Cut) else "")
    if isinstance(value, list):
        return f"[{', '.join(map(text, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}={text(part)}" for name, part in value.items()) + "}"
    return str(value)
