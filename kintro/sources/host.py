"""What this machine is and allows: kernel version, lockdown, capabilities, container, limits.

Readers take a root path so that tests can lay out another machine. Unknown is None.
"""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

ROOT = Path("/")

# include/uapi/linux/capability.h
CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_SYSLOG, CAP_PERFMON, CAP_BPF = 19, 21, 34, 38, 39

# Inode of the initial pid namespace, include/linux/proc_ns.h PROC_PID_INIT_INO.
INITIAL_PID_NAMESPACE = 0xEFFFFFFC


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
    return platform.release()


def kernel_version(release: str) -> tuple[int, int, int]:
    """`6.18.44-cloud` → (6, 18, 44); the sublevel ends at 255 as in LINUX_VERSION_CODE."""
    numbers = [int(n) for n in re.findall(r"\d+", release)[:3]] + [0, 0, 0]
    return numbers[0], numbers[1], min(numbers[2], 255)


def capabilities(root: Path = ROOT) -> int:
    """The effective capabilities of this process as a bit mask (proc_pid_status(5), CapEff)."""
    match = re.search(r"^CapEff:\s*([0-9a-f]+)", read_text("proc/self/status", root) or "", re.MULTILINE)
    return int(match[1], 16) if match else 0


def has_capability(number: int, root: Path = ROOT) -> bool:
    return bool(capabilities(root) >> number & 1)


def can_trace(root: Path = ROOT) -> bool:
    """Whether this process may load tracing programs: CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN."""
    mask = capabilities(root)
    return bool(mask >> CAP_SYS_ADMIN & 1 or (mask >> CAP_BPF & 1 and mask >> CAP_PERFMON & 1))


def lockdown(root: Path = ROOT) -> str | None:
    """`none`, `integrity` or `confidentiality`; None where the kernel does not tell (kernel_lockdown(7))."""
    match = re.search(r"\[(\w+)\]", read_text("sys/kernel/security/lockdown", root) or "")
    return match[1] if match else None


def pid_namespace(pid: int | str = "self") -> int | None:
    """Inode number of a process's pid namespace, or None if it is gone or not ours to see."""
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return None


def in_initial_pid_namespace() -> bool:
    return pid_namespace() == INITIAL_PID_NAMESPACE


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
