"""The kernel's record of tasks against what they were told to be, /proc, psutil and ps."""

from __future__ import annotations

import json
import os
import pty
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from kintro.errors import EX_NOINPUT, EX_NOPERM, KintroError
from kintro.observers import task_kernel
from kintro.observers.task import Tasks
from kintro.observers.task_records import Field, Task
from kintro.observers.task_source import ALONE, HEAP, NO_MEMORY, PER_CPU, SAMPLED
from kintro.sources.kernel_memory import TaskMemory

from .harness import NOBODY, as_nobody, kintro, program, running, strictly, wait_for

pytestmark = pytest.mark.kernel

# What may stay uncompared of a process at rest that this test may read, and why.
ROUGH = {
    **dict.fromkeys(("vm_rss", "rss_file", "rss_anon", "rss_shmem", "vm_swap"), PER_CPU),
    **dict.fromkeys(("utime_sampled", "stime_sampled"), SAMPLED),
    **dict.fromkeys(("mmap_base", "task_size"), ALONE),
    "brk": HEAP,
}


@pytest.fixture(scope="module")
def tasks() -> Iterator[Tasks]:
    with TaskMemory() as memory:
        yield Tasks(memory)


def fields(task: Task) -> dict[str, Field]:
    found = {field.name if field.group != "limits" else f"rlim_{field.name}": field for field in task.fields}
    assert len(found) == len(task.fields)
    return found


def in_kernel(task: Task) -> dict[str, Any]:
    return {name: field.kernel for name, field in fields(task).items()}


def differing(task: Task) -> list[Field]:
    return [field for field in task.fields if field.equal is False]


def assert_whole(task: Task, but: tuple[str, ...] = ()) -> None:
    """Every field is known on both sides and equal, except where there is a known reason."""
    for name, field in fields(task).items():
        if name in but:
            assert field.equal is not False, field
        elif name in ROUGH:
            assert (field.equal, field.note) == (None, ROUGH[name])
        else:
            assert field.equal is True, field


@contextmanager
def sleeping(*prefix: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits in read(2), with what brings it about before it."""
    with running([*prefix, "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        yield process


def asleep(pid: int, comm: str) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.partition("(")[2].startswith(f"{comm}) S")


# Every field


def test_everything_that_a_process_was_told_to_be(tasks: Tasks) -> None:
    cpu = max(os.sched_getaffinity(0))
    numbers = NOBODY, NOBODY - 1, 4711, cpu
    command = program("descriptor", *map(str, numbers))
    with running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        wait_for(
            lambda: " S " in Path(f"/proc/{told['pid']}/stat").read_text(errors="replace"), "it to sleep"
        )
        task = tasks.describe(process.pid)
        threads = os.listdir(f"/proc/{process.pid}/task")
        other = tasks.describe(process.pid, max(map(int, threads)))
    assert_whole(task)
    assert_whole(other)
    known = in_kernel(task)

    def mask(*numbers: int) -> int:
        return sum(1 << number - 1 for number in numbers)

    wanted = {
        "tid": told["pid"], "tgid": told["pid"], "ppid": told["ppid"], "pgid": told["pid"],
        "sid": told["pid"],
        "comm": b"a) b\n\\c\xff", "threads": 3, "own_parent": False, "tty": 0, "state": "S",
        "exit_signal": signal.SIGCHLD, "no_new_privs": True, "seccomp": 0, "oom_score_adj": 321,
        "nice": 7, "priority": 27, "policy": os.SCHED_BATCH, "rt_priority": 0, "cpu": cpu,
        "cpus_allowed": str(cpu), "uid": NOBODY, "euid": NOBODY, "suid": NOBODY, "fsuid": NOBODY,
        "gid": NOBODY - 1, "egid": NOBODY - 1, "sgid": NOBODY - 1, "fsgid": NOBODY - 1,
        "groups": (4711, 4712, 4713), "cap_effective": 0, "cap_permitted": 0, "umask": 0o035,
        "open_files": 23,
        "pending": mask(signal.SIGUSR1), "shared_pending": mask(signal.SIGRTMIN + 3),
        "blocked": mask(signal.SIGUSR1, signal.SIGRTMIN + 3, signal.SIGTERM),
        "rlim_nofile": (100, 200), "rlim_core": (4096, 8192), "rlim_fsize": (1 << 40, 1 << 41),
        "rlim_nproc": (333, 444),
    }  # fmt: skip
    assert {name: known[name] for name in wanted} == wanted
    assert known["caught"] & mask(signal.SIGHUP) and not known["ignored"] & mask(signal.SIGHUP)
    assert known["ignored"] & mask(signal.SIGUSR2) and not known["caught"] & mask(signal.SIGUSR2)
    # A thread has its own number, signals and switches, and the rest in common.
    theirs = in_kernel(other)
    assert (other.pid, other.tid, theirs["tgid"], theirs["tid"]) == (task.pid, other.tid, task.pid, other.tid)
    assert (theirs["pending"], theirs["shared_pending"]) == (0, known["shared_pending"])
    shared = [
        name for name, field in fields(task).items() if field.group in ("limits", "memory", "addresses")
    ]
    moving = {"rss", "vm_rss", "rss_anon", "rss_file"}
    assert all(known[name] == theirs[name] for name in {*shared, "umask", "pgid", "ppid"} - moving)


def activity(pid: int) -> list[str]:
    """What its threads have run so far, and whether one runs; it has not changed at rest."""
    found = []
    for folder in sorted(Path(f"/proc/{pid}/task").glob("*")):
        try:
            state = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
            running = str(time.monotonic_ns()) if state == "R" else state
            found.append(f"{folder.name} {running} {(folder / 'schedstat').read_text()}")
        except OSError:
            found.append("gone")
    return found


def test_the_whole_machine(tasks: Tasks) -> None:
    """A process at rest agrees in every field, if not at once. One that runs may differ at each look."""
    end = time.monotonic() + 15
    left = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
    described, wrong = list[Task](), list[tuple[bytes, list[Field]]]()
    while left and time.monotonic() < end:
        again, wrong = [], []
        for pid in left:
            before = activity(pid)
            try:
                task = tasks.describe(pid)
            except KintroError as error:
                assert error.exit_code == EX_NOINPUT  # it has ended meanwhile
                continue
            if not differing(task):
                described.append(task)
                continue
            again.append(pid)
            if activity(pid) == before:
                wrong.append((task.comm, differing(task)))
        left = again
    assert wrong == []
    kernel_threads = 0
    for task in described:
        known = fields(task)
        kernel_threads += bool(known["flags"].kernel & 0x200000)  # type: ignore[operator]
        for field in task.fields:
            assert field.equal or field.note, (task.comm, field)
            assert field.kernel is not None or field.note, (task.comm, field)
        assert len([field for field in task.fields if field.equal]) > 70
    assert len(described) > 20 and kernel_threads > 10


# Special tasks


def test_the_idle_task_is_its_own_parent(tasks: Tasks) -> None:
    task = tasks.describe(0)
    known = in_kernel(task)
    assert (task.comm, known["tid"], known["tgid"], known["ppid"]) == (b"swapper/0", 0, 0, 0)
    assert known["own_parent"] is True
    assert all(field.proc is None and field.equal is None for field in task.fields)
    assert known["vm_size"] is None and known["start_time"] == 0
    first = fields(tasks.describe(1))
    assert (first["ppid"].proc, first["ppid"].kernel, first["own_parent"].kernel) == (0, 0, False)


def test_a_zombie(tasks: Tasks) -> None:
    child = os.fork()
    if child == 0:
        os._exit(23)
    try:
        wait_for(lambda: ") Z " in Path(f"/proc/{child}/stat").read_text(), "it to end")
        task = tasks.describe(child)
    finally:
        _, status = os.waitpid(child, 0)
    known = fields(task)
    assert (known["state"].kernel, known["exit_code"].kernel) == ("Z", status) == ("Z", 23 << 8)
    gone = [field.name for field in task.fields if field.group in ("memory", "addresses", "namespaces")]
    assert_whole(task, (*gone, "umask"))
    assert known["vm_size"].note == NO_MEMORY and known["vm_size"].kernel is None
    assert known["open_files"].kernel == known["open_files"].proc == 0
    assert known["pid"].equal and known["user"].equal
    with pytest.raises(KintroError, match=f"no process {child}"):
        tasks.describe(child)


def test_a_kernel_thread(tasks: Tasks) -> None:
    task = tasks.describe(2)
    known = fields(task)
    if task.comm != b"kthreadd":
        pytest.skip("pid 2 is no kernel thread here")
    assert (known["ppid"].kernel, known["pgid"].kernel, known["mappings"].note) == (0, 0, NO_MEMORY)
    assert_whole(task, tuple(field.name for field in task.fields if field.group in ("memory", "addresses")))


def test_a_stopped_and_traced_process(tasks: Tasks) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    with sleeping() as process, running([strace, "-qq", "-p", str(process.pid)], stderr=-1) as tracer:
        status = Path(f"/proc/{process.pid}/status")
        wait_for(lambda: f"TracerPid:\t{tracer.pid}\n" in status.read_text(), "it to be traced")
        assert in_kernel(tasks.describe(process.pid))["tracer_pid"] == tracer.pid
        tracer.terminate()
        tracer.wait()
        process.send_signal(signal.SIGSTOP)
        wait_for(lambda: "State:\tT" in status.read_text(), "it to stop")
        stopped = tasks.describe(process.pid)
        assert_whole(stopped, ("brk",))
        assert (in_kernel(stopped)["state"], in_kernel(stopped)["tracer_pid"]) == ("T", 0)


def test_a_container(tasks: Tasks) -> None:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare is not installed")
    options = (
        "--pid",
        "--fork",
        "--user",
        "--map-root-user",
        "--net",
        "--uts",
        "--ipc",
        "--mount",
        "--kill-child",
    )
    with sleeping(unshare, *options) as process:

        def inner() -> int | None:
            found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            return int(found[0]) if found and asleep(int(found[0]), "cat") else None

        child = wait_for(inner, "the process inside")
        task = tasks.describe(child)
        known = in_kernel(task)
        assert_whole(task, ("brk",))
        assert known["ns_pids"] == (child, 1)
        own = {
            name: os.stat(f"/proc/self/ns/{name}").st_ino
            for name in ("pid", "user", "net", "uts", "ipc", "mnt")
        }
        assert all(known[name] == os.stat(f"/proc/{child}/ns/{name}").st_ino != own[name] for name in own)
        assert known["cap_effective"] and known["uid"] == 0


def test_a_process_with_a_terminal(tasks: Tasks) -> None:
    pid, master = pty.fork()
    if pid == 0:
        os.execvp("cat", ["cat"])
    try:
        wait_for(lambda: asleep(pid, "cat"), "it to sleep")
        task = tasks.describe(pid)
        assert_whole(task, ("brk",))
        assert in_kernel(task)["tty"] == os.stat(os.readlink(f"/proc/{pid}/fd/0")).st_rdev
    finally:
        os.close(master)
        os.waitpid(pid, 0)


def test_many_files_read_in_pieces(tasks: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    most = min(50_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]) - 100
    opener = f"""
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({most + 100}, {most + 100}))
os.dup2(0, {most})
for fd in range(3, {most}, 2): os.dup2(0, fd)
print(flush=True)
input()
"""
    command = [sys.executable, "-S", "-E", "-c", opener]
    with running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        wait_for(lambda: "State:\tS" in Path(f"/proc/{process.pid}/status").read_text(), "it to sleep")
        for piece in (task_kernel._PIECE, 504):
            monkeypatch.setattr(task_kernel, "_PIECE", piece)
            files = fields(tasks.describe(process.pid))
            assert files["open_files"].kernel == len(os.listdir(f"/proc/{process.pid}/fd"))
            assert (
                files["open_files"].equal
                and files["fd_slots"].equal
                and most // 2 < files["open_files"].kernel
            )


# Others who look


def test_as_psutil_sees_it(tasks: Tasks) -> None:
    with sleeping() as process:
        wait_for(lambda: asleep(process.pid, "cat"), "it to sleep")
        known, them = in_kernel(tasks.describe(process.pid)), psutil.Process(process.pid)
        with them.oneshot():
            assert known["ppid"] == them.ppid() and known["nice"] == them.nice()
            assert known["comm"].decode() == them.name() and known["threads"] == them.num_threads()
            assert tuple(them.uids()) == (known["uid"], known["euid"], known["suid"])
            assert tuple(them.gids()) == (known["gid"], known["egid"], known["sgid"])
            assert tuple(them.num_ctx_switches()) == (known["nvcsw"], known["nivcsw"])
            assert (them.num_fds(), them.cpu_num()) == (known["open_files"], known["cpu"])
            assert them.memory_info().vms == known["vm_size"]
            limit = tuple(part % (1 << 64) for part in them.rlimit(psutil.RLIMIT_NOFILE))
            assert limit == known["rlim_nofile"]
            ticks = os.sysconf("SC_CLK_TCK")
            assert them.cpu_times().user == known["process_utime"] / ticks
            assert round((them.create_time() - psutil.boot_time()) * ticks) == known["start_time"]


def test_as_ps_sees_it(tasks: Tasks) -> None:
    columns = (
        "pid",
        "ppid",
        "pgid",
        "sid",
        "nlwp",
        "ni",
        "stat",
        "flag",
        "pending",
        "blocked",
        "ignored",
        "caught",
    )
    with sleeping("nice", "-n", "3") as process:
        wait_for(lambda: asleep(process.pid, "cat"), "it to sleep")
        known = in_kernel(tasks.describe(process.pid))
        ps = ["ps", "-o", ",".join(f"{name}=" for name in columns), "-p", str(process.pid)]
        said = subprocess.run(ps, capture_output=True, text=True, check=True).stdout.split()
    numbers = [known[name] for name in ("tid", "ppid", "pgid", "sid", "threads", "nice")]
    assert [int(word) for word in said[:6]] == numbers
    assert said[6][0] == known["state"]
    masks = [known[name] for name in ("pending", "blocked", "ignored", "caught")]
    assert [int(word, 16) for word in said[8:]] == masks


# The command


def test_json_and_text() -> None:
    with sleeping() as process:
        wait_for(lambda: asleep(process.pid, "cat"), "it to sleep")
        pid = str(process.pid)
        done = kintro("task", pid, "--json")
        text = kintro("task", pid)
    assert (done.returncode, done.stderr, text.returncode, text.stderr) == (0, b"", 0, b"")
    found = strictly(done.stdout)
    assert (found["type"], found["pid"], found["tid"], found["comm"]) == (
        "task",
        process.pid,
        process.pid,
        "cat",
    )
    assert found["no_kernel"] is None
    by_name = {field["name"]: field for field in found["fields"]}
    limit = next(f for f in found["fields"] if (f["group"], f["name"]) == ("limits", "nofile"))
    assert limit["member"] == "task_struct.signal->rlim[7].rlim_cur"
    assert limit["proc"] == limit["kernel"] == list(resource.getrlimit(resource.RLIMIT_NOFILE))
    assert by_name["start_time"]["kernel"] == found["start_time_ns"] // (10**9 // os.sysconf("SC_CLK_TCK"))
    assert all(field["equal"] or field["note"] for field in found["fields"])
    lines = text.stdout.decode().splitlines()
    assert lines[0] == f"cat: process {pid}" and max(map(len, lines)) <= 80
    assert any(line.split() == ["tid", pid, pid, "=", "pid"] for line in lines)
    assert any(" fields are equal, 0 differ, " in line for line in lines)


def test_the_idle_task_and_a_thread_by_the_command() -> None:
    idle = strictly(kintro("task", "0", "--json").stdout)
    assert [field["kernel"] for field in idle["fields"] if field["name"] == "own_parent"] == [True]
    own = strictly(kintro("task", str(os.getpid()), "-t", str(os.getpid()), "--json").stdout)
    assert (own["pid"], own["tid"]) == (os.getpid(), os.getpid())


def test_without_root_there_is_one_side_and_a_reason() -> None:
    with running(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, **as_nobody()) as process:
        wait_for(lambda: asleep(process.pid, "cat"), "it to sleep")
        done = kintro("task", str(process.pid), "--json", cwd="/", **as_nobody())
        other = kintro("task", "2", cwd="/", **as_nobody())
    assert (done.returncode, done.stderr) == (0, b"")
    found = strictly(done.stdout)
    assert "needs root" in found["no_kernel"]
    assert all(field["kernel"] is None and field["equal"] is None for field in found["fields"])
    by_name = {field["name"]: field for field in found["fields"]}
    assert by_name["uid"]["proc"] == NOBODY and by_name["open_files"]["proc"] == 3
    assert by_name["uid"]["member"] == "task_struct.real_cred->uid" and by_name["uid"]["offset"] > 0
    assert (other.returncode, other.stderr) == (0, b"")
    assert b"the KERNEL column is empty: " in other.stdout and b"/proc keeps " in other.stdout
    assert kintro("task", "0", cwd="/", **as_nobody()).returncode == EX_NOPERM


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["99999999"], EX_NOINPUT, "no process 99999999"),
        (["1", "-t", "2"], EX_NOINPUT, "process 1 has no thread 2"),
        (["self"], 2, "'self' is not a process id"),
        (["-1"], 2, ""),
        ([], 2, "PID"),
    ],
)
def test_what_is_not_there(words: list[str], code: int, said: str) -> None:
    done = kintro("task", *words)
    assert (done.returncode, done.stdout) == (code, b"")
    assert said in done.stderr.decode()
