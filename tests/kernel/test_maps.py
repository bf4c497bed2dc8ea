"""`kintro maps` of real programs that hold still: kinds by what the programs know, sums by smaps_rollup."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kintro.errors import KintroError
from kintro.observers.memory import as_json, whole
from kintro.observers.memory_records import KINDS, AddressSpace, Region
from kintro.observers.memory_space import read_space

from .harness import WORKLOADS, kintro, running, strictly, wait_for

pytestmark = pytest.mark.kernel

PYTHON = "/usr/bin/python3"
OF_C = {
    "dynamic": ["-pie", "-fPIE"],
    "non-pie": ["-no-pie"],
    "static": ["-static"],
    "static-pie": ["-static-pie", "-fPIE"],
}
SEGMENTS = ("text", "rodata", "data", "stack", "vdso", "vvar")


def compiled(tool: str, *arguments: str | Path, target: Path) -> Path:
    """A program; the test is skipped where it cannot be built."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    done = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, cwd=target.parent)
    if not target.exists():
        pytest.skip(f"{tool} cannot build it: {done.stderr.strip()[-200:]}")
    return target


def c_program(tmp_path: Path, options: list[str], name: str = "program") -> Path:
    target = tmp_path / name
    source = WORKLOADS / "addresses.c"
    return compiled("gcc", "-O1", "-w", *options, "-o", target, source, "-ldl", "-lpthread", target=target)


def is_still(pid: int) -> bool:
    """All threads are stopped."""
    tasks = Path(f"/proc/{pid}/task")
    return all(
        (task / "stat").read_bytes().rpartition(b")")[2].split()[0] in b"Tt" for task in tasks.iterdir()
    )


@contextmanager
def held(command: list[str | Path]) -> Iterator[tuple[int, list[str]]]:
    """The pid of a command that is stopped, and the lines before its READY."""
    with running(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.PIPE
    ) as process:
        lines = []
        for line in process.stdout:
            if line == b"READY\n":
                break
            lines.append(line.decode())
        else:
            raise AssertionError(f"{command} ended: {lines}")
        os.kill(process.pid, signal.SIGSTOP)
        wait_for(lambda: is_still(process.pid), "its threads to stop")
        yield process.pid, lines


def rollup(pid: int) -> dict[str, int]:
    """Bytes by key, read without kintro."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}


def unequal(space: AddressSpace, kernel: dict[str, int]) -> dict[str, tuple[int | None, int]]:
    """Sums that are not those of smaps_rollup: ours and the kernel's."""
    total = whole(space)
    usages = [region.usage for region in space.regions if region.usage is not None]
    unique = ("Private_Clean", "Private_Dirty", "Private_Hugetlb")
    found = {
        "rss": (total.rss_bytes, kernel["Rss"]),
        "pss": (total.pss_bytes, kernel["Pss"]),
        "swap": (total.swap_bytes, kernel["Swap"]),
        "uss": (total.uss_bytes, sum(kernel[key] for key in unique)),
        "dirty": (total.dirty_bytes, kernel["Shared_Dirty"] + kernel["Private_Dirty"]),
    }
    for key in ("Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty", "Anonymous", "Locked"):
        found[key] = (sum(getattr(usage, f"{key.lower()}_bytes") for usage in usages), kernel[key])
    return {name: sides for name, sides in found.items() if sides[0] != sides[1]}


# They change while other processes map and leave the same files.
OF_OTHERS = {"pss", "uss", "dirty", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty"}


def assert_sums(pid: int) -> AddressSpace:
    """Totals are those of smaps_rollup; what others have a part in is so at some moment without them."""
    end = time.monotonic() + 30
    while True:
        space = read_space(pid)
        found = unequal(space, rollup(pid))
        assert found.keys() <= OF_OTHERS, found
        if not found:
            break
        assert time.monotonic() < end, found
    vm_size = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    assert whole(space).size_bytes == vm_size * space.frame.page_bytes
    assert_all_told(space)
    return space


def assert_all_told(space: AddressSpace) -> None:
    for region in space.regions:
        assert region.kind in KINDS and region.reason and region.owner, region


def at(space: AddressSpace, address: int) -> Region:
    [region] = [r for r in space.regions if r.mapping.start <= address < r.mapping.end]
    return region


def assert_kinds(space: AddressSpace, told: list[str], at_least: int) -> None:
    """Each `KIND NAME ADDRESS` of a program is so."""
    wanted = [line.split() for line in told]
    assert len(wanted) >= at_least
    found = [(at(space, int(address, 16)).kind, name) for _, name, address in wanted]
    assert found == [(kind, name) for kind, name, _ in wanted]


def kinds(space: AddressSpace) -> set[str]:
    return {region.kind for region in space.regions}


# Programs that know their own addresses


@pytest.mark.parametrize("aslr", [True, False], ids=["aslr", "no-aslr"])
@pytest.mark.parametrize("form", OF_C)
def test_c_knows_its_own_addresses(tmp_path: Path, form: str, aslr: bool) -> None:
    binary = c_program(tmp_path, OF_C[form])
    data = tmp_path / "data"
    data.write_bytes(bytes(8192))
    command: list[str | Path] = [binary, f"/kintro-{os.getpid()}", data]
    if "static" not in form:
        command.append(c_program(tmp_path, ["-shared", "-fPIC", "-DSHARED_LIBRARY"], "library.so"))
    if not aslr:
        command[:0] = ["setarch", "-R"]
    with held(command) as (pid, told):
        space = assert_sums(pid)
        assert_kinds(space, told, 34)
        stacks = [region for region in space.regions if region.kind == "thread-stack"]
        guards = [region for region in space.regions if region.what.startswith("guard below the stack")]
        assert (len(stacks), len(guards)) == (3, 3)
        threads = {f"of thread {tid}" for tid in os.listdir(f"/proc/{pid}/task") if int(tid) != pid}
        assert {region.what for region in stacks} == threads


def test_rust_knows_its_own_addresses(tmp_path: Path) -> None:
    target = tmp_path / "program"
    binary = compiled("rustc", "-o", target, WORKLOADS / "addresses.rs", target=target)
    with held([binary]) as (pid, told):
        assert_kinds(assert_sums(pid), told, 7)


def test_go_knows_its_own_addresses(tmp_path: Path) -> None:
    target = tmp_path / "program"
    binary = compiled("go", "build", "-o", target, WORKLOADS / "addresses.go", target=target)
    with held([binary]) as (pid, told):
        space = assert_sums(pid)
        assert_kinds(space, told, 5)
        assert "heap" not in kinds(space)  # Go has none by brk


# Programs of others


def test_python_with_threads() -> None:
    script = (
        "import threading\n"
        "for _ in range(5): threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "print('READY', flush=True); threading.Event().wait()"
    )
    with held([PYTHON, "-c", script]) as (pid, _):
        space = assert_sums(pid)
        assert sum(region.kind == "thread-stack" for region in space.regions) == 5
        assert kinds(space) >= {*SEGMENTS, "bss", "heap", "anon", "file"}


def test_bash() -> None:
    with held(["bash", "--norc", "-c", "echo READY; read"]) as (pid, _):
        assert kinds(assert_sums(pid)) >= {*SEGMENTS, "bss", "heap", "anon"}


def test_java(tmp_path: Path) -> None:
    if shutil.which("java") is None:
        pytest.skip("java is not installed")
    source = tmp_path / "Still.java"
    source.write_text(
        "public class Still { public static void main(String[] a) throws Exception {"
        'System.out.println("READY"); System.out.flush(); Thread.sleep(1000000); } }'
    )
    with held(["java", source]) as (pid, _):
        space = assert_sums(pid)
        assert kinds(space) >= {*SEGMENTS, "thread-stack", "anon", "gap", "shared"}
        assert any(region.what == "code made at run time" for region in space.regions)
        # The first thread and the others that sleep each have their stack.
        threads = len(os.listdir(f"/proc/{pid}/task"))
        assert sum(region.kind == "thread-stack" for region in space.regions) == threads - 1
        assert_executables_are_text(space)


def test_node() -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    script = "console.log('READY'); setInterval(() => {}, 100000)"
    with held(["node", "-e", script]) as (pid, _):
        space = assert_sums(pid)
        assert kinds(space) >= {*SEGMENTS, "thread-stack", "anon", "gap"}
        assert_executables_are_text(space)


def assert_executables_are_text(space: AddressSpace) -> None:
    """What can be executed of a file is text; what can be executed without one is no text."""
    for region in space.regions:
        if "x" in region.mapping.perms and region.kind not in ("vdso", "vsyscall"):
            assert region.kind == ("text" if region.mapping.inode else "anon"), region


def test_twenty_thousand_mappings() -> None:
    with held([PYTHON, WORKLOADS / "pieces.py"]) as (pid, _):
        space = assert_sums(pid)
        assert len(space.regions) > 20_000
        assert sum(region.kind == "thread-stack" for region in space.regions) == 50
        begin = time.monotonic()
        read_space(pid)
        assert time.monotonic() - begin < 3  # 0.4 s on two CPUs of 2023
        done = kintro("maps", "--json", pid)
        assert len(strictly(done.stdout)["mappings"]) == len(space.regions)


def test_every_process_of_the_machine() -> None:
    seen = 0
    for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
        try:
            space = read_space(pid)
        except KintroError as error:  # kernel threads, zombies, who has ended, who is guarded from root
            assert error.exit_code in (66, 77), error.message
            continue
        seen += 1
        assert_all_told(space)
        assert as_json(space)["pid"] == pid
    assert seen > 1


# What is printed


TOP = ["pid", "comm", "exe", "page_bytes", "address_space", "mappings", "totals"]
OF_SPACE = {"task_size", "va_bits", "mmap_min_addr", "source"}
OF_MAPPING = {
    "start", "end", "perms", "offset", "dev", "inode", "path", "deleted", "kind", "size_bytes", "rss_bytes",
    "pss_bytes", "shared_clean_bytes", "shared_dirty_bytes", "private_clean_bytes", "private_dirty_bytes",
    "swap_bytes", "anonymous_bytes", "shared_hugetlb_bytes", "private_hugetlb_bytes", "flags",
}  # fmt: skip
OF_TOTALS = ["size_bytes", "rss_bytes", "pss_bytes", "uss_bytes", "hugetlb_bytes", "swap_bytes"]


def test_json_has_the_mappings_of_the_kernel() -> None:
    with held(["bash", "--norc", "-c", "echo READY; read"]) as (pid, _):
        document = strictly(kintro("maps", "--json", pid).stdout)
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        exe = os.readlink(f"/proc/{pid}/exe")
    assert list(document) == TOP
    assert document["address_space"].keys() >= OF_SPACE
    assert list(document["totals"]) == OF_TOTALS
    assert (document["pid"], document["comm"], document["exe"]) == (pid, "bash", exe)
    assert len(document["mappings"]) == len(lines)
    for mapping, line in zip(document["mappings"], lines):
        assert mapping.keys() >= OF_MAPPING
        addresses, perms, offset, dev, inode, *path = line.split(maxsplit=5)
        assert addresses == f"{mapping['start']:08x}-{mapping['end']:08x}"
        assert (mapping["perms"], mapping["offset"]) == (perms, int(offset, 16))
        assert (mapping["dev"], mapping["inode"]) == (dev, int(inode))
        assert mapping["path"] == (path[0] if path else "")
        assert mapping["size_bytes"] == mapping["end"] - mapping["start"]
        assert isinstance(mapping["flags"], list)


@pytest.mark.parametrize(
    "options",
    [["--by", "kind"], ["--by", "object"], ["--sort", "rss"], ["--kind", "text"], ["--frame"], ["--picture"]],
    ids=" ".join,
)
def test_other_views_of_itself(options: list[str]) -> None:
    done = kintro("maps", *options, os.getpid())
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout.splitlines()) > 3
