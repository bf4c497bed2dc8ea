"""Real programs under trace-syscalls and under strace: the same calls with the same outcomes.

Each runs twice, once under each. Compared are sets of (name, outcome): an error by its name, else the number
that was returned, but for calls that return addresses, ids or times. What is up to the scheduler or the clock
is left out, by name, below.
"""

from __future__ import annotations

import http.server
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import DEADLINE_S, environment
from .story import story

pytestmark = pytest.mark.kernel

# What they return is another number in each run.
VALUES = {
    "brk", "mmap", "mremap", "shmat", "arch_prctl", "set_tid_address", "clone", "clone3", "fork", "vfork",
    "getpid", "gettid", "getppid", "getpgid", "getpgrp", "setsid", "wait4", "waitid", "times",
    "recvfrom",  # of a stream: as much as has arrived
}  # fmt: skip
# So do reads of pipes and sockets, and in /proc there is more or less to tell.
PASSING = re.compile(r"/proc/|(pipe|socket):\[")
# How often threads and processes wait for each other, and what allocators do when.
TIMING = {
    "futex", "restart_syscall", "sched_yield", "poll", "ppoll", "select", "pselect6", "epoll_wait",
    "epoll_pwait", "nanosleep", "clock_nanosleep", "madvise", "munmap", "mprotect", "getrusage",
}  # fmt: skip
LINE = re.compile(
    rb"^(\d+) +(?:<\.\.\. )?(\w+)(?: resumed>|\().*\) += (\?|0x[0-9a-f]+|-?\d+)(?:<.*>)?(?: (E\w+))?"
)
FILE = re.compile(rb"^(\d+) +\w+\(\d+<([^>]*)>")

STREAMS = {"stdin": subprocess.DEVNULL, "capture_output": True}

Outcome = tuple[str, str]


def by_strace(tmp_path: Path, command: list[str], folder: Path, env: dict[str, str]) -> set[Outcome]:
    output = tmp_path / "strace.txt"
    words = ["strace", "-f", "-y", "-qq", "-e", "signal=none", "-o", str(output), *command]
    subprocess.run(words, cwd=folder, env=env, check=True, timeout=DEADLINE_S, **STREAMS)
    found = set()
    files: dict[str, str] = {}  # thread → what its present call's first descriptor is
    for line in output.read_bytes().splitlines():
        if begun := FILE.match(line):
            files[begun[1].decode()] = begun[2].decode(errors="replace")
        match = LINE.match(line)
        if match:
            tid, name, value, error = (part.decode() if part else "" for part in match.groups())
            found.add(told(name, error or number(value), files.pop(tid, "")))
        else:
            assert line.endswith(b"<unfinished ...>") or b"+++" in line, line
    return found


def number(text: str) -> str | None:
    """umask is octal, flags are hexadecimal."""
    if text == "?":
        return None
    return str(int(text, 8 if re.fullmatch("0[0-7]+", text) else 0))


def by_kintro(tmp_path: Path, command: list[str], folder: Path, env: dict[str, str]) -> set[Outcome]:
    words = [sys.executable, "-c", IN_FOLDER, str(folder), *command]
    seen = story(tmp_path, *words, options=["--as-root"], env=env)
    # From the command's own exec on, which is the second: the first is of what changes the folder.
    execs = [
        number for number, call in enumerate(seen.calls) if call["name"] == "execve" and call["ret"] == 0
    ]
    calls = seen.calls[execs[1] :]
    return {
        told(
            call["name"],
            call["errno"] or (None if call["ret"] is None else str(call["ret"])),
            call["files"].get("fd", ""),
        )
        for call in calls
    }


IN_FOLDER = "import os, sys; os.chdir(sys.argv[1]); os.execvp(sys.argv[2], sys.argv[2:])"


def told(name: str, outcome: str | None, file: str) -> Outcome:
    if name == "rt_sigreturn":  # strace takes the register that it restores for its result
        outcome = None
    varies = name in VALUES or (name == "read" and PASSING.match(file))
    if outcome is None or (varies and not outcome.startswith("E")):
        outcome = "returned" if outcome is not None else "never"
    return name, outcome


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "page").write_bytes(b"x" * 100_000)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_address[1]}/page"
        serving.shutdown()
        thread.join()


def prepared(program: str, folder: Path, server: str) -> list[str]:
    """What to run in a fresh folder."""
    if program == "make":
        names = [f"part{n}" for n in range(6)]
        for name in names:
            (folder / f"{name}.c").write_text(f"int {name}(void) {{ return 1; }}\n")
        (folder / "main.c").write_text("int main(void) { return 0; }\n")
        objects = " ".join(f"{name}.o" for name in ["main", *names])
        (folder / "Makefile").write_text(f"all: {objects}\n\tcc -o all {objects}\n")
        return ["make", "-j4"]
    if program == "git":
        (folder / "file").write_text("one\n")
        script = "git init -q && git add file && git commit -qm one && git log --oneline && git gc -q"
        return ["sh", "-c", script]
    if program == "pip":
        return [sys.executable, "-m", "pip", "--version"]
    if program == "node":
        return ["node", "-e", "require('fs').readFileSync('/etc/passwd'); console.log(1 + 1)"]
    return ["curl", "-s", "-o", str(folder / "page"), server]


@pytest.mark.parametrize("program", ["make", "git", "pip", "node", "curl"])
def test_the_same_outcomes_as_under_strace(tmp_path: Path, server: str, program: str) -> None:
    if shutil.which("strace") is None or (program != "pip" and shutil.which(program) is None):
        pytest.skip(f"strace or {program} is not installed")
    author = {
        f"GIT_{who}_{what}": "x@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    dates = {f"GIT_{who}_DATE": "2026-01-01T00:00:00Z" for who in ("AUTHOR", "COMMITTER")}
    env = environment(**author, **dates, HOME=str(tmp_path), PYTHONDONTWRITEBYTECODE="1")
    seen = []
    for number, trace in enumerate((by_kintro, by_strace, by_kintro)):
        folder = tmp_path / f"{program}{number}"
        folder.mkdir()
        seen.append(trace(tmp_path, prepared(program, folder, server), folder, env))
    ours, theirs, again = ({outcome for outcome in each if outcome[0] not in TIMING} for each in seen)
    assert len(theirs) > 40
    # What differs from one run of ours to the other is no difference to strace.
    assert theirs - ours - again == set()
    assert (ours & again) - theirs == set()
