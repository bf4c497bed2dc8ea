"""Program headers, beside what readelf tells of the programs of this system, and of bytes that are no ELF."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kintro.sources.elf import PT_GNU_RELRO, PT_LOAD, Elf, Segment, parse_elf, read_elf

FOLDERS = ("/usr/bin", "/usr/sbin", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu")
FILES_MAX = 300
LINE = re.compile(r"^ +(LOAD|GNU_RELRO) +(\S+) (\S+) \S+ (\S+) (\S+) ([R ])([W ])([E ]) ", re.MULTILINE)


def system_files() -> list[str]:
    """Programs and libraries of this system, spread over all there are."""
    found = sorted(
        str(path)
        for folder in FOLDERS
        if os.path.isdir(folder)
        for path in Path(folder).iterdir()
        if path.is_file() and not path.is_symlink() and path.open("rb").read(4) == b"\x7fELF"
    )
    return found[:: max(1, len(found) // FILES_MAX)]


def by_readelf(path: str) -> tuple[int, list[Segment]]:
    """Entry and the segments that kintro reads."""
    out = subprocess.run(
        ["readelf", "-hlW", path], capture_output=True, text=True, env={"LC_ALL": "C"}
    ).stdout
    entry = re.search(r"Entry point address: +(\S+)", out)
    assert entry is not None
    segments = []
    for name, offset, vaddr, in_file, in_memory, *flags in LINE.findall(out):
        bits = sum(bit for bit, flag in zip((4, 2, 1), flags) if flag != " ")
        kind = PT_LOAD if name == "LOAD" else PT_GNU_RELRO
        segments.append(Segment(kind, bits, *(int(text, 16) for text in (offset, vaddr, in_file, in_memory))))
    return int(entry[1], 16), segments


@pytest.mark.skipif(shutil.which("readelf") is None, reason="readelf (binutils) is not installed")
def test_as_readelf_has_it() -> None:
    files = system_files()
    assert len(files) > 50
    for path in files:
        elf = read_elf(path)
        entry, segments = by_readelf(path)
        if elf is None:  # an object file, as libmcheck.a is one, has no program headers
            assert segments == [] and path.endswith((".o", ".a")), path
        else:
            assert (elf.entry, list(elf.segments)) == (entry, segments), path


# Files made by hand

SEGMENTS = [
    Segment(PT_LOAD, 4, 0, 0x1000, 100, 200),
    Segment(PT_GNU_RELRO, 4, 50, 0x1032, 8, 8),
    Segment(PT_LOAD, 6, 2**31 + 5, 2**31, 0, 2**31),
]


def image(bits: int, order: str, segments: list[Segment] = SEGMENTS, number: int | None = None) -> bytes:
    """An ELF file (elf(5)), with one program header between that is neither PT_LOAD nor PT_GNU_RELRO."""
    ident = b"\x7fELF" + bytes([bits // 32, 1 if order == "<" else 2, 1]) + bytes(9)
    word = "Q" if bits == 64 else "I"
    header_bytes, entry_bytes = (64, 56) if bits == 64 else (52, 32)
    number = len(segments) + 1 if number is None else number
    head = ident + struct.pack(
        f"{order}HHI{word * 3}I6H",
        3,
        62,
        1,
        0x1234,
        header_bytes,
        0,
        0,
        header_bytes,
        entry_bytes,
        number,
        0,
        0,
        0,
    )
    table = []
    for s in (Segment(6, 4, 64, 64, 5, 5), *segments):
        if bits == 64:
            table.append(
                struct.pack(
                    order + "IIQQQQQQ", s.kind, s.flags, s.offset, s.vaddr, 0, s.file_bytes, s.memory_bytes, 4
                )
            )
        else:
            table.append(
                struct.pack(
                    order + "8I", s.kind, s.offset, s.vaddr, 0, s.file_bytes, s.memory_bytes, s.flags, 4
                )
            )
    return head + b"".join(table)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_width_and_byte_order(file: Path, bits: int, order: str) -> None:
    file.write_bytes(image(bits, order))
    elf = read_elf(str(file))
    assert elf == Elf(bits, 0x1234, tuple(SEGMENTS))
    assert elf is not None and elf.loads == (SEGMENTS[0], SEGMENTS[2])


def test_only_the_very_file(file: Path) -> None:
    file.write_bytes(image(64, "<"))
    inode = file.stat().st_ino
    assert read_elf(str(file), inode) is not None
    assert read_elf(str(file), inode + 1) is None


def test_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")  # would wait for a writer
    (tmp_path / "link").symlink_to("/nowhere")
    for name in ("fifo", "link", "none", "."):
        assert read_elf(str(tmp_path / name)) is None
    assert read_elf("/dev/null") is None
    assert read_elf("/proc/self/mem") is None


@pytest.mark.parametrize("number", [0, 1, 1024, 1025, 0xFFFF])
def test_number_of_headers(file: Path, number: int) -> None:
    file.write_bytes(image(64, "<", number=number))
    elf = read_elf(str(file))
    assert (elf is None) == (number > 1024)
    assert elf is None or set(elf.segments) <= set(SEGMENTS)


@pytest.mark.parametrize("end", range(0, 64 + 4 * 56, 7))
def test_cut_off(file: Path, end: int) -> None:
    """What is there is told; half a header is none."""
    file.write_bytes(image(64, "<")[:end])
    elf = read_elf(str(file))
    assert (elf is None) == (end < 64)
    assert elf is None or list(elf.segments) == SEGMENTS[: max(0, (end - 64) // 56 - 1)]


def test_headers_out_of_the_file(file: Path) -> None:
    for offset in (1 << 20, 1 << 62, 1 << 63, (1 << 64) - 1):
        data = bytearray(image(64, "<"))
        struct.pack_into("<Q", data, 32, offset)
        file.write_bytes(data)
        elf = read_elf(str(file))
        assert elf is None or elf.segments == ()


@given(st.binary(max_size=80))
def test_no_bytes_crash(data: bytes) -> None:
    found = parse_elf(data)
    assert found is None or data.startswith(b"\x7fELF")


@given(st.data())
def test_no_damage_crashes(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = bytearray(image(data.draw(st.sampled_from([32, 64])), data.draw(st.sampled_from("<>"))))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=8)):
        whole[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(whole + data.draw(st.binary(max_size=300)))
    elf = read_elf(str(path))
    assert elf is None or all(segment.kind in (PT_LOAD, PT_GNU_RELRO) for segment in elf.segments)
