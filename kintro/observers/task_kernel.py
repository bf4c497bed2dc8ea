"""The kernel's record of a task, by the paths that the fields name: what can be read, and its values."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from kintro.observers.task_records import Member
from kintro.observers.task_source import Source
from kintro.sources.btf import Btf
from kintro.sources.kernel_memory import TaskMemory, Wanted
from kintro.sources.members import Place, place

STRUCT = "task_struct"
# Of how many parts these consist is itself in the record: path → the paths of what is needed to read them.
_NUMBERS = "thread_pid->numbers[*].nr"
_NAMESPACE = "thread_pid->numbers[*].ns->ns.inum"
_GROUPS = "real_cred->group_info->gid[*]"
_OPEN = "files->fdt->open_fds[*]"
_LEVEL, _NGROUPS, _MAX_FDS = "thread_pid->level", "real_cred->group_info->ngroups", "files->fdt->max_fds"
_PIECE = 8192  # bytes of a long array that are read in one run

Raw = int | bytes | tuple[int, ...]


class Layout(NamedTuple):
    """Where this kernel keeps what the fields name."""

    btf: Btf
    places: Mapping[str, tuple[str, Place]]  # path of a field → the one of its alternatives that exists


def layout_of(btf: Btf, sources: Sequence[Source]) -> Layout:
    places = {}
    for path in {_LEVEL, _NGROUPS, _MAX_FDS}.union(*(source.paths for source in sources)):
        for one in path.split(" | "):
            found = place(btf, STRUCT, one.replace("numbers[*]", "numbers[0]").replace("[*]", ""))
            if found is not None:
                places[path] = one, found
                break
    return Layout(btf, places)


def members(layout: Layout, source: Source) -> tuple[Member, ...]:
    """The members that a field is made of, as far as this kernel has them."""
    found = [layout.places[path] for path in source.paths if path in layout.places]
    return tuple(
        Member(f"{STRUCT}.{path.replace('[*]', '[]')}", there.offset, there.size) for path, there in found
    )


def read_record(memory: TaskMemory, layout: Layout, tid: int) -> dict[str, Raw] | None:
    """Path → value; without those that a null pointer leads to. None: there is no such task."""
    paths = [path for path in layout.places if "*" not in path]
    places = [layout.places[path][1] for path in paths]
    found = memory.read(tid, places)
    if found is None:
        return None
    record: dict[str, Raw] = {
        path: _decoded(data, there) for path, there, data in zip(paths, places, found) if data is not None
    }
    record.update(_read_arrays(memory, layout, tid, record))
    return record


def _decoded(data: bytes, there: Place) -> int | bytes:
    return int.from_bytes(data, sys.byteorder, signed=there.signed) if there.size <= 8 else data


def _read_arrays(memory: TaskMemory, layout: Layout, tid: int, record: Mapping[str, Raw]) -> dict[str, Raw]:
    """Those arrays whose length the record has told."""
    found = dict[str, Raw]()

    def length(path: str) -> int | None:
        value = record.get(path)
        return value if isinstance(value, int) else None

    level = length(_LEVEL)
    if level is not None and _NUMBERS in layout.places:
        numbers = [
            place(layout.btf, STRUCT, f"thread_pid->numbers[{at}].nr") for at in range(min(level, 32) + 1)
        ]
        inner = place(layout.btf, STRUCT, _NAMESPACE.replace("*", str(level)))
        data = memory.read(tid, [one for one in (*numbers, inner) if one is not None]) or []
        values = [int.from_bytes(part, sys.byteorder) for part in data if part is not None]
        if len(values) == level + 2:
            found[_NUMBERS], found[_NAMESPACE] = tuple(values[:-1]), values[-1]
    groups = length(_NGROUPS)
    if groups is not None and _GROUPS in layout.places:
        pointers, offset = layout.places[_GROUPS][1][:2]
        listed = _long(memory, tid, pointers, offset, 4 * groups)
        found[_GROUPS] = tuple(
            int.from_bytes(listed[at : at + 4], sys.byteorder) for at in range(0, len(listed), 4)
        )
    slots = length(_MAX_FDS)
    if slots is not None and _OPEN in layout.places:
        pointers, offset = layout.places[_OPEN][1][:2]
        bitmap = _long(memory, tid, (*pointers, offset), 0, -(-slots // 64) * 8)
        found[_OPEN] = int.from_bytes(bitmap, sys.byteorder).bit_count()
    return found


def _long(memory: TaskMemory, tid: int, pointers: tuple[int, ...], offset: int, size: int) -> bytes:
    """Many bytes, in several runs where it takes them."""
    whole = b""
    for at in range(0, size, _PIECE):
        wanted: Wanted = pointers, offset + at, min(_PIECE, size - at)
        [data] = memory.read(tid, [wanted]) or [None]
        whole += data or b""
    return whole
