"""What remains of a trace when it has ended, however it ended: nothing. Witness: the ids of bpf(2)."""

from __future__ import annotations

import ctypes
import errno
import math
import os
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kintro.errors import EX_UNAVAILABLE

from .harness import KINTRO, end_of, environment, program, running, wait_for

pytestmark = pytest.mark.kernel

# include/uapi/linux/bpf.h, enum bpf_cmd
GET_FD_BY_ID = {"prog": 13, "map": 14, "link": 30, "btf": 19}
SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361}
PLACES = ("/run", "/tmp", "/var/tmp", "/dev/shm", "/sys/fs/bpf")


def is_alive(kind: str, its_id: int) -> bool:
    """Whether the kernel still has that program, map, link or BTF object."""
    libc = ctypes.CDLL(None, use_errno=True)
    attr = ctypes.create_string_buffer(its_id.to_bytes(4, "little"), 128)
    fd = libc.syscall(SYS_BPF[platform.machine()], GET_FD_BY_ID[kind], attr, len(attr))
    if fd >= 0:
        os.close(fd)
        return True
    assert ctypes.get_errno() in (errno.ENOENT, errno.EAGAIN), os.strerror(ctypes.get_errno())
    return False


def held(pid: int) -> dict[str, set[int]]:
    """The BPF objects that a process holds, by the fdinfo of its descriptors."""
    found: dict[str, set[int]] = {kind: set() for kind in GET_FD_BY_ID}
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            text = info.read_text()
        except OSError:  # closed meanwhile
            continue
        for kind, its_id in re.findall(r"^(prog|map|link|btf)_id:\s*(\d+)$", text, re.MULTILINE):
            found[kind].add(int(its_id))
    return found


def litter() -> set[str]:
    """kintro's and bcc's files where temporary files go; not those of the tests, nor of a kintro at work."""
    names = {f"{place}/{name}" for place in PLACES if os.path.isdir(place) for name in os.listdir(place)}
    found = {name for name in names if re.search(r"/(kintro-(?!test-)|bcc)", name)}
    owners = {name: re.match(r"/run/kintro-(\d+)-", name) for name in found}
    return {name for name, owner in owners.items() if not owner or not os.path.exists(f"/proc/{owner[1]}")}


def traced_then(tmp_path: Path, number: signal.Signals) -> tuple[dict[str, set[int]], int]:
    """Traces a command, sends kintro a signal in the middle: (what it had held, its exit status)."""
    pids = tmp_path / "pids"
    command = [KINTRO, "trace-fork", "-q", "--", *program("until_eof", pids)]
    with running(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: pids.exists() and pids.read_text().count("\n") > 10, "the command to fork")
        had = held(process.pid)
        assert all(is_alive(kind, its_id) for kind, ids in had.items() for its_id in ids)
        process.send_signal(number)
        status = process.wait(20)
    return had, status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_bpf_object_stays(tmp_path: Path, number: signal.Signals) -> None:
    before = litter()
    had, _ = traced_then(tmp_path, number)
    assert len(had["prog"]) >= 5 and len(had["map"]) >= 10

    def gone() -> bool:
        return not any(is_alive(kind, its_id) for kind, ids in had.items() for its_id in ids)

    wait_for(gone, f"the kernel to free {had}", 10)
    wait_for(lambda: litter() <= before, f"{litter() - before} to be gone", 10)


def test_killed_command_line_leaves_no_process(tmp_path: Path) -> None:
    """After kill -9 the command goes on, as a child of whoever takes orphans, with its standard input."""
    pids = tmp_path / "pids"
    command = [KINTRO, "trace-fork", "-q", "--", *program("until_eof", pids)]
    with running(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: pids.exists() and pids.read_text().count("\n") > 10, "the command to fork")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        process.wait()
    assert len(children) == 1
    wait_for(lambda: not Path(f"/proc/{children[0]}").exists(), "the command to end with its input")


def cpu_ticks(pid: int) -> float:
    """CPU time a process and its children have used, in 10 ms; infinite when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return math.inf
    if fields[0] == "Z":
        return math.inf
    of_children = (ticks for child in children if (ticks := cpu_ticks(int(child))) < math.inf)
    return sum(map(int, fields[11:15])) + sum(of_children)


def test_killed_while_it_compiles(never_compiled: Callable[[], list[str]]) -> None:
    """At every stage of its start. Killed while the compiler runs, it leaves a folder of headers in /run,
    closed to all but root: the next one that compiles takes it away."""
    before = litter()
    for stage in range(12):
        command = [KINTRO, "trace-fork", "-q", "-d", "0.1", *never_compiled()]
        with running(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            end = 5 + 7 * stage
            wait_for(lambda pid=process.pid, end=end: cpu_ticks(pid) >= end, "kintro to come so far")
            process.kill()
            process.wait()
        for left in Path("/run").glob(f"kintro-{process.pid}-*"):
            assert left.stat().st_mode & 0o077 == 0
    command = [KINTRO, "trace-fork", "-q", "-d", "0.1", *never_compiled()]
    subprocess.run(command, env=environment(), stdout=subprocess.DEVNULL, check=True, timeout=30)
    wait_for(lambda: litter() <= before, f"{litter() - before} to be gone", 5)


def test_the_compiler_killed(never_compiled: Callable[[], list[str]]) -> None:
    command = [KINTRO, "trace-fork", "-q", "-d", "0.1", *never_compiled()]
    with running(command, stderr=subprocess.PIPE) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        [compiler] = wait_for(lambda: children.read_text().split(), "the compiler")
        os.kill(int(compiler), signal.SIGKILL)
        status, stderr = end_of(process)
    assert status == EX_UNAVAILABLE
    assert stderr == "kintro: bcc cannot load the probe: the compiler ended with status -9\n"
    assert [*Path("/run").glob(f"kintro-{process.pid}-*")] == []


def test_nothing_of_it_is_the_command_s(never_compiled: Callable[[], list[str]]) -> None:
    """Programs and maps from the compiler as well as kept ones are closed at its exec: else it could read and
    write root's maps, and would keep them there."""
    options = never_compiled()
    for _ in range(2):
        command = [
            KINTRO,
            "trace-fork",
            "-q",
            "--json",
            "-o",
            "/dev/null",
            *options,
            "--",
            "ls",
            "/proc/self/fd",
        ]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=30)
        assert (done.returncode, done.stdout.split()) == (0, ["0", "1", "2", "3"]), done  # 3 is the folder


def test_no_room_for_a_thread(never_compiled: Callable[[], list[str]]) -> None:
    """A thread's stack is as large as the limit of stacks."""
    limited = ["bash", "-c", 'ulimit -s 4000000 -v 3000000 && exec "$@"', "sh"]
    command = [*limited, KINTRO, "trace-fork", "-q", "-d", "0.1", *never_compiled()]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (EX_UNAVAILABLE, "")
    assert done.stderr == "kintro: cannot start a thread\n"


TOO_MUCH_STACK = r"""
import sys
from kintro.cli import main
from kintro.sources import bpf

text_of = bpf.probe_text
bpf.probe_text = lambda name: text_of(name) + (
    "int tp_sched_wakeup(void *ctx)"
    "{ char room[600] = {}; bpf_get_current_comm(room, sizeof(room)); return room[*(u32 *)ctx & 511]; }\n"
)
sys.exit(main())
"""


def test_a_program_that_llvm_refuses() -> None:
    """It calls exit(1), which must not be kintro's end without a word."""
    before = litter()
    command = [sys.executable, "-c", TOO_MUCH_STACK, "trace-fork", "-q", "-d", "0.1"]
    done = subprocess.run(command, env=environment(), capture_output=True, timeout=30)
    assert done.returncode == EX_UNAVAILABLE
    told = done.stderr.decode()
    assert told.startswith("kintro: bcc cannot load the probe: the compiler ended with status 1\n"), told
    assert "stack limit" in told
    assert litter() <= before


def test_normal_end_leaves_nothing(tmp_path: Path) -> None:
    before = litter()
    command = [KINTRO, "trace-fork", "-q", "--", "/bin/true"]
    for _ in range(3):
        done = subprocess.run(command, capture_output=True, env=environment(), cwd=tmp_path, timeout=30)
        assert (done.returncode, done.stderr) == (0, b"")
    wait_for(lambda: litter() <= before, f"{litter() - before} to be gone", 5)
    assert list(tmp_path.iterdir()) == []
