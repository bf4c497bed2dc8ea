"""The types that prototypes of system calls name: how a register of each is shown."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from kintro.observers import syscall_names_files as files
from kintro.observers import syscall_names_network as network
from kintro.observers import syscall_names_tasks as tasks
from kintro.observers.syscall_arguments import (
    attributes_of_queue,
    device_control,
    file_control,
    fixed_address,
    futex_operation,
    futex_timeout,
    futex_values,
    mode_behind,
    process_control,
    semaphore_argument,
    socket_level,
    socket_option,
    socket_protocol,
    socket_value,
    waited,
    word,
)
from kintro.observers.syscall_structs import LAYOUTS, LAYOUTS_OTHER, LAYOUTS_X86, memory, signal, signal_set
from kintro.observers.syscall_values import (
    Call,
    Show,
    ShowBytes,
    absent,
    captured,
    directory,
    enum,
    flags,
    hexadecimal,
    names_of,
    number,
    octal,
    pointed,
    pointer,
    signed,
    strings,
)

_PLAIN: dict[str, Show] = {
    "int": number(32, with_sign=True),
    "uint": number(32),
    "long": number(64, with_sign=True),
    "ulong": number(64),
    "hex": hexadecimal,
    "pointer": pointer,
    "word": word,
    "unused": absent,
    "fd": number(32, with_sign=True),
    "dirfd": directory,
    "path": captured,
    "string": captured,
    "strings": strings,
    "mode": octal,
    "signal": signal,
    "sigset": signal_set,
    "open_mode": mode_behind(1),
    "openat_mode": mode_behind(2),
    "prctl_2": process_control(1),
    "prctl_3": process_control(2),
    "prctl_4": process_control(3),
    "prctl_5": process_control(4),
    "futex_op": futex_operation,
    **futex_values(),
    "mremap_address": fixed_address,
    "semctl_argument": semaphore_argument,
    "socket_protocol": socket_protocol,
    "socket_level": socket_level,
    "socket_option": socket_option,
}

# Numbers with names
_ENUMS = {
    "arch_prctl": tasks.ARCH_PRCTL,
    "bpf": tasks.BPF,
    "cld_code": tasks.CLD_CODE,
    "clock": tasks.CLOCK,
    "epoll_op": files.EPOLL_OP,
    "fadvice": files.ADVICE,
    "family": network.FAMILY,
    "fcntl": files.FCNTL,
    "id_type": tasks.ID_TYPE,
    "io_uring_register": tasks.IO_URING_REGISTER,
    "ioctl": files.IOCTL,
    "itimer": tasks.ITIMER,
    "lock": files.LOCK,
    "madvise": files.MADVISE,
    "msg_control": tasks.MSG_CTL,
    "perf_type": tasks.PERF_TYPE,
    "prctl": tasks.PRCTL,
    "prio": tasks.PRIO,
    "rlimit_kind": tasks.RLIMIT,
    "rusage": tasks.RUSAGE,
    "sched": tasks.SCHED,
    "seccomp": tasks.SECCOMP,
    "sem_control": tasks.SEM_CTL,
    "shm_control": tasks.SHM_CTL,
    "shutdown": network.SHUTDOWN,
    "si_code": tasks.SI_CODE,
    "sigmask_how": tasks.SIGMASK,
    "super": files.SUPER,
    "whence": files.WHENCE,
}

# Flags with names
_FLAGS = {
    "access_mode": files.ACCESS_MODE,
    "at_access_flags": files.AT_ACCESS,
    "at_flags": files.AT,
    "at_unlink_flags": files.AT_UNLINK,
    "close_range_flags": files.CLOSE_RANGE,
    "epoll": files.EPOLL,
    "epoll_create_flags": files.EPOLL_CREATE,
    "eventfd_flags": tasks.EVENTFD,
    "fallocate_mode": files.FALLOCATE,
    "flock": files.FLOCK,
    "getrandom_flags": tasks.GETRANDOM,
    "inotify": files.INOTIFY,
    "inotify_flags": files.INOTIFY_INIT,
    "io_uring_enter": tasks.IO_URING_ENTER,
    "io_uring_setup": tasks.IO_URING_SETUP,
    "membarrier": tasks.MEMBARRIER,
    "memfd_flags": files.MEMFD,
    "mlock_flags": files.MLOCK2,
    "mlockall_flags": files.MLOCKALL,
    "mount_flags": files.MOUNT,
    "mremap_flags": files.MREMAP,
    "msg_flags": network.MESSAGE,
    "msync_flags": files.MSYNC,
    "perf_flags": tasks.PERF_FLAGS,
    "pidfd_flags": tasks.PIDFD,
    "poll": files.POLL,
    "prot": files.PROT,
    "queue_flags": tasks.MSG_IPC,
    "rename_flags": files.RENAME,
    "resolve": files.RESOLVE,
    "rseq_flags": tasks.RSEQ,
    "rwf_flags": files.RWF,
    "seccomp_flags": tasks.SECCOMP_FLAGS,
    "sem_flags": tasks.SEM_FLAGS,
    "shmat_flags": tasks.SHMAT,
    "sigaction_flags": tasks.SIGACTION,
    "signalfd_flags": tasks.SIGNALFD,
    "sigstack_flags": tasks.SIGSTACK,
    "socket_flags": network.SOCKET_FLAGS,
    "splice_flags": files.SPLICE,
    "statx_mask": files.STATX,
    "timer_flags": tasks.TIMER,
    "timerfd_flags": tasks.TIMERFD,
    "timerfd_settime_flags": tasks.TIMERFD_SETTIME,
    "umount_flags": files.UMOUNT,
    "unshare_flags": tasks.CLONE,
    "wait_flags": tasks.WAIT,
    "waitid_flags": tasks.WAITID,
    "xattr_flags": files.XATTR,
}


def _file_mode(value: int, data: bytes | None, call: Call) -> str:
    """st_mode: `S_IFREG|0644`."""
    kind = [files.FILE_TYPE[value & 0o170000]] if value & 0o170000 in files.FILE_TYPE else []
    return "|".join([*kind, *names_of(files.MODE, value & 0o7000), octal(value & 0o777, None, call)])


def _clone_flags(value: int, data: bytes | None, call: Call) -> str:
    """clone's flags: its low byte is the signal at the exit."""
    found = names_of(tasks.CLONE_FLAGS, value & ~0xFF)
    return "|".join([*found, signal(value & 0xFF, None, call)] if value & 0xFF else found) or "0"


def _exact(names: dict[int, str], otherwise: Show) -> Show:
    """A number, of which a few values have names."""
    return lambda value, data, call: names.get(value) or otherwise(value, data, call)


def _with_mode(table: dict[int, str]) -> Show:
    """Flags and a file mode in one number, as in IPC: `IPC_CREAT|0600`."""
    return lambda value, data, call: "|".join(
        [*names_of(table, value & 0xFFFFFE00), octal(value & 0o777, None, call)]
    )


def shows(machine: str) -> dict[str, Show]:
    """How a register of each type is shown."""
    table = files.OPEN_ARM64 if machine == "aarch64" else files.OPEN
    queue_id = _exact({0: "IPC_PRIVATE"}, hexadecimal)
    long = _PLAIN["long"]
    special: dict[str, Show] = {
        "at_statx_flags": flags(files.AT, 0x6000, files.AT_STATX),
        "clone_flags": _clone_flags,
        "file_mode": _file_mode,
        "handler": _exact({0: "SIG_DFL", 1: "SIG_IGN"}, hexadecimal),
        "id": lambda value, data, call: value & 0xFFFFFFFF if signed(value) != -1 else -1,
        "ipc_flags": _with_mode(tasks.IPC),
        "ipc_key": lambda value, data, call: queue_id(value & 0xFFFFFFFF, data, call),
        "map_flags": flags(files.MAP, 0xF, files.MAP_TYPE),
        "nsec": _exact({0x3FFFFFFF: "UTIME_NOW", 0x3FFFFFFE: "UTIME_OMIT"}, long),
        "open_flags": flags(table, 3, files.ACCESS),
        "pipe_flags": flags(table),
        "rlimit": _exact({(1 << 64) - 1: "RLIM64_INFINITY"}, _PLAIN["ulong"]),
        "shm_flags": _with_mode(tasks.SHMGET),
        "socket_type": flags(network.SOCKET_FLAGS, 0xF, network.SOCKET),
    }
    named = {name: enum(names) for name, names in _ENUMS.items()}
    return _PLAIN | named | {name: flags(names) for name, names in _FLAGS.items()} | special


class Pointed(NamedTuple):
    """What `in` and `out` of a prototype point to."""

    size: int
    show: Show
    element: ShowBytes | None = None  # shows each of an array of them; None: an array is shown as one piece


@cache
def types(machine: str) -> tuple[Mapping[str, Show], Mapping[str, Pointed]]:
    """How registers and what they point to are shown, on a machine as uname(2) tells it."""
    registers = shows(machine)
    layouts = {**LAYOUTS, **(LAYOUTS_X86 if machine == "x86_64" else LAYOUTS_OTHER)}
    behind = memory(layouts, registers)
    behind["socket_value"] = socket_value(behind)
    control, registers["fcntl_result"] = file_control(registers["open_flags"], behind["flock"])
    found = {
        name: Pointed(what.size, pointed(what.show), what.show if what.element else None)
        for name, what in behind.items()
    }
    found["futex_timeout"] = Pointed(behind["timespec"].size, futex_timeout(behind["timespec"]))
    found["fcntl_argument"] = Pointed(behind["flock"].size, control)
    found["ioctl_argument"] = Pointed(8, device_control(behind["winsize"], behind["int"]))
    found["queue_attributes"] = Pointed(behind["mq_attr"].size, attributes_of_queue(behind["mq_attr"]))
    found["child_status"] = Pointed(4, waited(behind["wait_status"]))
    return registers, found
