"""Runs kintro as a user does, and reads what it and the workloads wrote.

What the counts of a summary mean, with a command: the command itself was forked by kintro before the trace
began, so it is no fork; its exec and its exit are one exec and one exit. So exits = forks + 1 when all has
ended. Threads are always counted, and shown with --threads.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KINTRO = str(Path(sys.executable).with_name("kintro"))
WORKLOADS = Path(__file__).parent / "workloads"
NOBODY = 65534
DEADLINE_S = int(os.environ.get("KINTRO_DEADLINE_S", "60"))  # an emulated CPU needs more
SUMMARY = "summary"


def environment(**more: str) -> dict[str, str]:
    """This environment, without a sudo that called the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SUDO_")} | more


def kintro(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Runs `kintro ARGUMENTS …` to its end."""
    options.setdefault("env", environment())
    options.setdefault("stdin", subprocess.DEVNULL)
    options.setdefault("timeout", DEADLINE_S)
    if "stdout" not in options and "stderr" not in options:
        options["capture_output"] = True
    return subprocess.run([KINTRO, *map(str, arguments)], **options)


def changed(module: str, change: str) -> list[str]:
    """The command line of a kintro where a limit of a module is another one: `change` assigns to its name."""
    lines = f"import {module} as module", change, "import sys; from kintro.cli import main; sys.exit(main())"
    return [sys.executable, "-c", "\n".join(lines)]


def kintro_with(module: str, change: str, *arguments: str | Path) -> None:
    """Runs `kintro ARGUMENTS …` so changed."""
    command = [*changed(module, change), *map(str, arguments)]
    subprocess.run(command, check=True, timeout=DEADLINE_S, env=environment())


@contextmanager
def running(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process beside the test; killed at the end if it is still there."""
    options.setdefault("env", environment())
    process = subprocess.Popen(list(map(str, command)), **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        process.wait()


def tracing(output: Path, *options: str | Path, **popen: Any) -> Any:
    """`kintro trace-fork --json -o OUTPUT OPTIONS …` beside the test."""
    popen.setdefault("stdin", subprocess.DEVNULL)
    popen.setdefault("stderr", subprocess.PIPE)
    return running([KINTRO, "trace-fork", "--json", "-o", output, *options], **popen)


def program(name: str, *arguments: str | Path) -> list[str]:
    """The command line of a workload. -S -E: it starts in 10 ms and is the same everywhere."""
    return [sys.executable, "-S", "-E", str(WORKLOADS / f"{name}.py"), *map(str, arguments)]


def wait_for(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S / 3) -> Any:
    """The first true value of `condition`, asked again and again."""
    end = time.monotonic() + deadline_s
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {deadline_s} s for {what}"
        time.sleep(0.002)
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def strictly(line: bytes | str) -> dict[str, Any]:
    """A line of JSON as any parser reads it: ASCII, no NaN, an object."""
    text = line.decode("ascii") if isinstance(line, bytes) else line
    value = json.loads(text, parse_constant=_refuse)
    assert isinstance(value, dict)
    return value


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [strictly(line) for line in path.read_bytes().splitlines()]


@dataclass
class Seen:
    """What a trace told."""

    events: list[dict[str, Any]]
    summary: dict[str, Any] = field(default_factory=dict)
    status: int | None = None
    stderr: str = ""

    def of(self, kind: str, /, **wanted: Any) -> list[dict[str, Any]]:
        """Events of a type whose fields have these values."""
        return [
            event
            for event in self.events
            if event["type"] == kind and all(event[name] == value for name, value in wanted.items())
        ]

    def only(self, kind: str, /, **wanted: Any) -> dict[str, Any]:
        (event,) = self.of(kind, **wanted)
        return event

    @property
    def forks(self) -> list[dict[str, Any]]:
        return [event for event in self.of("fork") if event["kind"] != "thread"]

    def assert_whole(self) -> None:
        """Nothing was lost, and the events are as many as the kernel-side counters say."""
        assert (self.summary["lost"], self.summary["complete"]) == (0, True), self.summary
        seen = {
            "forks": len(self.forks),
            "execs": len(self.of("exec")),
            "reparents": len(self.of("reparent")),
        }
        seen["exits"] = len(self.of("exit", process=True))
        assert seen == {name: self.summary[name] for name in seen}


def seen_in(path: Path, status: int | None = None, stderr: bytes = b"") -> Seen:
    """What `--json` wrote to a file that has its summary."""
    *events, summary = json_lines(path)
    assert summary["type"] == SUMMARY
    return Seen(events, summary, status, stderr.decode())


@dataclass
class Ledger:
    """What a workload says it did, by the roles it gave its processes (workloads/ledger.py)."""

    entries: list[dict[str, Any]]

    def of(self, what: str) -> dict[str, dict[str, Any]]:
        """Role → the note of that name; each role has at most one."""
        found = [entry for entry in self.entries if entry["what"] == what]
        by_role = {entry["role"]: entry for entry in found}
        assert len(by_role) == len(found)
        return by_role

    @property
    def pids(self) -> dict[str, int]:
        return {role: entry["pid"] for role, entry in self.of("born").items()}


def trace(tmp_path: Path, command: Sequence[str], *options: str, **run: Any) -> Seen:
    """Traces a command to its end."""
    output = tmp_path / "events.jsonl"
    done = kintro("trace-fork", "--json", "-o", output, *options, "--", *command, **run)
    assert output.exists(), done
    return seen_in(output, done.returncode, done.stderr or b"")


def trace_workload(tmp_path: Path, name: str, *arguments: str, options: Sequence[str] = ()) -> Any:
    """(what kintro saw, what the workload did)"""
    path = tmp_path / "ledger.jsonl"
    seen = trace(tmp_path, program(name, path, *arguments), *options)
    assert seen.status == 0, seen.stderr
    return seen, Ledger(json_lines(path))


def end_of(process: subprocess.Popen[bytes], timeout_s: float = 20) -> tuple[int, str]:
    """Exit status and stderr of a process that is about to end."""
    _, stderr = process.communicate(timeout=timeout_s)
    return process.returncode, (stderr or b"").decode()


def first_fork(path: Path) -> Callable[[], bool]:
    """A condition: a fork has been written to the file."""
    return lambda: path.exists() and b'"type":"fork"' in path.read_bytes()


def interrupt(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    process.send_signal(signal.SIGINT)
    return end_of(process)


def as_nobody() -> Mapping[str, Any]:
    """Popen options: without root."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


def wait_for_attached(tracer: subprocess.Popen[bytes], links: int = 4) -> None:
    """Until its rings are being waited for: descriptors of raw tracepoints are there, and it sleeps.

    `links`: how many tracepoints its probe is attached to.
    """

    def attached() -> bool:
        found = 0
        for fd in Path(f"/proc/{tracer.pid}/fd").iterdir():
            try:
                found += "bpf_link" in os.readlink(fd) or "bpf-raw-tracepoint" in os.readlink(fd)
            except OSError:
                continue
        return found >= links and ") S " in Path(f"/proc/{tracer.pid}/stat").read_text()

    wait_for(attached, "kintro to attach")
    time.sleep(0.2)  # for the scan of /proc behind it, which finds those that are there already
