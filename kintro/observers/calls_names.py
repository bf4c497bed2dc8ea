"""What system calls and their arguments are called on a machine: on this one, or where a session is from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Set
from typing import Any

from kintro.observers.calls import Names
from kintro.observers.syscall_classes import selected
from kintro.observers.syscall_guesses import all_signatures
from kintro.observers.syscall_signatures import signatures
from kintro.sources.syscall_formats import Fields, read_formats
from kintro.sources.syscall_names import syscall_names

_OF_32_BITS = {"x86_64": "i386", "aarch64": "arm"}


def of_this_kernel() -> tuple[Names, Mapping[str, Fields]]:
    """Names; and what the kernel tells of those arguments that kintro does not know."""
    machine = os.uname().machine
    names = syscall_names(machine)
    formats = read_formats(set(names.values()) - set(signatures(machine))) or {}
    return _named(machine, formats), formats


def of_session(info: Mapping[str, Any]) -> Names:
    """Of what a saved session, of any origin, says of itself."""
    formats: dict[str, Fields] = {}
    told = info.get("formats")
    for name, fields in told.items() if isinstance(told, dict) else ():
        if isinstance(fields, list) and all(_is_field(field) for field in fields[:6]):
            formats[name] = tuple((kind, argument) for kind, argument in fields[:6])
    return _named(str(info.get("machine")), formats)


def _is_field(field: Any) -> bool:
    """Whether this is a C type and a name."""
    return (
        isinstance(field, list)
        and len(field) == 2
        and all(isinstance(word, str) for word in field)
        and field[1].isidentifier()
    )


def _named(machine: str, formats: Mapping[str, Fields]) -> Names:
    names = syscall_names(machine)
    compat = syscall_names(_OF_32_BITS[machine]) if machine in _OF_32_BITS else {}
    return Names(names, compat, all_signatures(names.values(), formats, machine))


def chosen(expression: str | None, names: Names) -> Set[str] | None:
    """The calls that `-e` names; None for all. KintroError (2) for what is none."""
    return (
        None if expression is None else selected(expression, {*names.calls.values(), *names.compat.values()})
    )
