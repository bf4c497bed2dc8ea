"""Facts about a machine, read from one that is laid out in a folder."""

from __future__ import annotations

import gzip
import os
import platform
from pathlib import Path

import pytest

from kintro.sources import host

UBUNTU = 'NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n\n# a comment\n'


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    return tmp_path


def put(machine: Path, path: str, text: str | bytes) -> None:
    file = machine / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())


def test_text_and_numbers(machine: Path) -> None:
    put(machine, "text", b"caf\xc3\xa9 \xff\n\n")
    put(machine, "number", "42\n")
    put(machine, "max", "max\n")
    assert host.read_text("text", machine) == "café \\xff"
    assert (host.read_text("none", machine), host.read_text("", machine)) == (None, None)
    found = [host.read_int(name, machine) for name in ("number", "max", "none")]
    assert found == [42, None, None]


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.18.44-fc-v669", (6, 18, 44)),
        ("5.15.0-91-generic", (5, 15, 0)),
        ("6.1.0-13-amd64", (6, 1, 0)),
        ("4.9.337", (4, 9, 255)),
        ("5.10.0", (5, 10, 0)),
        ("6.9-amd64", (6, 9, 0)),
        ("6.12+bpo-amd64", (6, 12, 0)),
        ("6.19.0-rc3+", (6, 19, 0)),
        ("6", (6, 0, 0)),
    ],
)
def test_kernel_versions(release: str, version: tuple[int, int, int]) -> None:
    assert host.kernel_version(release) == version


def test_the_release_of_this_kernel() -> None:
    assert host.kernel_release() == Path("/proc/sys/kernel/osrelease").read_text().strip()


@pytest.mark.parametrize(
    ("cap_eff", "may"),
    [
        ("000001ffffffffff", True),
        ("0000000000000000", False),
        ("0000000000200000", True),  # CAP_SYS_ADMIN, 21
        ("000000c000000000", True),  # CAP_BPF, 39, and CAP_PERFMON, 38
        ("0000008000000000", False),
        ("0000004000000000", False),
        ("0000000000080000", False),  # CAP_SYS_PTRACE, 19
    ],
)
def test_who_may_trace(cap_eff: str, may: bool, machine: Path) -> None:
    put(machine, "proc/self/status", f"Name:\tx\nCapPrm:\t{'f' * 16}\nCapEff:\t{cap_eff}\nSeccomp:\t0\n")
    assert host.capabilities(machine) == int(cap_eff, 16)
    assert host.can_trace(machine) == may


def test_capabilities_that_are_not_told(machine: Path) -> None:
    assert (host.capabilities(machine), host.can_trace(machine)) == (0, False)


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("[none] integrity confidentiality\n", "none"),
        ("none [integrity] confidentiality\n", "integrity"),
        ("none integrity [confidentiality]\n", "confidentiality"),
        ("", None),
    ],
)
def test_lockdown(text: str, level: str | None, machine: Path) -> None:
    assert host.lockdown(machine) is None
    put(machine, "sys/kernel/security/lockdown", text)
    assert host.lockdown(machine) == level


def test_forks_since_boot(machine: Path) -> None:
    put(machine, "proc/stat", "cpu  1 2 3\nctxt 99\nprocesses 12345\nprocs_running 2\n")
    assert host.forks_since_boot(machine) == 12345
    put(machine, "proc/stat", "cpu  1 2 3\n")
    with pytest.raises(ValueError, match="processes"):
        host.forks_since_boot(machine)


@pytest.mark.parametrize(
    ("release", "command"),
    [
        (UBUNTU, "sudo apt-get install python3-bpfcc"),
        ("ID=debian\n", "sudo apt-get install python3-bpfcc"),
        ("ID=fedora\n", "sudo dnf install python3-bcc"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "sudo dnf install python3-bcc"),
        ("ID='arch'\n", "sudo pacman -S python-bcc"),
        ('ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n', "sudo zypper install python3-bcc"),
        ("ID=alpine\n", "sudo apk add py3-bcc"),
        (None, "sudo apt-get install python3-bpfcc"),
    ],
)
def test_how_bcc_is_installed(release: str | None, command: str, machine: Path) -> None:
    if release is not None:
        put(machine, "etc/os-release", release)
    assert host.bcc_install_command(machine) == command


def test_the_distribution(machine: Path) -> None:
    assert host.distribution(machine) == {}
    put(machine, "etc/os-release", UBUNTU)
    assert host.distribution(machine) == {
        "NAME": "Ubuntu", "ID": "ubuntu", "ID_LIKE": "debian", "VERSION_ID": "24.04",
    }  # fmt: skip


def test_the_kernels_configuration(machine: Path) -> None:
    assert host.config_option("BPF", machine) is None
    text = 'CONFIG_BPF=y\n# CONFIG_TASKSTATS is not set\nCONFIG_HZ=250\nCONFIG_X=m\nCONFIG_BPF_SYSCALL="s"\n'
    put(machine, f"boot/config-{platform.release()}", "CONFIG_BPF=n\n")
    assert host.config_option("BPF", machine) == "n"
    put(machine, "proc/config.gz", gzip.compress(text.encode()))
    found = [host.config_option(name, machine) for name in ("BPF", "TASKSTATS", "HZ", "X", "NONE")]
    assert found == ["y", "n", "250", "m", "n"]
    put(machine, "proc/config.gz", gzip.compress(text.encode())[:-9])
    assert host.config_option("BPF", machine) == "n"  # damaged: the next best


def test_mounts(machine: Path) -> None:
    assert (host.mounts(machine), host.hidepid(machine)) == (None, None)
    put(
        machine, "proc/self/mounts", "proc /proc proc rw,nosuid 0 0\ntmpfs /my\\040disk tmpfs rw 0 0\nshort\n"
    )
    assert host.mounts(machine) == [
        host.Mount("/proc", "proc", ("rw", "nosuid")),
        host.Mount("/my disk", "tmpfs", ("rw",)),
    ]
    assert host.hidepid(machine) == "off"
    put(machine, "proc/self/mounts", "proc /proc proc rw 0 0\nproc /proc proc rw,hidepid=invisible 0 0\n")
    assert host.hidepid(machine) == "invisible"


def test_pid_namespaces() -> None:
    assert host.pid_namespace() == os.stat("/proc/self/ns/pid").st_ino
    assert host.pid_namespace(os.getpid()) == host.pid_namespace()
    assert host.pid_namespace(2**31 - 1) is None


def test_memory(machine: Path) -> None:
    assert (host.memory_available_bytes(machine), host.cgroup_memory_limit_bytes(machine)) == (None, None)
    put(machine, "proc/meminfo", "MemTotal: 9 kB\nMemFree:  5 kB\nMemAvailable:    7 kB\n")
    assert host.memory_available_bytes(machine) == 7 * 1024
    put(machine, "proc/self/cgroup", "0::/user/me\n")
    put(machine, "proc/self/mounts", "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n")
    assert host.cgroup_memory_limit_bytes(machine) is None
    put(machine, "sys/fs/cgroup/user/me/memory.max", "max\n")
    put(machine, "sys/fs/cgroup/user/memory.max", "5000\n")
    assert host.cgroup_memory_limit_bytes(machine) == 5000
    put(machine, "sys/fs/cgroup/user/me/memory.max", "4000\n")
    assert host.cgroup_memory_limit_bytes(machine) == 4000


def test_a_line_of_proc_stat() -> None:
    numbers = " ".join(str(n) for n in range(5, 53))
    assert host.parse_stat(f"77 (a) b (c) S 1 {numbers}") == (77, "a) b (c", 1, 22)
