"""Child processes with a known address space, for the tests of /proc."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PREAMBLE = """
import ctypes, json, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p] + [ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]

def say(value):
    print(json.dumps(value), flush=True)

def lay(pages, prot=3, flags=0x22, fd=-1, at=None, offset=0):
    address = libc.mmap(at, pages * 4096, prot, flags, fd, offset)
    if address == 2**64 - 1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return address
"""


@contextmanager
def child(code: str, *args: str | bytes, stopped: bool = True) -> Iterator[tuple[subprocess.Popen, Any]]:
    """A Python process that ran `code`; and what it has said. It waits in a read of its stdin."""
    argv = [sys.executable, "-I", "-S", "-c", f"{PREAMBLE}\n{code}\nsys.stdin.readline()", *args]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said, "the child has failed"
        if stopped:
            process.send_signal(signal.SIGSTOP)
            wait_for(lambda: stopped_threads(process.pid))
        yield process, json.loads(said)
    finally:
        process.kill()
        process.communicate()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0].decode()


def stopped_threads(pid: int) -> bool:
    """Whether all threads have stopped: not at the same time."""
    return all(state(int(tid)) == "T" for tid in os.listdir(f"/proc/{pid}/task"))


def wait_for(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)


@contextmanager
def zombie() -> Iterator[int]:
    pid = os.fork()
    if pid == 0:
        os._exit(3)
    try:
        wait_for(lambda: state(pid) == "Z")
        yield pid
    finally:
        os.waitpid(pid, 0)


@contextmanager
def open_folder() -> Iterator[Path]:
    """An empty folder that every user may look into; pytest's are for one user only."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def in_a_fork(function: Callable[[], Any]) -> Any:
    """What the function returns, as JSON can tell it, when a process of its own calls it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = json.dumps(function())
        except BaseException as error:
            answer = json.dumps(f"raised {error!r}")
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(said)


def as_nobody(function: Callable[[], Any]) -> Any:
    """As in_a_fork, without privileges."""

    def unprivileged() -> Any:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        return function()

    return in_a_fork(unprivileged)
