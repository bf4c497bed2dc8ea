"""Which frames the pages of processes lie in, held to workloads that tell their memory, and to smaps."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kintro.errors import KintroError
from kintro.observers.memory_diff import Compared, Diff, Part, diff
from kintro.observers.memory_physical import Physical, physical
from kintro.sources.mappings import Mapping
from kintro.sources.pagemap import PAGE_BYTES, Pagemap, frames, read_pagemap

from .harness import NOBODY, as_nobody, program, running, strictly, wait_for

pytestmark = pytest.mark.kernel

PAGES = (64 << 20) // PAGE_BYTES
HUGE_PAGES = Path("/proc/sys/vm/nr_hugepages")
KSM = Path("/sys/kernel/mm/ksm")
REPO = Path(__file__).resolve().parent.parent.parent


def mappings(pid: int) -> list[Mapping]:
    """A crude reading of /proc/PID/maps."""
    found = []
    for line in Path(f"/proc/{pid}/maps").read_bytes().splitlines():
        addresses, perms, offset, dev, inode, *path = line.split(None, 5)
        start, end = (int(address, 16) for address in addresses.split(b"-"))
        found.append(
            Mapping(
                start, end, perms.decode(), int(offset, 16), dev.decode(), int(inode), b"".join(path), False
            )
        )
    return found


def smaps(pid: int) -> dict[int, dict[str, int]]:
    """Start of a mapping → what smaps tells of it, in pages."""
    found: dict[int, dict[str, int]] = {}
    for line in Path(f"/proc/{pid}/smaps").read_text(errors="replace").splitlines():
        if head := re.match(r"([0-9a-f]+)-[0-9a-f]+ ", line):
            own = found[int(head[1], 16)] = {}
        elif fact := re.match(r"(\w+): +(\d+) kB", line):
            own[fact[1]] = int(fact[2]) * 1024 // PAGE_BYTES
    return found


class Workload:
    """A process of workloads/frames.py that waits for orders."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.told = self._answer()
        self.pid: int = self.told["pid"]

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the workload has ended"
        return None if line == b'"done"\n' else strictly(line)

    def send(self, order: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(order.encode() + b"\n")
        self._process.stdin.flush()

    def do(self, order: str) -> None:
        self.send(order)
        self._answer()

    @property
    def region(self) -> Mapping:
        """The mapping whose address was told."""
        return self.mapping(self.told["start"])

    def mapping(self, start: int, pid: int | None = None) -> Mapping:
        [found] = [mapping for mapping in mappings(pid or self.pid) if mapping.start == start]
        return found

    def physical(self, start: int | None = None) -> Physical:
        [found] = physical(self.pid, [self.mapping(start or self.told["start"])])
        return found

    def diff(self) -> tuple[Diff, Part]:
        """The fork compared with its parent: all of it, and the mapping that was told."""
        parent = self.told["parent"]
        wait_for(lambda: still(parent) and still(self.pid), "both to wait")
        found = diff(parent, mappings(parent), self.pid, mappings(self.pid))
        [part] = [part for part in found.parts if part.pair.a and part.pair.a.start == self.told["start"]]
        return found, part


@contextmanager
def workload(what: str, **options: Any) -> Iterator[Workload]:
    streams = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with running(program("frames", what), **streams, **options) as process:
        yield Workload(process)


def sleeps() -> Any:
    return running(["/bin/sleep", "60"])


def still(pid: int) -> bool:
    """It waits: the workloads do so only once they have done what they were asked."""
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].startswith((b"S", b"T"))


def asleep(pid: int) -> bool:
    """It has loaded all that it needs."""
    try:
        return "nanosleep" in Path(f"/proc/{pid}/wchan").read_text()
    except OSError:
        return False


# One process, held to smaps


def test_each_kind_of_memory() -> None:
    with workload("kinds") as kinds:
        made: dict[str, int] = kinds.told["made"]
        all_of_it = (4 << 20) // PAGE_BYTES
        found = {name: kinds.physical(start) for name, start in made.items()}

        def kinds_of(name: str) -> tuple[int | None, ...]:
            one = found[name]
            assert one.present == sum(
                (one.zero or 0, one.hugetlb or 0, one.anonymous or 0, one.file or 0, one.unclear or 0)
            )
            return one.zero, one.hugetlb, one.anonymous, one.file, one.unclear

        assert kinds_of("touched") == (0, 0, all_of_it, 0, 0)
        assert kinds_of("untouched") == kinds_of("none") == (0, 0, 0, 0, 0)
        assert kinds_of("looked-at") == (all_of_it, 0, 0, 0, 0)
        assert kinds_of("half") == (all_of_it // 4, 0, all_of_it // 2, 0, 0)
        assert kinds_of("shared") == (0, 0, 0, all_of_it // 2, 0)
        assert kinds_of("memfd") == (0, 0, 0, all_of_it, 0)
        assert kinds_of("memfd-private") == (0, 0, 100, all_of_it - 100, 0)
        assert (found["memfd"].exclusive, found["memfd"].shared) == (100, all_of_it - 100)
        assert (found["memfd"].mappings_median, found["memfd"].mappings_max) == (2, 2)
        if kinds.told["guards"]:
            assert (found["guarded"].guard, found["guarded"].swapped) == (10, 0)
            assert kinds_of("guarded") == (0, 0, all_of_it - 10, 0, 0)
        assert found["touched"].exclusive == all_of_it


def test_huge_pages() -> None:
    with workload("kinds") as kinds:
        made: dict[str, int] = kinds.told["made"]
        of_huge = smaps(kinds.pid)[made["huge"]]["AnonHugePages"]
        if of_huge != (4 << 20) // PAGE_BYTES:
            pytest.skip("the kernel gave no huge pages")
        huge, split, zero = (kinds.physical(made[name]) for name in ("huge", "split", "huge-looked-at"))
        assert (huge.huge_mapped, huge.thp, huge.runs, huge.longest_run) == (1024, 1024, 1, 1024) or (
            huge.huge_mapped, huge.thp, huge.runs, huge.longest_run
        ) == (1024, 1024, 2, 512)  # fmt: skip
        # A page less: the first huge page is mapped page by page from then on.
        assert (split.present, split.huge_mapped, split.thp) == (1023, 512, 1023)
        assert zero.zero in (0, 2, 1024)  # small zero pages where huge/use_zero_page is off
        assert (zero.huge_mapped, zero.rss) == (0, 0)


def assert_as_smaps(found: tuple[Physical, ...], told: dict[int, dict[str, int]]) -> None:
    seen = {}
    for one in found:
        if one.present is None:
            assert one.mapping.path == b"[vsyscall]"
            continue
        hugetlb = told[one.mapping.start]["Shared_Hugetlb"] + told[one.mapping.start]["Private_Hugetlb"]
        seen[one.mapping.start] = {
            "Rss": one.rss, "Anonymous": one.anonymous, "Private": one.exclusive, "Shared": one.shared,
            "Swap": one.swapped, "Hugetlb": one.hugetlb,
            "Huge": None if one.huge_mapped is None else one.huge_mapped - hugetlb,
        }  # fmt: skip
        own = told[one.mapping.start]
        told[one.mapping.start] = {
            "Rss": own["Rss"], "Anonymous": own["Anonymous"],
            "Private": own["Private_Clean"] + own["Private_Dirty"] + own["Private_Hugetlb"],
            "Shared": own["Shared_Clean"] + own["Shared_Dirty"] + own["Shared_Hugetlb"],
            "Swap": own["Swap"], "Hugetlb": hugetlb,
            "Huge": own["AnonHugePages"] + own["ShmemPmdMapped"] + own["FilePmdMapped"],
        }  # fmt: skip
    assert {start: told[start] for start in seen} == seen


def test_a_stopped_process_is_as_smaps_says_to_the_page() -> None:
    """But for pages of files: those may be mapped elsewhere too, by strangers who come and go meanwhile."""
    with workload("kinds") as kinds:
        os.kill(kinds.pid, signal.SIGSTOP)
        wait_for(lambda: still(kinds.pid), "the stop")

        def at_once() -> tuple[tuple[Physical, ...], dict[int, dict[str, int]]] | None:
            """Both, if smaps says the same before and after."""
            before = smaps(kinds.pid)
            found = physical(kinds.pid, mappings(kinds.pid))
            return (found, before) if smaps(kinds.pid) == before else None

        assert_as_smaps(*wait_for(at_once, "a moment in which nobody maps or unmaps a library"))


def test_a_kernel_without_the_scan_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with workload("kinds") as kinds:
        told = [kinds.mapping(start) for start in kinds.told["made"].values()]
        with_it = physical(kinds.pid, told)
        monkeypatch.setattr(Pagemap, "_scan", lambda *_: None)
        without = physical(kinds.pid, told)
    assert {one.huge_mapped for one in without} == {None}

    def rest(found: tuple[Physical, ...]) -> list[Physical]:
        """But for pages of the interpreter's file, that others map and unmap."""
        return [one._replace(huge_mapped=None, shared=None, exclusive=None, mappings_median=None,
                             mappings_max=None) for one in found]  # fmt: skip

    assert rest(without) == rest(with_it)


def test_pages_merged_by_ksm() -> None:
    run = KSM / "run"
    if not run.exists():
        pytest.skip("this kernel has no KSM")
    before = run.read_text()
    with workload("merged") as merged:
        try:
            run.write_text("1")
            wait_for(lambda: merged.physical().ksm == 64, "the merge", 60)
            found = merged.physical()
            assert (found.present, found.anonymous, found.shared, found.exclusive) == (64, 64, 64, 0)
            assert (found.mappings_median, found.mappings_max) == (64, 64)
            merged.do("write 10 2")
            found = merged.physical()
            assert (found.ksm, found.exclusive, found.mappings_max) == (54, 10, 54)
        finally:
            run.write_text(before)


@pytest.fixture
def two_huge_pages() -> Iterator[None]:
    if not HUGE_PAGES.exists():
        pytest.skip("this kernel has no hugetlb")
    before = int(HUGE_PAGES.read_text())
    try:
        HUGE_PAGES.write_text(str(before + 2))
        if int(HUGE_PAGES.read_text()) < before + 2:
            pytest.skip("no two huge pages can be reserved")
        yield
    finally:
        HUGE_PAGES.write_text(str(before))


@pytest.mark.usefixtures("two_huge_pages")
def test_hugetlb() -> None:
    with workload("hugetlb") as hugetlb:
        found = hugetlb.physical()
        in_one = (2 << 20) // PAGE_BYTES
        assert (found.present, found.hugetlb, found.huge_mapped, found.exclusive) == (in_one,) * 4
        assert (found.rss, found.anonymous, found.file, found.runs, found.longest_run) == (0, 0, 0, 1, in_one)
        assert_as_smaps((found,), smaps(hugetlb.pid))


def test_reservations_of_100_gib_take_no_time() -> None:
    with workload("reservations") as reserved:
        both = [reserved.mapping(reserved.told[name]) for name in ("none", "start")]
        begin = time.perf_counter()
        found = physical(reserved.pid, both)
        took_s = time.perf_counter() - begin
        assert [one.present for one in found] == [0, 1]
        assert took_s < 0.5


# What goes away, and what may not be read


def test_mapping_that_is_gone_when_it_is_read() -> None:
    with workload("touched") as touched, workload("touched") as other:
        region = touched.region
        before = mappings(touched.pid)
        touched.do(f"unmap {touched.told['size']}")
        [gone] = physical(touched.pid, [region])
        assert (gone.present, gone.rss, gone.mappings_median) == (0, 0, None)
        found = diff(touched.pid, before, other.pid, mappings(other.pid))
        [part] = [part for part in found.parts if part.pair.a == region]
        assert (part.pages.same_frame, part.pages.different_frame, part.pages.only_a) == (0, 0, 0)


def refusal(pid: int) -> tuple[int, str]:
    with pytest.raises(KintroError) as caught:
        read_pagemap(pid, 0, PAGE_BYTES)
    return caught.value.exit_code, caught.value.message


@pytest.mark.parametrize("end", ["kill", "exec"])
def test_process_that_dies_or_executes_while_it_is_read(end: str) -> None:
    with workload("touched") as touched:
        start, size = touched.told["start"], touched.told["size"]
        with Pagemap(touched.pid) as pagemap:
            assert len(pagemap.pages([(start, start + size)]).numbers) == size // PAGE_BYTES
            if end == "kill":
                os.kill(touched.pid, signal.SIGKILL)
                wait_for(lambda: not Path(f"/proc/{touched.pid}/maps").read_bytes(), "the end")
            else:
                touched.send("exec")
                wait_for(lambda: asleep(touched.pid), "the exec")
            with pytest.raises(KintroError, match=r"has ended|executed") as caught:
                pagemap.pages([(start, start + size)])
            assert caught.value.exit_code == 66
            with pytest.raises(KintroError, match=r"has ended|executed"):
                pagemap.entries(start, start + size)
    assert refusal(touched.pid) == (66, f"no such process: {touched.pid}")


def test_zombie_and_kernel_thread() -> None:
    process = subprocess.Popen(["/bin/true"])
    try:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        code, message = refusal(process.pid)
        assert (code, "zombie" in message) == (66, True)
    finally:
        process.wait()
    code, message = refusal(2)  # kthreadd, but in a pid namespace
    if Path("/proc/2/comm").read_text() == "kthreadd\n":
        assert (code, "thread of the kernel" in message) == (66, True)


def as_nobody_prints(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=REPO, **as_nobody()
    )
    if "Permission denied" in done.stderr and "ModuleNotFoundError" in done.stderr:
        pytest.skip("nobody may not read this checkout")
    return done.stdout + done.stderr


def test_without_root() -> None:
    code = (
        "import sys; from kintro.errors import KintroError; from kintro.sources.pagemap import read_pagemap\n"
        "try: read_pagemap(int(sys.argv[1]), 0, 4096)\n"
        "except KintroError as error: print(error.exit_code, error.hint)\n"
    )
    with workload("touched") as touched:
        assert as_nobody_prints(code, str(touched.pid)).startswith("77 Run kintro as root")


def test_frames_are_not_shown_without_root_and_0_is_no_frame() -> None:
    with workload("kinds", user=NOBODY, group=NOBODY, extra_groups=[]) as kinds:
        code = (
            "import sys; from kintro.sources.mappings import Mapping\n"
            "from kintro.observers.memory_physical import physical\n"
            "from kintro.observers.memory_diff import diff\n"
            "from kintro.errors import KintroError\n"
            "pid, starts = int(sys.argv[1]), map(int, sys.argv[2:])\n"
            "maps = [Mapping(s, s + (4 << 20), 'rw-p', 0, '', 0, b'', False) for s in starts]\n"
            "for one in physical(pid, maps): print(*one[1:])\n"
            "try: diff(pid, maps, pid, maps)\n"
            "except KintroError as error: print(error.exit_code, error.hint)\n"
        )
        names = ("touched", "looked-at", "memfd", "huge-looked-at")
        starts = [str(kinds.told["made"][name]) for name in names]
        lines = as_nobody_prints(code, str(kinds.pid), *starts).splitlines()
        all_of_it = (4 << 20) // PAGE_BYTES
        columns = Physical._fields[1:]
        told = [dict(zip(columns, line.split())) for line in lines[:-1]]
        assert [one["present"] for one in told[:3]] == [str(all_of_it)] * 3
        assert [(one["zero"], one["anonymous"], one["file"]) for one in told[:3]] == [
            ("0", str(all_of_it), "0"),
            (str(all_of_it), "0", "0"),
            ("0", "0", str(all_of_it)),
        ]
        for name in ("hugetlb", "unclear", "thp", "ksm", "shared", "mappings_max", "runs", "longest_run"):
            assert {one[name] for one in told} == {"None"}
        assert lines[-1] == "77 Run kintro as root."


# Two processes


@pytest.mark.parametrize("what", ["fork", "fork-huge"])
def test_a_fork_shares_all_until_it_writes(what: str) -> None:
    """Of huge pages too only what is written to is copied, 4 KiB at a time (since Linux 5.8)."""
    with workload(what) as fork:
        if what == "fork-huge" and smaps(fork.told["parent"])[fork.told["start"]]["AnonHugePages"] != PAGES:
            pytest.skip("the kernel gave no huge pages")
        found, part = fork.diff()
        assert (part.pair.relation, found.by, found.changed_a, found.changed_b) == (
            "same mapping", "frames", 0, 0,
        )  # fmt: skip
        assert part.pages == Compared(PAGES, 0, 0, 0, 0, 0)
        assert {one.pair.relation for one in found.parts} == {"same mapping"}

        fork.do("write 1000 16")
        _, part = fork.diff()
        assert part.pages == Compared(PAGES - 1000, 1000, 0, 0, 0, 0)
        child = fork.physical()
        assert (child.exclusive, child.shared, child.mappings_max) == (1000, PAGES - 1000, 2)


def test_shared_memory_stays_the_same_frame_when_written() -> None:
    with workload("fork-shared") as fork:
        fork.do("write 1000 16")
        _, part = fork.diff()
        # The child's page tables are filled as it touches: what it does not write, it has not mapped yet.
        pages = part.pages
        assert (pages.different_frame, pages.only_b) == (0, 0)
        assert pages.same_frame is not None and pages.same_frame >= 1000
        assert pages.same_frame + pages.only_a == PAGES


def test_two_runs_of_a_program() -> None:
    if Path("/proc/sys/kernel/randomize_va_space").read_text() != "2\n":
        pytest.skip("ASLR is off")
    with sleeps() as a, sleeps() as b:
        wait_for(lambda: asleep(a.pid) and asleep(b.pid), "two sleeps")
        found = diff(a.pid, mappings(a.pid), b.pid, mappings(b.pid))
        assert (found.changed_a, found.changed_b) == (0, 0)
        paired = [part for part in found.parts if part.pair.a and part.pair.b]
        assert len(paired) == len(mappings(a.pid)) == len(found.parts)
        text = [part for part in paired if part.pair.a and part.pair.a.perms == "r-xp"]
        assert len(text) >= 4  # sleep, libc, ld.so, vdso
        for part in text:
            assert part.pair.relation == "moved"
            assert (part.pages.same_frame or 0) > 0 and part.pages.different_frame == 0
        [heap] = [part for part in paired if part.pair.a and part.pair.a.path == b"[heap]"]
        assert heap.pair.relation == "moved"
        assert heap.pages.same_frame == 0 and (heap.pages.different_frame or 0) > 0
        for part in paired:
            assert part.pair.a and part.pair.b
            if part.pair.a.path not in (b"[stack]", b"[vsyscall]"):
                assert part.pair.shift_bytes == part.pair.b.start - part.pair.a.start != 0


def test_pages_that_lie_apart_are_each_found_once() -> None:
    """8 192 stretches: more than the kernel gives at once."""
    with workload("untouched") as apart:
        apart.do(f"write {PAGES // 2} 2")
        start = apart.told["start"]
        with Pagemap(apart.pid) as pagemap:
            pages = pagemap.pages([(start, start + PAGES * PAGE_BYTES)])
            entries = pagemap.entries(start, start + PAGES * PAGE_BYTES)
        assert (pages.numbers == start // PAGE_BYTES + 2 * np.arange(PAGES // 2, dtype=np.uint64)).all()
        assert (pages.entries == entries[::2]).all() and not entries[1::2].any()
        assert len(pages.numbers) == PAGES // 2


def test_read_pagemap_has_an_entry_for_each_page() -> None:
    with workload("touched") as touched:
        start, end = touched.told["start"], touched.told["start"] + touched.told["size"]
        found = frames(read_pagemap(touched.pid, start - 2 * PAGE_BYTES, end + PAGE_BYTES))
        assert found is not None
        assert len(found) == touched.told["size"] // PAGE_BYTES + 3
        assert (found[[0, 1, -1]] == 0).all() and (found[2:-1] > 0).all()
