"""The probes' C files: where they are, their whole text, and the layout of the events they send."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kintro.errors import EX_SOFTWARE, KintroError

if TYPE_CHECKING:
    import numpy as np

_CODES = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "s8": "b", "s16": "h", "s32": "i", "s64": "q"}


class Layout(NamedTuple):
    """How a struct of C lies in memory."""

    names: tuple[str, ...]
    codes: tuple[str, ...]  # as the module struct has them: Q for u64, 2Q for u64[2], 16s for char[16]
    variable: bool = False  # `char data[]` ends it: bytes of any number

    @property
    def format(self) -> str:
        """For the module struct, with native alignment, padded to the widest member as C pads."""
        widest = max((code[-1] for code in self.codes if code[-1] != "s"), key=struct.calcsize, default="B")
        return "".join(self.codes) + f"0{widest}"

    @property
    def dtype(self) -> np.dtype:
        """The same for numpy; without what a variable one ends with."""
        import numpy as np  # which whoever only wants rows does not wait for

        formats = [np.dtype(f"S{code[:-1]}" if code[-1] == "s" else code) for code in self.codes]
        return np.dtype(list(zip(self.names, formats, strict=True)), align=True)


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
    for number, line in enumerate(
        (folder / file).read_text(encoding="utf-8").splitlines(keepends=True), start=1
    ):
        included = re.match(r'#include "(\w+\.h)"', line)
        if included:
            parts.append(_expanded(folder, included[1]) + f'#line {number + 1} "{file}"\n')
        else:
            parts.append(line)
    return "".join(parts)


def c_struct(text: str, name: str) -> Layout:
    """Layout of `struct name { … }` in a probe's text. Knows u8…u64, s8…s64, their arrays, `char data[]`."""
    body = re.search(rf"^struct {name} {{(.*?)^}};", text, re.MULTILINE | re.DOTALL)
    if body is None:
        raise KintroError(f"the probe has no struct {name}", None, EX_SOFTWARE)
    names, codes = [], []
    lines = re.sub(r"/\*.*?\*/", "", body[1], flags=re.DOTALL)
    for c_type, member, length in re.findall(r"^\s*(\w+) (\w+)(\[\d*\])?;", lines, re.MULTILINE):
        if length != "[]":
            names.append(member)
            codes.append(length[1:-1] + ("s" if c_type == "char" else _CODES[c_type]))
    return Layout(tuple(names), tuple(codes), "char data[];" in lines)
