"""The probes' C files: where they are, their whole text, and the layout of the events they send."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from kintro.errors import EX_SOFTWARE, KintroError

_C_TYPES = {
    **{f"u{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"s{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
}


def probes_folder() -> Path:
    """The folder of the C files: inside an installed kintro, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_probes"
    return installed if installed.is_dir() else package.parent / "probes"


def probe_text(name: str) -> str:
    """A probe's C text with its headers in place: bcc rewrites map calls only in the file it is given."""
    return _expanded(probes_folder(), f"{name}.c")


def _expanded(folder: Path, file: str) -> str:
    parts = [f'#line 1 "{file}"\n']
    for number, line in enumerate((folder / file).read_text().splitlines(keepends=True), start=1):
        included = re.match(r'#include "(\w+\.h)"', line)
        if included:
            parts.append(_expanded(folder, included[1]) + f'#line {number + 1} "{file}"\n')
        else:
            parts.append(line)
    return "".join(parts)


def c_struct(text: str, name: str) -> tuple[np.dtype, bool]:
    """Layout of `struct name { … }` in a probe's text: its dtype, and whether `char data[]` ends it.

    Knows u8…u64, s8…s64 and char[N], aligned as C does.
    """
    body = re.search(rf"^struct {name} {{(.*?)^}};", text, re.MULTILINE | re.DOTALL)
    if body is None:
        raise KintroError(f"the probe has no struct {name}", None, EX_SOFTWARE)
    fields: list[tuple[str, str]] = []
    lines = re.sub(r"/\*.*?\*/", "", body[1], flags=re.DOTALL)
    for c_type, member, length in re.findall(r"^\s*(\w+) (\w+)(\[\d*\])?;", lines, re.MULTILINE):
        if length == "[]":
            break
        fields.append((member, f"S{length[1:-1]}" if length else _C_TYPES[c_type]))
    dtype = np.dtype(fields, align=True)
    return dtype, "char data[];" in lines
