"""kintro doctor on machines that are laid out below tmp_path: each with one thing wrong, and what is said."""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kintro.cli import VERBS, main
from kintro.cli import doctor as cli
from kintro.errors import EX_NOPERM, EX_SOFTWARE, EX_UNAVAILABLE
from kintro.observers import doctor
from kintro.observers.lifecycle_records import Exec, Exit, Fork
from kintro.sources import host

ALL_CAPABILITIES = "000001ffffffffff"
MOUNTS = """proc /proc proc rw,relatime 0 0
sysfs /sys sysfs rw 0 0
securityfs /sys/kernel/security securityfs rw 0 0
tracefs /sys/kernel/tracing tracefs rw 0 0
cgroup2 /sys/fs/cgroup cgroup2 rw 0 0
"""
SOUND: dict[str, str | None] = {
    "proc/sys/kernel/osrelease": "6.1.0-18-amd64\n",
    "proc/sys/kernel/unprivileged_bpf_disabled": "2\n",
    "proc/sys/kernel/perf_event_paranoid": "3\n",
    "proc/sys/kernel/kptr_restrict": "1\n",
    "proc/self/status": f"Name:\tkintro\nCapEff:\t{ALL_CAPABILITIES}\nSeccomp:\t0\n",
    "proc/self/uid_map": "         0          0 4294967295\n",
    "proc/self/ns/pid": "",
    "proc/self/mounts": MOUNTS,
    "proc/self/cgroup": "0::/user.slice/session.scope\n",
    "proc/meminfo": "MemTotal: 4000000 kB\nMemAvailable:    2000000 kB\n",
    "proc/cmdline": "quiet",
    "proc/net/connector": "Name            ID\ncn_proc         1:1\n",
    "sys/kernel/btf/vmlinux": "BTF",
    "sys/kernel/security/lockdown": "none [integrity] confidentiality\n",
    "sys/fs/cgroup/user.slice/memory.max": "max\n",
}
STATUS, CGROUP = "proc/self/status", "proc/self/cgroup"
V1 = MOUNTS.replace("cgroup2 /sys/fs/cgroup cgroup2 rw", "cg /sys/fs/cgroup/m cgroup rw,memory")


@pytest.fixture
def examine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, doctor.Check]]:
    """Lays out the sound machine with changes (path → text, None: not there) and examines it as root."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(host, "bpf_errno", lambda: "EINVAL")
    monkeypatch.setattr(host, "proc_connector_errno", lambda: None)
    monkeypatch.setattr(cli, "_bcc", lambda: ("0.26.0", None, "/usr/lib/libLLVM-14.so.1\n"))
    monkeypatch.setattr(cli, "_structs_problem", lambda: None)
    monkeypatch.setattr(cli, "_package_version", lambda name: "1.0")

    def laid_out(changes: dict[str, str | None] | None = None) -> dict[str, doctor.Check]:
        for name, text in {**SOUND, **(changes or {})}.items():
            if text is not None:
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / name).write_text(text)
        inode = (tmp_path / "proc/self/ns/pid").stat().st_ino
        monkeypatch.setattr(host, "INITIAL_PID_NAMESPACE", inode)
        return {check.name: check for check in cli.examine(VERBS, tmp_path)}

    return laid_out


def told(checks: dict[str, doctor.Check], test: doctor.SelfTest | None = None) -> tuple[int, Any]:
    """Exit code, and what is said of trace-fork."""
    verdicts = [doctor.verdict(verb, list(checks.values()), test) for verb in VERBS]
    return doctor.exit_code(checks.values(), verdicts, test), next(
        v for v in verdicts if v.verb == "trace-fork"
    )


def test_a_sound_machine(examine: Callable[..., Any]) -> None:
    checks = examine()
    assert {name for name, check in checks.items() if check.ok} == set(doctor.TRACING)
    assert all(check.todo is None for check in checks.values())
    assert doctor.can_self_test(checks.values())
    assert told(checks, doctor.SelfTest(lost=0)) == (0, doctor.Verdict("trace-fork", True, None))
    assert (
        checks["LLVM"].value == "14" and checks["hidepid"].value == "off" and checks["tracefs"].value is True
    )
    assert checks["kptr_restrict"].value == 1 and checks["kptr_restrict"].needed_by == ()
    assert checks["Python packages"].needed_by == VERBS


BAD: list[tuple[dict[str, str | None], str, Any, str]] = [
    ({"proc/sys/kernel/osrelease": "5.7.19"}, "kernel", "5.7.19", "boot kernel 5.8 or newer"),
    ({"proc/sys/kernel/osrelease": "4.19.0-26"}, "kernel", "4.19.0-26", "boot kernel 5.8 or newer"),
    ({"sys/kernel/btf/vmlinux": None}, "BTF", None, "CONFIG_DEBUG_INFO_BTF=y"),
    (
        {"sys/kernel/security/lockdown": "none integrity [confidentiality]"},
        "lockdown",
        "confidentiality",
        "boot with lockdown=integrity",
    ),
    (
        {"sys/fs/cgroup/user.slice/memory.max": "67108864"},
        "memory",
        {"limit_bytes": 67108864, "available_bytes": 2048000000},
        "raise the cgroup's memory limit",
    ),
    (  # as in a container: the host's path, and the limit at the mounted folder
        {CGROUP: "4:memory:/docker/a\n", "proc/self/mounts": V1,
         "sys/fs/cgroup/m/memory.limit_in_bytes": "67108864\n"},
        "memory",
        {"limit_bytes": 67108864, "available_bytes": 2048000000},
        "raise the cgroup's memory limit",
    ),
    (
        {"proc/meminfo": "MemAvailable:    90000 kB\n"},
        "memory",
        {"limit_bytes": None, "available_bytes": 92160000},
        "free some memory",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "name", "value", "todo"), BAD)
def test_what_the_machine_lacks(
    examine: Callable[..., Any], changes: dict[str, str | None], name: str, value: Any, todo: str
) -> None:
    checks = examine(changes)
    assert [check.name for check in checks.values() if check.ok is False] == [name]
    assert checks[name].value == value
    assert not doctor.can_self_test(checks.values())
    code, verdict = told(checks)
    assert (code, verdict.ok) == (EX_UNAVAILABLE, False)
    assert todo in verdict.todo
    assert doctor.verdict("replay", list(checks.values()), None).ok is True


def test_a_lack_of_memory_keeps_even_the_compiler_from_being_looked_at(
    examine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "_bcc", lambda: pytest.fail("loads 90 MB"))
    monkeypatch.setattr(cli, "_structs_problem", lambda: pytest.fail("takes 60 MB"))
    checks = examine({"sys/fs/cgroup/user.slice/memory.max": "67108864"})
    assert checks["bcc"].ok is None and checks["kernel structs"].ok is None


def test_no_cgroup_limit_in_version_1_is_a_huge_number(examine: Callable[..., Any]) -> None:
    unlimited = {"sys/fs/cgroup/m/memory.limit_in_bytes": "9223372036854771712\n"}
    memory = examine({CGROUP: "4:memory:/\n", "proc/self/mounts": V1, **unlimited})["memory"]
    assert memory.ok is True and memory.value["limit_bytes"] is None


def with_capabilities(mask: int) -> dict[str, str | None]:
    return {STATUS: f"CapEff:\t{mask:016x}\nSeccomp:\t0\n"}


@pytest.mark.parametrize(
    ("numbers", "enough"),
    [((), False), ((39,), False), ((38,), False), ((38, 39), True), ((21,), True), ((19, 34), False)],
)
def test_capabilities(examine: Callable[..., Any], numbers: tuple[int, ...], enough: bool) -> None:
    checks = examine(with_capabilities(sum(1 << number for number in numbers)))
    assert checks["capabilities"].ok is enough
    assert doctor.can_self_test(checks.values()) is enough


def test_a_user_is_told_to_use_sudo(examine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    checks = examine(with_capabilities(0))
    assert told(checks) == (EX_NOPERM, doctor.Verdict("trace-fork", False, "sudo kintro doctor"))


def test_sudo_does_not_help_root(examine: Callable[..., Any]) -> None:
    code, verdict = told(examine(with_capabilities(0)))
    assert code == EX_NOPERM and verdict.todo.startswith("root lacks CAP_BPF and CAP_PERFMON here")


def test_the_oldest_kernel_that_will_do_and_one_without_process_events(examine: Callable[..., Any]) -> None:
    checks = examine({"proc/sys/kernel/osrelease": "5.8.0-1", "proc/net/connector": "Name  ID\n"})
    assert (checks["kernel"].ok, checks["proc connector"].value) == (True, False)


def test_what_is_lacking_comes_before_permission(examine: Callable[..., Any]) -> None:
    code, verdict = told(examine({**with_capabilities(0), "proc/sys/kernel/osrelease": "5.4.0"}))
    assert code == EX_UNAVAILABLE and verdict.todo.startswith("boot kernel 5.8")


def test_root_of_a_user_namespace_is_not_root(examine: Callable[..., Any]) -> None:
    code, verdict = told(examine({"proc/self/uid_map": "0 1000 1\n"}))
    assert code == EX_NOPERM and "outside of the user namespace" in verdict.todo


def test_a_pid_namespace_limits_what_can_be_traced_but_not_the_self_test(
    examine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    examine({".dockerenv": ""})
    monkeypatch.setattr(host, "INITIAL_PID_NAMESPACE", 1)
    checks = {check.name: check for check in cli.examine(VERBS, tmp_path)}
    assert checks["pid namespace"].value == {"initial": False, "container": "/.dockerenv"}
    assert doctor.can_self_test(checks.values())
    code, verdict = told(checks, doctor.SelfTest(lost=0))
    assert code == EX_UNAVAILABLE and verdict.todo.startswith("run kintro on the host")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "not shown, securityfs is not mounted"),
        (
            {"proc/cmdline": "a lockdown=confidentiality b"},
            "the kernel command line asks for confidentiality",
        ),
        ({"proc/cmdline": "nolockdown=integrity"}, "not shown, securityfs is not mounted"),
    ],
)
def test_lockdown_that_is_not_shown_is_unknown_until_the_self_test(
    examine: Callable[..., Any], changes: dict[str, str | None], said: str
) -> None:
    unmounted = MOUNTS.replace("securityfs /sys/kernel/security securityfs rw 0 0\n", "")
    checks = examine({**changes, "sys/kernel/security/lockdown": None, "proc/self/mounts": unmounted})
    check = checks["lockdown"]
    assert (check.ok, check.value) == (None, None) and check.shown.endswith(said)
    assert check.todo == "sudo mount -t securityfs none /sys/kernel/security"
    assert doctor.can_self_test(checks.values())
    assert (doctor.proven(check).ok, doctor.proven(check).todo) == (True, None)


def test_lockdown_asked_for_by_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    config = tmp_path / "proc/config.gz"
    config.write_bytes(gzip.compress(b"CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY=y\nCONFIG_PROC_EVENTS=y\n"))
    assert host.lockdown_asked(tmp_path) == ("integrity", "kernel configuration")
    assert (host.has_proc_connector(tmp_path), host.config_option("KPROBES", tmp_path)) == (True, "n")
    config.write_bytes(config.read_bytes()[:30])  # cut off
    assert host.lockdown_asked(tmp_path) is None and host.config_option("PROC_EVENTS", tmp_path) is None


@pytest.mark.parametrize("option", ["2", "invisible"])
def test_hidepid_is_a_note(examine: Callable[..., Any], option: str) -> None:
    checks = examine({"proc/self/mounts": MOUNTS.replace("rw,relatime", f"rw,hidepid={option}")})
    assert checks["hidepid"].value == option and "only root sees" in checks["hidepid"].shown
    assert told(checks, doctor.SelfTest(lost=0))[0] == 0


@pytest.mark.parametrize(
    ("answer", "seccomp", "may_trace", "ok", "todo"),
    [
        ("ENOSYS", False, True, False, "boot a kernel built with CONFIG_BPF_SYSCALL=y"),
        ("EPERM", True, True, False, "run kintro on the host, or in a container with --privileged"),
        ("EPERM", False, False, None, "sudo kintro doctor"),
        ("EINVAL", False, False, True, None),
    ],
)
def test_bpf(answer: str, seccomp: bool, may_trace: bool, ok: bool | None, todo: str | None) -> None:
    check = doctor.bpf_syscall(answer, seccomp, may_trace)
    assert (check.value, check.ok, check.todo) == (answer, ok, todo)
    assert ("seccomp" in check.shown) is seccomp


def test_where_nothing_can_be_read_nothing_is_claimed(examine: Callable[..., Any], tmp_path: Path) -> None:
    examine()
    checks = {check.name: check for check in cli.examine(VERBS, tmp_path / "empty")}
    assert {name for name, check in checks.items() if check.ok is False} == {"BTF", "capabilities"}
    for name in ("hidepid", "tracefs", "proc connector", "kptr_restrict"):
        assert (checks[name].value, checks[name].shown) == (None, "unknown")
    assert checks["lockdown"].shown == "unknown" and checks["memory"].ok is None


def test_the_text_fits_and_ends_with_what_to_do(
    examine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checks = list(examine({**with_capabilities(0), "proc/sys/kernel/osrelease": "5.4.0\x1b[2J"}).values())
    monkeypatch.setattr(cli, "examine", lambda verbs: checks)
    assert main(["doctor", "-o", str(tmp_path / "out")]) == EX_UNAVAILABLE
    text = (tmp_path / "out").read_text()
    assert max(map(len, text.splitlines())) <= 80 and "\x1b" not in text
    assert text.split("VERB")[1].split("\n")[1] == (
        "trace-fork      NOT OK   boot kernel 5.8 or newer, which has BPF ring buffers"
    )
    assert main(["doctor", "--json", "-o", str(tmp_path / "out")]) == EX_UNAVAILABLE
    document = json.loads((tmp_path / "out").read_text())
    assert (document["ok"], document["self_test"]) == (False, None)
    assert [verb["ok"] for verb in document["verbs"]] == [verb in doctor.OFFLINE for verb in VERBS]


def test_a_missing_package_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "kintro.observers.doctor", None)
    monkeypatch.delattr("kintro.observers.doctor")
    assert main(["doctor"]) == EX_UNAVAILABLE
    assert "script/install" in capsys.readouterr().err


def test_packages() -> None:
    check = doctor.packages({"numpy": "2.4", "shtab": None})
    assert (check.ok, check.shown, check.todo) == (
        False, "numpy 2.4, shtab MISSING", "install kintro: script/install"
    )  # fmt: skip


def test_bcc_that_cannot_be_loaded() -> None:
    check = doctor.bcc(None, ("bcc is not installed", "install it: sudo apt-get install python3-bpfcc"), True)
    assert (check.ok, check.shown) == (False, "bcc is not installed")
    assert check.todo == "install it: sudo apt-get install python3-bpfcc"


# The self-test's comparison: what the probe saw, here made up to agree, and then not to


BOOT_NS, TICK_NS = 5_000_000_123, 10_000_000
PIDS = range(100, 100 + cli.CHILDREN)
FORK = Fork(0, 0, 0, 0, 17, 0, 0, 42, 42, 42, 0, 0, b"kintro")
EXIT = Exit(*[0] * 13, 42, 1, 0, 32, b"kintro")
ARGV = [b"/bin/sh", b"-c", b"two words", b""]
COUNTS = {"forks": 24, "threads": 1, "kernel_forks": 25, "lost": 0}


def start_ns(pid: int) -> int:
    return pid * TICK_NS * 3


def stat(pid: int, comm: str) -> str:
    ticks = (start_ns(pid) + BOOT_NS) // TICK_NS
    return f"{pid} ({comm}) Z 42 {'0 ' * 17}{ticks} 0 0"


def agreeing() -> tuple[list[Any], doctor.Witness]:
    records: list[Any] = []
    for status, pid in enumerate(PIDS):
        records.append(FORK._replace(pid=pid, tid=pid, ns_pid=pid, start_time_ns=start_ns(pid)))
        records.append(EXIT._replace(pid=pid, tid=pid, wait_status=status << 8, start_time_ns=start_ns(pid)))
    records.append(FORK._replace(pid=200, tid=200, ns_pid=200, start_time_ns=start_ns(200)))
    records.append(Exec(0, start_ns(200), 200, 200, 42, 0, b"sh", b"/bin/sh", ARGV, False))
    records.append(FORK._replace(pid=300, ns_pid=300, ppid=7, creator_pid=7))  # somebody else's
    children = tuple((stat(pid, "kintro"), status << 8) for status, pid in enumerate(PIDS))
    shell = stat(200, "sh"), [argument.decode() for argument in ARGV]
    return records, doctor.Witness(42, children, shell, BOOT_NS, 100)


def test_the_self_test_passes_where_both_agree() -> None:
    records, witness = agreeing()
    for known in (witness, replace(witness, pid=None)):
        test = doctor.self_test(records, COUNTS, known)
        assert (test.ok, test.problem, test.exit_code) == (True, None, 0)


@pytest.mark.parametrize(
    ("at", "change", "wrong"),
    [
        (0, {"start_time_ns": start_ns(100) + 2 * TICK_NS}, "exits, start times, ticks, wait statuses"),
        (0, {"ns_pid": 999}, "pids"),
        (0, {"ppid": 1}, "parents"),
        (0, {"comm": b"n\xfc"}, "comms"),
        (1, {"wait_status": 9}, "wait statuses"),
        (1, {"process": 0}, "exits, wait statuses"),
        (-2, {"argv": ARGV[:-1]}, "exec: argv"),
        (-2, {"argv": None}, "exec: argv"),
        (-2, {"comm": b"bash"}, "exec: comm"),
        (-2, {"ppid": 41}, "exec: pid, ppid"),
        (-2, {"start_time_ns": start_ns(198)}, "exec: start time, ticks"),
        (-1, {"creator_pid": 42}, "forks, pids, start times, ticks, wait statuses, parents"),
    ],
)
def test_the_self_test_names_what_differs(at: int, change: dict[str, Any], wrong: str) -> None:
    records, witness = agreeing()
    records[at] = records[at]._replace(**change)
    test = doctor.self_test(records, COUNTS, witness)
    assert (test.problem, test.exit_code, test.todo) == (
        f"not as /proc has it: {wrong}", EX_SOFTWARE, doctor.REPORT
    )  # fmt: skip


def test_the_self_test_counts() -> None:
    records, witness = agreeing()
    missed = doctor.self_test(records, {**COUNTS, "kernel_forks": 26}, witness)
    assert missed.problem == "not as /proc has it: tasks, whole system"
    assert doctor.self_test(records, {**COUNTS, "kernel_forks": None}, witness).ok
    lost = doctor.self_test(records, {**COUNTS, "lost": 1}, witness)
    assert (lost.ok, lost.exit_code) == (False, EX_UNAVAILABLE)
    assert not doctor.self_test([], COUNTS, witness).ok


def test_the_parent_that_is_known_is_not_guessed() -> None:
    records, witness = agreeing()
    others = [r._replace(creator_pid=41) if isinstance(r, Fork) else r for r in records]
    assert doctor.self_test(others, COUNTS, witness).compared[0].probe == 0


# Parsers


@given(st.text(min_size=1, max_size=15).filter(lambda name: "\n" not in name))
def test_a_comm_may_be_anything(comm: str) -> None:
    assert host.parse_stat(stat(7, comm)) == (7, comm, 42, (start_ns(7) + BOOT_NS) // TICK_NS)


@pytest.mark.parametrize(
    ("name", "path", "version"),
    [
        ("libLLVM", "/usr/lib/x86_64-linux-gnu/libLLVM-14.so.1", "14"),
        ("libLLVM", "/usr/lib/llvm-19/lib/libLLVM.so.19.1", "19.1"),
        ("libbpf", "/usr/lib/x86_64-linux-gnu/libbpf.so.1.1.2", "1.1.2"),
        ("libLLVM", "/usr/lib/x86_64-linux-gnu/libbcc.so.0.26.0", None),
    ],
)
def test_library_version(name: str, path: str, version: str | None) -> None:
    assert host.library_version(name, f"7f00-7f01 r--p 0 fe:00 1  {path}\n") == version


def test_a_mount_point_with_a_space() -> None:
    assert host.parse_mounts("x /a\\040b tmpfs rw,size=1k 0 0\nshort\n") == [
        host.Mount("/a b", "tmpfs", ("rw", "size=1k"))
    ]
