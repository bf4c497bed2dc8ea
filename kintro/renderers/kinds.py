"""How the kinds of bands look, on paper as well as in colour, and what they mean."""

from __future__ import annotations

from typing import NamedTuple

from kintro.shapes import Band


class Kind(NamedTuple):
    meaning: str
    weave: str  # the pattern over its colour in a drawing: colour alone tells too few people apart
    sgr: str  # its ANSI colour in a terminal


KINDS = {
    "text": Kind("code of a program or a library", "plain", "34"),
    "rodata": Kind("constants of a program or a library", "dots", "36"),
    "data": Kind("variables of a program or a library that begin with a value", "rising", "32"),
    "bss": Kind("variables of a program or a library that begin as 0", "crossed", "32"),
    "heap": Kind("what malloc takes from brk", "plain", "33"),
    "stack": Kind("of the main thread", "plain", "31"),
    "thread-stack": Kind("of another thread", "rising", "31"),
    "anon": Kind("anonymous memory", "falling", "33"),
    "file": Kind("another file", "level", "35"),
    "shared": Kind("shared with other processes", "rising", "35"),
    "memfd": Kind("a file that lives in memory only", "upright", "35"),
    "shm": Kind("shared memory", "crossed", "35"),
    "vdso": Kind("the kernel's code for user space", "plain", "36"),
    "vvar": Kind("the kernel's data for the vdso", "dots", "36"),
    "vsyscall": Kind("the kernel's old entry page", "level", "36"),
    "gap": Kind("reserved, no access", "rising", "2"),
    "kernel": Kind("the kernel's, out of a process's reach", "plain", "2"),
    "hole": Kind("no address: the CPU translates none of these", "rising", "2"),
}
UNKNOWN = Kind("", "plain", "0")


class ShareKind(NamedTuple):
    name: str  # {a} and {b} are the two processes
    meaning: str
    weave: str
    sgr: str


SHARES = {  # in the order of the fields of shapes.Share
    "same": ShareKind("same", "one page frame in both", "plain", "32"),
    "copied": ShareKind("copied", "a page frame of its own in each", "rising", "33"),
    "only_a": ShareKind("only in {a}", "the other has no page there", "dots", "36"),
    "only_b": ShareKind("only in {b}", "the other has no page there", "crossed", "35"),
}


def kind_of(band: Band) -> Kind:
    return KINDS.get(band.kind, UNKNOWN)
