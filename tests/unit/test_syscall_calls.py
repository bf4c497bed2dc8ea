"""What is told of calls that really are made, and beside it what strace tells."""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from calls_told import BASE, build, told

from kintro.observers.syscall_signatures import (
    BYTES_AT,
    BYTES_IN,
    BYTES_OUT,
    FIXED_IN,
    FIXED_OUT,
    SIZED_IN,
    SIZED_OUT,
    STRING,
    arguments,
    signatures,
)
from kintro.observers.syscall_values import Call, text
from kintro.sources.syscall_names import syscall_names

MACHINE = os.uname().machine
NUMBERS = {name: number for number, name in syscall_names().items()}
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
on_x86 = pytest.mark.skipif(MACHINE != "x86_64", reason="the calls of the test are x86-64's")


class Buffer:
    """Memory that a call gets a pointer to."""

    def __init__(self, data: bytes | int) -> None:
        self.memory = ctypes.create_string_buffer(data, data if isinstance(data, int) else len(data) + 1)
        self.address = ctypes.addressof(self.memory)

    def __int__(self) -> int:
        return self.address


def made(name: str, *given: Any) -> Call:
    """The call, with what its signature asks for captured in the way the probe does it."""
    registers = [int(word) & (1 << 64) - 1 for word in given] + [0] * (6 - len(given))
    signature = signatures(MACHINE)[name]
    captured = {}

    def capture(kinds: set[int], lengths: list[int]) -> None:
        for at, argument in enumerate(signature.arguments):
            if argument.capture not in kinds or not registers[at]:
                continue
            size, number = argument.size, lengths[argument.which]
            if argument.capture in (BYTES_IN, BYTES_OUT):
                size *= number
            elif argument.capture in (SIZED_IN, SIZED_OUT):
                size = min(size, number)
            elif argument.capture == BYTES_AT:
                size = min(size, struct.unpack("=I", ctypes.string_at(registers[argument.which], 4))[0])
            data = ctypes.string_at(registers[at], size)
            captured[at] = ctypes.string_at(registers[at]) + b"\0" if argument.capture == STRING else data

    capture({STRING, BYTES_IN, FIXED_IN, SIZED_IN}, registers)
    returned = libc.syscall(NUMBERS[name], *(ctypes.c_ulong(word) for word in registers))
    assert returned >= 0, os.strerror(ctypes.get_errno())
    capture({BYTES_OUT, FIXED_OUT, SIZED_OUT, BYTES_AT}, [*registers, returned])
    return Call(registers, captured, returned)


def shown(name: str, *given: Any) -> dict[str, Any]:
    return arguments(signatures(MACHINE)[name], made(name, *given))


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, two = socket.socketpair()
    with one, two:
        yield one, two


def test_stat(tmp_path: Path) -> None:
    path = tmp_path / "fileä"
    path.write_bytes(bytes(12345))
    path.chmod(0o4640)
    at = Buffer(os.fsencode(path))
    wanted = {"st_mode": "S_IFREG|S_ISUID|0640", "st_size": 12345}
    assert shown("newfstatat", -100, at, Buffer(256), 0x100) == {
        "dirfd": "AT_FDCWD", "pathname": os.fsencode(path), "statbuf": wanted, "flags": "AT_SYMLINK_NOFOLLOW",
    }  # fmt: skip
    with path.open() as file:
        assert shown("fstat", file.fileno(), Buffer(256))["statbuf"] == wanted
    told = shown("statx", -100, at, 0, 0x203, Buffer(256))
    assert (told["flags"], told["mask"]) == ("AT_STATX_SYNC_AS_STAT", "STATX_TYPE|STATX_MODE|STATX_SIZE")
    assert {**told["statxbuf"], "stx_mask": ""} == {
        "stx_mask": "", "stx_mode": "S_IFREG|S_ISUID|0640", "stx_size": 12345,
    }  # fmt: skip
    assert shown("statfs", Buffer(b"/proc"), Buffer(256))["buf"]["f_type"] == "PROC_SUPER_MAGIC"


def test_reading_and_links(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    told = shown("readlinkat", -100, Buffer(os.fsencode(tmp_path / "link")), Buffer(64), 64)
    assert told["buf"] == b"target"
    cwd = made("getcwd", Buffer(4096), 4096)
    assert arguments(signatures(MACHINE)["getcwd"], cwd) == {"buf": os.getcwdb(), "size": 4096}
    reader, writer = os.pipe()
    assert shown("write", writer, Buffer(b"hello\n"), 6) == {"fd": writer, "buf": b"hello\n", "count": 6}
    call = made("read", reader, Buffer(64), 64)
    assert arguments(signatures(MACHINE)["read"], call)["buf"] == b"hello\n"
    short = call._replace(captured={1: b"hel"})
    assert text(arguments(signatures(MACHINE)["read"], short)["buf"]) == '"hel"...'
    os.close(reader)
    os.close(writer)


def test_sockets(pair: tuple[socket.socket, socket.socket]) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(b"\0kintro-args")
        told = shown("getsockname", server.fileno(), Buffer(128), Buffer(struct.pack("=I", 128)))
        assert told["addr"] == {"sa_family": "AF_UNIX", "sun_path": b"\0kintro-args"}
        assert told["addrlen"] == [14]
    with socket.socket(socket.AF_INET6) as server:
        server.bind(("::1", 0))
        told = shown("getsockname", server.fileno(), Buffer(128), Buffer(struct.pack("=I", 128)))
        port = server.getsockname()[1]
        assert (told["addr"]["sin6_addr"], told["addr"]["sin6_port"]) == ("::1", port)
    fd = pair[0].fileno()
    told = shown("getsockopt", fd, 1, 17, Buffer(32), Buffer(struct.pack("=I", 32)))
    assert told["optname"] == "SO_PEERCRED"
    assert told["optval"] == {"pid": os.getpid(), "uid": os.getuid(), "gid": os.getgid()}
    told = shown("setsockopt", fd, 1, 9, Buffer(struct.pack("=I", 1)), 4)
    assert (told["level"], told["optname"], told["optval"]) == ("SOL_SOCKET", "SO_KEEPALIVE", [1])
    told = shown("sendto", fd, Buffer(b"hi"), 2, 0x4000, 0, 0)
    assert text(told) == f'{{sockfd={fd}, buf="hi", size=2, flags=MSG_NOSIGNAL, dest_addr=NULL, addrlen=0}}'


@on_x86
def test_waiting(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].send(b"x")
    fd = pair[0].fileno()
    told = shown("poll", Buffer(struct.pack("=iHH", fd, 0x5, 0)), 1, 0)
    assert told == {"fds": [{"fd": fd, "events": "POLLIN|POLLOUT", "revents": "POLLIN|POLLOUT"}], "nfds": 1,
                    "timeout": 0}  # fmt: skip
    with select.epoll() as epoll:
        event = Buffer(struct.pack("=IQ", 0x80000001, 7))
        told = shown("epoll_ctl", epoll.fileno(), 1, fd, event)
        assert (told["op"], told["event"]) == ("EPOLL_CTL_ADD", {"events": "EPOLLIN|EPOLLET", "data": "0x7"})
        told = shown("epoll_wait", epoll.fileno(), Buffer(128), 8, 0)
        assert told["events"] == [{"events": "EPOLLIN", "data": "0x7"}]
    bits = bytearray(128)
    bits[fd // 8] |= 1 << fd % 8
    told = shown("select", fd + 1, Buffer(bytes(bits)), 0, 0, Buffer(struct.pack("=qq", 1, 5)))
    assert (told["readfds"], told["timeout"]) == ([fd], {"tv_sec": 1, "tv_usec": 5})


@pytest.mark.parametrize(
    ("end", "wanted"),
    [
        (lambda: os._exit(3), "{WIFEXITED(s) && WEXITSTATUS(s) == 3}"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "{WIFSIGNALED(s) && WTERMSIG(s) == SIGKILL}"),
        (lambda: os.kill(os.getpid(), signal.SIGSTOP), "{WIFSTOPPED(s) && WSTOPSIG(s) == SIGSTOP}"),
    ],
)
def test_how_a_child_ended(end: Callable[[], None], wanted: str) -> None:
    pid = os.fork()
    if pid == 0:
        end()
        os._exit(0)
    told = shown("wait4", pid, Buffer(4), 2, 0)
    assert told == {"pid": pid, "wstatus": [wanted], "options": "WUNTRACED", "rusage": None}
    if "STOPPED" in wanted:
        os.kill(pid, signal.SIGKILL)
        again = made("waitid", 1, pid, Buffer(128), 4, 0)
        assert arguments(signatures(MACHINE)["waitid"], again)["infop"] == {
            "si_signo": "SIGCHLD", "si_code": "CLD_KILLED", "si_pid": pid, "si_uid": os.getuid(),
            "si_status": 9,
        }  # fmt: skip


def test_the_system() -> None:
    wanted = {f"{name}name": value.encode() for name, value in zip(("sys", "node"), os.uname())}
    assert shown("uname", Buffer(390))["buf"].items() >= wanted.items()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    told = shown("prlimit64", 0, resource.RLIMIT_NOFILE, 0, Buffer(16))
    assert told["resource"] == "RLIMIT_NOFILE"
    assert told["old_limit"] == {"rlim_cur": soft, "rlim_max": hard}
    assert shown("sched_getaffinity", 0, 128, Buffer(128))["mask"] == sorted(os.sched_getaffinity(0))
    told = shown("rt_sigaction", signal.SIGINT, 0, Buffer(32), 8)
    assert told["signum"] == "SIGINT" and told["act"] is None
    assert told["oldact"]["sa_flags"].startswith("SA_RESTORER")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGCHLD})
    try:
        told = shown("rt_sigprocmask", 0, 0, Buffer(8), 8)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert told["oldset"] == "[USR1 CHLD]"


# Calls that are refused: what strace tells of the same memory


@on_x86
def test_memory_is_told_as_strace_does(tmp_path: Path) -> None:
    timespec, two = struct.pack("=qq", 1, 500), struct.pack("=qqqq", 0, 0, 3, 4)
    samples: list[tuple[str, bytes, list[int]]] = [
        ("nanosleep", timespec, [BASE, 0]),
        ("clock_nanosleep", timespec, [1, 1, BASE, 0]),
        ("timerfd_settime", two, [3, 1, BASE, 0]),
        ("setitimer", two, [0, BASE, 0]),
        ("rt_sigprocmask", struct.pack("=Q", 1 << 1 | 1 << 16), [0, BASE, 0, 8]),
        ("futex", timespec, [0x1234, 128, 2, BASE]),
        ("futex", b"", [0x1234, 129, 1]),
        ("futex", b"", [0x1234, 4, 1, 5, 0x5678, 9]),
        ("openat", b"/etc/\n\xff\0", [-100, BASE, 0o2000000]),
        ("openat", b"/x\0", [-100, BASE, 0o101, 0o640]),
        ("mkdirat", b"/x\0", [7, BASE, 0o755]),
        ("connect", struct.pack("=H", 1) + b"/run/x\0", [3, BASE, 9]),
        ("socketpair", b"", [1, 0o2000001, 0, 0]),
        ("shutdown", b"", [3, 2]),
        ("mremap", b"", [0x5000, 4096, 8192, 1]),
        ("munmap", b"", [0x5000, 4096]),
        ("fcntl", b"", [3, 1]),
        ("fcntl", b"", [3, 2, 1]),
        ("fcntl", b"", [3, 1030, 10]),
        ("fcntl", struct.pack("=hhiqqi", 1, 0, 0, 5, 6, 0), [3, 6, BASE]),
        ("setsockopt", struct.pack("=i", 1), [3, 1, 2, BASE, 4]),
        ("setsockopt", struct.pack("=ii", 1, 5), [3, 1, 13, BASE, 8]),
        ("kill", b"", [-1, 9]),
        ("tgkill", b"", [10, 11, 6]),
        ("wait4", b"", [-1, 0, 1, 0]),
        ("dup2", b"", [3, -1]),
        ("unlinkat", b"a\0", [-100, BASE, 0x200]),
        ("ioctl", b"", [3, 0x5451]),
        ("write", b"0123456789" * 4, [1, BASE, 40]),
        ("poll", b"", [0, 0, -1]),
        ("lseek", b"", [3, -5, 1]),
        ("pread64", b"", [3, 0, 10, 1 << 40]),
        ("ftruncate", b"", [3, 1 << 33]),
        ("sendfile", struct.pack("=q", 77), [1, 3, BASE, 10]),
        ("prctl", b"name\0", [15, BASE]),
        ("prctl", b"", [1, 15]),
        ("getrandom", b"", [0, 10, 1]),
        ("clone3", b"", [0, 0]),
        ("exit", b"", [3]),
    ]
    calls, memory = [], b""
    for name, data, given_registers in samples:
        at = BASE + len(memory)
        calls.append((NUMBERS[name], [at if word == BASE else word for word in given_registers]))
        memory += data.ljust(64, b"\0")
    theirs = told(build(tmp_path), calls, memory)
    ours = []
    for (name, data, _), (_, registers) in zip(samples, calls):
        words = [word & (1 << 64) - 1 for word in registers] + [0] * (6 - len(registers))
        captured = {at: data for at, word in enumerate(words) if data and word >= BASE and word >> 32 == 0}
        signature = signatures(MACHINE)[name]
        values = arguments(signature, Call(words, captured))
        ours.append(f"{name}({', '.join(text(value) for value in values.values())})")
    assert ours == theirs
