"""maps and smaps: real samples, texts made and cut at will, children with a known address space, psutil."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import psutil
import pytest
from children import as_nobody, child, open_folder, state, wait_for, zombie
from hypothesis import given
from hypothesis import strategies as st
from smaps_text import LINES, maps_line, maps_text, size_line, smaps_text, usage_lines

from kintro.errors import EX_NOINPUT, EX_NOPERM, KintroError
from kintro.sources import mapped_name, mappings, procfs
from kintro.sources.mappings import Mapping, Usage

KB = 1024

# As Linux 6.18 prints it, with a number of its own for each field.
SAMPLE = b"""\
7ffced038000-7ffced059000 rw-p 00000000 00:00 0                          [stack]
Size:                132 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                  12 kB
Pss:                  11 kB
Pss_Dirty:            10 kB
Shared_Clean:          1 kB
Shared_Dirty:          2 kB
Private_Clean:         3 kB
Private_Dirty:         9 kB
Referenced:            5 kB
Anonymous:             6 kB
KSM:                   7 kB
LazyFree:              8 kB
AnonHugePages:        13 kB
ShmemPmdMapped:       14 kB
FilePmdMapped:        15 kB
Shared_Hugetlb:       16 kB
Private_Hugetlb:      17 kB
Swap:                 18 kB
SwapPss:              19 kB
Locked:               20 kB
THPeligible:           0
ProtectionKey:         0
VmFlags: rd wr mr mw me gd ac 
"""  # noqa: W291
STACK = Mapping(0x7FFCED038000, 0x7FFCED059000, "rw-p", 0, "00:00", 0, b"[stack]", False)
SAMPLE_KB = (12, 11, 10, 1, 2, 3, 9, 5, 6, 7, 8, 13, 14, 15, 16, 17, 18, 19, 20, 4, 4)
SAMPLE_USAGE = Usage._make((*(n * KB for n in SAMPLE_KB), ("rd", "wr", "mr", "mw", "me", "gd", "ac")))


def one(line: bytes) -> Mapping:
    [mapping] = mappings.parse_maps(line + b"\n")
    return mapping


def test_an_entry_of_smaps() -> None:
    assert mappings.parse_smaps(SAMPLE) == [(STACK, SAMPLE_USAGE)]
    assert mappings.parse_smaps(SAMPLE * 3) == [(STACK, SAMPLE_USAGE)] * 3


@pytest.mark.parametrize(
    ("line", "mapping"),
    [
        (
            b"5609fa95a000-5609fa95c000 r--p 00001000 fe:00 260811                     /usr/bin/cat",
            Mapping(0x5609FA95A000, 0x5609FA95C000, "r--p", 0x1000, "fe:00", 260811, b"/usr/bin/cat", False),
        ),
        (
            b"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]",
            Mapping(0xFFFFFFFFFF600000, 0xFFFFFFFFFF601000, "--xp", 0, "00:00", 0, b"[vsyscall]", False),
        ),
        (
            b"fffffffffffff000-10000000000000000 ---p 00000000 00:00 0 ",
            Mapping(0xFFFFFFFFFFFFF000, 1 << 64, "---p", 0, "00:00", 0, b"", False),
        ),
        (
            b"00010000-00011000 rwxp 00000000 00:00 0 ",
            Mapping(65536, 69632, "rwxp", 0, "00:00", 0, b"", False),
        ),
        (
            b"7f00-7f01 rw-s ffffffffffffe000 103:12d 18446744073709551615            /a",
            Mapping(0x7F00, 0x7F01, "rw-s", 2**64 - 8192, "103:12d", 2**64 - 1, b"/a", False),
        ),
    ],
)
def test_a_line_of_maps(line: bytes, mapping: Mapping) -> None:
    assert one(line) == mapping
    assert mapping.size_bytes == mapping.end - mapping.start


@pytest.mark.parametrize(
    ("name", "path", "deleted"),
    [
        (b"/a b  c /d ", b"/a b  c /d ", False),
        (b"/a\\012b", b"/a\nb", False),
        (b"/a\\012b (deleted)", b"/a\nb", True),
        (b"/a\\x2db", b"/a\\x2db", False),
        (b"/a\rb\x0bc\x85\xff", b"/a\rb\x0bc\x85\xff", False),
        (b"/x (deleted)", b"/x", True),
        (b"/x (deleted) (deleted)", b"/x (deleted)", True),
        (b"/x (deleted)y", b"/x (deleted)y", False),
        (b"/memfd:name (deleted)", b"/memfd:name", True),
        (b"/memfd: (deleted)", b"/memfd:", True),
        (b"/SYSV00000000 (deleted)", b"/SYSV00000000", True),
        (b"/anon_hugepage (deleted)", b"/anon_hugepage", True),
        (b"/dev/zero (deleted)", b"/dev/zero", True),
        (b"/dev/dax0.0", b"/dev/dax0.0", False),
        (b"/dev/nvidiactl", b"/dev/nvidiactl", False),
        (b"anon_inode:[perf_event]", b"anon_inode:[perf_event]", False),
        (b"anon_inode:bpf-map", b"anon_inode:bpf-map", False),
        (b"socket:[4711]", b"socket:[4711]", False),
        (b"[anon:a name: with (signs)]", b"[anon:a name: with (signs)]", False),
        (b"[anon_shmem:x]", b"[anon_shmem:x]", False),
        (b"[uprobes]", b"[uprobes]", False),
        (b"[vvar_vclock]", b"[vvar_vclock]", False),
        (b"7f00-7f01 rw-p 00000000 00:00 0 ", b"7f00-7f01 rw-p 00000000 00:00 0 ", False),
        (b"Size: 4 kB", b"Size: 4 kB", False),
    ],
)
def test_names(name: bytes, path: bytes, deleted: bool) -> None:
    line = (b"7f0000000000-7f0000001000 rw-p 00000000 00:00 17".ljust(72) + b" " + name) + b"\n"
    assert mappings.parse_maps(line)[0][-2:] == (path, deleted)
    fields = SAMPLE.partition(b"\n")[2]
    found = mappings.parse_smaps((line + fields) * 2)
    assert [(mapping[-2:], usage) for mapping, usage in found] == [((path, deleted), SAMPLE_USAGE)] * 2


@pytest.mark.parametrize(
    "text",
    [
        b"garbage\n",
        b"7f00 rw-p\n",
        b"7f00-7f01 rw-p\n",
        b"\n",
        b"Rss: 4 kB\n",
        b"x7f00-7f01 r--p 0 00:00 0\n",
    ],
)
def test_what_is_no_such_text(text: bytes) -> None:
    with pytest.raises(ValueError):
        mappings.parse_maps(text)
    with pytest.raises(ValueError):
        mappings.parse_smaps(text)


def test_nothing() -> None:
    assert (mappings.parse_maps(b""), mappings.parse_smaps(b"")) == ([], [])
    assert set(mappings.parse_smaps_rollup(b"")[:-1]) == {None}


def test_a_number_wider_than_its_column() -> None:
    wide = SAMPLE.replace(b"Size:                132 kB", b"Size:           17179869184 kB").replace(
        b"Rss:                  12 kB", b"Rss:            17179869183 kB"
    )
    moved = SAMPLE.replace(b"Pss:                  11 kB", b"Pss:            999999999999 kB")
    usages = [usage for _, usage in mappings.parse_smaps(SAMPLE + wide + SAMPLE + moved + wide)]
    wide_usage = SAMPLE_USAGE._replace(rss_bytes=17179869183 * KB)
    moved_usage = SAMPLE_USAGE._replace(pss_bytes=999999999999 * KB)
    assert usages == [SAMPLE_USAGE, wide_usage, SAMPLE_USAGE, moved_usage, wide_usage]
    assert [usage for _, usage in mappings.parse_smaps(wide + SAMPLE)] == [wide_usage, SAMPLE_USAGE]


def test_a_rollup() -> None:
    text = b"""\
5609fa95a000-7ffe156d5000 ---p 00000000 00:00 0                          [rollup]
Rss:                1620 kB
Pss:                 303 kB
Pss_Dirty:           116 kB
Pss_Anon:            116 kB
Pss_File:            187 kB
Shared_Clean:       1448 kB
Swap:                  0 kB
Locked:                3 kB
"""
    usage = mappings.parse_smaps_rollup(text)
    assert usage.rss_bytes == 1620 * KB and usage.pss_bytes == 303 * KB and usage.locked_bytes == 3 * KB
    assert (usage.swap_bytes, usage.shared_dirty_bytes, usage.kernel_page_bytes, usage.flags) == (
        0, None, None, (),
    )  # fmt: skip


# Texts made at will

sizes = st.one_of(st.integers(0, 100), st.integers(0, 2**54)).map(lambda kb: kb * KB)
addresses = st.integers(0, 2**64)
paths = st.one_of(
    st.sampled_from(
        [b"", b"[heap]", b"[stack]", b"[anon:x y]", b"anon_inode:[io_uring]", b"/a\nb", b"/ (deleted)x"]
    ),
    st.binary(min_size=1, max_size=40).map(lambda name: b"/" + name),
).filter(lambda path: b"\0" not in path and b"\\012" not in path and not path.endswith(b" (deleted)"))
some_mappings = st.builds(
    lambda ends, perms, offset, dev, inode, path, deleted: Mapping(
        min(ends), max(ends), perms, offset, dev, inode, path, deleted and path.startswith(b"/")
    ),
    st.tuples(addresses, addresses),
    st.sampled_from(["r-xp", "---p", "rw-s", "rwxp"]),
    st.integers(0, 2**52).map(lambda page: page * 4096 % 2**64),
    st.builds("{:02x}:{:02x}".format, st.integers(0, 2**12 - 1), st.integers(0, 2**20 - 1)),
    st.integers(0, 2**64 - 1),
    paths,
    st.booleans(),
)
flags = st.lists(st.sampled_from(["rd", "wr", "ex", "sh", "mr", "??"]), min_size=1).map(tuple)
some_usages = st.builds(
    lambda numbers, words: Usage._make((*numbers, words)), st.tuples(*[sizes] * 21), flags
)
missing = st.sets(st.sampled_from(sorted(LINES.values())))


@given(st.lists(some_mappings))
def test_maps_there_and_back(found: list[Mapping]) -> None:
    assert mappings.parse_maps(maps_text(found)) == found


@given(st.lists(st.tuples(some_mappings, some_usages), max_size=8), missing, st.booleans())
def test_smaps_there_and_back(
    found: list[tuple[Mapping, Usage]], absent: set[str], without_flags: bool
) -> None:
    """What one kernel does not print, it prints for no mapping."""
    changes: dict = dict.fromkeys(absent) | ({"flags": ()} if without_flags else {})
    found = [(mapping, usage._replace(**changes)) for mapping, usage in found]
    assert mappings.parse_smaps(smaps_text(found)) == found


@given(
    st.lists(st.tuples(some_mappings, some_usages, missing), max_size=6),
    st.integers(),
    st.lists(
        st.sampled_from(
            [b"New: 5 kB\n", b"a_field: 7\n", b"Odd: 7f00-7f01 x\n", b"odd line\n", b"\n", b"XVmFlags: no\n"]
        )
    ),
)
def test_smaps_in_any_order_and_number(
    found: list[tuple[Mapping, Usage, set[str]]], seed: int, unknown: list[bytes]
) -> None:
    """Each entry in a shape of its own; only the last field is the same, or the last entry would seem cut."""
    text, expected, rng = b"", [], random.Random(seed)
    for mapping, usage, absent in found:
        usage = usage._replace(**dict.fromkeys(absent))
        lines = usage_lines(mapping, usage) + unknown
        rng.shuffle(lines)
        text += maps_line(mapping) + b"".join(lines) + b"End: 1\n"
        expected.append((mapping, usage))
    assert mappings.parse_smaps(text) == expected


def test_a_short_entry_whose_successor_ends_where_it_would() -> None:
    """Skipped by length alone, the two would be one."""
    first, tail = size_line("Rss", 4 * KB), b"VmFlags: rd \n"
    header = maps_line(STACK)
    padding = b"Long: " + b"1" * (len(header) + 2 * len(first) - 7) + b"\n"
    text = header + padding + tail + header + first + header + first + tail + header + padding + tail
    assert [usage.rss_bytes for _, usage in mappings.parse_smaps(text)] == [None, 4 * KB, 4 * KB, None]


def test_a_line_behind_the_flags_of_some_entries() -> None:
    late = SAMPLE.replace(size_line("Rss", 12 * KB), b"") + size_line("Rss", 12 * KB)
    padded = late.replace(b"Pss: ", b"Pss: " + b" " * len(size_line("Rss", 0)), 1)
    tail = b"End: 1\n"
    assert mappings.parse_smaps(SAMPLE + padded + SAMPLE) == [(STACK, SAMPLE_USAGE)] * 3
    assert mappings.parse_smaps(SAMPLE + tail + padded + tail) == [(STACK, SAMPLE_USAGE)] * 2


@given(st.lists(st.tuples(some_mappings, some_usages), min_size=2, max_size=4), st.data())
def test_a_cut_text_has_the_entries_that_are_whole(
    found: list[tuple[Mapping, Usage]], data: st.DataObject
) -> None:
    ends = [len(smaps_text(found[: n + 1])) for n in range(len(found))]
    cut = data.draw(st.integers(ends[0], ends[-1]))
    whole = sum(end <= cut for end in ends)
    assert mappings.parse_smaps(smaps_text(found)[:cut]) == found[:whole]
    lines = [len(maps_text(m for m, _ in found[: n + 1])) for n in range(len(found))]
    cut = data.draw(st.integers(0, lines[-1]))
    whole = sum(line <= cut for line in lines)
    assert mappings.parse_maps(maps_text(m for m, _ in found)[:cut]) == [m for m, _ in found[:whole]]


def test_a_single_entry_cut_in_a_line() -> None:
    for cut in range(len(SAMPLE)):
        if SAMPLE[cut - 1 : cut] != b"\n":
            assert mappings.parse_smaps(SAMPLE[:cut]) == []


# This machine


def pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def known_lines(smaps: bytes) -> list[bytes]:
    """The lines of smaps that are read, sorted: their order is the kernel's affair."""
    unread = (b"THPeligible", b"ProtectionKey")
    return sorted(line for line in smaps.split(b"\n") if not line.startswith(unread))


def test_every_text_of_this_machine_there_and_back() -> None:
    """What is read from the kernel's text, written as the kernel does, is that text."""
    seen = 0
    for pid in pids():
        try:
            maps = Path(f"/proc/{pid}/maps").read_bytes()
            smaps = Path(f"/proc/{pid}/smaps").read_bytes()
        except OSError:
            continue
        assert maps_text(mappings.parse_maps(maps)) == maps
        entries = mappings.parse_smaps(smaps)
        assert known_lines(smaps_text(entries)) == known_lines(smaps)
        seen += len(entries)
    assert seen > 10


def ours(pid: int) -> list[tuple]:
    return [
        (
            f"{mapping.start:08x}-{mapping.end:08x}", mapping.perms, os.fsdecode(mapping.path) or "[anon]",
            usage.rss_bytes, mapping.size_bytes, usage.pss_bytes, usage.shared_clean_bytes,
            usage.shared_dirty_bytes, usage.private_clean_bytes, usage.private_dirty_bytes,
            usage.referenced_bytes, usage.anonymous_bytes, usage.swap_bytes,
        )
        for mapping, usage in mappings.read_smaps(pid)
    ]  # fmt: skip


def theirs(pid: int) -> list[tuple]:
    return [tuple(found) for found in psutil.Process(pid).memory_maps(grouped=False)]


def seen_alike(pid: int) -> bool:
    """Whether we and psutil read the same in one of some tries; a difference while nothing changes fails.

    A process that is stopped changes, too: the kernel swaps, and ages pages (Referenced).
    """
    for _ in range(20):
        before, other, after = ours(pid), theirs(pid), ours(pid)
        if other in (before, after):
            return True
    assert before != after, f"process {pid}"
    return False


def test_every_process_as_psutil_sees_it() -> None:
    compared = 0
    for pid in pids():
        if pid == os.getpid():
            continue
        try:
            compared += seen_alike(pid)
        except (KintroError, psutil.Error):
            continue
    assert compared > 0


def test_what_a_child_has_laid_out() -> None:
    """Exact numbers: pages written are private and dirty, pages only mapped are nothing."""
    code = """
start = lay(16, prot=0)
lay(8, 3, 0x32, at=start + 4096)
ctypes.memset(start + 4096, 1, 5 * 4096)
say([start])
"""
    with child(code) as (process, [start]):
        entries = {mapping.start: (mapping, usage) for mapping, usage in mappings.read_smaps(process.pid)}
        mapping, usage = entries[start + 4096]
        assert mapping == Mapping(start + 4096, start + 9 * 4096, "rw-p", 0, "00:00", 0, b"", False)
        resident = 5 * 4096
        assert (usage.rss_bytes, usage.pss_bytes, usage.private_dirty_bytes) == (resident,) * 3
        assert (usage.anonymous_bytes, usage.shared_clean_bytes, usage.swap_bytes) == (resident, 0, 0)
        assert usage.kernel_page_bytes == usage.mmu_page_bytes == 4096
        assert {"rd", "wr", "mr", "mw"} <= set(usage.flags) and "ex" not in usage.flags
        guard, nothing = entries[start + 9 * 4096]
        assert guard[:3] == (start + 9 * 4096, start + 16 * 4096, "---p") and nothing.rss_bytes == 0
        assert [m for m, _ in entries.values()] == mappings.read_maps(process.pid)
        assert seen_alike(process.pid)


def test_the_rollup_is_the_sum() -> None:
    with child("ctypes.memset(lay(300), 1, 300 * 4096)\nsay([])") as (process, _):
        usages = [usage for _, usage in mappings.read_smaps(process.pid)]
        rollup = mappings.read_smaps_rollup(process.pid)
        assert rollup is not None and rollup.anonymous_bytes >= 300 * 4096
        for field in Usage._fields:
            told = [getattr(usage, field) for usage in usages]
            if field in ("kernel_page_bytes", "mmu_page_bytes"):
                assert getattr(rollup, field) is None
            elif field == "flags":
                assert rollup.flags == ()
            elif field.startswith(("pss", "swap_pss")):  # fractions of a kB: a rollup rounds once
                assert 0 <= getattr(rollup, field) - sum(told) <= KB * len(told)
            else:
                assert getattr(rollup, field) == (sum(told) if None not in told else None)


# Names that the text leaves open

NAMES = {
    b"with\nnewline": False, b"with\\012digits": False, b"both\n\\012": False, b"x (deleted)": False,
    b"gone": True, b"gone (deleted)": True, b"gone\nnewline": True, b"gone\\012digits": True,
    b"new\nline (deleted)": False, b" spaces  ": False, b"\xff\xfe": False,
}  # fmt: skip
MAP_FILES = """
for name, gone in zip(sys.argv[1::2], sys.argv[2::2]):
    fd = os.open(name, os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, 4096)
    lay(1, 1, 1, fd)
    if gone == "True":
        os.unlink(name)
"""


def with_files(folder: Path) -> list[str | bytes]:
    base = os.fsencode(folder)
    return [word for name, gone in NAMES.items() for word in (base + b"/" + name, str(gone))]


def in_folder(found: list[Mapping], folder: Path) -> dict[bytes, bool]:
    base = os.fsencode(folder) + b"/"
    return {m.path.removeprefix(base): m.deleted for m in found if m.path.startswith(base)}


def test_names_of_mapped_files(tmp_path: Path) -> None:
    with child(MAP_FILES + "say([])", *with_files(tmp_path)) as (process, _):
        assert in_folder(mappings.read_maps(process.pid), tmp_path) == NAMES
        assert in_folder([mapping for mapping, _ in mappings.read_smaps(process.pid)], tmp_path) == NAMES


def test_names_of_mapped_files_without_their_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deleted name with `\\012` is the only one that cannot be told then."""

    def refuse(path: bytes) -> bytes:
        raise PermissionError(13, "refused")

    monkeypatch.setattr(mapped_name.os, "readlink", refuse)
    guessed = {**NAMES, b"gone\ndigits": True}
    del guessed[b"gone\\012digits"]
    with child(MAP_FILES + "say([])", *with_files(tmp_path)) as (process, _):
        assert in_folder(mappings.read_maps(process.pid), tmp_path) == guessed


def test_names_as_an_ordinary_user() -> None:
    """The links in map_files may be read, but not followed."""
    if os.geteuid() != 0:
        pytest.skip("becoming nobody needs root")
    nobody = "os.setresgid(*[65534] * 3); os.setresuid(*[65534] * 3); libc.prctl(4, 1, 0, 0, 0)"
    with open_folder() as folder, child(f"{MAP_FILES}{nobody}\nsay([])", *with_files(folder)) as (process, _):
        found = as_nobody(
            lambda: [
                [os.fsdecode(name), gone]
                for name, gone in in_folder(mappings.read_maps(process.pid), folder).items()
            ]
        )
    assert {os.fsencode(name): gone for name, gone in found} == NAMES


def test_a_file_whose_place_another_has_taken(tmp_path: Path) -> None:
    """`x` is deleted, and there is another file `x (deleted)`: by inode, not by name."""
    code = MAP_FILES + "open(sys.argv[1] + ' (deleted)', 'w').close()\nsay([])"
    with child(code, str(tmp_path / "x"), "True") as (process, _):
        assert in_folder(mappings.read_maps(process.pid), tmp_path) == {b"x": True}


def test_a_link_is_not_the_file(tmp_path: Path) -> None:
    """`x` is deleted, and `x (deleted)` is a symbolic link to another name of its file."""
    code = """
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 4096)
lay(1, 1, 1, fd)
os.rename(sys.argv[1], sys.argv[1] + "2")
os.link(sys.argv[1] + "2", sys.argv[1])
os.unlink(sys.argv[1] + "2")
os.symlink(sys.argv[1], sys.argv[1] + "2 (deleted)")
say([])
"""
    with child(code, str(tmp_path / "x")) as (process, _):
        assert in_folder(mappings.read_maps(process.pid), tmp_path) == {b"x2": True}


def test_a_file_seen_in_a_foreign_root(tmp_path: Path) -> None:
    """Its path is told as seen from our root."""
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    (tmp_path / "jail").mkdir()
    code = "os.chroot(sys.argv[3]); os.chdir('/')\nsys.argv.pop()\n" + MAP_FILES + "say([])"
    with child(code, "/y (deleted)", "False", str(tmp_path / "jail")) as (process, _):
        assert in_folder(mappings.read_maps(process.pid), tmp_path) == {b"jail/y (deleted)": False}


def test_memory_with_names_of_its_own() -> None:
    code = """
SHM_RDONLY, IPC_RMID = 0o10000, 0
key = libc.shmget(0, 4096, 0o600)
libc.shmat.restype = ctypes.c_void_p
shm = libc.shmat(key, None, 0)
libc.shmctl(key, IPC_RMID, None)
memfd = os.memfd_create("a name\\nof two lines (deleted)")
os.ftruncate(memfd, 4096)
zero = os.open("/dev/zero", os.O_RDWR)
places = dict(shm=shm, memfd=lay(1, 1, 1, memfd), shared=lay(1, 3, 0x21), device=lay(1, 3, 2, zero))
try:
    places["huge"] = libc.mmap(None, 1 << 21, 3, 0x22 | 0x40000 | 0x4000, -1, 0)
except OSError:
    pass
say(places)
"""
    with child(code) as (process, places):
        found = {
            mapping.start: (mapping.path, mapping.deleted) for mapping in mappings.read_maps(process.pid)
        }
        assert found[places["shm"]] == (b"/SYSV00000000", True)
        assert found[places["memfd"]] == (b"/memfd:a name\nof two lines (deleted)", True)
        assert found[places["shared"]] == (b"/dev/zero", True)
        assert found[places["device"]] == (b"/dev/zero", False)
        if places["huge"] in found:
            assert found[places["huge"]] == (b"/anon_hugepage", True)


def test_a_named_anonymous_mapping() -> None:
    code = """
place = lay(1)
error = libc.prctl(0x53564d41, 0, ctypes.c_ulong(place), ctypes.c_ulong(4096), b"a (name): x")
say([place, error])
"""
    with child(code) as (process, [place, error]):
        if error:
            pytest.skip("this kernel has no CONFIG_ANON_VMA_NAME")
        found = {mapping.start: mapping.path for mapping in mappings.read_maps(process.pid)}
        assert found[place] == b"[anon:a (name): x]"


# Processes that cannot be read, or not to the end


def all_readers(pid: int) -> list:
    return [mappings.read_maps(pid), mappings.read_smaps(pid), mappings.read_smaps_rollup(pid)]


def test_a_kernel_thread_has_no_mappings() -> None:
    if not Path("/proc/2/stat").exists() or not procfs.read_stat(2).is_kernel_thread:
        pytest.skip("no kernel thread is to be seen in this pid namespace")
    assert all_readers(2) == [[], [], None]


def test_a_zombie_has_no_mappings() -> None:
    with zombie() as pid:
        assert all_readers(pid) == [[], [], None]


def test_a_process_that_is_gone() -> None:
    with child("say([])") as (process, _):
        pid = process.pid
        assert mappings.read_maps(pid)
    for read in (mappings.read_maps, mappings.read_smaps, mappings.read_smaps_rollup):
        with pytest.raises(KintroError) as raised:
            read(pid)
        assert (raised.value.message, raised.value.exit_code) == (f"no process {pid}", EX_NOINPUT)


def test_another_users_process() -> None:
    if os.geteuid() != 0:
        pytest.skip("becoming nobody needs root")

    def refusals() -> list:
        found = []
        for read in (mappings.read_maps, mappings.read_smaps, mappings.read_smaps_rollup):
            try:
                found.append(len(read(process.pid) or ()))
            except KintroError as error:
                found.append([error.message, error.exit_code, bool(error.hint)])
        return found

    with child("say([])") as (process, _):
        assert as_nobody(refusals) == [
            [f"not permitted to read /proc/{process.pid}/{name}", EX_NOPERM, True]
            for name in ("maps", "smaps", "smaps_rollup")
        ]


class Interrupted:
    """A file of /proc of which the first reading stops in the middle for something to happen."""

    def __init__(self, file, happen) -> None:  # type: ignore[no-untyped-def]
        self.file, self.happen = file, happen

    def __enter__(self) -> Interrupted:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def seek(self, offset: int) -> None:
        self.file.seek(offset)

    def read(self, size: int = -1) -> bytes:
        if size >= 0:
            return self.file.read(size)
        data = self.file.read(1000)
        self.happen()
        return data + self.file.read()


@pytest.mark.parametrize("name", ["maps", "smaps"])
@pytest.mark.parametrize("end", ["exec", "zombie", "gone"])
def test_a_process_that_ends_or_execs_while_it_is_read(
    name: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel ends the text early and tells of no error."""
    read = {"maps": mappings.read_maps, "smaps": mappings.read_smaps}[name]
    opened = []
    code = "say([])\nsys.stdin.readline()\nos.execv('/bin/sleep', ['sleep', '100'])"
    with child(code, stopped=False) as (process, _):
        assert process.stdin is not None

        def happen() -> None:
            if end == "exec":
                process.stdin.write(b"\n")
                process.stdin.flush()
                cmdline = Path(f"/proc/{process.pid}/cmdline")  # set when the program is laid out
                wait_for(lambda: cmdline.read_bytes().startswith(b"sleep"))
            else:
                os.kill(process.pid, signal.SIGKILL)
                wait_for(lambda: state(process.pid) == "Z")
                if end == "gone":
                    process.wait()

        def interrupted(path, mode, buffering):  # type: ignore[no-untyped-def]
            file = open(path, mode, buffering=buffering)  # noqa: SIM115
            opened.append(path)
            return Interrupted(file, happen) if len(opened) == 1 else file

        monkeypatch.setattr(procfs, "open", interrupted, raising=False)
        if end == "gone":
            with pytest.raises(KintroError, match=f"no process {process.pid}"):
                read(process.pid)
        else:
            found = read(process.pid)
            if end == "exec":
                paths = [entry.path if isinstance(entry, Mapping) else entry[0].path for entry in found]
                assert any(path.endswith((b"/sleep", b"/coreutils")) for path in paths)
                assert b"[stack]" in paths
            else:
                assert found == []
        assert len(opened) > 1 or end == "gone"


def test_below_another_root(tmp_path: Path) -> None:
    folder = tmp_path / "proc/77"
    (folder / "map_files").mkdir(parents=True)
    (tmp_path / "tmp").mkdir()
    kept = tmp_path / "tmp/a (deleted)"
    kept.write_bytes(b"")
    found = kept.stat()
    dev = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}"
    mapping = Mapping(0x1000, 0x2000, "r--p", 0, dev, found.st_ino, b"/tmp/a (deleted)", False)
    other = Mapping(0x2000, 0x3000, "r--p", 0, dev, found.st_ino + 1, b"/tmp/a", True)
    (folder / "maps").write_bytes(maps_text([mapping, other]))
    assert mappings.read_maps(77, tmp_path) == [mapping, other]
    (folder / "smaps").write_bytes(smaps_text([(mapping, SAMPLE_USAGE)]))
    assert mappings.read_smaps(77, tmp_path) == [(mapping, SAMPLE_USAGE)]
    assert mappings.settled(other, 77, tmp_path) == other


def test_a_file_whose_device_stat_tells_otherwise(tmp_path: Path) -> None:
    """As on btrfs and overlayfs: the target of the link in map_files is known by stat's own numbers."""
    folder = tmp_path / "proc/77/map_files"
    folder.mkdir(parents=True)
    (tmp_path / "a (deleted)").write_bytes(b"")
    mapping = Mapping(0x1000, 0x2000, "r--p", 0, "00:fff", 1, b"/a", True)
    assert mappings.settled(mapping, 77, tmp_path) == mapping
    (folder / "1000-2000").symlink_to(tmp_path / "a (deleted)")
    assert mappings.settled(mapping, 77, tmp_path)[-2:] == (b"/a (deleted)", False)


def test_a_mapping_that_is_told_again_because_it_grew() -> None:
    """As the kernel does when a mapping merges with one that was told before."""

    def at(start: int, end: int) -> Mapping:
        return Mapping(start, end, "rw-p", 0, "00:00", 0, b"", False)

    told = [at(1, 2), at(2, 4), at(3, 9), at(9, 10)]
    assert mappings._apart(told, lambda mapping: mapping) == [at(1, 2), at(3, 9), at(9, 10)]
