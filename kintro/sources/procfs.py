"""What /proc/PID tells of one process: stat, statm, exe, its threads; and how reading there fails.

proc_pid_status(5) is in proc_status.py, limits and the auxiliary vector are in proc_limits.py, the mappings
in mappings.py. Parsers take bytes and raise ValueError for what is no such file. Readers take a root path
that tests replace, and raise KintroError: EX_NOINPUT if there is no such process (or hidepid hides it),
EX_NOPERM if it may not be read, EX_UNAVAILABLE if the kernel has no such file.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NamedTuple

from kintro.errors import EX_IOERR, EX_NOINPUT, EX_NOPERM, EX_UNAVAILABLE, KintroError
from kintro.sources import host
from kintro.sources.host import ROOT

PF_KTHREAD = 0x00200000  # in Stat.flags; include/linux/sched.h
DELETED = b" (deleted)"  # the kernel's mark behind the path of a file without a name, fs/d_path.c

_ATTEMPTS = 5  # to read the files of an address space that exec(2) replaces meanwhile


class Stat(NamedTuple):
    """proc_pid_stat(5), all 52 fields. A tick is 1/sysconf(_SC_CLK_TCK) s; for pages see Auxv.page_bytes.

    Addresses, and what else is marked (p), are 0 (startcode, endcode and wchan: 0 or 1) for a reader whom
    ptrace(2) would refuse.
    """

    pid: int
    comm: bytes  # up to 15 bytes, any but NUL; up to 63 of a kernel thread
    state: str  # R running, S sleeping, D uninterruptible, T stopped, t traced, Z zombie, X dead, I idle
    ppid: int
    pgrp: int  # process group
    session: int
    tty_nr: int  # device number of the controlling terminal, 0: none
    tpgid: int  # the terminal's foreground process group, -1: none
    flags: int  # PF_* of include/linux/sched.h
    minflt: int  # minor page faults
    cminflt: int  # of children that were waited for
    majflt: int  # major page faults
    cmajflt: int  # of children that were waited for
    utime_ticks: int  # CPU time in user mode, guest time included
    stime_ticks: int  # CPU time in kernel mode
    cutime_ticks: int  # of children that were waited for
    cstime_ticks: int  # of children that were waited for
    priority: int  # as the kernel keeps it: nice + 20; below 0 for real time
    nice: int  # 19 (low) to -20 (high)
    num_threads: int
    itrealvalue: int  # 0 since Linux 2.6.17
    starttime_ticks: int  # since boot
    vsize_bytes: int  # of all mappings
    rss_pages: int  # resident; not exact, see Statm
    rsslim_bytes: int  # soft RLIMIT_RSS; 2**64 - 1: none
    startcode: int  # (p) address of the program's text, and the end of it
    endcode: int
    startstack: int  # (p) address of the bottom of the stack: of argc
    kstkesp: int  # (p) stack pointer, 0 unless the process is ending
    kstkeip: int  # (p) instruction pointer, 0 unless the process is ending
    signal: int  # bit masks of signals 1 to 31; obsolete, see Status
    blocked: int
    sigignore: int
    sigcatch: int
    wchan: int  # (p) 1: it waits in the kernel
    nswap: int  # not kept up, 0
    cnswap: int  # not kept up, 0
    exit_signal: int  # sent to the parent when it ends
    processor: int  # CPU it ran on last
    rt_priority: int  # 1 to 99 for real time, else 0
    policy: int  # SCHED_* of sched(7)
    delayacct_blkio_ticks: int  # waited for block I/O; 0 without delay accounting
    guest_time_ticks: int  # CPU time as a virtual CPU of a guest
    cguest_time_ticks: int  # of children that were waited for
    start_data: int  # (p) addresses: initialized and uninitialized data
    end_data: int  # (p)
    start_brk: int  # (p) the heap grows from here with brk(2)
    arg_start: int  # (p) the command line
    arg_end: int  # (p)
    env_start: int  # (p) the environment
    env_end: int  # (p)
    exit_code: int  # (p) as waitpid(2) gives it

    @property
    def is_kernel_thread(self) -> bool:
        return bool(self.flags & PF_KTHREAD)


class Statm(NamedTuple):
    """proc_pid_statm(5), in pages. Counts of resident pages lag behind a little; those of smaps do not."""

    size_pages: int  # of all mappings (VmSize)
    resident_pages: int  # VmRSS
    shared_pages: int  # resident and of files or shared memory (RssFile + RssShmem)
    text_pages: int  # of the program's own code
    lib_pages: int  # 0 since Linux 2.6
    data_pages: int  # private writable mappings and stacks
    dirty_pages: int  # 0 since Linux 2.6


def parse_stat(data: bytes) -> Stat:
    """/proc/PID/stat. A comm may hold spaces, brackets and newlines: it ends at the last bracket."""
    before, bracket, after = data.rpartition(b")")
    pid, _, comm = before.partition(b" (")
    words = after.split()
    if not bracket or len(words) < len(Stat._fields) - 2:
        raise ValueError("not a line of /proc/PID/stat")
    numbers = map(int, words[1 : len(Stat._fields) - 2])
    return Stat._make((int(pid), comm, words[0].decode(), *numbers))


def parse_statm(data: bytes) -> Statm:
    words = data.split()
    if len(words) < len(Statm._fields):
        raise ValueError("not a line of /proc/PID/statm")
    return Statm._make(map(int, words[: len(Statm._fields)]))


def parse_syscall(data: bytes) -> int | None:
    """The stack pointer of proc_pid_syscall(5); None if the thread runs, or has no stack."""
    words = data.split()
    return int(words[-2], 16) or None if len(words) > 2 else None


def parse_call(data: bytes) -> tuple[int, ...] | None:
    """The number and the six arguments of a call in which a thread waits, of proc_pid_syscall(5).

    None if it runs, or waits outside of any call.
    """
    number, *words = data.split() or [b""]
    if not number.isdigit() or len(words) < 6:
        return None
    return int(number), *(int(word, 16) for word in words[:6])


def read_stat(pid: int, root: Path = ROOT) -> Stat:
    return parse_stat(read_file(pid, "stat", root))


def read_statm(pid: int, root: Path = ROOT) -> Statm:
    """All zero for a kernel thread and a zombie."""
    return parse_statm(read_file(pid, "statm", root))


def read_exe(pid: int, root: Path = ROOT) -> bytes | None:
    """The path of the program, without the kernel's mark if it is deleted (proc_pid_exe(5)).

    None for a kernel thread and a zombie. The path is as seen from this process's root. A program whose name
    ends in ` (deleted)` is told from one that is deleted by its inode.
    """
    link = os.fsencode(_path(pid, "exe", root))
    try:
        path = os.readlink(link)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH) and exists(pid, root):
            return None
        raise refused(pid, "exe", error, root) from error
    if path.endswith(DELETED):
        try:
            own = os.stat(link)
        except OSError:
            return path.removesuffix(DELETED)
        if not is_file(path, {(own.st_dev, own.st_ino)}, pid, root):
            return path.removesuffix(DELETED)
    return path


class FileId(NamedTuple):
    """A file; its inode alone is another file's as well, on another file system."""

    dev: int  # st_dev
    inode: int


def exe_file(pid: int, root: Path = ROOT) -> FileId | None:
    """The file that holds the program; None as read_exe."""
    try:
        found = os.stat(_path(pid, "exe", root))
        return FileId(found.st_dev, found.st_ino)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH) and exists(pid, root):
            return None
        raise refused(pid, "exe", error, root) from error


def thread_ids(pid: int, root: Path = ROOT) -> list[int]:
    """The tids of a process, ascending; its own pid among them, also of a zombie (proc_pid_task(5))."""
    try:
        return sorted(map(int, os.listdir(_path(pid, "task", root))))
    except OSError as error:
        raise refused(pid, "task", error, root) from error


def read_stack_pointer(pid: int, tid: int, root: Path = ROOT) -> int | None:
    """Where the stack of a thread ends at this moment (proc_pid_syscall(5)).

    None if it is running, gone, a kernel thread or a zombie, if it may not be asked (it takes the right to
    attach, PTRACE_MODE_ATTACH of ptrace(2)), or if the kernel has no such file.
    """
    data = _read_thread_file(pid, tid, "syscall", root)
    return None if data is None else parse_syscall(data)


def read_call(pid: int, tid: int, root: Path = ROOT) -> tuple[int, ...] | None:
    """The call in which a thread waits, as parse_call tells; None also where read_stack_pointer gives it."""
    data = _read_thread_file(pid, tid, "syscall", root)
    return None if data is None else parse_call(data)


def read_comm(pid: int, tid: int | None = None, root: Path = ROOT) -> bytes | None:
    """The present name of a thread, by default of the process's first; None if it is gone."""
    data = _read_thread_file(pid, pid if tid is None else tid, "comm", root)
    return None if data is None else data.removesuffix(b"\n")


def _read_thread_file(pid: int, tid: int, name: str, root: Path) -> bytes | None:
    try:
        return _path(pid, f"task/{tid}/{name}", root).read_bytes()
    except OSError:
        return None


def read_file(pid: int, name: str, root: Path = ROOT) -> bytes:
    """The content of /proc/PID/NAME. KintroError as the module's docstring says."""
    try:
        return _path(pid, name, root).read_bytes()
    except OSError as error:
        raise refused(pid, name, error, root) from error


def read_mm_file(pid: int, name: str, root: Path = ROOT, in_pieces: bool = True) -> bytes:
    """The content of a /proc/PID/NAME that describes an address space; empty if the process has none.

    That is so for a kernel thread, a zombie and a process that is ending: the kernel gives an empty file, or
    ESRCH for some files and, as the case may be, versions.

    A file that the kernel makes in pieces ends early, and without an error, when the process ends or calls
    exec(2) meanwhile. What was read is whole if the file still has a beginning afterwards; else it is read
    anew.
    """
    data = b""
    for _ in range(_ATTEMPTS):
        data = b""
        try:
            with open(_path(pid, name, root), "rb", buffering=0) as file:
                data = file.read()
                file.seek(0)
                if data and (not in_pieces or file.read(1)):
                    return data
        except ProcessLookupError as error:
            if not exists(pid, root):
                raise refused(pid, name, error, root) from error
        except OSError as error:
            raise refused(pid, name, error, root) from error
    if data:
        raise KintroError(f"process {pid} changed while it was read", "try again", EX_NOINPUT)
    return data


def exists(pid: int, root: Path = ROOT) -> bool:
    """Whether there is such a process, or a zombie, that this process may see."""
    return os.path.lexists(root / f"proc/{pid}")


def is_file(path: bytes, identities: set[tuple[int, int]], pid: int, root: Path = ROOT) -> bool:
    """Whether a path leads to a file of this (st_dev, st_ino), seen from our root or from that of a process.

    /proc shows paths as seen from the reader's root, but those of a foreign mount namespace as seen there.
    """
    base = os.fsencode(root)
    for start in (base, os.path.join(base, b"proc/%d/root" % pid)):
        try:
            found = os.lstat(os.path.join(start, path.lstrip(b"/")))
        except OSError:
            continue
        if (found.st_dev, found.st_ino) in identities:
            return True
    return False


def refused(pid: int, name: str, error: OSError, root: Path = ROOT) -> KintroError:
    """What to say when /proc/PID/NAME could not be read."""
    if error.errno == errno.ENOENT and exists(pid, root):
        return KintroError(f"this kernel has no /proc/{pid}/{name}", None, EX_UNAVAILABLE)
    if error.errno in (errno.ENOENT, errno.ESRCH):
        hidden = os.geteuid() != 0 and host.hidepid(root) not in (None, "off", "0")
        hint = "/proc is mounted with hidepid and shows only your own processes: run it with sudo"
        return KintroError(f"no process {pid}", hint if hidden else None, EX_NOINPUT)
    if error.errno in (errno.EACCES, errno.EPERM):
        hint = "it is another user's, or guarded: run it with sudo"
        if os.geteuid() == 0:
            hint = "root is refused too: it lacks CAP_SYS_PTRACE, or a security module guards the process"
        return KintroError(f"not permitted to read /proc/{pid}/{name}", hint, EX_NOPERM)
    return KintroError(f"cannot read /proc/{pid}/{name}: {error.strerror}", None, EX_IOERR)


def _path(pid: int, name: str, root: Path) -> Path:
    return root / f"proc/{pid}/{name}"
