"""Loads programs and maps in a child, which hands their descriptors over (SCM_RIGHTS, unix(7)).

What the child prints is not seen on the terminal, and should it be ended, by a library or by a fault, then
only it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from kintro.errors import EX_UNAVAILABLE, KintroError

Loaded = tuple[dict[str, int], dict[str, int]]  # programs and maps, name → descriptor

LINES_MAX = 12  # of what was printed last
_BYTES_MAX, _FDS_MAX = 1 << 16, 253  # of a message: SCM_MAX_FD, include/net/scm.h


def handed_over(load: Callable[[], Loaded], failed: str) -> Loaded:
    """What `load` has loaded in a child.

    Raises its KintroError, or one (69) that says `failed` if the child was ended, with the last lines that
    were printed there.
    """
    ours, childs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, childs, open(os.memfd_create("stderr"), "w+b") as said:
        pid = _forked(load, childs, said.fileno())
        childs.close()
        status: int | None = None
        try:
            answer, fds = _received(ours)
        finally:
            # Where SIGCHLD is ignored it may be gone by itself, and nobody learns how it ended.
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)  # if it has not ended
                status = os.waitpid(pid, 0)[1]
        said.seek(0)
        printed = said.read().decode(errors="backslashreplace").splitlines()
    if fds:
        programs, maps = json.loads(answer)
        return dict(zip(programs, fds, strict=False)), dict(zip(maps, fds[len(programs) :], strict=True))
    ended = f"{failed}: the compiler ended"
    if status is not None:
        ended += f" with status {os.waitstatus_to_exitcode(status)}"
    message, hint, code = json.loads(answer) if answer else (ended, None, EX_UNAVAILABLE)
    lines = [line for line in printed if line.strip()][-LINES_MAX:]
    raise KintroError("\n    ".join([message, *lines]), hint, code)


def _received(channel: socket.socket) -> tuple[bytes, list[int]]:
    """A message and its descriptors, which no other program is to inherit.

    socket.recv_fds does not pass its flags on (cpython, Lib/socket.py).
    """
    room = socket.CMSG_LEN(_FDS_MAX * 4)
    message, parts, flags, _ = channel.recvmsg(_BYTES_MAX, room, socket.MSG_CMSG_CLOEXEC)
    fds = [fd for _, _, part in parts for (fd,) in struct.iter_unpack("=i", part)]
    if flags & socket.MSG_CTRUNC:
        for fd in fds:
            os.close(fd)
        raise KintroError("cannot take over the descriptors of a probe", "raise `ulimit -n`", EX_UNAVAILABLE)
    return message, fds


def _forked(load: Callable[[], Loaded], channel: socket.socket, stderr: int) -> int:
    """The child's pid. Signals are not for the child: who stops kintro has it killed by that."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if not pid:
            _hand_over(load, channel, stderr)
        return pid
    except OSError as error:
        raise KintroError(f"cannot start a process: {error.strerror}", None, EX_UNAVAILABLE) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _hand_over(load: Callable[[], Loaded], channel: socket.socket, stderr: int) -> NoReturn:
    """Sends what it has loaded, or why it has not; nothing where that is not known."""
    status = 1
    try:
        os.dup2(stderr, 2)
        try:
            programs, maps = load()
            names = json.dumps([list(programs), list(maps)]).encode()
            socket.send_fds(channel, [names], [*programs.values(), *maps.values()])
        except KintroError as error:
            channel.send(json.dumps([error.message, error.hint, error.exit_code]).encode())
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
