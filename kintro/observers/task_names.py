"""Names of the bits and numbers in a task's record."""

from __future__ import annotations

from collections.abc import Sequence

from kintro.observers.lifecycle_records import signal_name

# include/uapi/linux/capability.h, by bit
CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip

# PF_* of include/linux/sched.h, those that mean the same in all kernels from 5.8 on, by bit.
FLAGS = {
    0: "VCPU", 1: "IDLE", 2: "EXITING", 5: "WQ_WORKER", 6: "FORKNOEXEC", 7: "MCE_PROCESS", 8: "SUPERPRIV",
    9: "DUMPCORE", 10: "SIGNALED", 11: "MEMALLOC", 12: "NPROC_EXCEEDED", 15: "NOFREEZE", 17: "KSWAPD",
    21: "KTHREAD", 22: "RANDOMIZE", 26: "NO_SETAFFINITY", 27: "MCE_EARLY",
}  # fmt: skip

POLICIES = (
    "SCHED_OTHER",
    "SCHED_FIFO",
    "SCHED_RR",
    "SCHED_BATCH",
    "",
    "SCHED_IDLE",
    "SCHED_DEADLINE",
    "SCHED_EXT",
)
SECCOMP_MODES = ("off", "strict", "filter")  # prctl(2), PR_GET_SECCOMP

# proc_pid_stat(5) and ps(1)
STATES = {
    "R": "running", "S": "sleeping", "D": "uninterruptible sleep", "T": "stopped", "t": "stopped by a tracer",
    "X": "dead", "Z": "zombie", "P": "parked", "I": "idle",
}  # fmt: skip
# Bits that are reported, lowest first, behind R for none: task_index_to_char of include/linux/sched.h.
_REPORTED = "RSDTtXZPI"
_TASK_REPORT, _TASK_IDLE, _REPORT_IDLE = 0x7F, 0x402, 0x80
_RTLOCK_WAIT, _FROZEN, _UNINTERRUPTIBLE = 0x1000, 0x8000, 0x2


def state_letter(state: int, exit_state: int) -> str:
    """The letter that /proc shows for task_struct's `__state` and `exit_state` (task_state_index)."""
    reported = (state | exit_state) & _TASK_REPORT
    if state & _TASK_IDLE == _TASK_IDLE:
        reported = _REPORT_IDLE
    elif state & (_RTLOCK_WAIT | _FROZEN):
        reported = _UNINTERRUPTIBLE
    return _REPORTED[reported.bit_length()]


def signal_names(mask: int) -> list[str]:
    """Of a set of signals, without `SIG`: bit n - 1 is signal n."""
    return [signal_name(bit + 1).removeprefix("SIG") for bit in _bits(mask)]


def capability_names(mask: int) -> list[str]:
    return [CAPABILITIES[bit] if bit < len(CAPABILITIES) else f"CAP_{bit}" for bit in _bits(mask)]


def flag_names(mask: int) -> list[str]:
    """Bits that mean something else in other kernels as a number."""
    return [FLAGS.get(bit, hex(1 << bit)) for bit in _bits(mask)]


def name_in(names: Sequence[str], number: int) -> list[str]:
    return [names[number]] if 0 <= number < len(names) else []


def _bits(mask: int) -> list[int]:
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]
