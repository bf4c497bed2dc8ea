"""Writes BTF for tests, by Documentation/bpf/btf.rst; shares no code and no table with the reader."""

from __future__ import annotations

import struct

SIGNED, CHAR, BOOL = 1, 2, 4  # of BTF_INT_ENCODING
Member = tuple[str, int, int]  # name, type, offset in bits


class BtfWriter:
    """Each method adds one type and returns its id; `data` is the whole file."""

    def __init__(self) -> None:
        self._types = b""
        self._strings = b"\0"
        self._names = {"": 0}
        self.count = 0

    def data(self) -> bytes:
        header = struct.pack("=HBBI", 0xEB9F, 1, 0, 24)
        sections = struct.pack("=IIII", 0, len(self._types), len(self._types), len(self._strings))
        return header + sections + self._types + self._strings

    def name(self, text: str) -> int:
        if text not in self._names:
            self._names[text] = len(self._strings)
            self._strings += text.encode() + b"\0"
        return self._names[text]

    def add(self, kind: int, name: str, vlen: int, size_or_type: int, *more: int, flag: bool = False) -> int:
        info = flag << 31 | kind << 24 | vlen
        self._types += struct.pack(f"={3 + len(more)}I", self.name(name), info, size_or_type, *more)
        self.count += 1
        return self.count

    def int(self, name: str, size: int, encoding: int = 0) -> int:
        return self.add(1, name, 0, size, encoding << 24 | size * 8)

    def ptr(self, target: int) -> int:
        return self.add(2, "", 0, target)

    def array(self, element: int, index: int, count: int) -> int:
        return self.add(3, "", 0, 0, element, index, count)

    def struct(self, name: str, size: int, *members: Member, union: bool = False) -> int:
        more = [word for name_, type_, bits in members for word in (self.name(name_), type_, bits)]
        return self.add(5 if union else 4, name, len(members), size, *more)

    def bit_struct(self, name: str, size: int, *members: tuple[str, int, int, int]) -> int:
        """With the kind flag: members are (name, type, offset in bits, width in bits or 0)."""
        more = [
            word
            for name_, type_, bits, width in members
            for word in (self.name(name_), type_, width << 24 | bits)
        ]
        return self.add(4, name, len(members), size, *more, flag=True)

    def enum(self, name: str, size: int, **values: int) -> int:
        more = [word for key, value in values.items() for word in (self.name(key), value)]
        return self.add(6, name, len(values), size, *more)

    def forward(self, name: str) -> int:
        return self.add(7, name, 0, 0)

    def typedef(self, name: str, target: int) -> int:
        return self.add(8, name, 0, target)

    def volatile(self, target: int) -> int:
        return self.add(9, "", 0, target)

    def const(self, target: int) -> int:
        return self.add(10, "", 0, target)

    def restrict(self, target: int) -> int:
        return self.add(11, "", 0, target)

    def func(self, name: str, prototype: int, linkage: int) -> int:
        return self.add(12, name, linkage, prototype)  # the only kind whose vlen counts nothing

    def func_proto(self, returns: int, *parameters: tuple[str, int]) -> int:
        more = [word for name, type_ in parameters for word in (self.name(name), type_)]
        return self.add(13, "", len(parameters), returns, *more)

    def var(self, name: str, type_: int) -> int:
        return self.add(14, name, 0, type_, 1)

    def datasec(self, name: str, *variables: tuple[int, int, int]) -> int:
        more = [word for variable in variables for word in variable]
        return self.add(15, name, len(variables), sum(size for _, _, size in variables), *more)

    def float(self, name: str, size: int) -> int:
        return self.add(16, name, 0, size)

    def decl_tag(self, text: str, target: int, component: int) -> int:
        return self.add(17, text, 0, target, component & 0xFFFFFFFF)

    def type_tag(self, text: str, target: int) -> int:
        return self.add(18, text, 0, target)

    def enum64(self, name: str, **values: int) -> int:
        more = [
            word
            for key, value in values.items()
            for word in (self.name(key), value & 0xFFFFFFFF, value >> 32)
        ]
        return self.add(19, name, len(values), 8, *more)
