"""Names and C types of system calls' arguments, from the running kernel's tracefs.

Where tracefs is not mounted at its place it gets a mount that no path leads to (detached_mount.py). The files
are `events/syscalls/sys_enter_*/format`, by the names of the functions in the kernel: `newstat` for stat. BTF
tells less: its `__x64_sys_*` take registers, and most of the functions behind them are inlined. Cost: about
0.03 ms for each call.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from kintro.sources.detached_mount import mounted_apart

PATH = Path("/sys/kernel/tracing")
_EVENTS = "events/syscalls"
_FIELD = re.compile(r"^\tfield:(.*?)(\w+);\toffset:(\d+);", re.MULTILINE)
_FIRST_ARGUMENT = 16  # offset behind the fields that all have, and the call's number

Fields = tuple[tuple[str, str], ...]  # (C type, name) of each argument: ("const char *", "filename")


def read_formats(names: Iterable[str], path: Path = PATH) -> dict[str, Fields] | None:
    """Name → arguments of those calls that the kernel describes; None if it lets nobody read that."""
    root = _tracefs(path)
    if root is None:
        return None
    found = {}
    try:
        for name in names:
            with contextlib.suppress(OSError):
                at = os.open(f"{_EVENTS}/sys_enter_{name}/format", os.O_RDONLY, dir_fd=root)
                with open(at) as file:
                    found[name] = parse_format(file.read())
    finally:
        os.close(root)
    return found


def parse_format(text: str) -> Fields:
    """The arguments that a format file tells of, in their order; what it tells beside them is left out."""
    return tuple(
        (kind.strip(), name)
        for kind, name, at in _FIELD.findall(text)
        if int(at) >= _FIRST_ARGUMENT and not kind.startswith("__data_loc")
    )


def _tracefs(path: Path) -> int | None:
    """A descriptor of tracefs' root directory."""
    if os.path.isdir(path / _EVENTS):
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return mounted_apart(b"tracefs")
