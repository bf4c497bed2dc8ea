"""What works on this machine: facts about it → a verdict for each fact and for each verb.

All here is pure: kintro.sources.host reads the facts, kintro.cli.doctor gathers and prints them. A check is
ok, not ok, or neither (None): a note that no verb depends on, or a fact that could not be found out.

The self-test compares what the lifecycle probe saw of known processes with what /proc and wait(2) say of
them. What it does not prove: the times, switches and faults in exit events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kintro.errors import EX_NOPERM, EX_SOFTWARE, EX_UNAVAILABLE
from kintro.observers.lifecycle_records import Exec, Exit, Fork
from kintro.sources import host

COMPILER_BYTES = 120_000_000  # resident after a compile, most of it LLVM
CAPABILITIES = ("CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYSLOG")

# What a verb needs, by the names of checks. A verb that is not among the offline ones traces.
TRACING = (
    "kernel", "BTF", "kernel structs", "bpf(2)", "lockdown", "capabilities", "bcc", "Python packages",
    "pid namespace", "memory",
)  # fmt: skip
_OFFLINE = ("tree", "ancestry", "pids", "cost", "replay", "doctor", "completion")
OFFLINE = dict.fromkeys(_OFFLINE, ("Python packages",))
LOADING = {*TRACING} - {"pid namespace"}  # that one keeps no probe from being loaded

SUDO = "sudo kintro doctor"
REPORT = "please report it with the output of: sudo kintro doctor --json"


@dataclass(frozen=True, slots=True)
class Check:
    """A fact and its verdict."""

    name: str
    value: Any
    ok: bool | None
    shown: str  # the value for people
    todo: str | None = None
    permission: bool = False  # whether it is only permission that is missing
    needed_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a verb works here, and if not the one thing to do."""

    verb: str
    ok: bool | None
    todo: str | None


@dataclass(frozen=True, slots=True)
class Compared:
    """What the probe saw, and what /proc or wait(2) says of the same."""

    name: str
    probe: Any
    proc: Any
    ok: bool


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What came of running the real probe on known processes."""

    compared: tuple[Compared, ...] = ()
    lost: int | None = None
    problem: str | None = None
    todo: str | None = None
    exit_code: int = 0

    @property
    def ok(self) -> bool:
        return self.exit_code == 0


@dataclass(frozen=True, slots=True)
class Witness:
    """What /proc and wait(2) said of the processes of a self-test."""

    pid: int | None  # of their parent; None if that is not its pid in the initial pid namespace
    children: tuple[tuple[str, int], ...]  # proc_pid_stat(5) and wait status of each
    shell: tuple[str, list[str]]  # proc_pid_stat(5) and argv
    boot_ns: int  # CLOCK_BOOTTIME minus CLOCK_MONOTONIC
    ticks_per_s: int  # SC_CLK_TCK


def needed(name: str, value: Any, ok: bool | None, shown: str, todo: str | None) -> Check:
    """A check that a verb depends on; `todo` counts only where it is not ok."""
    return Check(name, value, ok, shown, None if ok else todo)


def note(name: str, value: Any, shown: str | None = None) -> Check:
    """A fact that no verb depends on today."""
    return Check(name, value, None, "unknown" if value is None else shown or str(value))


def kernel(release: str) -> Check:
    ok = host.kernel_version(release)[:2] >= host.OLDEST_KERNEL
    return needed("kernel", release, ok, release, "boot kernel 5.8 or newer, which has BPF ring buffers")


def btf(size_bytes: int | None) -> Check:
    todo = "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y"
    shown = "no /sys/kernel/btf/vmlinux" if size_bytes is None else f"{size_bytes / 1e6:.1f} MB"
    return needed("BTF", size_bytes, size_bytes is not None, shown, todo)


def structs(problem: str | None, known: bool) -> Check:
    shown = problem or ("every member that the probes read is there" if known else "not looked at")
    ok = problem is None if known else None
    return needed("kernel structs", problem or (ok and "complete"), ok, shown, REPORT if problem else None)


def bpf_syscall(answer: str | None, seccomp: bool, may_trace: bool) -> Check:
    """`answer`: what bpf(2) says to a command that does not exist, see host.bpf_errno."""
    if answer in ("EINVAL", "OK"):
        return needed("bpf(2)", answer, True, "answers", None)
    if answer == "ENOSYS":
        todo = "boot a kernel built with CONFIG_BPF_SYSCALL=y"
        return needed("bpf(2)", answer, False, "this kernel has no such system call", todo)
    if may_trace and answer is not None:
        who = "a seccomp filter, it seems" if seccomp else "a security module, it seems"
        todo = "run kintro on the host, or in a container with --privileged"
        return needed("bpf(2)", answer, False, f"{answer}: forbidden by {who}", todo)
    return needed("bpf(2)", answer, None, f"{answer}, as root it may answer" if answer else "unknown", SUDO)


def lockdown(level: str | None, asked: tuple[str, str] | None, mounted: bool | None) -> Check:
    """`asked`: a level and by what; `mounted`: whether securityfs is."""
    if level is not None:
        todo = "boot with lockdown=integrity, or without lockdown="
        return needed("lockdown", level, level != "confidentiality", level, todo)
    if mounted:
        return needed("lockdown", "none", True, "none: this kernel has no lockdown", None)
    why = "not shown, securityfs is not mounted" if mounted is False else "unknown"
    if asked is not None:
        why += f"; the {asked[1]} asks for {asked[0]}"
    return needed("lockdown", None, None, why, "sudo mount -t securityfs none /sys/kernel/security")


def capabilities(mask: int, uid: int, initial_user_namespace: bool | None) -> Check:
    held = [name for name in CAPABILITIES if mask >> getattr(host, name) & 1]
    ok = "CAP_SYS_ADMIN" in held or {"CAP_BPF", "CAP_PERFMON"} <= set(held)
    shown, todo = " ".join(held) or "none of " + " ".join(CAPABILITIES), SUDO
    if ok and initial_user_namespace is False:
        ok, shown = False, f"{shown}, but only in a user namespace"
        todo = "run it as the machine's root, outside of the user namespace (a rootless container has one)"
    elif uid == 0:
        todo = "root lacks CAP_BPF and CAP_PERFMON here: run it on the host, or in a container with them"
    return replace(needed("capabilities", held, ok, shown, todo), permission=True)


def bcc(version: str | None, problem: tuple[str, str | None] | None, known: bool) -> Check:
    message, todo = problem or (None, None)
    shown = message or version or ("of unknown version" if known else "not looked at")
    return needed("bcc", version, problem is None if known else None, shown, todo or (message and REPORT))


def packages(versions: Mapping[str, str | None]) -> Check:
    missing = [name for name, version in versions.items() if version is None]
    shown = ", ".join(f"{name} {version or 'MISSING'}" for name, version in versions.items())
    return needed("Python packages", dict(versions), not missing, shown, "install kintro: script/install")


def pid_namespace(initial: bool | None, container: str | None) -> Check:
    """`container`: the file that tells of one."""
    shown = {True: "the machine's", False: "one of its own", None: "unknown"}[initial]
    value = {"initial": initial, "container": container}
    shown += f"; there is {container}, as in a container" if container else ""
    todo = "run kintro on the host: here it traces only the whole system, without -p and without a command"
    return needed("pid namespace", value, initial, shown, todo)


def memory(limit_bytes: int | None, available_bytes: int | None) -> Check:
    """`limit_bytes`: the cgroup's; None: it has none."""
    low = {b for b in (limit_bytes, available_bytes) if b is not None and b < COMPILER_BYTES}
    limit = "no cgroup limit" if limit_bytes is None else f"cgroup limit {limit_bytes / 1e6:.0f} MB"
    free = "unknown" if available_bytes is None else f"{available_bytes / 1e6:.0f} MB"
    todo = "raise the cgroup's memory limit" if limit_bytes in low else "free some memory"
    return needed(
        "memory",
        {"limit_bytes": limit_bytes, "available_bytes": available_bytes},
        not low if low or available_bytes is not None else None,
        f"{free} available, {limit}",
        f"{todo}: compiling a probe takes {COMPILER_BYTES / 1e6:.0f} MB",
    )


def tracefs(mounted: bool | None) -> Check:
    return note("tracefs", mounted, "mounted" if mounted else "not mounted, kintro does not need it")


def proc_connector(there: bool | None, error: str | None) -> Check:
    shown = ("there" + (f", but {error} to this user" if error else "")) if there else "not in this kernel"
    return note("proc connector", there, shown)


def hidepid(option: str | None) -> Check:
    if option in (None, "off", "0"):
        return note("hidepid", option, "off")
    return note("hidepid", option, f"{option}: only root sees the processes of others in /proc")


def with_verbs(found: Iterable[Check], verbs: Sequence[str]) -> list[Check]:
    """The checks with the verbs that need each."""
    wanted = {verb: OFFLINE.get(verb, TRACING) for verb in verbs}
    return [replace(check, needed_by=tuple(v for v in verbs if check.name in wanted[v])) for check in found]


def proven(check: Check) -> Check:
    """The check after a self-test that passed: it has read kernel memory, which `confidentiality` forbids."""
    if check.name != "lockdown" or check.ok is not None:
        return check
    return replace(check, ok=True, shown=f"{check.shown}; the self-test read kernel memory", todo=None)


def can_self_test(found: Iterable[Check]) -> bool:
    """Whether nothing is known that keeps a probe from being loaded."""
    return not any(check.ok is False and check.name in LOADING for check in found)


def verdict(verb: str, found: Iterable[Check], test: SelfTest | None) -> Verdict:
    """A tracing verb works when no check that it needs fails and the self-test has passed."""
    failing = [check for check in found if check.ok is False and verb in check.needed_by]
    if failing:
        return Verdict(verb, False, min(failing, key=lambda check: check.permission).todo)
    if verb in OFFLINE:
        return Verdict(verb, True, None)
    return Verdict(verb, test.ok, test.todo) if test else Verdict(verb, None, SUDO)


def exit_code(found: Iterable[Check], verdicts: Iterable[Verdict], test: SelfTest | None) -> int:
    """0 if all works; 69 if something is missing, 77 if only permission is; a failed self-test's own code."""
    if any(check.ok is False and check.needed_by and not check.permission for check in found):
        return EX_UNAVAILABLE
    if test is not None and not test.ok:
        return test.exit_code
    return 0 if all(item.ok for item in verdicts) else EX_NOPERM


def self_test(records: Sequence[Any], counts: Mapping[str, Any], witness: Witness) -> SelfTest:
    """Compares a whole-system trace's records with what is known of the processes made meanwhile."""
    stats = {stat[0]: stat for stat in (host.parse_stat(text) for text, _ in witness.children)}
    shell = host.parse_stat(witness.shell[0])
    forks = [r for r in records if isinstance(r, Fork) and r.kind in ("process", "vfork")]
    likely = Counter(fork.creator_pid for fork in forks if fork.ns_pid in stats).most_common(1)
    maker = witness.pid or (likely[0][0] if likely else None)
    shells = [fork.pid for fork in forks if fork.creator_pid == maker and fork.ns_pid == shell[0]]
    children = [fork for fork in forks if fork.creator_pid == maker and fork.pid not in shells]
    exits = {(r.pid, r.start_time_ns): r for r in records if isinstance(r, Exit) and r.process}
    ended = [exits.get((fork.pid, fork.start_time_ns)) for fork in children]
    program = next((r for r in records if isinstance(r, Exec) and r.pid in shells), None)

    def ticks(start_time_ns: int) -> int:
        return (start_time_ns + witness.boot_ns) * witness.ticks_per_s // 1_000_000_000

    pairs: list[tuple[str, Any, Any]] = [
        ("forks", len(children), len(stats)),
        ("exits", sum(end is not None for end in ended), len(stats)),
        ("pids", [fork.ns_pid for fork in children], list(stats)),
        ("comms", sorted({_text(f.comm) for f in children}), sorted({s[1] for s in stats.values()})),
        ("start times, ticks", [ticks(f.start_time_ns) for f in children], [s[3] for s in stats.values()]),
        ("wait statuses", [end and end.wait_status for end in ended], [s for _, s in witness.children]),
        ("exec: comm", program and _text(program.comm), shell[1]),
        ("exec: argv", program and [_text(argument) for argument in program.argv or ()], witness.shell[1]),
        ("exec: start time, ticks", program and ticks(program.start_time_ns), shell[3]),
    ]  # fmt: skip
    if witness.pid is not None:  # in a pid namespace of its own, /proc has other numbers for these
        pairs.append(("parents", sorted({f.ppid for f in children}), sorted({s[2] for s in stats.values()})))
        pairs.append(("exec: pid, ppid", program and [program.pid, program.ppid], [shell[0], shell[2]]))
    if counts["kernel_forks"] is not None:
        pairs.append(("tasks, whole system", counts["forks"] + counts["threads"], counts["kernel_forks"]))
    compared = tuple(Compared(name, probe, proc, _same(name, probe, proc)) for name, probe, proc in pairs)
    if lost := counts["lost"]:
        return SelfTest(compared, lost, "events were lost", "try again when less is going on", EX_UNAVAILABLE)
    wrong = [item.name for item in compared if not item.ok]
    if wrong:
        return SelfTest(compared, lost, f"not as /proc has it: {', '.join(wrong)}", REPORT, EX_SOFTWARE)
    return SelfTest(compared, lost)


def _same(name: str, probe: Any, proc: Any) -> bool:
    """Equal; of start times, at most a tick apart: the kernel reads its two clocks one after the other."""
    if "ticks" not in name or probe is None:
        return bool(probe == proc)
    ours, theirs = (value if isinstance(value, list) else [value] for value in (probe, proc))
    return len(ours) == len(theirs) and all(abs(a - b) <= 1 for a, b in zip(ours, theirs))


def _text(name: bytes) -> str:
    return name.decode(errors="backslashreplace")
