"""Runs a command for tracing: stopped before its first instruction until the probes are attached.

The command runs as the user who called sudo (credentials, groups, HOME, working directory), on the same
terminal and in the same process group, so that Ctrl-C reaches it as always. Its failure to start is told
with the shell's codes: 127 not found, 126 not executable.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import select
import signal
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kintro.errors import EX_NOINPUT, EX_UNAVAILABLE, KintroError
from kintro.sources.filters import Filters

TERM_S = 3.0  # from SIGTERM to SIGKILL, for a command that must not outlive us

# Python ignores these; a program expects them as they were (signal(7)).
_RESTORED = (signal.SIGPIPE, signal.SIGXFSZ)


class User(NamedTuple):
    """Who a command runs as."""

    uid: int
    gid: int
    name: str
    home: str
    shell: str


def calling_user() -> User | None:
    """The user who called sudo (sudo(8), SUDO_UID); None if there is none or it was root itself."""
    uid = os.environ.get("SUDO_UID", "")
    if os.geteuid() != 0 or not (uid.isascii() and uid.isdigit()) or int(uid) == 0:
        return None
    try:
        entry = pwd.getpwuid(int(uid))
    except KeyError:
        raise KintroError(
            f"the user who called sudo (uid {uid}) is not in the user database",
            "use --as-root to run the command as root",
            EX_NOINPUT,
        ) from None
    return User(entry.pw_uid, entry.pw_gid, entry.pw_name, entry.pw_dir, entry.pw_shell)


class Command:
    """A child process that waits to be let go by `start`. Use as a context manager: it never outlives it."""

    def __init__(self, argv: Sequence[str], as_root: bool = False) -> None:
        user = None if as_root else calling_user()
        self.argv = list(argv)
        self.status: int | None = None  # as from waitpid(2), once it has ended
        go_read, self._go = os.pipe()
        self._failed, failed_write = os.pipe()
        # Who ignores SIGCHLD would not learn how it ended (wait(2)).
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            self.pid = os.fork()
        except OSError as error:
            raise KintroError(f"cannot start a process: {error.strerror}", None, EX_UNAVAILABLE) from error
        if self.pid == 0:
            os.close(self._go)
            os.close(self._failed)
            _become(self.argv, user, go_read, failed_write)
        os.close(go_read)
        os.close(failed_write)
        self.pidfd = os.pidfd_open(self.pid)

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        if self._go >= 0:  # never let go: it ends at the end of its pipe
            os.close(self._go)
            self._go = -1
        if self.poll() is None:
            self.send(signal.SIGTERM)
            poll = select.poll()
            poll.register(self.pidfd, select.POLLIN)
            if not poll.poll(TERM_S * 1000):
                self.send(signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._failed)
        os.close(self.pidfd)

    def start(self) -> None:
        """Lets the command go. KintroError (127 or 126) if it cannot be executed."""
        with contextlib.suppress(BrokenPipeError):  # it was killed before: its wait status tells
            os.write(self._go, b"!")
        os.close(self._go)
        self._go = -1
        said = os.read(self._failed, 16)
        if said:
            code = int(said)
            os.waitpid(self.pid, 0)
            self.status = code
            missing = code == errno.ENOENT and "/" not in self.argv[0]
            raise KintroError(
                f"cannot run {self.argv[0]!r}: {'not found in PATH' if missing else os.strerror(code)}",
                None,
                127 if code in (errno.ENOENT, errno.ENOTDIR) else 126,
            )

    def poll(self) -> int | None:
        """Its wait status if it has ended, else None."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
        return self.status

    def send(self, number: int) -> None:
        """Sends it a signal, if it is still there."""
        if self.status is None:
            signal.pidfd_send_signal(self.pidfd, number)

    @property
    def exit_code(self) -> int:
        """As a shell has it: its own code, or 128 plus the number of the signal that ended it."""
        code = os.waitstatus_to_exitcode(self.status or 0)
        return code if code >= 0 else 128 - code


def _become(argv: list[str], user: User | None, go: int, failed: int) -> None:
    """In the child: waits to be let go, then is the command. Never returns."""
    import shutil  # here, before this is a user who may not be able to read it

    code = 0
    try:
        if not os.read(go, 1):
            os._exit(0)
        environment = dict(os.environ)
        if user is not None:
            os.setgroups(os.getgrouplist(user.name, user.gid))
            os.setresgid(user.gid, user.gid, user.gid)
            os.setresuid(user.uid, user.uid, user.uid)
            environment.update(HOME=user.home, USER=user.name, LOGNAME=user.name, SHELL=user.shell)
            environment.pop("MAIL", None)
        for number in _RESTORED:
            signal.signal(number, signal.SIG_DFL)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else ignored, as with nohup
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if not argv[0]:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        os.execvpe(argv[0], argv, environment)
    except PermissionError as error:
        # A folder of PATH that may not be read says nothing of the command: not found, as a shell has it.
        seen = "/" in argv[0] or shutil.which(argv[0], os.F_OK)
        code = (error.errno or errno.EACCES) if seen else errno.ENOENT
    except OSError as error:
        code = error.errno or errno.EIO
    except ValueError:  # an embedded NUL
        code = errno.EINVAL
    finally:
        os.write(failed, str(code or errno.EIO).encode())
        os._exit(127)


def picked(
    command: Sequence[str] | None, filters: Filters | None
) -> tuple[Filters, Callable[[], Command | None]]:
    """What a Trace of a command, or else of what the filters pick, is made with: filters, and `ready`."""
    if command is None:
        return filters or Filters(), lambda: None
    return (filters or Filters())._replace(command=True), lambda: Command(command)
