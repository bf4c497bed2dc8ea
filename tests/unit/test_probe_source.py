"""The probes' text and the layout of their events, by the word of a C compiler."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from kintro.errors import EX_SOFTWARE, KintroError
from kintro.sources.probe_source import Layout, c_struct, probe_text, probes_folder

TYPEDEFS = "".join(
    f"typedef {sign} {base} {letter}{bits};\n"
    for bits, base in ((8, "char"), (16, "short"), (32, "int"), (64, "long long"))
    for sign, letter in (("unsigned", "u"), ("signed", "s"))
)
STRUCTS = """
struct mixed_event {
    u8 small; /* a comment; with u64 not_a_member; in it */
    u64 wide;
    s8 tiny;
    char name[3];
    u16 word;
    s32 number;
    s64 last;
};

struct packed_end {
    u64 ts_ns;
    u32 length;
    char data[];
};
"""


def same_for_both_readers(layout: Layout) -> None:
    """What the module struct reads at each place is what numpy reads there."""
    assert struct.calcsize(layout.format) == layout.dtype.itemsize
    data = bytes(1 + (7 * i) % 255 for i in range(layout.dtype.itemsize))
    assert struct.unpack(layout.format, data) == np.frombuffer(data, layout.dtype)[0].item()


def by_the_compiler(text: str, name: str, layout: Layout, folder: Path) -> None:
    dtype = layout.dtype
    same_for_both_readers(layout)
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler here")
    claims = [f"sizeof(struct {name}) == {dtype.itemsize}"]
    for member in dtype.names or ():
        field, offset = dtype.fields[member][:2]  # type: ignore[index]
        claims.append(f"__builtin_offsetof(struct {name}, {member}) == {offset}")
        claims.append(f"sizeof(((struct {name} *)0)->{member}) == {field.itemsize}")
        if field.kind in "iu":
            claims.append(f"((__typeof__(((struct {name} *)0)->{member}))-1 < 0) == {int(field.kind == 'i')}")
    lines = [TYPEDEFS, text, *(f'_Static_assert({claim}, "{claim}");' for claim in claims)]
    (folder / "claims.c").write_text("\n".join(lines))
    done = subprocess.run([compiler, "-fsyntax-only", folder / "claims.c"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_struct_is_laid_out_as_in_c(tmp_path: Path) -> None:
    layout = c_struct(STRUCTS, "mixed_event")
    assert layout.names == ("small", "wide", "tiny", "name", "word", "number", "last")
    assert not layout.variable
    by_the_compiler(STRUCTS, "mixed_event", layout, tmp_path)


def test_a_struct_with_bytes_behind_it(tmp_path: Path) -> None:
    layout = c_struct(STRUCTS, "packed_end")
    assert (layout.names, layout.variable) == (("ts_ns", "length"), True)
    by_the_compiler(STRUCTS, "packed_end", layout, tmp_path)


@pytest.mark.parametrize("kind", ["fork", "exec", "exit", "orphan", "reaper"])
def test_events_of_the_lifecycle_probe(kind: str, tmp_path: Path) -> None:
    text = probe_text("lifecycle")
    [of_kind] = re.findall(rf"^struct {kind}_event {{.*?^}};", text, re.MULTILINE | re.DOTALL)
    layout = c_struct(text, f"{kind}_event")
    assert layout.variable == (kind == "exec")
    by_the_compiler(of_kind, f"{kind}_event", layout, tmp_path)


def test_a_struct_that_is_not_there() -> None:
    with pytest.raises(KintroError, match="no struct other_event") as raised:
        c_struct(STRUCTS, "other_event")
    assert raised.value.exit_code == EX_SOFTWARE


def test_headers_are_put_in_place_and_lines_keep_their_numbers() -> None:
    text = probe_text("lifecycle")
    assert not re.search(r'^#include "', text, re.MULTILINE)
    sources = {file.name: file.read_text().splitlines() for file in probes_folder().iterdir()}
    name, number, seen = "", 0, set()
    for line in text.splitlines():
        marker = re.fullmatch(r'#line (\d+) "([\w.]+)"', line)
        if marker:
            number, name = int(marker[1]), marker[2]
            continue
        assert line == sources[name][number - 1]
        seen.add(name)
        number += 1
    assert seen >= {"kintro.h", "lifecycle.c"}
