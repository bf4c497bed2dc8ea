"""What the workloads share: processes that have a role, and a ledger of what really happened to them.

The ledger is JSON Lines, appended line by line by whoever knows. Its pids are those of the initial pid
namespace, read from /proc, which stays the host's in a new pid namespace.
"""

import ctypes
import json
import os
import signal
import sys
import time
import traceback

PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWPID = 0x20000000
LIBC = ctypes.CDLL(None, use_errno=True)
SYS_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "ppc64le": 120}


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def clone(flags):
    """fork(2) with more flags than SIGCHLD; Python's own after-fork work is left out."""
    return checked(LIBC.syscall(SYS_CLONE[os.uname().machine], flags | signal.SIGCHLD, 0, 0, 0, 0))


def ids():
    """(pid, ppid) of this process, as the host numbers them."""
    with open("/proc/self/stat", "rb") as stat:
        text = stat.read()
    return int(text.split(b" ", 1)[0]), int(text.rpartition(b")")[2].split()[1])


def be_subreaper():
    checked(LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def wait_until_orphaned(parent):
    """Returns when this process has another parent than `parent` (a pid as getppid gives it)."""
    deadline = time.monotonic() + 20
    while os.getppid() == parent:
        if time.monotonic() > deadline:
            raise TimeoutError("nobody took me over")
        time.sleep(0.0005)


class Ledger:
    def __init__(self, path):
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._end_of_all, self._alive = os.pipe()
        self.note("born", role="main", pid=ids()[0], ppid=ids()[1])

    def note(self, what, **facts):
        os.write(self._file, json.dumps({"what": what, **facts}).encode() + b"\n")

    def runs(self, role, body, *args):
        """In a new process: notes who it is, runs body, and ends with what it returns."""
        code = 99
        try:
            pid, ppid = ids()
            self.note("born", role=role, pid=pid, ppid=ppid)
            code = body(*args) or 0
            self.note("ends", role=role, code=code)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)

    def child(self, role, body, *args, flags=None):
        """Forks a process that runs body; returns its pid as this namespace numbers it."""
        pid = os.fork() if flags is None else clone(flags)
        if pid == 0:
            self.runs(role, body, *args)
        return pid

    def reap(self, role, pid):
        """Waits for a child and notes how it ended."""
        _, status, usage = os.wait4(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self.note(
            "reaped",
            role=role,
            code=code if code >= 0 else None,
            signal=signal.Signals(-code).name if code < 0 else None,
            minor_faults=usage.ru_minflt,
            major_faults=usage.ru_majflt,
            voluntary_switches=usage.ru_nvcsw,
            involuntary_switches=usage.ru_nivcsw,
            utime_s=usage.ru_utime,
            stime_s=usage.ru_stime,
        )

    def run(self, role, body, *args, flags=None):
        self.reap(role, self.child(role, body, *args, flags=flags))

    def wait_for_all(self):
        """Returns when no process that was forked since the start is left, whoever its parent is.

        Every one of them holds the pipe's other end, which the kernel closes behind sched_process_exit.
        """
        os.close(self._alive)
        os.read(self._end_of_all, 1)

    def orphan(self, role, ready, parent_gone, code=0):
        """To be run as a child: lives until its parent has died and somebody took it over."""
        parent, (_, before) = os.getppid(), ids()
        os.write(ready, b"!")
        os.read(parent_gone, 1)
        wait_until_orphaned(parent)
        self.note("adopted", role=role, old_ppid=before, new_ppid=ids()[1])
        return code

    def parent_of_orphans(self, *roles):
        """To be run as a child: has these children, and dies before them. They end with codes 1, 2, …"""
        ready, said = os.pipe()
        parent_gone, held = os.pipe()

        def one(role, code):
            os.close(held)
            return self.orphan(role, said, parent_gone, code)

        for code, role in enumerate(roles, 1):
            self.child(role, one, role, code)
        left = len(roles)
        while left:
            left -= len(os.read(ready, left))
        return 0


def reap_the_rest():
    """Waits for all children there are, also adopted ones."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return
