"""The header tree: what is generated lies where BTF says, by the word of a C compiler."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from btf_writer import CHAR, SIGNED, BtfWriter

from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.sources import btf as btf_module
from kintro.sources import headers
from kintro.sources.btf import ARRAY, PTR, Btf, kernel_btf
from kintro.sources.headers import MEMBERS, header_files, header_tree, kernel_structs

needs_btf = pytest.mark.skipif(
    not btf_module.PATH.exists(), reason=f"this kernel has no BTF: {btf_module.PATH}"
)


def compiled(structs: str, claims: list[str], folder: Path) -> None:
    """Fails with the compiler's words unless all claims, constant expressions of C, hold for the structs."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler here")
    for name, text in header_files(structs).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    lines = ["#include <kernel_structs.h>", *(f'_Static_assert({claim}, "{claim}");' for claim in claims)]
    (folder / "claims.c").write_text("\n".join(lines) + "\n")
    include = [f"-I{folder}", f"-I{folder}/include"]
    done = subprocess.run(
        [compiler, "-nostdinc", "-Werror", "-fsyntax-only", *include, folder / "claims.c"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def at(struct: str, member: str, offset: int, size: int) -> list[str]:
    return [
        f"__builtin_offsetof(struct {struct}, {member}) == {offset}",
        f"sizeof(((struct {struct} *)0)->{member}) == {size}",
    ]


def is_a(struct: str, member: str, c_type: str) -> str:
    return f"__builtin_types_compatible_p(__typeof__(((struct {struct} *)0)->{member}), {c_type})"


def with_base_types() -> tuple[BtfWriter, dict[str, int]]:
    w = BtfWriter()
    ids = {
        "int": w.int("int", 4, SIGNED),
        "u64": w.int("unsigned long long", 8),
        "u8": w.int("unsigned char", 1),
        "s16": w.int("short", 2, SIGNED),
        "char": w.int("char", 1, CHAR | SIGNED),
        "bool": w.int("_Bool", 1, 4),
    }
    return w, ids


def test_every_form_of_member(tmp_path: Path) -> None:
    w, t = with_base_types()
    pid_t = w.typedef("pid_t", w.typedef("__kernel_pid_t", t["int"]))
    head = w.struct("list_head", 16, ("next", w.ptr(w.count + 2), 0), ("prev", w.ptr(w.count + 3), 64))
    known, unknown = w.ptr(head), w.ptr(w.struct("", 4))
    opaque = w.struct("opaque", 12)
    hidden = w.struct("", 8, ("in_union", t["u64"], 0), ("other", t["int"], 0), union=True)
    w.struct(
        "s", 200,
        ("a", t["u8"], 0), ("pid", pid_t, 4 * 8), ("small", t["s16"], 9 * 8), ("flag", t["bool"], 11 * 8),
        ("to_known", w.const(known), 16 * 8), ("to_unknown", unknown, 24 * 8),
        ("state", w.enum("state", 4, ON=1), 32 * 8), ("big", w.enum64("big", ON=1 << 40), 40 * 8),
        ("name", w.array(t["char"], t["int"], 16), 48 * 8), ("pair", w.array(pid_t, t["int"], 2), 64 * 8),
        ("pointers", w.array(known, t["int"], 3), 72 * 8), ("list", head, 96 * 8),
        ("", hidden, 112 * 8), ("blob", opaque, 121 * 8), ("tail", w.array(t["u64"], t["int"], 0), 200 * 8),
    )  # fmt: skip
    wanted = {
        "list_head": ("next",),
        "s": ("blob", "list", "pointers", "pair", "name", "big", "state", "to_unknown", "to_known", "flag",
              "small", "pid", "a", "in_union", "tail"),
    }  # fmt: skip
    claims = ["sizeof(struct s) == 200", "sizeof(struct list_head) == 16"]
    for member, offset, size in (
        ("a", 0, 1), ("pid", 4, 4), ("small", 9, 2), ("flag", 11, 1), ("to_known", 16, 8),
        ("to_unknown", 24, 8), ("state", 32, 4), ("big", 40, 8), ("name", 48, 16), ("pair", 64, 8),
        ("pointers", 72, 24), ("list", 96, 16), ("in_union", 112, 8), ("blob", 121, 12), ("tail", 200, 0),
    ):  # fmt: skip
        claims += at("s", member, offset, size)
    for member, c_type in (
        ("a", "u8"), ("pid", "s32"), ("small", "s16"), ("flag", "u8"), ("to_known", "struct list_head *"),
        ("to_unknown", "void *"), ("state", "u32"), ("big", "u64"), ("name", "char[16]"), ("pair", "s32[2]"),
        ("pointers", "struct list_head *[3]"), ("list", "struct list_head"), ("in_union", "u64"),
    ):  # fmt: skip
        claims.append(is_a("s", member, c_type))
    compiled(kernel_structs(Btf(w.data()), wanted), claims, tmp_path)


@pytest.mark.parametrize("count", [1, 3])
def test_array_of_structs_that_no_probe_looks_into(tmp_path: Path, count: int) -> None:
    w, t = with_base_types()
    w.struct("s", 40, ("before", t["int"], 0), ("many", w.array(w.struct("opaque", 12), t["int"], count), 32))
    text = kernel_structs(Btf(w.data()), {"s": ("before", "many")})
    compiled(text, [*at("s", "many", 4, 12 * count), "sizeof(struct s) == 40"], tmp_path)


def test_array_of_arrays(tmp_path: Path) -> None:
    w, t = with_base_types()
    row = w.array(t["u8"], t["int"], 5)
    w.struct("s", 24, ("grid", w.array(row, t["int"], 3), 8))
    compiled(kernel_structs(Btf(w.data()), {"s": ("grid",)}), at("s", "grid", 1, 15), tmp_path)


def test_members_that_share_an_address_are_never_laid_out_one_behind_the_other(tmp_path: Path) -> None:
    w, t = with_base_types()
    either = w.struct("", 8, ("one", t["u64"], 0), ("two", t["u64"], 0), union=True)
    w.struct("s", 16, ("", either, 0), ("last", t["u64"], 64))
    try:
        text = kernel_structs(Btf(w.data()), {"s": ("one", "two", "last")})
    except KintroError as error:
        assert "two" in error.message or "one" in error.message
    else:
        compiled(text, at("s", "one", 0, 8) + at("s", "two", 0, 8) + at("s", "last", 8, 8), tmp_path)


def structs_of(wanted: Mapping[str, tuple[str, ...]]) -> str:
    w, t = with_base_types()
    w.struct("task_struct", 16, ("pid", t["int"], 32), ("__state", t["int"], 64))
    return kernel_structs(Btf(w.data()), wanted)


def test_a_missing_member_is_named() -> None:
    with pytest.raises(KintroError, match="struct task_struct has no member state") as raised:
        structs_of({"task_struct": ("pid", "state")})
    assert raised.value.exit_code == EX_UNAVAILABLE
    assert raised.value.hint


def test_a_missing_struct_is_named() -> None:
    with pytest.raises(KintroError, match="no struct mm_struct"):
        structs_of({"task_struct": ("pid",), "mm_struct": ("arg_start",)})


def test_a_member_that_may_be_missing(tmp_path: Path) -> None:
    text = structs_of({"task_struct": ("state?", "pid", "__state?")})
    defines = [line for line in text.splitlines() if "HAVE_" in line]
    assert defines == ["#define HAVE_TASK_STRUCT___STATE 1"]
    compiled(text, at("task_struct", "__state", 8, 4) + at("task_struct", "pid", 4, 4), tmp_path)


@pytest.mark.parametrize(("parameters", "shown"), [(2, 1), (3, 2)])
def test_arguments_of_tracepoints(parameters: int, shown: int) -> None:
    w, t = with_base_types()
    prototype = w.func_proto(0, *((f"p{i}", t["int"]) for i in range(parameters)))
    w.typedef("btf_trace_sched_process_exit", w.ptr(prototype))
    assert f"#define SCHED_PROCESS_EXIT_ARGS {shown}\n" in kernel_structs(Btf(w.data()), {})


def test_functions_that_may_be_missing() -> None:
    w = BtfWriter()
    wanted = "#define HAVE_BPF_GET_CURRENT_TASK_BTF 1\n"
    w.typedef("bpf_get_current_task_btf", 0)  # the name alone is not enough
    assert wanted not in kernel_structs(Btf(w.data()), {})
    w.func("bpf_get_current_task_btf", w.func_proto(0), 1)
    assert wanted in kernel_structs(Btf(w.data()), {})


def test_version_in_the_header(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(release="6.18.44-fc-v669", machine="x86_64"))
    claim = "LINUX_VERSION_CODE == (6 << 16) + (18 << 8) + 44"
    (tmp_path / "v").mkdir()
    compiled("#include <linux/version.h>\n", [claim], tmp_path / "v")
    # include/linux/version.h: at most 255
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(release="4.9.337", machine="x86_64"))
    compiled("#include <linux/version.h>\n", ["LINUX_VERSION_CODE == (4 << 16) + (9 << 8) + 255"], tmp_path)


def size_of(btf: Btf, number: int) -> int:
    number = btf.resolve(number)
    if btf.kind(number) == PTR:
        return 8
    if btf.kind(number) == ARRAY:
        element, count = btf.array(number)
        return size_of(btf, element) * count
    return btf.size(number)


@needs_btf
def test_members_of_this_kernel(tmp_path: Path) -> None:
    btf = kernel_btf()
    claims = []
    for name, wanted in MEMBERS.items():
        number = btf.struct_id(name)
        claims.append(f"sizeof(struct {name}) == {btf.size(number)}")
        known = {member: (offset, size_of(btf, type_)) for member, offset, type_ in btf.members(number)}
        for member in (m.rstrip("?") for m in wanted if m.rstrip("?") in known):
            claims += at(name, member, *known[member])
    assert len(claims) >= len(MEMBERS) + 2 * sum(not m.endswith("?") for ms in MEMBERS.values() for m in ms)
    compiled(kernel_structs(btf), claims, tmp_path)


@needs_btf
def test_the_tree_is_only_ours_and_does_not_stay(tmp_path: Path) -> None:
    with header_tree(tmp_path) as tree:
        assert tree.parent == tmp_path
        mode = tree.stat()
        assert stat.S_IMODE(mode.st_mode) == 0o700
        assert mode.st_uid == os.geteuid()
        written = {str(p.relative_to(tree)): p.read_text() for p in tree.rglob("*") if p.is_file()}
        assert written == header_files(kernel_structs(kernel_btf()))
    assert list(tmp_path.iterdir()) == []


@needs_btf
def test_the_tree_is_gone_after_an_error(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    with pytest.raises(StopError), header_tree(tmp_path):
        raise StopError
    assert list(tmp_path.iterdir()) == []


@needs_btf
def test_what_a_killed_kintro_left_is_taken_away(tmp_path: Path) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    names = [f"kintro-{child.pid}-a1", f"kintro-{os.getpid()}-b2", "kintro-1-c3", "kintro", "other-1-1"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    with header_tree(tmp_path):
        pass
    assert {path.name for path in tmp_path.iterdir()} == set(names[1:])


@needs_btf
def test_no_place_for_the_tree(tmp_path: Path) -> None:
    with pytest.raises(KintroError, match="none"), header_tree(tmp_path / "none"):
        pass


def test_no_tree_is_made_without_btf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(btf_module, "PATH", tmp_path / "vmlinux")
    monkeypatch.setattr(headers.tempfile, "mkdtemp", lambda **_: made.append("x"))
    with pytest.raises(KintroError, match="no BTF"), header_tree():
        pass
    assert made == []
