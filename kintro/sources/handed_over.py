"""Loads programs and maps in a child, which hands their descriptors over (SCM_RIGHTS, unix(7)).

What the child prints is not seen on the terminal, and should it be ended, by a library or by a fault, then
only it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import traceback
from array import array
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from kintro.errors import EX_UNAVAILABLE, KintroError

Loaded = tuple[dict[str, int], dict[str, int]]  # programs and maps, name → descriptor

LINES_MAX = 12  # of what was printed last
_BYTES_MAX = 1 << 16  # of a message
_ROOM = socket.CMSG_SPACE(253 * array("i").itemsize)  # for descriptors: SCM_MAX_FD, include/net/scm.h


def handed_over(load: Callable[[], Loaded], failed: str) -> Loaded:
    """What `load` has loaded in a child.

    Raises its KintroError, or one (69) that says `failed` if the child was ended, with the last lines that
    were printed there.
    """
    ours, childs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, childs, open(os.memfd_create("printed"), "w+b") as said:
        status: int | None = None
        # Signals are not for the child. None comes before it is sure to be ended: who stops kintro ends both.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = _forked(load, childs, said.fileno())
            try:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
                childs.close()
                # Not by recv_fds: it drops its flags, and a command would get all of these as well.
                answer, rights, flags, _ = ours.recvmsg(_BYTES_MAX, _ROOM, socket.MSG_CMSG_CLOEXEC)
            finally:
                # Where SIGCHLD is ignored it may be gone already, and nobody learns how it ended.
                with suppress(ProcessLookupError, ChildProcessError):
                    os.kill(pid, signal.SIGKILL)  # if it has not ended
                    status = os.waitpid(pid, 0)[1]
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        said.seek(0)
        printed = said.read().decode(errors="backslashreplace").splitlines()
    fds = array("i", b"".join(data for *_, data in rights))
    if flags & socket.MSG_CTRUNC:
        for fd in fds:
            os.close(fd)
        raise KintroError(f"{failed}: too many open files", "raise `ulimit -n`", EX_UNAVAILABLE)
    if fds:
        programs, maps = json.loads(answer)
        return dict(zip(programs, fds, strict=False)), dict(zip(maps, fds[len(programs) :], strict=True))
    known = "" if status is None else f" with status {os.waitstatus_to_exitcode(status)}"
    ended = f"{failed}: the compiler ended{known}"
    message, hint, code = json.loads(answer) if answer else (ended, None, EX_UNAVAILABLE)
    lines = [line for line in printed if line.strip()][-LINES_MAX:]
    raise KintroError("\n    ".join([message, *lines]), hint, code)


def _forked(load: Callable[[], Loaded], channel: socket.socket, printed: int) -> int:
    """The child's pid."""
    try:
        pid = os.fork()
    except OSError as error:
        raise KintroError(f"cannot start a process: {error.strerror}", None, EX_UNAVAILABLE) from error
    if not pid:
        _hand_over(load, channel, printed)
    return pid


def _hand_over(load: Callable[[], Loaded], channel: socket.socket, printed: int) -> NoReturn:
    """Sends what it has loaded, or why it has not; nothing where that is not known."""
    status = 1
    try:
        os.dup2(printed, 1)
        os.dup2(printed, 2)
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
