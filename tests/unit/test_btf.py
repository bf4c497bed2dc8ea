"""The BTF reader, on BTF written here. On the running kernel's: test_btf_kernel.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from btf_writer import SIGNED, BtfWriter

from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.sources import btf as btf_module
from kintro.sources.btf import (
    ARRAY,
    ENUM,
    ENUM64,
    FUNC_PROTO,
    INT,
    PTR,
    STRUCT,
    TYPEDEF,
    UNION,
    Btf,
    kernel_btf,
)


def every_kind() -> tuple[BtfWriter, dict[str, int]]:
    """One type of every kind that Linux 6.18 knows, each followed by a struct that must still be found."""
    w = BtfWriter()
    ids: dict[str, int] = {}

    def landmark(kind: str) -> None:
        ids[kind] = w.struct(f"after_{kind}", 4, ("x", 1, 0))

    w.int("int", 4, SIGNED)
    landmark("int")
    w.ptr(1)
    landmark("ptr")
    w.array(1, 1, 3)
    landmark("array")
    w.struct("s", 8, ("a", 1, 0), ("b", 1, 32))
    landmark("struct")
    w.struct("u", 4, ("a", 1, 0), ("b", 1, 0), union=True)
    landmark("union")
    w.enum("e", 4, ONE=1, TWO=2, THREE=3)
    landmark("enum")
    w.forward("incomplete")
    landmark("fwd")
    w.typedef("number", 1)
    landmark("typedef")
    w.volatile(1)
    landmark("volatile")
    w.const(1)
    landmark("const")
    w.restrict(2)
    landmark("restrict")
    prototype = w.func_proto(0, ("a", 1), ("b", 1))
    landmark("func_proto")
    w.func("f", prototype, linkage=1)
    landmark("func")
    variable = w.var("v", 1)
    landmark("var")
    w.datasec(".data", (variable, 0, 4), (variable, 4, 4))
    landmark("datasec")
    w.float("double", 8)
    landmark("float")
    w.decl_tag("tagged", 1, -1)
    landmark("decl_tag")
    w.type_tag("user", 1)
    landmark("type_tag")
    w.enum64("big", A=1 << 40, B=2)
    landmark("enum64")
    return w, ids


def test_every_kind_is_stepped_over() -> None:
    w, ids = every_kind()
    assert len(ids) == 19  # BTF_KIND_MAX
    btf = Btf(w.data())
    assert {kind: btf.struct_id(f"after_{kind}") for kind in ids} == ids
    assert all(list(btf.members(number)) == [("x", 0, 1)] for number in ids.values())


@pytest.mark.parametrize("kind", range(20, 32))
def test_a_kind_of_tomorrow_without_parts_is_stepped_over(kind: int) -> None:
    w = BtfWriter()
    w.add(kind, "new", 3, 0)
    wanted = w.struct("known", 0)
    assert Btf(w.data()).struct_id("known") == wanted


def test_facts_of_a_type() -> None:
    w = BtfWriter()
    signed, unsigned = w.int("int", 4, SIGNED), w.int("unsigned char", 1)
    pointer, array = w.ptr(signed), w.array(unsigned, signed, 7)
    structure, union = w.struct("s", 24), w.struct("s", 16, union=True)
    enum, enum64 = w.enum("s", 4, ONE=1), w.enum64("s", BIG=1)
    btf = Btf(w.data())
    kinds = [btf.kind(i) for i in range(9)]
    assert kinds == [0, INT, INT, PTR, ARRAY, STRUCT, UNION, ENUM, ENUM64]
    assert [btf.size(i) for i in (signed, unsigned, structure, union, enum, enum64)] == [4, 1, 24, 16, 4, 8]
    assert (btf.is_signed(signed), btf.is_signed(unsigned)) == (True, False)
    assert (btf.name(signed), btf.name(unsigned), btf.name(pointer)) == ("int", "unsigned char", "")
    assert btf.target(pointer) == signed
    assert btf.array(array) == (unsigned, 7)


def test_one_name_in_several_kinds() -> None:
    w = BtfWriter()
    union, structure = w.struct("same", 4, union=True), w.struct("same", 8)
    alias = w.typedef("same", union)
    btf = Btf(w.data())
    assert [btf.find("same", kind) for kind in (UNION, STRUCT, TYPEDEF)] == [union, structure, alias]
    assert btf.find("same", ENUM) is None
    assert btf.find("sam", STRUCT) is None
    assert btf.find("ame", STRUCT) is None


def test_a_struct_that_is_not_there() -> None:
    with pytest.raises(KintroError, match="no struct task_struct") as raised:
        Btf(every_kind()[0].data()).struct_id("task_struct")
    assert raised.value.exit_code == EX_UNAVAILABLE


def test_typedefs_and_qualifiers_are_seen_through() -> None:
    w = BtfWriter()
    number = w.int("int", 4)
    chain = w.typedef("a", w.const(w.volatile(w.type_tag("rcu", w.restrict(w.typedef("b", number))))))
    pointer = w.const(w.ptr(chain))
    btf = Btf(w.data())
    assert btf.resolve(chain) == number
    assert btf.resolve(number) == number
    assert btf.kind(btf.resolve(pointer)) == PTR  # a pointer is no other name for what it points to
    assert btf.resolve(0) == 0


def test_members_of_unnamed_members_at_their_own_offsets() -> None:
    w = BtfWriter()
    number = w.int("int", 4)
    innermost = w.struct("", 8, ("p", number, 0), ("q", number, 32))
    union = w.struct("", 12, ("a", number, 0), ("", innermost, 32), union=True)
    alias = w.typedef("hidden", w.const(union))
    outer = w.struct("outer", 40, ("first", number, 0), ("", alias, 64), ("named", innermost, 192))
    assert list(Btf(w.data()).members(outer)) == [
        ("first", 0, number),
        ("a", 8, number),
        ("p", 12, number),
        ("q", 16, number),
        ("named", 24, innermost),
    ]


def test_bit_fields_are_left_out_and_do_not_move_the_rest() -> None:
    w = BtfWriter()
    number = w.int("unsigned int", 4)
    inner = w.struct("", 4, ("deep", number, 0))
    outer = w.bit_struct(
        "outer", 16, ("a", number, 0, 3), ("b", number, 3, 29), ("c", number, 32, 0),
        ("", number, 64, 8), ("", inner, 96, 0),
    )  # fmt: skip
    assert list(Btf(w.data()).members(outer)) == [("c", 4, number), ("deep", 12, number)]


def test_members_far_behind() -> None:
    """With the kind flag an offset has 24 bits, without it 32."""
    w = BtfWriter()
    number = w.int("u8", 1)
    flagged = w.bit_struct("flagged", 1 << 21, ("x", number, (1 << 24) - 8, 0))
    plain = w.struct("plain", 1 << 29, ("x", number, (1 << 32) - 8))
    btf = Btf(w.data())
    assert list(btf.members(flagged)) == [("x", (1 << 21) - 1, number)]
    assert list(btf.members(plain)) == [("x", (1 << 29) - 1, number)]


def test_arguments_of_a_tracepoint() -> None:
    w = BtfWriter()
    number = w.int("int", 4)
    for count in range(4):
        prototype = w.func_proto(0, *((f"p{i}", number) for i in range(count + 1)))
        w.typedef(f"btf_trace_with{count}", w.ptr(prototype))
    btf = Btf(w.data())
    assert [btf.tracepoint_args(f"with{count}") for count in range(4)] == [0, 1, 2, 3]
    assert btf.tracepoint_args("with9") is None
    assert btf.kind(2) == FUNC_PROTO


def raises_damaged(data: bytes) -> None:
    with pytest.raises(KintroError, match="damaged") as raised:
        Btf(data)
    assert raised.value.exit_code == EX_UNAVAILABLE


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 24, b"\x7fELF" + b"\0" * 100, b"\x9f\xeb\x01", b"\xeb\x9f" + b"\0" * 22],
    ids=["empty", "zeros", "elf", "short header", "other byte order"],
)
def test_what_is_no_btf(data: bytes) -> None:
    raises_damaged(data)


def test_btf_cut_short_anywhere() -> None:
    data = every_kind()[0].data()
    for length in range(0, len(data), 7):
        raises_damaged(data[:length])


def test_a_record_that_claims_more_parts_than_there_are() -> None:
    w = BtfWriter()
    w.int("int", 4)
    w.add(STRUCT, "too_long", 1000, 4)
    raises_damaged(w.data())


def test_a_type_section_that_ends_inside_a_record() -> None:
    w = BtfWriter()
    w.add(PTR, "", 0, 0)
    data = bytearray(w.data())
    data[12:16] = (4).to_bytes(4, "little")  # type_len: the first word of a record of three
    raises_damaged(bytes(data))


def test_no_types_at_all() -> None:
    with pytest.raises(KintroError):
        Btf(BtfWriter().data()).struct_id("task_struct")


def test_a_kernel_without_btf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(btf_module, "PATH", tmp_path / "vmlinux")
    with pytest.raises(KintroError, match="vmlinux: No such file") as raised:
        kernel_btf()
    assert raised.value.exit_code == EX_UNAVAILABLE
    assert "CONFIG_DEBUG_INFO_BTF" in (raised.value.hint or "")
