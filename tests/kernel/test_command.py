"""The traced command: whose it is, what it is given, how it ends, how signals reach it."""

from __future__ import annotations

import grp
import json
import os
import pty
import pwd
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .harness import KINTRO, NOBODY, SUMMARY, environment, kintro, running, strictly, wait_for

pytestmark = pytest.mark.kernel

TELL = """
import json, os, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "uids": status["Uid"].split(), "gids": status["Gid"].split(), "groups": status["Groups"].split(),
    "effective": status["CapEff"].strip(), "cwd": os.getcwd(), "env": dict(os.environ),
    "blocked": status["SigBlk"].strip(), "ignored": status["SigIgn"].strip(),
    "fds": sorted(map(int, os.listdir("/proc/self/fd"))),
}))
"""
PYTHON = ["/usr/bin/python3", "-S", "-E", "-c"]


def sudo_by_nobody() -> dict[str, str]:
    """The environment as sudo makes it, called by nobody."""
    gid = pwd.getpwuid(NOBODY).pw_gid
    return environment(SUDO_UID=str(NOBODY), SUDO_GID=str(gid), SUDO_USER="nobody", HOME="/root", MAIL="/m")


def told(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[0])


def untraced(*options: str, **run: Any) -> dict[str, Any]:
    return told(kintro("trace-fork", "-q", "-o", os.devnull, *options, "--", *PYTHON, TELL, **run))


def test_runs_as_the_user_who_called_sudo(tmp_path: Path) -> None:
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    user = pwd.getpwuid(NOBODY)
    command = kintro(
        "trace-fork", "-q", "--", *PYTHON, TELL, env=sudo_by_nobody() | {"MINE": "ü"}, cwd=tmp_path
    )
    it = told(command)
    assert it["uids"] == [str(NOBODY)] * 4
    assert it["gids"] == [str(user.pw_gid)] * 4
    assert set(map(int, it["groups"])) == set(os.getgrouplist(user.pw_name, user.pw_gid))
    assert int(it["effective"], 16) == 0
    assert it["cwd"] == str(tmp_path)
    assert {name: it["env"].get(name) for name in ("HOME", "USER", "LOGNAME", "SHELL", "MAIL", "MINE")} == {
        "HOME": user.pw_dir,
        "USER": "nobody",
        "LOGNAME": "nobody",
        "SHELL": user.pw_shell,
        "MAIL": None,
        "MINE": "ü",
    }
    assert b"2 forks" not in command.stdout and b"1 exec" in command.stdout


def test_stays_root_if_asked_to() -> None:
    it = untraced("--as-root", env=sudo_by_nobody())
    assert (it["uids"], it["env"]["HOME"]) == (["0"] * 4, "/root")


def test_real_sudo() -> None:
    """Called by root itself: the command is root's, with what sudo made of the environment."""
    sudo = shutil.which("sudo")
    if sudo is None or subprocess.run([sudo, "-n", "true"], capture_output=True).returncode:
        pytest.skip("no sudo that works without a password")
    command = [sudo, "-n", KINTRO, "trace-fork", "-q", "--", *PYTHON, TELL]
    it = told(subprocess.run(command, capture_output=True, timeout=60))
    assert it["uids"] == ["0"] * 4
    assert it["env"]["SUDO_UID"] == "0"
    assert set(map(int, it["groups"])) >= {grp.getgrgid(0).gr_gid}


def test_finds_the_world_as_without_kintro(never_compiled: Callable[[], list[str]]) -> None:
    """The same environment, signals and descriptors as when it is run directly."""
    plain = subprocess.run([*PYTHON, TELL], capture_output=True, env=environment(), stdin=subprocess.DEVNULL)
    compiled = never_compiled()
    for options in (compiled, compiled, []):
        assert untraced(*options) == told(plain)


def test_output_belongs_to_the_user_who_called_sudo(tmp_path: Path) -> None:
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    ours.mkdir(mode=0o700)
    os.chown(theirs, NOBODY, -1)
    done = kintro("trace-fork", "-o", theirs / "file", "--", "true", env=sudo_by_nobody())
    assert (done.returncode, (theirs / "file").stat().st_uid) == (0, NOBODY)
    done = kintro("trace-fork", "-o", ours / "file", "--", "true", env=sudo_by_nobody())
    assert (done.returncode, list(ours.iterdir())) == (74, [])
    assert done.stderr.startswith(b"kintro: cannot write")


@pytest.mark.parametrize(
    "script, status", [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -1 $$", 129)]
)
def test_exit_status(script: str, status: int) -> None:
    done = kintro("trace-fork", "-q", "--", "/bin/sh", "-c", script)
    assert (done.returncode, done.stderr) == (status, b"")


@pytest.mark.parametrize(
    "command, status",
    [
        ("kintro-no-such-command", 127),
        ("/no/such", 127),
        ("/etc/passwd", 126),
        ("/etc", 126),
        ("/etc/passwd/x", 127),
    ],
)
def test_what_cannot_be_run(command: str, status: int) -> None:
    done = kintro("trace-fork", "--", command)
    assert (done.returncode, done.stdout) == (status, b"")
    assert done.stderr.startswith(b"kintro: cannot run") and done.stderr.count(b"\n") == 1


def test_standard_input_passes_through(tmp_path: Path) -> None:
    output = tmp_path / "events"
    done = kintro("trace-fork", "-o", output, "--", "/bin/cat", stdin=None, input=b"a\0b\n" * 50000)
    assert (done.returncode, done.stdout) == (0, b"a\0b\n" * 50000)


def test_descriptors_stay_in_order(tmp_path: Path) -> None:
    """A command without standard output has none; nothing else takes its place."""
    script = '"$@" >&-'
    command = [
        "/bin/sh",
        "-c",
        script,
        "sh",
        KINTRO,
        "trace-fork",
        "-o",
        tmp_path / "events",
        "--",
        "/bin/true",
    ]
    done = subprocess.run(command, capture_output=True, env=environment(), timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"1 exec" in (tmp_path / "events").read_bytes()


@pytest.mark.parametrize("attempt", range(2))
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"])
def test_signals_are_handed_on(tmp_path: Path, name: str, attempt: int) -> None:
    number = signal.Signals[name]
    output = tmp_path / "events"
    program = "import signal; print('ready', flush=True); signal.pause()"
    command = [KINTRO, "trace-fork", "--json", "-o", output, "--", *PYTHON, f"{program}"]
    if name == "SIGINT":  # Python's own handler would end it with 1
        command[-1] = "import signal; signal.signal(2, signal.SIG_DFL); " + program
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        _, stderr = process.communicate(timeout=10)
    assert (process.returncode, stderr) == (128 + number, b"")
    *events, summary = [strictly(line) for line in output.read_bytes().splitlines()]
    assert (events[-1]["signal"], summary["complete"]) == (name, True)


@pytest.mark.parametrize("attempt", range(3))
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_signals_end_a_trace_normally(tmp_path: Path, name: str, attempt: int) -> None:
    with running([KINTRO, "trace-fork", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        wait_for(lambda: holds_signals(process.pid), "kintro to hold signals")
        process.send_signal(signal.Signals[name])
        stdout, stderr = process.communicate(timeout=10)
    assert (process.returncode, stderr) == (0, b"")
    assert strictly(stdout.splitlines()[-1])["type"] == SUMMARY


Ready = Callable[[int, bytes], bool]  # of the pid, and of what was said so far


def on_a_terminal(command: list[str], ready: Ready) -> tuple[int, bytes]:
    """Runs it on a terminal of its own, presses Ctrl-C as soon as it is `ready`: (exit status, output)."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], command, environment())
    said, pressed, deadline = b"", False, time.monotonic() + 20
    while time.monotonic() < deadline:
        if not pressed and ready(pid, said):
            os.write(terminal, b"\x03")
            pressed = True
        if select.select([terminal], [], [], 0.005)[0]:
            try:
                said += os.read(terminal, 1 << 16)
            except OSError:  # EIO: the other side is gone
                break
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said


def has_said(text: bytes) -> Ready:
    return lambda _, said: text in said


def holds_signals(pid: int, _: bytes = b"") -> bool:
    return "SigBlk:\t0000000000004a07" in Path(f"/proc/{pid}/status").read_text()


def test_ctrl_c_before_the_command_has_begun(never_compiled: Callable[[], list[str]]) -> None:
    """While kintro compiles: the command, which was not there to be interrupted, does not run."""
    command = [KINTRO, "trace-fork", "-q", *never_compiled(), "--", "/bin/sh", "-c", "sleep 1; echo ran"]
    status, said = on_a_terminal(command, holds_signals)
    assert (status, b"ran" in said, b"Traceback" in said) == (130, False, False), said


@pytest.mark.parametrize("attempt", range(3))
def test_ctrl_c_ends_the_command_once(attempt: int) -> None:
    program = (
        "import signal, os; c = []; signal.signal(2, lambda *_: c.append(1)); print('ready', flush=True)\n"
        "import time\nwhile not c: time.sleep(0.01)\n"
        "time.sleep(0.3); print('interrupts', len(c), flush=True); os._exit(5)"
    )
    status, said = on_a_terminal([KINTRO, "trace-fork", "-q", "--", *PYTHON, program], has_said(b"ready"))
    assert status == 5, said
    assert b"interrupts 1\r\n" in said and b"0 forks" in said and b"Traceback" not in said


@pytest.mark.parametrize("attempt", range(3))
def test_ctrl_c_ends_a_trace_normally(attempt: int) -> None:
    status, said = on_a_terminal([KINTRO, "trace-fork", "-q"], has_said(b"tracing until Ctrl-C"))
    assert status == 0, said
    assert b"counted" in said and b"Traceback" not in said


def test_duration_ends_the_trace_but_not_the_command(tmp_path: Path) -> None:
    output, done_file = tmp_path / "events", tmp_path / "done"
    script = f"/bin/sleep 2; : >'{done_file}'; exit 3"
    begin = time.monotonic()
    done = kintro("trace-fork", "--json", "-o", output, "-d", "0.5", "--", "/bin/sh", "-c", script)
    assert (done.returncode, done_file.exists()) == (3, True)
    assert time.monotonic() - begin > 2
    *events, summary = [strictly(line) for line in output.read_bytes().splitlines()]
    assert 0.4e9 < summary["duration_ns"] < 1.5e9
    assert (summary["exits"], [event for event in events if event["type"] == "exit"]) == (0, [])
