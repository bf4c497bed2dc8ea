"""`kintro doctor`: what works on this machine, and what to do where not.

Gathers facts as any user; where tracing is permitted it also compiles the lifecycle probe, and runs it on
processes of its own. Cost: half a second; with the self-test a second and the memory of a compiler.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import subprocess
import textwrap
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kintro
from kintro.cli import tracing
from kintro.errors import EX_UNAVAILABLE, KintroError

if TYPE_CHECKING:
    from kintro.cli.output import Output
    from kintro.observers.doctor import Check, SelfTest, Verdict, Witness

HELP = "see what works on this machine, and what to do where not"
DESCRIPTION = """Says for each verb whether it works on this machine, and if not the one thing to do, with the
facts this depends on. Any user may run it. Where tracing is permitted (sudo) it also traces 23 processes and
a program of its own, and compares what it saw of them with what /proc says."""
EPILOG = """examples:
  kintro doctor               what can be told without root
  sudo kintro doctor          with the self-test: if it passes, tracing works
  sudo kintro doctor --json   one JSON document, to send along with a bug report

Exit codes: 0 all works, 69 the machine lacks something, 70 the self-test saw something wrong, 77 only
permission is missing."""

CHILDREN = 23
PACKAGES = ("numpy", "nanoarrow", "psutil", "tabulate", "wcwidth", "shtab", "jinja2")
SHELL = ("/bin/sh", "-c", "echo ready; read line", "kintro doctor", "two words", "")
ROOT = Path("/")
WIDTH = 80  # where there is no terminal


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    tracing.add_output_options(parser, "one JSON document")


def run(args: argparse.Namespace) -> int:
    try:
        return _examined(args)
    except ImportError as error:  # a package is missing or broken
        raise KintroError(str(error), "install kintro: script/install", EX_UNAVAILABLE) from error


def _examined(args: argparse.Namespace) -> int:
    from kintro.cli import VERBS
    from kintro.cli.output import Output
    from kintro.observers import doctor

    output = Output(args.output)
    checks = examine(VERBS)
    test = self_test() if doctor.can_self_test(checks) else None
    if test is not None and test.ok:
        checks = [doctor.proven(check) for check in checks]
    verdicts = [doctor.verdict(verb, checks, test) for verb in VERBS]
    code = doctor.exit_code(checks, verdicts, test)
    if args.json:
        from kintro.renderers import jsonl

        output.line(jsonl.line(as_json(checks, verdicts, test, code)))
    else:
        _print(output, checks, verdicts, test)
    output.flush()
    if output.error is not None:
        raise output.error
    return code


def examine(verbs: Sequence[str], root: Path = ROOT) -> list[Check]:
    """All checks of this machine; `root` is where its /proc, /sys and /boot are."""
    from kintro.observers import doctor
    from kintro.sources import host

    memory = doctor.memory(host.cgroup_memory_limit_bytes(root), host.memory_available_bytes(root))
    roomy = memory.ok is not False  # else a look at the compiler or the BTF could already be the end
    bcc, bcc_problem, maps = _bcc() if roomy else (None, None, "")
    mounts = host.mounts(root)
    btf_bytes = host.btf_bytes(root)
    namespace = host.pid_namespace(root=root)

    def mounted(kind: str) -> bool | None:
        return None if mounts is None else any(mount.kind == kind for mount in mounts)

    found = [
        doctor.kernel(host.read_text("proc/sys/kernel/osrelease", root) or host.kernel_release()),
        doctor.btf(btf_bytes),
        doctor.structs(_structs_problem() if btf_bytes and roomy else None, bool(btf_bytes and roomy)),
        doctor.bpf_syscall(host.bpf_errno(), host.seccomp_filtered(root), host.can_trace(root)),
        doctor.lockdown(host.lockdown(root), host.lockdown_asked(root), mounted("securityfs")),
        doctor.capabilities(host.capabilities(root), os.geteuid(), host.in_initial_user_namespace(root)),
        doctor.bcc(bcc, bcc_problem, roomy),
        doctor.packages({name: _package_version(name) for name in PACKAGES}),
        doctor.pid_namespace(
            None if namespace is None else namespace == host.INITIAL_PID_NAMESPACE, host.container(root)
        ),
        memory,
        doctor.note("LLVM", host.library_version("libLLVM", maps)),
        doctor.note("libbpf", host.library_version("libbpf", maps)),
        *(
            doctor.note(name, host.read_int(f"proc/sys/kernel/{name}", root))
            for name in ("unprivileged_bpf_disabled", "perf_event_paranoid", "kptr_restrict")
        ),
        doctor.tracefs(mounted("tracefs")),
        doctor.proc_connector(host.has_proc_connector(root), host.proc_connector_errno()),
        doctor.hidepid(host.hidepid(root)),
    ]
    return doctor.with_verbs(found, verbs)


def _bcc() -> tuple[str | None, tuple[str, str | None] | None, str]:
    """bcc's version, or why it cannot be loaded and what to do; and what is mapped with it loaded."""
    from kintro.sources import host

    version, problem = None, None
    try:
        from kintro.sources.bpf import load_bcc

        version = str(getattr(load_bcc(), "__version__", "")) or None
    except KintroError as error:
        problem = error.message, error.hint
    except ImportError as error:
        problem = f"cannot be looked for: {error}", None
    return version, problem, host.read_text("proc/self/maps") or ""


def _structs_problem() -> str | None:
    """Why the kernel structs that the probes read cannot be laid out; None if they can."""
    try:
        from kintro.sources.btf import kernel_btf
        from kintro.sources.headers import kernel_structs

        kernel_structs(kernel_btf())
    except Exception as error:  # whatever a damaged BTF leads to
        return str(error) if not isinstance(error, ImportError) else None  # `packages` tells of that
    return None


def _package_version(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def self_test() -> SelfTest:
    """Traces the whole system with the lifecycle probe while it makes the processes of a Witness."""
    from kintro.observers import doctor, lifecycle
    from kintro.observers.lifecycle_records import DECODE, PROBE, RECORDS
    from kintro.sources.bpf import Loading
    from kintro.sources.rows import Rows, records
    from kintro.sources.trace import Trace

    seen: list[Witness] = []
    begin, end = os.pipe()
    try:
        with Trace(Loading(PROBE, fresh=True), Rows(DECODE), lifecycle.settled) as trace:

            def work() -> None:  # called once all is attached, as its descriptor is readable
                os.read(begin, 1)
                seen.append(witness())
                trace.stop()

            os.write(end, b"!")
            trace.when_readable(begin, work)
            told = list(records(trace.rows(), RECORDS))
            assert trace.account is not None
            return doctor.self_test(told, lifecycle.tally(trace.account), seen[0])
    except KintroError as error:
        return doctor.SelfTest((), None, error.message, error.hint or doctor.REPORT, error.exit_code)
    except (OSError, ValueError) as error:
        return doctor.SelfTest((), None, f"cannot be run: {error}", doctor.REPORT, EX_UNAVAILABLE)
    finally:
        os.close(begin)
        os.close(end)


def witness() -> Witness:
    """Makes CHILDREN processes and one that executes a program, and reads of each what /proc says."""
    from kintro.observers.doctor import Witness
    from kintro.sources import host

    pids = []
    for number in range(CHILDREN):
        pid = os.fork()
        if pid == 0:
            os._exit(number)
        pids.append(pid)
    children = []
    for pid in pids:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # /proc has it until it is waited for
        stat = host.read_text(f"proc/{pid}/stat") or ""
        children.append((stat, os.waitpid(pid, 0)[1]))
    with subprocess.Popen(SHELL, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdout is not None
        shell.stdout.readline()
        stat = host.read_text(f"proc/{shell.pid}/stat") or ""
        argv = (host.read_text(f"proc/{shell.pid}/cmdline") or "").removesuffix("\0").split("\0")
        shell.communicate()
    return Witness(
        pid=os.getpid() if host.in_initial_pid_namespace() else None,
        children=tuple(children),
        shell=(stat, argv),
        boot_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC),
        ticks_per_s=os.sysconf("SC_CLK_TCK"),
    )


def _print(
    output: Output, checks: Sequence[Check], verdicts: Sequence[Verdict], test: SelfTest | None
) -> None:
    from kintro.renderers import terminal
    from kintro.renderers.text import fit, printable
    from kintro.shapes import Table

    width = min(output.width or WIDTH, 120)

    def state(ok: bool | None, unknown: str = "unknown") -> str:
        text, meaning = {True: ("ok", "good"), False: ("NOT OK", "bad"), None: (unknown, "faint")}[ok]
        return terminal.styled(text, meaning, output.colour)

    def room(names: Sequence[str]) -> int:
        """Cells that are left for the third column."""
        return max(20, width - max(len(name) for name in names) - len("  NOT OK    "))

    def wrapped(cells: int, *texts: str | None) -> str:
        return "\n".join(printable(part) for text in texts if text for part in textwrap.wrap(text, cells))

    def table(rows: Sequence[tuple[str, ...]], *columns: str) -> None:
        titles = tuple(terminal.styled(column, "title", output.colour) for column in columns)
        for line in ("", *terminal.table(Table(titles, tuple(rows))).splitlines()):
            output.line(line.rstrip())

    output.line(f"kintro {kintro.__version__}, Python {platform.python_version()}, {platform.machine()}")
    cells = room([check.name for check in checks])
    rows = []
    for check in checks:
        shown = wrapped(cells, check.shown, check.todo and f"→ {check.todo}")
        rows.append((check.name, state(check.ok, "unknown" if check.needed_by else "note"), shown))
    table(rows, "CHECK", "STATE", "VALUE")
    if test is not None:
        if test.compared:
            half = room([item.name for item in test.compared]) // 2 - 1
            table(
                [
                    (item.name, state(item.ok), fit(_short(item.probe), half), fit(_short(item.proc), half))
                    for item in test.compared
                ],
                *("SELF-TEST", "STATE", "THE PROBE SAW", "/PROC SAYS"),
            )
        outcome = test.problem or f"passed, {test.lost} events lost"
        output.line("")
        output.line(wrapped(width, f"Self-test: {outcome}."))
    cells = room([item.verb for item in verdicts])
    table([(i.verb, state(i.ok), wrapped(cells, i.todo)) for i in verdicts], "VERB", "STATE", "TO DO")


def _short(value: Any) -> str:
    """A value in few words: of a long list the first and the last, arguments as for a shell."""
    from kintro.renderers.text import printable

    if value is None:
        return "nothing"
    if not isinstance(value, list):
        return printable(str(value))
    if any(isinstance(item, str) for item in value):
        return printable(shlex.join(value))
    return " ".join(str(item) for item in (value if len(value) < 4 else (value[0], "…", value[-1])))


def as_json(
    checks: Sequence[Check], verdicts: Sequence[Verdict], test: SelfTest | None, code: int
) -> dict[str, Any]:
    names = ("name", "value", "ok", "needed_by", "todo")
    return {
        "type": "doctor",
        "kintro": kintro.__version__,
        "ok": code == 0,
        "kernel": platform.release(),
        "machine": platform.machine(),
        "checks": [{name: getattr(check, name) for name in names} for check in checks],
        "verbs": [asdict(item) for item in verdicts],
        "self_test": {"ok": test.ok, **asdict(test)} if test is not None else None,
    }
