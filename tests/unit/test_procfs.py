"""/proc/PID/stat, statm, status, limits, auxv, exe, task and syscall: samples, odd names, other witnesses."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from children import as_nobody, child, in_a_fork, open_folder, state, zombie
from hypothesis import given
from hypothesis import strategies as st

from kintro.errors import EX_IOERR, EX_NOINPUT, EX_NOPERM, EX_UNAVAILABLE, KintroError
from kintro.sources import mappings, proc_limits, proc_status, procfs
from kintro.sources.proc_limits import UNLIMITED, Auxv, Limit, Limits
from kintro.sources.procfs import Stat

ODD_COMMS = [
    b"a b",
    b") R 1 (",
    b"(",
    b")",
    b"x\ny",
    b"\xff\xfe",
    b"a\\b\\n",
    b"",
    b" ",
    b"tab\tx\r",
    b"1) S 2 3 (",
]

# include/uapi/linux/auxvec.h, arch/x86/include/uapi/asm/auxvec.h
AUXV_TYPES = {
    "phdr": 3, "phent_bytes": 4, "phnum": 5, "page_bytes": 6, "base": 7, "flags": 8, "entry": 9, "uid": 11,
    "euid": 12, "gid": 13, "egid": 14, "platform": 15, "hwcap": 16, "clock_ticks": 17, "secure": 23,
    "random": 25, "hwcap2": 26, "execfn": 31, "sysinfo_ehdr": 33, "minsigstksz": 51,
}  # fmt: skip

LIMITS = {
    "cpu_s": "CPU", "file_size_bytes": "FSIZE", "data_bytes": "DATA", "stack_bytes": "STACK",
    "core_bytes": "CORE", "resident_bytes": "RSS", "processes": "NPROC", "open_files": "NOFILE",
    "locked_bytes": "MEMLOCK", "address_space_bytes": "AS", "pending_signals": "SIGPENDING",
    "message_queue_bytes": "MSGQUEUE", "nice_ceiling": "NICE", "realtime_priority": "RTPRIO",
    "realtime_us": "RTTIME",
}  # fmt: skip


def put(root: Path, pid: int, name: str, data: bytes) -> None:
    path = root / f"proc/{pid}/{name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def raised_by(read: Callable[[], object]) -> KintroError:
    with pytest.raises(KintroError) as raised:
        read()
    return raised.value


# stat and statm


def stat_line(stat: Stat) -> bytes:
    """fs/proc/array.c, do_task_stat."""
    rest = " ".join(str(value) for value in stat[2:])
    return b"%d (%s) %s\n" % (stat.pid, stat.comm, rest.encode())


numbers = st.tuples(*[st.integers(-(2**63), 2**64 - 1)] * 49)


@given(st.integers(1, 2**22), st.binary(max_size=64), st.sampled_from("RSDTtZXI"), numbers)
def test_stat_there_and_back(pid: int, comm: bytes, letter: str, values: tuple[int, ...]) -> None:
    stat = Stat._make((pid, comm, letter, *values))
    assert procfs.parse_stat(stat_line(stat)) == stat
    assert procfs.parse_stat(stat_line(stat).rstrip() + b" 7 8\n") == stat  # fields that do not exist yet


def test_the_fields_of_stat_are_where_the_manual_has_them() -> None:
    """proc_pid_stat(5) counts from 1."""
    stat = procfs.parse_stat(b"1 (x) S " + b" ".join(b"%d" % n for n in range(4, 53)))
    assert len(stat) == 52
    found = [
        stat.ppid, stat.tpgid, stat.flags, stat.utime_ticks, stat.num_threads, stat.starttime_ticks,
        stat.vsize_bytes, stat.rss_pages, stat.startstack, stat.kstkesp, stat.wchan, stat.exit_signal,
        stat.processor, stat.policy, stat.delayacct_blkio_ticks, stat.start_data, stat.start_brk,
        stat.exit_code,
    ]  # fmt: skip
    assert found == [4, 8, 9, 14, 20, 22, 23, 24, 28, 29, 35, 38, 39, 41, 42, 45, 47, 52]


@pytest.mark.parametrize("data", [b"", b"1 (x", b"1 (x) S", b"1 (x) S 1 2 3", b"\n"])
def test_no_line_of_stat(data: bytes) -> None:
    with pytest.raises(ValueError):
        procfs.parse_stat(data)


def test_statm() -> None:
    assert procfs.parse_statm(b"765 433 404 5 0 90 0\n") == (765, 433, 404, 5, 0, 90, 0)
    with pytest.raises(ValueError):
        procfs.parse_statm(b"1 2\n")


@pytest.mark.parametrize("comm", ODD_COMMS)
def test_a_comm_may_be_anything(comm: bytes) -> None:
    """PR_SET_NAME cuts at 15 bytes; status escapes newline and backslash, stat does not."""
    with child("libc.prctl(15, os.fsencode(sys.argv[1]), 0, 0, 0)\nsay(os.getppid())", comm) as (
        process,
        parent,
    ):
        stat, status = procfs.read_stat(process.pid), proc_status.read_status(process.pid)
        assert stat.comm == status.comm == comm[:15]
        assert stat.pid == status.pid == status.tgid == process.pid
        assert stat.ppid == status.ppid == parent == os.getpid()
        assert stat.state == status.state == "T"


def test_a_child_as_it_knows_itself() -> None:
    code = """
os.setsid(); os.nice(3)
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (123, 456))
import threading
threading.Thread(target=lambda: sys.stdin.readline(), daemon=True).start()
say([os.getsid(0), os.getpgid(0), os.nice(0), ctypes.addressof(ctypes.c_char.in_dll(libc, "environ"))])
"""
    with child(code) as (process, [session, group, nice, _]):
        pid = process.pid
        stat, status = procfs.read_stat(pid), proc_status.read_status(pid)
        assert (stat.session, stat.pgrp, stat.nice, stat.priority) == (session, group, nice, 23)
        assert stat.num_threads == status.threads == 2 == len(procfs.thread_ids(pid))
        assert procfs.thread_ids(pid)[0] == pid
        page = resource.getpagesize()
        witness = psutil.Process(pid)
        memory, times = witness.memory_info(), witness.cpu_times()
        assert stat.vsize_bytes == memory.vms == status.vm_size_bytes
        assert procfs.read_statm(pid).size_pages * page == memory.vms
        assert procfs.read_statm(pid).resident_pages * page == memory.rss
        assert status.vm_rss_bytes is not None and abs(status.vm_rss_bytes - memory.rss) < 1 << 20
        assert procfs.read_statm(pid).shared_pages * page == memory.shared
        assert stat.utime_ticks / os.sysconf("SC_CLK_TCK") == times.user
        assert status.voluntary_switches == witness.num_ctx_switches().voluntary
        assert not stat.is_kernel_thread and not status.is_kernel_thread
        limits = proc_limits.read_limits(pid)
        assert limits.open_files == Limit(123, 456)
        spaces = {m.path: m for m in mappings.read_maps(pid)}
        assert spaces[b"[stack]"].start <= stat.startstack < spaces[b"[stack]"].end
        assert spaces[b"[heap]"].start == stat.start_brk
        pointers = [procfs.read_stack_pointer(pid, tid) for tid in procfs.thread_ids(pid)]
        assert pointers[0] is not None and pointers[1] is not None
        assert spaces[b"[stack]"].start <= pointers[0] < spaces[b"[stack]"].end
        assert not spaces[b"[stack]"].start <= pointers[1] < spaces[b"[stack]"].end
        assert any(m.start <= pointers[1] < m.end and "w" in m.perms for m in mappings.read_maps(pid))
        assert procfs.read_exe(pid) == os.path.realpath(f"/proc/{pid}/exe").encode()
        at = os.stat(os.path.realpath(f"/proc/{pid}/exe"))
        assert procfs.exe_file(pid) == (at.st_dev, at.st_ino)


def test_all_processes_as_psutil_sees_them() -> None:
    compared = 0
    for pid in psutil.pids():
        try:
            witness = psutil.Process(pid)
            stat, status = procfs.read_stat(pid), proc_status.read_status(pid)
            uids, groups = witness.uids(), witness.gids()
            assert stat.ppid == status.ppid == witness.ppid()
            assert status.uids is not None and status.uids[:3] == tuple(uids)
            assert status.gids is not None and status.gids[:3] == tuple(groups)
            assert stat.starttime_ticks == round(
                (witness.create_time() - psutil.boot_time()) * os.sysconf("SC_CLK_TCK")
            )
            assert stat.nice == witness.nice()
            assert os.fsdecode(stat.comm)[:15] == witness.name()[:15]
            limits = proc_limits.read_limits(pid)
            for field, name in LIMITS.items():
                soft, hard = resource.prlimit(pid, getattr(resource, f"RLIMIT_{name}"))
                assert getattr(limits, field) == Limit(soft % 2**64, hard % 2**64)
            compared += 1
        except (KintroError, psutil.Error, ProcessLookupError, PermissionError):
            continue
    assert compared > 0


# status

STATUS = b"""\
Name:\tx\\n\\\\\\ty: z
Umask:\t0022
State:\tt (tracing stop)
Tgid:\t40
Ngid:\t0
Pid:\t42
PPid:\t1
TracerPid:\t7
Uid:\t1\t2\t3\t4
Gid:\t5\t6\t7\t8
FDSize:\t256
Groups:\t4 24 1000 \n\
NStgid:\t40\t3
NSpid:\t42\t5
Kthread:\t0
VmPeak:\t    3060 kB
VmRSS:\t99999999999 kB
CoreDumping:\t1
THP_enabled:\t0
untag_mask:\t0x7fffffffffffffff
Threads:\t2
SigQ:\t3/96365
SigBlk:\tfffffffffffbfeff
CapBnd:\t000001fffeffffff
NoNewPrivs:\t1
Seccomp:\t2
Seccomp_filters:\t9
Something_new:\tyes
Cpus_allowed_list:\t0-3,8
Mems_allowed_list:\t0
voluntary_ctxt_switches:\t16
nonvoluntary_ctxt_switches:\t4
"""


def test_status() -> None:
    status = proc_status.parse_status(STATUS)
    assert (status.comm, status.umask, status.state) == (b"x\n\\\\ty: z", 0o22, "t")
    assert (status.tgid, status.pid, status.tracer_pid) == (40, 42, 7)
    assert (status.uids, status.gids) == ((1, 2, 3, 4), (5, 6, 7, 8))
    assert (status.groups, status.ns_tgids, status.ns_pids) == ((4, 24, 1000), (40, 3), (42, 5))
    assert (status.ns_pgids, status.vm_size_bytes, status.signals_pending) == (None, None, None)
    assert (status.vm_peak_bytes, status.vm_rss_bytes) == (3060 * 1024, 99999999999 * 1024)
    assert (status.is_kernel_thread, status.is_dumping_core, status.thp_enabled) == (False, True, False)
    assert (status.untag_mask, status.threads) == (0x7FFFFFFFFFFFFFFF, 2)
    assert (status.signals_queued, status.signals_limit) == (3, 96365)
    assert (status.signals_blocked, status.cap_bounding) == (0xFFFFFFFFFFFBFEFF, 0x1FFFEFFFFFF)
    assert (status.no_new_privs, status.seccomp, status.seccomp_filters) == (True, 2, 9)
    assert (status.cpus_allowed, status.mems_allowed) == ("0-3,8", "0")
    assert (status.voluntary_switches, status.nonvoluntary_switches) == (16, 4)
    lines = STATUS.splitlines(keepends=True)
    assert proc_status.parse_status(b"".join(reversed(lines))) == status
    assert set(proc_status.parse_status(b"")) == {None}


def test_a_kernel_thread() -> None:
    if not Path("/proc/2/stat").exists() or not procfs.read_stat(2).is_kernel_thread:
        pytest.skip("no kernel thread is to be seen in this pid namespace")
    status = proc_status.read_status(2)
    assert (status.comm, status.vm_size_bytes, status.vm_rss_bytes) == (b"kthreadd", None, None)
    assert set(procfs.read_statm(2)) == {0}
    assert proc_limits.read_limits(2).open_files is not None
    assert proc_limits.read_auxv(2) is None
    assert procfs.thread_ids(2) == [2]
    assert procfs.read_stack_pointer(2, 2) is None
    if os.geteuid() == 0:
        assert procfs.read_exe(2) is None
        assert procfs.exe_file(2) is None


def test_a_zombie() -> None:
    with zombie() as pid:
        stat = procfs.read_stat(pid)
        assert (stat.state, stat.exit_code, stat.vsize_bytes) == ("Z", 3 << 8, 0)
        assert proc_status.read_status(pid).state == "Z"
        assert proc_status.read_status(pid).vm_size_bytes is None
        assert set(procfs.read_statm(pid)) == {0}
        assert proc_limits.read_auxv(pid) is None
        assert procfs.read_exe(pid) is None
        assert procfs.thread_ids(pid) == [pid]
        assert procfs.read_stack_pointer(pid, pid) is None


# limits and auxv


def test_limits() -> None:
    text = b"""\
Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              10                   unlimited            seconds   
Max stack size            8388608              unlimited            bytes     
Max new thing             1                    2                    apples    
Max nice priority         0                    40                   
Max realtime timeout      unlimited            18446744073709551614 us        
"""  # noqa: W291
    limits = proc_limits.parse_limits(text)
    told = {name: limit for name, limit in zip(Limits._fields, limits) if limit is not None}
    assert told == {
        "cpu_s": (10, UNLIMITED), "stack_bytes": (8388608, UNLIMITED), "nice_ceiling": (0, 40),
        "realtime_us": (UNLIMITED, UNLIMITED - 1),
    }  # fmt: skip
    assert set(proc_limits.parse_limits(b"")) == {None}


def test_every_limit_of_this_kernel_is_known() -> None:
    text = Path("/proc/self/limits").read_bytes()
    assert None not in proc_limits.parse_limits(text)
    assert len(text.splitlines()) - 1 == len(Limits._fields)


@given(st.dictionaries(st.sampled_from([3, 6, 9, 16, 23, 33, 4711]), st.integers(0, 2**32 - 1)))
def test_auxv_there_and_back(values: dict[int, int]) -> None:
    values = {9: 1, **values}
    values[9] = values[9] or 1  # 32 bits are known by a value that is not 0
    for word_bytes, word in ((8, "Q"), (4, "I")):
        pairs = [*values.items(), (0, 0), (6, 99)]
        auxv = proc_limits.parse_auxv(b"".join(struct.pack(f"={word}{word}", *pair) for pair in pairs))
        assert auxv.word_bytes == word_bytes
        assert (auxv.phdr, auxv.page_bytes, auxv.entry) == (values.get(3), values.get(6), values[9])
        assert (auxv.hwcap, auxv.sysinfo_ehdr) == (values.get(16), values.get(33))
        assert auxv.secure == (bool(values[23]) if 23 in values else None)


def test_no_auxv() -> None:
    assert set(proc_limits.parse_auxv(b"")[1:]) == {None}
    assert proc_limits.parse_auxv(struct.pack("=QQQ", 6, 4096, 9)).page_bytes == 4096


def test_auxv_as_getauxval_tells_it() -> None:
    auxv = proc_limits.read_auxv(os.getpid())
    assert auxv is not None
    getauxval = ctypes.CDLL(None).getauxval
    getauxval.restype = ctypes.c_ulong
    for field, kind in AUXV_TYPES.items():
        if field == "hwcap":  # the C library answers for it with a mask of its own
            continue
        assert int(getattr(auxv, field) or 0) == getauxval(ctypes.c_ulong(kind))
    assert set(Auxv._fields) == set(AUXV_TYPES) | {"word_bytes", "sysinfo"}
    assert auxv.page_bytes == resource.getpagesize() and auxv.uid == os.getuid()


# exe, threads, syscall


def test_a_deleted_program_and_one_that_seems_so(tmp_path: Path) -> None:
    for name, delete, path in (
        ("x", True, "x"),
        ("y (deleted)", False, "y (deleted)"),
        ("z (deleted)", True, None),
    ):
        program = tmp_path / name
        program.write_bytes(Path("/bin/sleep").read_bytes())
        program.chmod(0o755)
        pid = os.posix_spawn(program, ["sleep", "100"], {})
        try:
            if delete:
                program.unlink()
            assert procfs.read_exe(pid) == os.fsencode(tmp_path / (path or name))
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_threads() -> None:
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    found = procfs.thread_ids(os.getpid())
    stop.set()
    assert {thread.native_id for thread in threads} | {os.getpid()} <= set(found)
    assert found == sorted(found)


@pytest.mark.parametrize(
    ("data", "pointer"),
    [
        (b"running\n", None),
        (b"-1 0x7ffe88d4a468 0x7f1c\n", 0x7FFE88D4A468),
        (b"0 0x3 0x1 0x2 0x0 0x0 0x0 0x7ffe88d4a468 0x7f1c3d7f4d1e\n", 0x7FFE88D4A468),
        (b"0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0\n", None),
        (b"-1 0x0 0x0\n", None),
        (b"", None),
    ],
)
def test_stack_pointers(data: bytes, pointer: int | None, tmp_path: Path) -> None:
    assert procfs.parse_syscall(data) == pointer
    put(tmp_path, 7, "task/8/syscall", data)
    assert procfs.read_stack_pointer(7, 8, tmp_path) == pointer
    assert procfs.read_stack_pointer(7, 9, tmp_path) is None


@pytest.mark.parametrize(
    ("data", "call"),
    [
        (b"running\n", None),
        (b"-1 0x7ffe88d4a468 0x7f1c\n", None),
        (b"", None),
        (b"0 0x3 0x1 0x2 0x0 0x0 0xff 0x7ffe88d4a468 0x7f1c3d7f4d1e\n", (0, 3, 1, 2, 0, 0, 255)),
    ],
)
def test_calls_that_wait(data: bytes, call: tuple[int, ...] | None, tmp_path: Path) -> None:
    put(tmp_path, 7, "task/8/syscall", data)
    assert procfs.read_call(7, 8, tmp_path) == call
    assert procfs.read_call(7, 9, tmp_path) is None


def test_the_name_of_a_thread(tmp_path: Path) -> None:
    put(tmp_path, 7, "task/7/comm", b"a) b\n")
    put(tmp_path, 7, "task/8/comm", b"a\nb\n")
    assert procfs.read_comm(7, root=tmp_path) == b"a) b"
    assert procfs.read_comm(7, 8, tmp_path) == b"a\nb"
    assert procfs.read_comm(7, 9, tmp_path) is None


# What cannot be read

READERS = [
    procfs.read_stat, procfs.read_statm, procfs.read_exe, procfs.thread_ids, proc_status.read_status,
    proc_limits.read_limits, proc_limits.read_auxv,
]  # fmt: skip


def test_a_process_that_exits_between_two_reads() -> None:
    with child("say([])") as (process, _):
        for read in READERS:
            read(process.pid)
    for read in READERS:
        error = raised_by(lambda read=read: read(process.pid))
        assert (error.message, error.hint, error.exit_code) == (f"no process {process.pid}", None, EX_NOINPUT)
    assert procfs.read_stack_pointer(process.pid, process.pid) is None


def test_a_process_that_exits_while_its_file_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel answers ESRCH."""
    read_bytes = Path.read_bytes

    def late(path: Path) -> bytes:
        with path.open("rb") as file:
            process.kill()
            process.wait()
            return file.read()

    with child("say([])") as (process, _):
        monkeypatch.setattr(Path, "read_bytes", late)
        error = raised_by(lambda: procfs.read_stat(process.pid))
        monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert (error.message, error.exit_code) == (f"no process {process.pid}", EX_NOINPUT)


def test_another_users_process() -> None:
    if os.geteuid() != 0:
        pytest.skip("becoming nobody needs root")

    def answers() -> dict:
        found = {}
        for read in READERS:
            try:
                read(process.pid)
                found[read.__name__] = "read"
            except KintroError as error:
                found[read.__name__] = [error.exit_code, error.message, bool(error.hint)]
        found["stack"] = procfs.read_stack_pointer(process.pid, process.pid)
        stat = procfs.read_stat(process.pid)
        found["addresses"] = [stat.startcode, stat.startstack, stat.start_brk]
        return found

    with child("say([])") as (process, _):
        assert as_nobody(answers) == {
            **{read.__name__: "read" for read in READERS},
            **{
                f"read_{name}": [EX_NOPERM, f"not permitted to read /proc/{process.pid}/{name}", True]
                for name in ("exe", "auxv")
            },
            "stack": None,
            "addresses": [1, 0, 0],
        }


@pytest.mark.parametrize(
    ("option", "message", "code"),
    [
        ("hidepid=2", "no process 1", EX_NOINPUT),
        ("hidepid=1", "not permitted to read /proc/1/stat", EX_NOPERM),
    ],
)
def test_hidden_processes(option: str, message: str, code: int) -> None:
    """A /proc with hidepid, in a mount namespace of its own."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(kind: bytes | None, where: str, flags: int, options: bytes | None) -> bool:
        return libc.mount(kind, os.fsencode(where), kind, ctypes.c_ulong(flags), options) == 0

    def answer() -> list:
        error = raised_by(lambda: procfs.read_stat(1, Path(folder)))
        return [error.message, error.exit_code]

    def in_namespace() -> list | None:
        os.mkdir(f"{folder}/proc")
        if libc.unshare(0x00020000) or not mount(None, "/", (1 << 14) | (1 << 18), None):  # private
            return None
        return as_nobody(answer) if mount(b"proc", f"{folder}/proc", 0, option.encode()) else None

    with open_folder() as folder:
        found = in_a_fork(in_namespace)
    if found is None:
        pytest.skip("no mount namespaces here")
    assert found == [message, code]


def test_hidden_processes_are_hinted_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, 1, "x", b"")
    (tmp_path / "proc/self").mkdir()
    (tmp_path / "proc/self/mounts").write_text("proc /proc proc rw,hidepid=invisible 0 0\n")
    monkeypatch.setattr(procfs.os, "geteuid", lambda: 1000)
    hint = raised_by(lambda: procfs.read_stat(7, tmp_path)).hint
    assert hint is not None and "hidepid" in hint
    monkeypatch.setattr(procfs.os, "geteuid", lambda: 0)
    assert raised_by(lambda: procfs.read_stat(7, tmp_path)).hint is None


def test_a_kernel_without_the_file(tmp_path: Path) -> None:
    put(tmp_path, 7, "stat", b"")
    error = raised_by(lambda: proc_limits.read_limits(7, tmp_path))
    assert (error.message, error.exit_code) == ("this kernel has no /proc/7/limits", EX_UNAVAILABLE)
    (tmp_path / "proc/7/limits").mkdir()
    error = raised_by(lambda: proc_limits.read_limits(7, tmp_path))
    assert (error.message, error.exit_code) == ("cannot read /proc/7/limits: Is a directory", EX_IOERR)


def test_below_another_root(tmp_path: Path) -> None:
    put(tmp_path, 7, "stat", stat_line(Stat._make((7, b"a) (b", "S", *range(49)))))
    put(tmp_path, 7, "statm", b"1 2 3 4 5 6 7\n")
    put(tmp_path, 7, "status", STATUS)
    put(tmp_path, 7, "limits", b"Max cpu time  1  2  seconds\n")
    put(tmp_path, 7, "auxv", struct.pack("=QQQQ", 6, 4096, 0, 0))
    put(tmp_path, 7, "task/9/comm", b"")
    put(tmp_path, 7, "task/10/comm", b"")
    os.symlink("/bin/x", tmp_path / "proc/7/exe")
    assert procfs.read_stat(7, tmp_path).comm == b"a) (b"
    assert procfs.read_statm(7, tmp_path).dirty_pages == 7
    assert proc_status.read_status(7, tmp_path).pid == 42
    assert proc_limits.read_limits(7, tmp_path).cpu_s == Limit(1, 2)
    auxv = proc_limits.read_auxv(7, tmp_path)
    assert auxv is not None and (auxv.page_bytes, auxv.entry) == (4096, None)
    assert procfs.thread_ids(7, tmp_path) == [9, 10]
    assert procfs.read_exe(7, tmp_path) == b"/bin/x"
    assert state(os.getpid()) == "R"
