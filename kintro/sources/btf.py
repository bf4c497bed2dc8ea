"""The running kernel's own type information (BTF): which struct has which member at which offset.

Format: Documentation/bpf/btf.rst and include/uapi/linux/btf.h of the kernel. Read here and not through
libbpf, because the libbpf of a distribution refuses the whole BTF of a kernel newer than itself (0.5 of
Ubuntu 22.04 that of 6.x), and for offsets the kinds it does not know need only be stepped over.

Cost: about 60 ms for a kernel with 130 000 types.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kintro.errors import EX_UNAVAILABLE, KintroError

PATH = Path("/sys/kernel/btf/vmlinux")

INT, PTR, ARRAY, STRUCT, UNION, ENUM, TYPEDEF, FUNC, FUNC_PROTO, ENUM64 = 1, 2, 3, 4, 5, 6, 8, 12, 13, 19
_VOLATILE, _CONST, _RESTRICT, _TYPE_TAG = 9, 10, 11, 18
_TRANSPARENT = {TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG}

# Words of a type record: those of every kind (name, info, size or type) and, by kind, more of them once and
# for each of its `vlen` parts. A kind that is not here has no more.
_HEADER_WORDS = 3
_MORE_ONCE = {INT: 1, ARRAY: 3, 14: 1, 17: 1}  # 14 VAR, 17 DECL_TAG
_MORE_EACH = {STRUCT: 3, UNION: 3, ENUM: 2, FUNC_PROTO: 2, 15: 3, ENUM64: 3}  # 15 DATASEC


class Btf:
    """Type information, by type ids as BTF numbers them; 0 is void.

    Raises KintroError (69) if the text is not BTF.
    """

    def __init__(self, data: bytes) -> None:
        try:
            magic, _, _, header, types, types_size, strings, strings_size = struct.unpack_from(
                "=HBBIIIII", data
            )
            if magic != 0xEB9F or len(data) < header + max(types + types_size, strings + strings_size):
                raise ValueError("not BTF, or cut short")
            self._words = np.frombuffer(data, np.uint32, types_size // 4, header + types)
            self._strings = data[header + strings : header + strings + strings_size]
            self._starts = np.array(_record_starts(self._words.tolist()), np.int64)
        except (struct.error, ValueError, IndexError) as error:
            raise KintroError(
                f"the kernel's BTF type information is damaged: {error}", None, EX_UNAVAILABLE
            ) from error
        self._names = self._words[self._starts]
        self._kinds = self._words[self._starts + 1] >> 24 & 0x1F

    def find(self, name: str, kind: int) -> int | None:
        """Id of the type of that name and kind, or None."""
        at = self._strings.find(b"\0" + name.encode() + b"\0") + 1
        if at == 0:
            return None
        ids = np.flatnonzero((self._names == at) & (self._kinds == kind))
        return int(ids[0]) + 1 if ids.size else None

    def struct_id(self, name: str) -> int:
        """Id of a struct. KintroError (69) if this kernel has none of that name."""
        type_id = self.find(name, STRUCT)
        if type_id is None:
            raise KintroError(f"this kernel has no struct {name}", None, EX_UNAVAILABLE)
        return type_id

    def kind(self, type_id: int) -> int:
        return int(self._kinds[type_id - 1]) if type_id else 0

    def name(self, type_id: int) -> str:
        return self._string(int(self._names[type_id - 1]))

    def size(self, type_id: int) -> int:
        """Size in bytes of an int, enum, struct or union."""
        return self._word(type_id, 2)

    def is_signed(self, type_id: int) -> bool:
        """Whether an int is signed (BTF_INT_SIGNED)."""
        return bool(self._word(type_id, 3) >> 24 & 1)

    def target(self, type_id: int) -> int:
        """What a pointer points to, or what another name or qualifier stands for."""
        return self._word(type_id, 2)

    def array(self, type_id: int) -> tuple[int, int]:
        """An array's element type and its length."""
        return self._word(type_id, 3), self._word(type_id, 5)

    def resolve(self, type_id: int) -> int:
        """The type behind typedefs and qualifiers."""
        while self.kind(type_id) in _TRANSPARENT:
            type_id = self.target(type_id)
        return type_id

    def members(self, type_id: int) -> Iterator[tuple[str, int, int]]:
        """(name, byte offset, type) of a struct's members, those of unnamed structs in it among them.

        Bit fields are left out: they have no address.
        """
        start, info = int(self._starts[type_id - 1]), self._word(type_id, 1)
        for at in range(start + _HEADER_WORDS, start + _HEADER_WORDS + 3 * (info & 0xFFFF), 3):
            name, member_type, offset = self._words[at : at + 3].tolist()
            if info >> 31:  # with the kind flag, the high byte is the width of a bit field
                if offset >> 24:
                    continue
                offset &= 0xFFFFFF
            if name:
                yield self._string(name), offset // 8, member_type
            elif self.kind(self.resolve(member_type)) in (STRUCT, UNION):
                for inner, inner_offset, inner_type in self.members(self.resolve(member_type)):
                    yield inner, offset // 8 + inner_offset, inner_type

    def tracepoint_args(self, name: str) -> int | None:
        """Number of arguments the raw tracepoint hands on, or None if this kernel has no such tracepoint."""
        type_id = self.find(f"btf_trace_{name}", TYPEDEF)
        while type_id:
            if self.kind(type_id) == FUNC_PROTO:
                return (self._word(type_id, 1) & 0xFFFF) - 1  # the first is the tracepoint's own void *
            type_id = self.target(type_id)
        return None

    def _word(self, type_id: int, index: int) -> int:
        return int(self._words[self._starts[type_id - 1] + index])

    def _string(self, at: int) -> str:
        return self._strings[at : self._strings.index(b"\0", at)].decode()


def _record_starts(words: list[int]) -> list[int]:
    """Where each type's record begins: their sizes differ, so that they have to be walked."""
    once = [_HEADER_WORDS + _MORE_ONCE.get(kind, 0) for kind in range(32)]
    each = [_MORE_EACH.get(kind, 0) for kind in range(32)]
    starts, at, end = [], 0, len(words)
    while at < end:
        starts.append(at)
        info = words[at + 1]
        kind = info >> 24 & 0x1F
        at += once[kind] + each[kind] * (info & 0xFFFF)
    if at != end:
        raise ValueError("a type reaches beyond the end")
    return starts


def kernel_btf() -> Btf:
    """The running kernel's. KintroError (69) if it has none."""
    try:
        return Btf(PATH.read_bytes())
    except OSError as error:
        raise KintroError(
            f"this kernel has no BTF type information: {PATH}: {error.strerror}",
            "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y, such as your distribution's current one",
            EX_UNAVAILABLE,
        ) from error
