"""Descriptors from a child, and what is told of one that hands none over. Here they are of files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kintro.errors import EX_NOPERM, EX_UNAVAILABLE, KintroError
from kintro.sources.handed_over import LINES_MAX, Loaded, handed_over

FAILED = "it cannot be loaded"


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def refusal(load: object) -> KintroError:
    before = descriptors()
    with pytest.raises(KintroError) as refused:
        handed_over(load, FAILED)  # type: ignore[arg-type]
    assert descriptors() == before
    return refused.value


def test_descriptors_by_their_names() -> None:
    def load() -> Loaded:
        programs = {f"program {i}": os.memfd_create(f"p{i}") for i in range(3)}
        return programs, {f"map {i}": os.memfd_create(f"m{i}") for i in range(40)}

    before = descriptors()
    programs, maps = handed_over(load, FAILED)
    links = {name: os.readlink(f"/proc/self/fd/{fd}").split()[0] for name, fd in (programs | maps).items()}
    assert links == {f"program {i}": f"/memfd:p{i}" for i in range(3)} | {
        f"map {i}": f"/memfd:m{i}" for i in range(40)
    }
    assert not any(os.get_inheritable(fd) for fd in (*programs.values(), *maps.values()))
    for fd in (*programs.values(), *maps.values()):
        os.close(fd)
    assert descriptors() == before


def test_its_error_with_what_was_printed(capfd: pytest.CaptureFixture[str]) -> None:
    def load() -> Loaded:
        os.write(1, b"to standard output\n")
        os.write(2, b"\n".join(b"line %d" % i for i in range(20)) + b"\n\n")
        raise KintroError("refused", "do that", EX_NOPERM)

    error = refusal(load)
    lines = ["refused", *(f"line {i}" for i in range(20 - LINES_MAX, 20))]
    assert (error.message, error.hint, error.exit_code) == ("\n    ".join(lines), "do that", EX_NOPERM)
    assert capfd.readouterr() == ("", "")


def test_what_is_printed_to_standard_output_is_told_too(capfd: pytest.CaptureFixture[str]) -> None:
    def load() -> Loaded:
        os.write(1, b"last words\n")
        os._exit(3)

    error = refusal(load)
    assert error.message == f"{FAILED}: the compiler ended with status 3\n    last words"
    assert error.exit_code == EX_UNAVAILABLE
    assert capfd.readouterr() == ("", "")


def test_gone_before_anyone_waits_for_it() -> None:
    """Where SIGCHLD is ignored a child that has ended is no process any more. Its own child holds the
    channel until then, so that the parent hears of the end only afterwards."""

    def load() -> Loaded:
        ours = os.getpid()
        if os.fork():
            os._exit(3)
        while Path(f"/proc/{ours}").exists():
            os.sched_yield()
        os._exit(0)

    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        error = refusal(load)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert error.message == f"{FAILED}: the compiler ended"


INTERRUPTED = """
import os, signal, sys, time
from kintro.sources import handed_over

fork = os.fork
def interrupted():
    pid = fork()
    if pid:
        print(pid, flush=True)
        os.kill(os.getpid(), signal.SIGINT)
    return pid
os.fork = interrupted
handed_over.handed_over(lambda: time.sleep(60), "")
"""


def test_interrupted_as_it_is_forked() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=30)
    assert done.returncode == -signal.SIGINT, done.stderr
    assert not Path(f"/proc/{int(done.stdout)}").exists()
