"""What is seen of process life: the records that probes/lifecycle.c sends, field by field, and Reparent.

Times are CLOCK_MONOTONIC in ns; ids are those of the initial pid namespace. Named tuples, because there may
be a hundred thousand a second: a frozen dataclass takes five times as long to make.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NamedTuple

from kintro.sources.probe_source import c_struct, probe_text
from kintro.sources.rows import Row

if TYPE_CHECKING:
    import numpy as np

PROBE = "lifecycle"

# include/uapi/linux/sched.h. The kernel keeps the exit signal, the low byte of clone(2), apart.
CLONE_FLAGS = {
    0x00000080: "CLONE_NEWTIME",
    0x00000100: "CLONE_VM", 0x00000200: "CLONE_FS", 0x00000400: "CLONE_FILES", 0x00000800: "CLONE_SIGHAND",
    0x00001000: "CLONE_PIDFD", 0x00002000: "CLONE_PTRACE", 0x00004000: "CLONE_VFORK",
    0x00008000: "CLONE_PARENT", 0x00010000: "CLONE_THREAD", 0x00020000: "CLONE_NEWNS",
    0x00040000: "CLONE_SYSVSEM", 0x00080000: "CLONE_SETTLS", 0x00100000: "CLONE_PARENT_SETTID",
    0x00200000: "CLONE_CHILD_CLEARTID", 0x00400000: "CLONE_DETACHED", 0x00800000: "CLONE_UNTRACED",
    0x01000000: "CLONE_CHILD_SETTID", 0x02000000: "CLONE_NEWCGROUP", 0x04000000: "CLONE_NEWUTS",
    0x08000000: "CLONE_NEWIPC", 0x10000000: "CLONE_NEWUSER", 0x20000000: "CLONE_NEWPID",
    0x40000000: "CLONE_NEWNET", 0x80000000: "CLONE_IO", 0x100000000: "CLONE_CLEAR_SIGHAND",
    0x200000000: "CLONE_INTO_CGROUP",
}  # fmt: skip
_CLONE_VFORK, _CLONE_THREAD = 0x00004000, 0x00010000
_PF_KTHREAD = 0x00200000  # include/linux/sched.h


class Fork(NamedTuple):
    """A task was created. Times are CLOCK_MONOTONIC in ns; ids those of the initial pid namespace."""

    ts_ns: int
    start_time_ns: int
    process_start_time_ns: int  # the same, unless it is a thread
    parent_start_time_ns: int  # of the process ppid
    clone_flags: int  # as in clone3(2)
    pid: int
    tid: int
    ppid: int  # the creator's pid, unless with CLONE_PARENT or for a thread
    creator_pid: int
    creator_tid: int
    ns_pid: int  # the child's tid in its own pid namespace
    task_flags: int  # PF_… of include/linux/sched.h
    comm: bytes

    @property
    def kind(self) -> str:
        if self.task_flags & _PF_KTHREAD:
            return "kthread"
        if self.clone_flags & _CLONE_THREAD:
            return "thread"
        return "vfork" if self.clone_flags & _CLONE_VFORK else "process"


class Exec(NamedTuple):
    """A program was started in a process; all of it is as of after the exec."""

    ts_ns: int
    start_time_ns: int  # of the process, which an exec does not change
    pid: int
    tid: int
    ppid: int
    uid: int  # real user id
    comm: bytes
    filename: bytes  # as given to execve(2)
    argv: list[bytes] | None  # from the new memory image; None if it could not be read
    argv_truncated: bool  # there were more than 32 KiB


class Exit(NamedTuple):
    """A thread, or with its last thread a process, ended. The figures are those of the whole process then."""

    ts_ns: int
    start_time_ns: int
    utime_ns: int  # by the ticks the kernel counted
    stime_ns: int
    runtime_ns: int  # on a CPU, by the scheduler's clock
    told_utime_ns: int  # utime and stime as the kernel told them before, which it never takes back
    told_stime_ns: int
    voluntary_switches: int
    involuntary_switches: int
    minor_faults: int
    major_faults: int
    pid: int
    tid: int
    ppid: int
    process: int  # 1 if this was the last thread
    wait_status: int  # as from waitpid(2)
    exit_state: int  # EXIT_ZOMBIE or EXIT_DEAD of include/linux/sched.h
    comm: bytes

    @property
    def lifetime_ns(self) -> int:
        return self.ts_ns - self.start_time_ns

    @property
    def signal(self) -> str | None:
        """Name of the signal that killed it, or None."""
        number = self.wait_status & 0x7F
        return signal_name(number) if number else None

    @property
    def exit_code(self) -> int | None:
        return None if self.wait_status & 0x7F else self.wait_status >> 8 & 0xFF

    @property
    def core_dumped(self) -> bool:
        return bool(self.wait_status & 0x80)

    def times_ns(self) -> tuple[int, int]:
        """User and system time: the exact run time, split as the ticks say, neither less than told before.

        The rule of cputime_adjust in kernel/sched/cputime.c, which getrusage(2) and /proc follow too.
        """
        runtime, told_utime, told_stime = self.runtime_ns, self.told_utime_ns, self.told_stime_ns
        if told_utime + told_stime >= runtime:
            return told_utime, told_stime
        if self.stime_ns == 0:
            stime = 0
        elif self.utime_ns == 0:
            stime = runtime
        else:
            stime = runtime * self.stime_ns // (self.stime_ns + self.utime_ns)
        stime = min(max(stime, told_stime), runtime - told_utime)
        return runtime - stime, stime


class Orphan(NamedTuple):
    """A child of a task that exits, not handed on yet."""

    ts_ns: int
    start_time_ns: int
    parent_start_time_ns: int
    pid: int
    tid: int
    parent_pid: int
    parent_tid: int
    exit_state: int  # not 0 if the child had ended before
    comm: bytes


class Reaper(NamedTuple):
    """Whom the kernel chose to take the children of a task that exited."""

    ts_ns: int
    parent_start_time_ns: int
    new_start_time_ns: int
    parent_pid: int
    parent_tid: int
    outcome: int  # 0 could not be read, 1 found, 2 the children were not handed on
    new_ppid: int
    new_tid: int
    new_ns_pid: int  # of the new parent in its own pid namespace
    new_ns_level: int  # depth of that namespace, 0 for the initial one


class Reparent(NamedTuple):
    """A child got a new parent because the old one ended: an Orphan and its Reaper put together."""

    ts_ns: int
    start_time_ns: int
    pid: int
    tid: int
    comm: bytes
    old_ppid: int
    new_ppid: int | None  # None: the kernel's choice could not be read
    new_parent_start_time_ns: int | None
    reason: str | None  # thread, subreaper, namespace-init, init
    zombie: bool


Event = Fork | Exec | Exit | Reparent


# In this order where the times are the same, as the probe's rings are.
RECORDS = {"fork": Fork, "exec": Exec, "exit": Exit, "orphan": Orphan, "reaper": Reaper}


def decode_exec(row: Row) -> Row:
    """What the ring holds of an exec, struct exec_event, as the fields of Exec."""
    *as_it_is, filename_bytes, argv_bytes, argv_whole_bytes, argv_read, comm, data = row
    filename = data[:filename_bytes].rstrip(b"\0")
    joined = data[filename_bytes : filename_bytes + argv_bytes].removesuffix(b"\0")
    argv = (joined.split(b"\0") if argv_bytes else []) if argv_read else None
    return *as_it_is, comm, filename, argv, argv_whole_bytes > argv_bytes


DECODE = {"exec": decode_exec}


def dtypes() -> dict[str, np.dtype]:
    """Kind → dtype of what is recorded: the probe's structs, and the fields of Exec."""
    import numpy as np  # for saved sessions only

    from kintro.sources.session import BINARY, LIST

    text = probe_text(PROBE)
    known = {kind: c_struct(text, f"{kind}_event").dtype for kind in RECORDS}
    of_exec = {"filename": BINARY, "argv": LIST, "argv_truncated": np.dtype("?")}
    known["exec"] = np.dtype([(name, of_exec.get(name) or known["exec"][name]) for name in Exec._fields])
    return known


def signal_name(number: int) -> str:
    """`SIGKILL` for 9, `SIGRTMIN+3` for 37."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - 34}" if 34 <= number <= 64 else f"signal {number}"


def clone_flag_names(flags: int) -> list[str]:
    """CLONE_ names of the set bits; bits without a name as one hexadecimal number."""
    names = [name for bit, name in CLONE_FLAGS.items() if flags & bit]
    unknown = flags & ~sum(CLONE_FLAGS)
    return names + ([hex(unknown)] if unknown else [])
