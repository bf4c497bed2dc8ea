"""What this machine is and allows: kernel version, lockdown, capabilities, container, limits.

Readers take a root path so that tests can lay out another machine. Unknown is None.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
from pathlib import Path
from typing import NamedTuple

from kintro.sources import bpf_syscall

ROOT = Path("/")

OLDEST_KERNEL = (5, 8)  # that kintro traces on: the first with BPF ring buffers

# include/uapi/linux/capability.h
CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_SYSLOG, CAP_PERFMON, CAP_BPF = 19, 21, 34, 38, 39

# Inode of the initial pid namespace, include/linux/proc_ns.h PROC_PID_INIT_INO.
INITIAL_PID_NAMESPACE = 0xEFFFFFFC

_NETLINK_CONNECTOR, _CN_IDX_PROC = 11, 1  # include/uapi/linux/netlink.h, connector.h
_NO_LIMIT = 1 << 60  # cgroup v1 shows "no limit" as the largest multiple of a page


class Mount(NamedTuple):
    """A line of proc_pid_mounts(5)."""

    point: str
    kind: str  # file system type
    options: tuple[str, ...]


def read_text(path: str, root: Path = ROOT) -> str | None:
    """The file's text without the final newline, or None if it is not there or not readable."""
    try:
        return (root / path).read_text(errors="backslashreplace").rstrip("\n")
    except OSError:
        return None


def read_int(path: str, root: Path = ROOT) -> int | None:
    """The file's whole content as a number, or None."""
    text = read_text(path, root)
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def kernel_release() -> str:
    return os.uname().release


def kernel_version(release: str) -> tuple[int, int, int]:
    """`6.18.44-cloud` → (6, 18, 44); the sublevel ends at 255 as in LINUX_VERSION_CODE."""
    match = re.match(r"\d+(\.\d+){0,2}", release)
    numbers = [int(n) for n in match[0].split(".")] + [0, 0] if match else [0, 0, 0]
    return numbers[0], numbers[1], min(numbers[2], 255)


def capabilities(root: Path = ROOT) -> int:
    """The effective capabilities of this process as a bit mask (proc_pid_status(5), CapEff)."""
    match = re.search(r"^CapEff:\s*([0-9a-f]+)", read_text("proc/self/status", root) or "", re.MULTILINE)
    return int(match[1], 16) if match else 0


def can_trace(root: Path = ROOT) -> bool:
    """Whether this process may load tracing programs: CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN."""
    mask = capabilities(root)
    return bool(mask >> CAP_SYS_ADMIN & 1 or (mask >> CAP_BPF & 1 and mask >> CAP_PERFMON & 1))


def lockdown(root: Path = ROOT) -> str | None:
    """`none`, `integrity` or `confidentiality`; None where the kernel does not tell (kernel_lockdown(7))."""
    match = re.search(r"\[(\w+)\]", read_text("sys/kernel/security/lockdown", root) or "")
    return match[1] if match else None


def boot_id(root: Path = ROOT) -> str | None:
    """A name for the time since this machine was booted (proc_sys_kernel(5), random/boot_id)."""
    return read_text("proc/sys/kernel/random/boot_id", root)


def pid_namespace(pid: int | str = "self", root: Path = ROOT) -> int | None:
    """Inode number of a process's pid namespace, or None if it is gone or not ours to see."""
    try:
        return os.stat(root / f"proc/{pid}/ns/pid").st_ino
    except OSError:
        return None


def in_initial_pid_namespace() -> bool:
    return pid_namespace() == INITIAL_PID_NAMESPACE


def btf_bytes(root: Path = ROOT) -> int | None:
    """Size of the kernel's type information (BTF), None if there is none to read."""
    try:
        with open(root / "sys/kernel/btf/vmlinux", "rb") as file:
            return os.fstat(file.fileno()).st_size if file.read(1) else None
    except OSError:
        return None


def forks_since_boot(root: Path = ROOT) -> int:
    """The kernel's count of tasks created, threads and its own among them (proc_stat(5), processes)."""
    match = re.search(rb"^processes (\d+)", (root / "proc/stat").read_bytes(), re.MULTILINE)
    if match is None:
        raise ValueError("/proc/stat has no line `processes`")
    return int(match[1])


def distribution(root: Path = ROOT) -> dict[str, str]:
    """os-release(5) as a mapping; empty if the file is not there."""
    text = read_text("etc/os-release", root) or ""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key: value.strip("\"'") for key, value in pairs}


def bcc_install_command(root: Path = ROOT) -> str:
    """The command that installs bcc for Python on this distribution."""
    release = distribution(root)
    family = {release.get("ID", ""), *release.get("ID_LIKE", "").split()}
    if family & {"fedora", "rhel", "centos"}:
        return "sudo dnf install python3-bcc"
    if "arch" in family:
        return "sudo pacman -S python-bcc"
    if family & {"suse", "opensuse"}:
        return "sudo zypper install python3-bcc"
    if "alpine" in family:
        return "sudo apk add py3-bcc"
    return "sudo apt-get install python3-bpfcc"


def in_initial_user_namespace(root: Path = ROOT) -> bool | None:
    """Whether root here is root of the machine: all ids stand for themselves (user_namespaces(7))."""
    text = read_text("proc/self/uid_map", root)
    return text.split() == ["0", "0", "4294967295"] if text else None


def container(root: Path = ROOT) -> str | None:
    """The file that tells of a container, as Docker and Podman leave one; None if there is none."""
    return next((f"/{name}" for name in (".dockerenv", "run/.containerenv") if (root / name).exists()), None)


def mounts(root: Path = ROOT) -> list[Mount] | None:
    """What is mounted in this mount namespace, in the order of mounting."""
    text = read_text("proc/self/mounts", root)
    return parse_mounts(text) if text is not None else None


def parse_mounts(text: str) -> list[Mount]:
    """proc_pid_mounts(5); a space in a path is written there as \\040."""
    found = []
    for line in text.splitlines():
        words = [re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), word) for word in line.split(" ")]
        if len(words) >= 4:
            found.append(Mount(words[1], words[2], tuple(words[3].split(","))))
    return found


def hidepid(root: Path = ROOT) -> str | None:
    """The hidepid option of /proc, `off` if it has none (proc(5)): 1 or noaccess, 2 or invisible, …"""
    procs = [mount for mount in mounts(root) or () if (mount.point, mount.kind) == ("/proc", "proc")]
    if not procs:
        return None
    options = (option.partition("=") for option in procs[-1].options)
    return next((value for name, _, value in options if name == "hidepid"), "off")


def config_option(name: str, root: Path = ROOT) -> str | None:
    """`y`, `m`, `n` or a value from the kernel's own configuration; None where it is not to be read."""
    import gzip
    import zlib

    try:
        text = gzip.decompress((root / "proc/config.gz").read_bytes()).decode(errors="replace")
    except (OSError, EOFError, zlib.error):
        text = read_text(f"boot/config-{kernel_release()}", root) or ""
    if not text:
        return None
    match = re.search(rf"^CONFIG_{name}=(.*)$", text, re.MULTILINE)
    return match[1] if match else "n"


def lockdown_asked(root: Path = ROOT) -> tuple[str, str] | None:
    """The lockdown that was asked for, and where. What holds is told by `lockdown` only."""
    words = re.findall(r"\blockdown=(\w+)", read_text("proc/cmdline", root) or "")
    if words:
        return words[-1], "kernel command line"
    for level in ("confidentiality", "integrity"):
        if config_option(f"LOCK_DOWN_KERNEL_FORCE_{level.upper()}", root) == "y":
            return level, "kernel configuration"
    return None


def memory_available_bytes(root: Path = ROOT) -> int | None:
    """MemAvailable of proc_meminfo(5)."""
    match = re.search(r"^MemAvailable:\s*(\d+) kB", read_text("proc/meminfo", root) or "", re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def cgroup_memory_limit_bytes(root: Path = ROOT) -> int | None:
    """The lowest memory limit among this process's cgroup and those above it, v1 and v2; None: no limit.

    In a container the paths of /proc/self/cgroup may be the host's; then the mounted folder itself counts.
    """
    limits = []
    for line in (read_text("proc/self/cgroup", root) or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for mount in mounts(root) or ():
            if mount.kind == "cgroup2" and number == "0":
                name = "memory.max"
            elif mount.kind == "cgroup" and "memory" in mount.options and "memory" in controllers.split(","):
                name = "memory.limit_in_bytes"
            else:
                continue
            folder = Path(path.lstrip("/"))
            for part in (folder, *folder.parents):
                limit = read_int(f"{mount.point.lstrip('/')}/{part}/{name}", root)  # None for `max`
                if limit is not None and limit < _NO_LIMIT:
                    limits.append(limit)
    return min(limits, default=None)


def bpf_errno() -> str | None:
    """How bpf(2) answers a command that does not exist: `EINVAL` where it works, `ENOSYS` without it.

    `EPERM` where it is not for this user or a seccomp filter forbids it. None: its number is not known here.
    """
    number = bpf_syscall.NUMBERS.get(os.uname().machine)
    if number is None:
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, 0x7FFFFFFF, None, 0) >= 0:
        return "OK"
    return errno.errorcode.get(ctypes.get_errno(), str(ctypes.get_errno()))


def seccomp_filtered(root: Path = ROOT) -> bool:
    """Whether a seccomp filter watches this process's system calls (proc_pid_status(5), Seccomp: 2)."""
    return re.search(r"^Seccomp:\s*2$", read_text("proc/self/status", root) or "", re.MULTILINE) is not None


def has_proc_connector(root: Path = ROOT) -> bool | None:
    """Whether the kernel tells of processes by netlink (CONFIG_PROC_EVENTS, drivers/connector/cn_proc.c).

    /proc/net/connector lists who answers, in the initial network namespace only; else the configuration.
    """
    text = read_text("proc/net/connector", root)
    if text is not None:
        return "cn_proc" in text.split()
    option = config_option("PROC_EVENTS", root)
    return None if option is None else option == "y"


def proc_connector_errno() -> str | None:
    """The error of joining the process events' netlink group, which needs no reply; None if it works."""
    import socket

    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_CONNECTOR) as connector:
            connector.bind((0, _CN_IDX_PROC))
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return None


def library_version(name: str, maps: str) -> str | None:
    """Version in the file name of a loaded library, from proc_pid_maps(5): `libLLVM-14.so.1` → `14`.

    None if it is not loaded as a file of its own, such as an LLVM that is linked into libbcc.
    """
    match = re.search(rf"/{name}(?:-([\d.]+))?\.so(?:\.([\d.]+))?", maps)
    return (match[1] or match[2]) if match else None


def tid_limit() -> int | None:
    """Above every tid that a probe sees (proc_sys_kernel(5), pid_max). None if that is not known here.

    In a container pid_max is that of its own pids, and a probe sees the host's.
    """
    return read_int("proc/sys/kernel/pid_max") if in_initial_pid_namespace() else None


def parse_stat(text: str) -> tuple[int, str, int, int]:
    """(pid, comm, ppid, start time in clock ticks since boot) of proc_pid_stat(5)."""
    before, _, after = text.rpartition(")")  # the comm may hold brackets and spaces
    pid, _, comm = before.partition(" (")
    words = after.split()
    return int(pid), comm, int(words[1]), int(words[19])
