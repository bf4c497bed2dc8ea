"""The command that is traced: it waits to be let go, is what was asked for, and never stays behind."""

from __future__ import annotations

import os
import pwd
import re
import select
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kintro.errors import EX_NOINPUT, KintroError
from kintro.sources.command import Command, User, calling_user

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture(autouse=True)
def no_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)


def ended(command: Command, timeout_s: float = 20) -> bool:
    """Whether it has ended, waiting for that at most so long."""
    poll = select.poll()
    poll.register(command.pidfd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def exit_code(*argv: str) -> int:
    with Command(argv) as command:
        command.start()
        assert ended(command)
        assert command.poll() is not None
        return command.exit_code


def said_by(folder: Path, script: str, *, as_root: bool = False) -> str:
    """What a shell script writes to $0."""
    file = folder / "said"
    with Command(["/bin/sh", "-c", f"{{ {script}\n}} > $0", str(file)], as_root) as command:
        command.start()
        assert ended(command)
    return file.read_text()


@pytest.mark.parametrize("code", [0, 1, 3, 127, 255])
def test_exit_codes(code: int) -> None:
    assert exit_code("/bin/sh", "-c", f"exit {code}") == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGPIPE, 64])
def test_death_by_a_signal_is_128_and_its_number(number: int) -> None:
    assert exit_code("/bin/sh", "-c", f"kill -{int(number)} $$") == 128 + number


def test_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nine"
    program.write_text("#!/bin/sh\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"/nowhere:{tmp_path}:{os.environ['PATH']}")
    assert exit_code("nine") == 9


@pytest.mark.parametrize(
    ("program", "code", "why"),
    [
        ("no-such-program", 127, "not found in PATH"),
        ("{}/none", 127, "No such file or directory"),
        ("{}/plain/none", 127, "Not a directory"),
        ("{}/plain", 126, "Permission denied"),
        ("{}", 126, "Permission denied"),
        ("{}/empty", 126, "Exec format error"),
        ("{}/nul\0byte", 126, "Invalid argument"),
        ("", 127, "not found in PATH"),
    ],
)
def test_what_cannot_be_run(
    program: str, code: int, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (tmp_path / "plain").write_text("")
    (tmp_path / "empty").write_text("")
    (tmp_path / "empty").chmod(0o755)
    name = program.format(tmp_path)
    with Command([name]) as command, pytest.raises(KintroError) as raised:
        command.start()
    assert (raised.value.exit_code, raised.value.message) == (code, f"cannot run {name!r}: {why}")


def is_child(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG) is not None
    except ChildProcessError:
        return False


def test_waits_until_it_is_let_go(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    with Command(["/bin/sh", "-c", ': > "$0"', str(marker)]) as command:
        assert not ended(command, timeout_s=0.1)
        assert os.readlink(f"/proc/{command.pid}/exe") == os.readlink("/proc/self/exe")
        assert not marker.exists()
        command.start()
        assert ended(command)
        assert marker.exists()


def test_never_let_go_it_ends_without_running(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    with Command(["/bin/sh", "-c", ': > "$0"', str(marker)]) as command:
        pass
    assert not marker.exists()
    assert not is_child(command.pid)


def test_it_is_ended_with_what_is_around_it() -> None:
    class StopError(Exception):
        pass

    with pytest.raises(StopError), Command(["/bin/sleep", "1000"]) as command:
        command.start()
        raise StopError
    assert not is_child(command.pid)


def test_killed_before_it_is_let_go() -> None:
    with Command(["/bin/true"]) as command:
        os.kill(command.pid, signal.SIGKILL)
        assert ended(command)
        command.start()
        assert command.poll() is not None
        assert command.exit_code == 128 + signal.SIGKILL


def test_signals_reach_it_and_none_a_stranger() -> None:
    with Command(["/bin/sleep", "1000"]) as command:
        command.start()
        assert command.poll() is None
        command.send(signal.SIGUSR1)
        assert ended(command)
        command.send(signal.SIGUSR1)  # ended, but not waited for
        assert command.poll() is not None
        command.send(signal.SIGUSR1)  # its pid may be another's by now
    assert command.exit_code == 128 + signal.SIGUSR1


def test_no_descriptor_is_left() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    exit_code("/bin/true")
    with pytest.raises(KintroError), Command(["/none"]) as command:
        command.start()
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_no_descriptor_is_handed_on(tmp_path: Path) -> None:
    inherited = {int(fd) for fd in os.listdir("/proc/self/fd") if is_inheritable(int(fd))}
    script = f"{sys.executable} -I -c 'import os; print(*os.listdir(\"/proc/self/fd\"))'"
    listed = {int(fd) for fd in said_by(tmp_path, script).split()}
    assert len(listed - {0, 1, 2} - inherited) == 1  # that of the listing itself


def is_inheritable(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False


STATUS_LINES = 'while read -r line; do echo "$line"; done < /proc/$$/status'
STATUS = re.compile(r"^Sig(Blk|Ign):\t(\w+)$", re.MULTILINE)


def masks(folder: Path) -> dict[str, set[int]]:
    """Blocked and ignored signals of the command."""
    found = STATUS.findall(said_by(folder, STATUS_LINES))
    return {name: {n for n in range(1, 65) if int(mask, 16) >> n - 1 & 1} for name, mask in found}


@pytest.fixture
def signals_as_before() -> Iterator[None]:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@pytest.mark.usefixtures("signals_as_before")
def test_its_signals_are_as_a_program_expects_them(tmp_path: Path) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN  # Python's own doing
    found = masks(tmp_path)
    assert found["Blk"] == set()
    assert not found["Ign"] & {signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT}


@pytest.mark.usefixtures("signals_as_before")
def test_an_ignored_ctrl_c_stays_ignored(tmp_path: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as for `nohup kintro … &`
    assert signal.SIGINT in masks(tmp_path)["Ign"]


def test_same_folder_group_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GREETING", "hello world")
    said = said_by(tmp_path, 'pwd; echo "$GREETING"; read -r stat < /proc/$$/stat; echo "${stat##*) }"')
    folder, greeting, stat = said.splitlines()
    assert (folder, greeting) == (str(tmp_path), "hello world")
    assert [int(word) for word in stat.split()[1:4]] == [os.getpid(), os.getpgrp(), os.getsid(0)]


# Who called sudo


@pytest.mark.parametrize("uid", [None, "", "0", "-1", "abc", "1000x", "²"])
def test_nobody_called_sudo(uid: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    if uid is not None:
        monkeypatch.setenv("SUDO_UID", uid)
    assert calling_user() is None


def test_the_user_who_called_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    known = next(entry for entry in pwd.getpwall() if entry.pw_uid != 0)
    monkeypatch.setenv("SUDO_UID", str(known.pw_uid))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert calling_user() is None  # not root, so not by sudo
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    entry = pwd.getpwuid(known.pw_uid)
    assert calling_user() == User(entry.pw_uid, entry.pw_gid, entry.pw_name, entry.pw_dir, entry.pw_shell)


@pytest.mark.parametrize("uid", ["4294967294", "99999999999999999999"])
def test_a_caller_without_an_account(uid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_UID", uid)
    with pytest.raises(KintroError, match=f"uid {uid}") as raised:
        calling_user()
    assert (raised.value.exit_code, "--as-root" in (raised.value.hint or "")) == (EX_NOINPUT, True)


WHO = STATUS_LINES + '; echo "$HOME $USER $LOGNAME $SHELL ${MAIL-no mail}"'


def who(said: str) -> tuple[list[int], list[int], list[int], int, str]:
    """Uids, gids, groups, capabilities, and the last line."""
    facts = dict(re.findall(r"^(Uid|Gid|Groups|CapEff):[ \t]*(.*)$", said, re.MULTILINE))
    uids, gids, groups = ([int(n) for n in facts[name].split()] for name in ("Uid", "Gid", "Groups"))
    return uids, gids, groups, int(facts["CapEff"], 16), said.splitlines()[-1]


@needs_root
def test_it_runs_as_who_called_sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = pwd.getpwnam("nobody")
    monkeypatch.setenv("SUDO_UID", str(user.pw_uid))
    monkeypatch.setenv("MAIL", "/var/mail/root")
    (tmp_path / "said").touch()
    os.chown(tmp_path / "said", user.pw_uid, user.pw_gid)
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    uids, gids, groups, capabilities, names = who(said_by(tmp_path, WHO))
    assert (uids, gids) == ([user.pw_uid] * 4, [user.pw_gid] * 4)
    assert groups == sorted(os.getgrouplist(user.pw_name, user.pw_gid))
    assert capabilities == 0
    assert names == f"{user.pw_dir} nobody nobody {user.pw_shell} no mail"


@needs_root
def test_it_stays_root_if_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", str(pwd.getpwnam("nobody").pw_uid))
    monkeypatch.setenv("HOME", "/root")
    uids, _, groups, capabilities, names = who(said_by(tmp_path, WHO, as_root=True))
    assert (uids, groups) == ([0] * 4, sorted(os.getgroups()))
    assert capabilities != 0
    assert names.startswith("/root ")
