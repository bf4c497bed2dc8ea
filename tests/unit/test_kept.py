"""What is kept of a compiled probe: the file's format, whom it is trusted to, what its name depends on."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from kintro.sources import bpf_syscall, kept
from kintro.sources.kept import Image, Key, Store, decoded, encoded, identity, key_of, unlinked

KEY, OTHER = Key("this kernel", "a probe"), Key("this kernel", "another probe")
IMAGE = Image(
    {"counters": [2, 4, 8, 64, 0x400]},
    {"tp_sched_switch": ("00" * 16, {"0": "counters"}), "tail_0": ("ff" * 8, {})},
    {__file__: identity(__file__)},
)


def as_read(image: Image) -> Image:
    """JSON knows no tuples."""
    return Image(image.maps, {name: list(its) for name, its in image.programs.items()}, image.made_by)  # type: ignore[misc]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A place for the folder, below one that is ours alone."""
    tmp_path.chmod(0o755)
    (tmp_path / "var").mkdir(mode=0o755)
    return tmp_path / "var" / "kintro"


@pytest.fixture
def store(folder: Path) -> Store:
    return Store(folder, folder.parent.parent, os.geteuid())


@pytest.fixture
def file(folder: Path, store: Store) -> Path:
    store.write(KEY, IMAGE)
    assert store.read(KEY) == as_read(IMAGE)
    return folder / KEY.name


def test_round_trip_keeps_the_order_of_the_programs() -> None:
    read = decoded(KEY, encoded(KEY, IMAGE))
    assert read == as_read(IMAGE)
    assert list(read.programs) == list(IMAGE.programs)


def test_every_truncation_is_refused() -> None:
    data = encoded(KEY, IMAGE)
    for length in range(len(data)):
        with pytest.raises(ValueError):
            decoded(KEY, data[:length])


def test_every_changed_byte_is_refused() -> None:
    data = encoded(KEY, IMAGE)
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises(ValueError):
            decoded(KEY, bytes(changed))


def test_a_file_under_another_name_is_refused(file: Path, store: Store) -> None:
    file.rename(file.with_name(OTHER.name))
    assert store.read(OTHER) is None


def test_modes(file: Path) -> None:
    assert (file.stat().st_mode & 0o7777, file.parent.stat().st_mode & 0o7777) == (0o600, 0o700)


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def symlinked(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def linked_twice(file: Path) -> None:
    file.with_name("elsewhere").hardlink_to(file)


def a_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


def folder_symlinked(file: Path) -> None:
    file.parent.rename(file.parent.with_name("elsewhere"))
    file.parent.symlink_to("elsewhere")


def above_symlinked(file: Path) -> None:
    var = file.parent.parent
    var.rename(var.with_name("elsewhere"))
    var.symlink_to("elsewhere")


def mode(levels: int, bits: int) -> Callable[[Path], None]:
    """Changes the mode of the file, or of a folder that many levels above."""

    def change(file: Path) -> None:
        path = [file, *file.parents][levels]
        path.chmod(path.stat().st_mode & 0o7777 | bits)

    return change


SPOILT = {
    "truncated": truncated,
    "symlink": symlinked,
    "second link": linked_twice,
    "fifo": a_fifo,
    "folder is a symlink": folder_symlinked,
    "folder above is a symlink": above_symlinked,
    "group may read the file": mode(0, 0o040),
    "group may write the file": mode(0, 0o020),
    "others may read the file": mode(0, 0o004),
    "group may enter the folder": mode(1, 0o010),
    "group may write the folder": mode(1, 0o020),
    "group may write above": mode(2, 0o020),
    "others may write above": mode(2, 0o002),
    "others may write at the top": mode(3, 0o002),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_what_others_could_have_made_is_not_read(
    file: Path, store: Store, spoil: Callable[[Path], None]
) -> None:
    spoil(file)
    assert store.read(KEY) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("levels", range(4), ids=["file", "folder", "above", "top"])
def test_what_belongs_to_another_is_not_read(file: Path, store: Store, levels: int) -> None:
    os.chown([file, *file.parents][levels], 65534, -1)
    assert store.read(KEY) is None


def test_nothing_is_written_into_a_folder_that_others_may_write(folder: Path, store: Store) -> None:
    folder.parent.chmod(0o777)
    store.write(KEY, IMAGE)
    assert not folder.exists()
    folder.parent.chmod(0o755)
    folder.mkdir(mode=0o700)
    folder.chmod(0o770)
    store.write(KEY, IMAGE)
    assert list(folder.iterdir()) == []


def test_who_is_not_the_owner_keeps_nothing(folder: Path) -> None:
    store = Store(folder, folder.parent.parent, os.geteuid() + 1)
    store.write(KEY, IMAGE)
    assert (store.read(KEY), folder.exists()) == (None, False)


def test_a_store_that_cannot_be_made_is_silent(tmp_path: Path) -> None:
    store = Store(tmp_path / "missing" / "kintro", tmp_path, os.geteuid())
    store.write(KEY, IMAGE)
    store.remove(KEY)
    assert store.read(KEY) is None


def test_a_refused_file_is_written_anew(file: Path, store: Store) -> None:
    symlinked(file)
    store.write(KEY, IMAGE)
    assert not file.is_symlink()
    assert store.read(KEY) == as_read(IMAGE)


def test_another_compiler_or_none(tmp_path: Path, store: Store) -> None:
    compiler = tmp_path / "libbcc.so.0"
    compiler.write_bytes(b"one")
    store.write(KEY, Image(IMAGE.maps, IMAGE.programs, {str(compiler): identity(str(compiler))}))
    assert store.read(KEY) is not None
    before = compiler.stat()
    compiler.write_bytes(b"two")
    os.utime(compiler, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert store.read(KEY) is None
    compiler.unlink()
    assert store.read(KEY) is None


def test_few_files_stay_those_used_last(folder: Path, store: Store) -> None:
    keys = [Key(KEY.kernel, f"probe {number}") for number in range(kept.FILES_MAX + 5)]
    for age, key in enumerate(keys):
        store.write(key, IMAGE)
        moment = (folder / key.name).stat().st_mtime - age - 100
        os.utime(folder / key.name, (moment, moment))
    assert store.read(keys[3]) is not None  # a use makes it young
    store.write(KEY, IMAGE)
    left = {path.name for path in folder.iterdir()}
    assert len(left) == kept.FILES_MAX
    assert {KEY.name, keys[3].name} <= left


def test_what_is_old_of_another_kernel_or_left_over_goes(folder: Path, store: Store) -> None:
    other_kernel, old = Key("another kernel", KEY.rest), Key(KEY.kernel, "an old probe")
    store.write(old, IMAGE)
    long_ago = (folder / old.name).stat().st_mtime - kept.UNUSED_S - 1
    os.utime(folder / old.name, (long_ago, long_ago))
    left = [other_kernel.name, ".999999999.1.new"]
    stays = [f".{os.getpid()}.1.new", "README"]
    for name in left + stays:
        (folder / name).write_bytes(b"")
    store.write(OTHER, IMAGE)
    store.write(KEY, IMAGE)
    assert {path.name for path in folder.iterdir()} == {KEY.name, OTHER.name, *stays}


def test_remove(file: Path, store: Store) -> None:
    store.remove(KEY)
    assert not file.exists()


# ---- the key ----

NEEDED = (Path("/sys/kernel/notes"), Path("/sys/kernel/btf/vmlinux"))
named = pytest.mark.skipif(not all(path.exists() for path in NEEDED), reason="this kernel tells no build id")


@named
def test_key_is_the_same_for_the_same() -> None:
    key = key_of("text", {"CPUS": 2})
    assert key is not None
    assert key == key_of("text", {"CPUS": 2})
    assert kept._NAME.fullmatch(key.name)


@named
def test_key_depends_on_text_and_parameters() -> None:
    keys = [
        key_of("text", {"CPUS": 2}),
        key_of("texts", {"CPUS": 2}),
        key_of("text", {"CPUS": 3}),
        key_of("text", {"CPUS": 2, "FILTER_UID": 0}),
        key_of("text", {}),
    ]
    assert len(set(keys)) == len(keys)
    assert len({key.name for key in keys if key is not None}) == len(keys)


def other_uname(field: str) -> Callable[[pytest.MonkeyPatch], None]:
    def change(patch: pytest.MonkeyPatch) -> None:
        names = ("sysname", "nodename", "release", "version", "machine")
        own = os.uname()
        other = os.uname_result([getattr(own, n) + ("x" if n == field else "") for n in names])
        patch.setattr(os, "uname", lambda: other)

    return change


def other_bytes(name: str) -> Callable[[pytest.MonkeyPatch], None]:
    def change(patch: pytest.MonkeyPatch) -> None:
        real = Path.read_bytes
        patch.setattr(Path, "read_bytes", lambda path: real(path) + (b"x" if path.name == name else b""))

    return change


def other_btf(patch: pytest.MonkeyPatch) -> None:
    real = os.stat

    def changed(path: str, **options: bool) -> object:
        return SimpleNamespace(st_size=1) if str(path).endswith("btf/vmlinux") else real(path, **options)

    patch.setattr(os, "stat", changed)


def other_limit(name: str) -> Callable[[pytest.MonkeyPatch], None]:
    def change(patch: pytest.MonkeyPatch) -> None:
        real = os.sysconf
        patch.setattr(os, "sysconf", lambda asked: real(asked) + (asked == name))

    return change


CHANGES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    **{f"uname {field}": other_uname(field) for field in ("release", "version", "machine")},
    **{name: other_bytes(name) for name in ("notes", *kept._SOURCES)},
    **{name: other_limit(name) for name in ("SC_PAGESIZE", "SC_NPROCESSORS_CONF")},
    "BTF": other_btf,
    "version": lambda patch: patch.setattr(kept, "__version__", "0.0.0"),
    "ARCH": lambda patch: patch.setenv("ARCH", "sparc"),
    "LD_LIBRARY_PATH": lambda patch: patch.setenv("LD_LIBRARY_PATH", "/opt/lib"),
}
OF_KERNEL = ("uname release", "uname version", "uname machine", "notes", "BTF")


@named
@pytest.mark.parametrize("what", CHANGES)
def test_key_depends_on(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key_of("text", {"CPUS": 2})
    CHANGES[what](monkeypatch)
    after = key_of("text", {"CPUS": 2})
    assert before is not None and after is not None
    assert before != after
    assert (before.kernel != after.kernel) == (what in OF_KERNEL)
    assert (before.name[:8] != after.name[:8]) == (what in OF_KERNEL)


@named
def test_host_name_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key_of("text", {})
    other_uname("nodename")(monkeypatch)
    assert key_of("text", {}) == before


def test_no_key_where_the_kernel_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert key_of("text", {}) is None


# ---- bytecode ----


def instruction(opcode: int, source: int, value: int) -> bytes:
    registers = source << 4 if sys.byteorder == "little" else source
    return struct.pack("=BBhi", opcode, registers, 0, value)


def test_maps_are_named_in_place_of_their_descriptors() -> None:
    second_half = instruction(0, 0, 0)
    code = (
        instruction(0xB7, 0, 7)
        + instruction(0x18, 1, 7)
        + second_half
        + instruction(0x18, 0, 7)
        + second_half
    )
    text, names = unlinked(code, {7: "counters"})
    assert names == {"8": "counters"}
    assert bytes.fromhex(text) == code[:12] + bytes(4) + code[16:]


@pytest.mark.parametrize(("source", "value"), [(1, 8), (2, 7), (4, 7)])
def test_what_is_no_known_map_is_not_kept(source: int, value: int) -> None:
    with pytest.raises(ValueError):
        unlinked(instruction(0x18, source, value) + instruction(0, 0, 0), {7: "counters"})


def test_a_machine_whose_bpf_number_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    other_uname("machine")(monkeypatch)
    with pytest.raises(bpf_syscall.KintroError, match="cannot trace on"):
        bpf_syscall.bpf(0, b"")
