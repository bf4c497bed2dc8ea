"""Signatures of the calls without a prototype, from what the kernel tells of their arguments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from kintro.observers.syscall_signatures import CAPTURED, NOTHING, Argument, Signature, signatures
from kintro.observers.syscall_types import types
from kintro.sources.syscall_formats import Fields

# (C type, name of the argument) → type as prototypes name it; the first that matches both
_RULES = [
    (re.compile(kind), re.compile(name), meaning)
    for kind, name, meaning in (
        (r"const char \*", r".", "string"),
        (r"umode_t", r".", "mode"),
        (r".*\*(const)?|aio_context_t|(const )?cap_user_\w+", r".", "pointer"),
        (r"(const )?(unsigned )?int", r"(.*_)?dfd$|.*dirfd$", "dirfd"),
        (r"(const )?(unsigned )?int", r".*fd$", "fd"),
        (r"(const )?(unsigned( int)?|_*u32)", r".*(flags|mask)", "hex"),
        (r"(const )?(unsigned( int)?|_*u32|[ugq]id_t)", r".", "uint"),
        (r"(const )?size_t|loff_t", r".", "ulong"),
        (r"(const )?(int|.*_t|enum .*)", r".", "int"),
    )
]


def all_signatures(
    names: Iterable[str], formats: Mapping[str, Fields] | None, machine: str
) -> dict[str, Signature]:
    """Name → signature of each of these calls: its prototype's, else what the kernel tells of it."""
    known, told = signatures(machine), formats or {}
    return {name: known.get(name) or guessed(told.get(name), machine) for name in names}


def guessed(fields: Fields | None, machine: str) -> Signature:
    """What the C types and names of arguments let suppose; without them, six numbers."""
    if fields is None:
        fields = tuple(("", f"arg{at}") for at in range(6))
    registers, _ = types(machine)
    made = []
    for kind, name in fields:
        meaning = _meaning(kind, name)
        made.append(Argument(name.lstrip("_"), registers[meaning], CAPTURED.get(meaning, NOTHING)))
    return Signature(tuple(made), registers["long"])


def _meaning(kind: str, name: str) -> str:
    for of_kind, of_name, meaning in _RULES:
        if of_kind.fullmatch(kind) and of_name.match(name):
            return meaning
    return "word"
