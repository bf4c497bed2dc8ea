"""The mappings of a process: /proc/PID/maps, smaps and smaps_rollup (proc_pid_maps(5), proc_pid_smaps(5)).

Reading smaps makes the kernel walk the page tables: 3 µs for a mapping, and more for large ones. Making the
records takes half as long again (bench/maps.py). While it is read the process runs on: each mapping is as it
was when the kernel came to it, and page counts of different mappings are of different moments.

Not to be seen: which pages are resident (proc_pid_pagemap(5)), and some names (see mapped_name.py).
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from kintro.sources.host import ROOT
from kintro.sources.mapped_name import NEWLINE, likely_name, settled_name
from kintro.sources.procfs import DELETED, read_mm_file
from kintro.sources.smaps_columns import Columns, columns_of

Made = TypeVar("Made")
Entry = tuple[bytes, bytes, bytes, bytes]  # of smaps: start, end, rest of the line, the other lines


class Mapping(NamedTuple):
    """One line of proc_pid_maps(5): a vma of the kernel."""

    start: int  # first address
    end: int  # first address behind it
    perms: str  # `r-xp`: read, write, execute, private or shared
    offset: int  # into the file, bytes
    dev: str  # `fd:01`, major:minor in hexadecimal
    inode: int  # 0: no file
    path: bytes  # a file, or a name such as [heap], [stack], [vdso], [anon:NAME], /memfd:NAME; empty for none
    deleted: bool  # the file has no name any more; the kernel's mark ` (deleted)` is not part of `path`

    @property
    def size_bytes(self) -> int:
        return self.end - self.start


class Usage(NamedTuple):
    """What proc_pid_smaps(5) tells of one mapping. None: this kernel does not tell.

    Every Linux that kintro runs on tells of the fields that are `int` here. Of a text from elsewhere that
    lacks one, the parsers make None of that, too, for nothing known is 0.
    """

    rss_bytes: int  # resident
    pss_bytes: int  # resident, each page divided by the number of mappings that share it
    pss_dirty_bytes: int | None  # Linux 6.0
    shared_clean_bytes: int
    shared_dirty_bytes: int
    private_clean_bytes: int
    private_dirty_bytes: int
    referenced_bytes: int
    anonymous_bytes: int
    ksm_bytes: int | None  # Linux 6.8
    lazy_free_bytes: int | None  # Linux 4.12
    anon_huge_bytes: int  # in transparent huge pages
    shmem_huge_bytes: int | None  # ShmemPmdMapped
    file_huge_bytes: int | None  # FilePmdMapped
    shared_hugetlb_bytes: int
    private_hugetlb_bytes: int
    swap_bytes: int
    swap_pss_bytes: int
    locked_bytes: int
    kernel_page_bytes: int | None  # None in a rollup
    mmu_page_bytes: int | None  # None in a rollup
    flags: tuple[str, ...]  # VmFlags: `rd`, `wr`, `ex`, `sh`, `gd`, …; empty in a rollup


# Names of the lines in smaps, in the order of Usage; fs/proc/task_mmu.c, show_smap. All in kB.
_KEYS = (
    b"Rss", b"Pss", b"Pss_Dirty", b"Shared_Clean", b"Shared_Dirty", b"Private_Clean", b"Private_Dirty",
    b"Referenced", b"Anonymous", b"KSM", b"LazyFree", b"AnonHugePages", b"ShmemPmdMapped", b"FilePmdMapped",
    b"Shared_Hugetlb", b"Private_Hugetlb", b"Swap", b"SwapPss", b"Locked", b"KernelPageSize", b"MMUPageSize",
)  # fmt: skip

_LINE = rb"([0-9a-f]+)-([0-9a-f]+) ([^\n]*)\n"  # of maps, and the first of an entry of smaps
_NEXT = rb"(?=[0-9a-f]+-[0-9a-f]+ |\Z)"
_FIELDS = rb"(?:(?!" + _NEXT + rb")[^\n]*\n)*"  # the other lines of an entry
_LINES = re.compile(rb"^" + _LINE, re.MULTILINE)
_ENTRIES = re.compile(_LINE + b"(" + _FIELDS + b")")
_NUMBER = re.compile(rb"^(\w+):[ \t]*(\d+)", re.MULTILINE)
_FLAGS = re.compile(rb"^VmFlags:(.*)", re.MULTILINE)


def parse_maps(data: bytes) -> list[Mapping]:
    r"""/proc/PID/maps. Raises ValueError for what is no such text; a last line without its end is left out.

    ` (deleted)` at the end of a name is taken for the kernel's mark, and `\012` in it for a newline.
    `settled` looks closer.
    """
    lines = _LINES.findall(data)
    if len(lines) != data.count(b"\n"):
        raise ValueError("not the text of /proc/PID/maps")
    others = _Memo(_parse_others)
    return [Mapping(int(start, 16), int(end, 16), *others[rest]) for start, end, rest in lines]


def parse_smaps(data: bytes) -> list[tuple[Mapping, Usage]]:
    """/proc/PID/smaps; names and errors as of parse_maps. A truncated last entry is left out.

    Lines may come in any order and number; what is unknown is ignored, what is missing is None.
    """
    if b"\n" not in data:
        return []
    others, usages = _Memo(_parse_others), _Memo(_usage_parser())

    def records(entries: list[Entry]) -> list[tuple[Mapping, Usage]]:
        return [
            (Mapping(int(start, 16), int(end, 16), *others[rest]), usages[fields])
            for start, end, rest, fields in _whole(entries, data)
        ]

    with _collector_paused():
        try:
            return records(_entries_pattern(data).findall(data))
        except _TwoInOne:
            return records(_ENTRIES.findall(data))


def parse_smaps_rollup(data: bytes) -> Usage:
    """/proc/PID/smaps_rollup: the sums over all mappings. Without page sizes and flags."""
    return _parse_usage(data)


def read_maps(pid: int, root: Path = ROOT) -> list[Mapping]:
    """The mappings by address, ascending, with settled names.

    Empty for a process without an address space (a kernel thread, a zombie). KintroError as the readers of
    procfs.py raise it.
    """
    settle = _settler(pid, root)
    found = parse_maps(read_mm_file(pid, "maps", root))
    return [settle(mapping) if _is_open(mapping) else mapping for mapping in _apart(found, lambda m: m)]


def read_smaps(pid: int, root: Path = ROOT) -> list[tuple[Mapping, Usage]]:
    """As read_maps, each mapping with what it uses."""
    settle = _settler(pid, root)
    found = _apart(parse_smaps(read_mm_file(pid, "smaps", root)), lambda entry: entry[0])
    return [(settle(entry[0]), entry[1]) if _is_open(entry[0]) else entry for entry in found]


def _apart(found: list[Made], mapping_of: Callable[[Made], Mapping]) -> list[Made]:
    """Without those that a later one overlaps: what grew while it was read, the kernel tells again."""
    result: list[Made] = []
    for entry in found:
        start = mapping_of(entry).start
        while result and mapping_of(result[-1]).end > start:
            result.pop()
        result.append(entry)
    return result


def read_smaps_rollup(pid: int, root: Path = ROOT) -> Usage | None:
    """The sums over all mappings; None for a process without an address space. Raises as read_maps does."""
    data = read_mm_file(pid, "smaps_rollup", root, in_pieces=False)
    return parse_smaps_rollup(data) if data else None


def settled(mapping: Mapping, pid: int, root: Path = ROOT) -> Mapping:
    """The mapping with the name that its file has, as far as that can be known: see mapped_name.py."""
    if not _is_open(mapping):
        return mapping
    printed = mapping.path.replace(b"\n", NEWLINE) + (DELETED if mapping.deleted else b"")
    link = f"proc/{pid}/map_files/{mapping.start:x}-{mapping.end:x}"
    path, deleted = settled_name(printed, mapping.dev, mapping.inode, link, pid, root)
    return mapping._replace(path=path, deleted=deleted)


def _is_open(mapping: Mapping) -> bool:
    return mapping.deleted or b"\n" in mapping.path


def _settler(pid: int, root: Path) -> Callable[[Mapping], Mapping]:
    """`settled`, asked once for each file: one may be mapped in ten thousand pieces."""
    known: dict[tuple[bytes, str, int], Mapping] = {}

    def settle(mapping: Mapping) -> Mapping:
        if b"\n" in mapping.path:  # by link, which each mapping has its own of
            return settled(mapping, pid, root)
        key = (mapping.path, mapping.dev, mapping.inode)
        if key not in known:
            known[key] = settled(mapping, pid, root)
        return mapping._replace(path=known[key].path, deleted=known[key].deleted)

    return settle


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Records are in no cycles; looking for some takes 10 to 20 ms while 20 000 are made."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Memo(dict[bytes, Made]):
    """What a function makes of a word: in one process the same words come again and again."""

    def __init__(self, make: Callable[[bytes], Made]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, word: bytes) -> Made:
        made = self[word] = self._make(word)
        return made


def _parse_others(rest: bytes) -> tuple[str, int, str, int, bytes, bool]:
    """The fields of a Mapping behind the addresses."""
    perms, offset, dev, inode, *printed = rest.split(None, 4)
    path, deleted = likely_name(printed[0]) if printed else (b"", False)
    return perms.decode(), int(offset, 16), dev.decode(), int(inode), path, deleted


def _entries_pattern(data: bytes) -> re.Pattern[bytes]:
    """As _ENTRIES, but five times as fast: it skips the columns of an entry instead of going by lines.

    The kernel prints all entries alike, unless a number is wider than its column (100 GB); that one goes by
    lines.
    """
    first = _ENTRIES.match(data)
    if first is None:
        raise ValueError("not the text of /proc/PID/smaps")
    numbers, found, flags = first[4].partition(b"VmFlags:")
    if not found or flags.find(b"\n") != len(flags) - 1:
        return _ENTRIES
    alike = rb".{%d}VmFlags:[^\n]*\n" % len(numbers) + _NEXT
    return re.compile(_LINE + b"(" + alike + b"|" + _FIELDS + b")", re.DOTALL)


def _whole(entries: list[Entry], data: bytes) -> list[Entry]:
    """Without the last one if that is cut: in a line, or before the field that the first one ends with."""
    rest = data[data.rfind(b"\n") + 1 :]
    cut_in_entry = rest != b"" and rest[0] not in b"0123456789abcdef"
    if cut_in_entry or _last_key(entries[-1][3]) != _last_key(entries[0][3]):
        return entries[:-1]
    return entries


def _last_key(fields: bytes) -> bytes:
    return fields[:-1].rpartition(b"\n")[2].partition(b":")[0]


class _TwoInOne(Exception):
    """A shorter entry was skipped together with the next: no kernel's doing."""


def _usage_parser() -> Callable[[bytes], Usage]:
    """A function that makes a record of the lines of an entry.

    It cuts them where the numbers of the first entry of this length stand, which takes a quarter of the time
    of going by lines.
    """
    columns_by_length: dict[int, Columns] = {}
    sizes = _Memo(lambda word: int(word) * 1024)
    flags_of = _Memo(_flag_names)

    def parse(fields: bytes) -> Usage:
        numbers, _, flags = fields.partition(b"VmFlags:")
        if len(numbers) not in columns_by_length:
            columns_by_length[len(numbers)] = columns_of(numbers, _KEYS)
        columns = columns_by_length[len(numbers)]
        parts = columns.unpack(numbers)
        alike = parts[::2] == columns.texts and numbers[-1:] in (b"\n", b"")
        if alike and flags.find(b"\n") == len(flags) - 1:
            return Usage._make(columns.pick((*map(sizes.__getitem__, parts[1::2]), None, flags_of[flags])))
        if _LINES.search(fields):
            raise _TwoInOne
        return _parse_usage(fields)

    return parse


def _parse_usage(text: bytes) -> Usage:
    """Usage from lines in any shape."""
    found = dict(_NUMBER.findall(text))
    flags = _FLAGS.search(text)
    sizes = (int(found[key]) * 1024 if key in found else None for key in _KEYS)
    return Usage._make((*sizes, _flag_names(flags[1]) if flags else ()))


def _flag_names(words: bytes) -> tuple[str, ...]:
    return tuple(words.decode().split())
