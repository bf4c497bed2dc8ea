"""`kintro maps -- COMMAND`, which is held at its end; and whose address space cannot be shown."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .harness import KINTRO, as_nobody, environment, kintro, program, running, strictly, wait_for

pytestmark = pytest.mark.kernel

PYTHON = "/usr/bin/python3"
SH = ["/bin/sh", "-c"]


def maps(
    *command: str | Path, options: tuple[str, ...] = (), **run: Any
) -> subprocess.CompletedProcess[bytes]:
    return kintro("maps", *options, "--", *command, **run)


def to_json(path: Path, *command: str | Path, options: tuple[str, ...] = (), **run: Any) -> dict[str, Any]:
    """What was seen of a command that goes well, apart from its own output."""
    done = maps(*command, options=("--json", "-o", str(path), *options), **run)
    assert (done.returncode, done.stderr) == (0, b"")
    return strictly(path.read_bytes())


def users() -> list[Mapping[str, Any]]:
    return [{}, {**as_nobody(), "cwd": "/"}]


# How it ends


@pytest.mark.parametrize("user", users(), ids=["root", "nobody"])
@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143), ("kill -11 $$", 139)],
)
def test_exit_code_is_passed_on(script: str, status: int, user: Mapping[str, Any]) -> None:
    done = maps(*SH, script, **user)
    assert (done.returncode, done.stderr) == (status, b"")
    assert b" mappings, " in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [("no-such-command", 127, b"not found in PATH"), ("/etc/passwd", 126, b"Permission denied"),
     ("/no/such", 127, b"No such file"), ("", 127, b"cannot run")],
)  # fmt: skip
def test_cannot_be_run(command: str, status: int, words: bytes) -> None:
    done = maps(command)
    assert (done.returncode, done.stdout) == (status, b"")
    assert words in done.stderr and done.stderr.count(b"\n") == 1


def test_output_of_the_command_is_whole(tmp_path: Path) -> None:
    script = "for i in $(seq 20000); do echo $i; done; echo oops >&2"
    done = maps(*SH, script, options=("-o", str(tmp_path / "maps")))
    assert done.stdout.split() == [str(i).encode() for i in range(1, 20001)]
    assert (done.returncode, done.stderr) == (0, b"oops\n")
    assert b"sh (" in (tmp_path / "maps").read_bytes()


def test_is_held_with_what_it_has_at_its_end(tmp_path: Path) -> None:
    """Memory that it takes as the last thing it does is there; its pid is told, too."""
    script = "import os; kept = b'x' * (96 << 20); print(os.getpid(), flush=True); os._exit(0)"
    done = maps(PYTHON, "-S", "-c", script, options=("--json", "-o", str(tmp_path / "maps")))
    document = strictly((tmp_path / "maps").read_bytes())
    assert document["pid"] == int(done.stdout)
    assert document["comm"] == "python3"
    assert max(m["rss_bytes"] for m in document["mappings"]) >= 96 << 20
    stacks = [m for m in document["mappings"] if m["kind"] == "stack"]
    assert len(stacks) == 1 and document["totals"]["rss_bytes"] > 96 << 20


def test_threads(tmp_path: Path) -> None:
    script = (
        "import os, threading\n"
        "for _ in range(8): threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "threading.Thread(target=os._exit, args=(0,)).start(); threading.Event().wait()"
    )
    document = to_json(tmp_path / "maps", PYTHON, "-c", script)
    assert document["comm"] == "python3" and document["totals"]["rss_bytes"] > 0


def test_fork_inside(tmp_path: Path) -> None:
    """Children are not held: the command can wait for them."""
    script = "for i in 1 2 3 4 5; do sh -c 'exit 1'; done; (exit 3); test $? = 3"
    assert to_json(tmp_path / "maps", *SH, script)["comm"] == "sh"


def test_a_child_that_stays_behind(tmp_path: Path) -> None:
    done = maps(*SH, "sleep 0.3 >/dev/null 2>&1 & exit 6")
    assert done.returncode == 6


def test_exec_inside(tmp_path: Path) -> None:
    document = to_json(tmp_path / "maps", *SH, "exec sh -c 'exec true'")
    assert (document["comm"], document["exe"]) == ("true", os.path.realpath("/usr/bin/true"))


def test_exec_in_another_thread(tmp_path: Path) -> None:
    """It is held at the exec, which ends the first thread; and goes on to its own end."""
    done = maps(*program("exec_in_thread"))
    assert (done.returncode, done.stderr) == (4, b"")


def test_first_thread_ends_before_the_others() -> None:
    script = (
        "import ctypes, os, threading, time\n"
        "threading.Thread(target=lambda: (time.sleep(0.3), os._exit(9))).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)"
    )
    done = maps(PYTHON, "-c", script)
    assert (done.returncode, done.stderr) == (9, b"")


def test_after_a_duration(tmp_path: Path) -> None:
    """It is looked at while it lives, and goes on."""
    script = "echo begun; sleep 0.4; echo done; exit 5"
    done = maps(*SH, script, options=("-d", "0.1", "--json", "-o", str(tmp_path / "maps")))
    assert (done.returncode, done.stdout) == (5, b"begun\ndone\n")
    assert strictly((tmp_path / "maps").read_bytes())["comm"] == "sh"


def test_duration_longer_than_the_command(tmp_path: Path) -> None:
    assert to_json(tmp_path / "maps", "true", options=("-d", "30"))["comm"] == "true"


def test_end_and_duration_at_once() -> None:
    """Whichever comes first: a map, and the command's own exit code."""
    for number in range(12):
        done = maps(*SH, "sleep 0.1; exit 5", options=("-d", f"{0.08 + number * 0.004}"))
        assert (done.returncode, done.stderr) == (5, b"")
        assert b" mappings, " in done.stdout


# Signals


@contextmanager
def begun(*options: str, script: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that has said something."""
    with running(
        [KINTRO, "maps", *options, "--", *SH, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as it:
        assert it.stdout.readline() == b"begun\n"
        yield it


def test_sigterm_is_handed_on() -> None:
    script = "trap 'echo caught; exit 3' TERM; echo begun; while :; do sleep 0.05; done"
    with begun(script=script) as it:
        it.send_signal(signal.SIGTERM)
        out, err = it.communicate(timeout=20)
    assert (it.returncode, err) == (3, b"")
    assert out.startswith(b"caught\nsh (")


def test_sigterm_ends_a_command_that_does_not_catch_it() -> None:
    with begun(script="echo begun; exec sleep 100") as it:
        it.send_signal(signal.SIGTERM)
        out, err = it.communicate(timeout=20)
    assert (it.returncode, err) == (143, b"")
    assert out.startswith((b"sleep (", b"sh ("))  # whether it has come to its exec or not


def test_sigterm_after_the_duration() -> None:
    script = "trap 'exit 3' TERM; echo begun; while :; do sleep 0.05; done"
    with begun("-d", "0.1", script=script) as it:
        assert it.stdout.readline().startswith(b"sh (")  # written once it has been looked at
        it.send_signal(signal.SIGTERM)
        assert it.wait(timeout=20) == 3


def test_killed_by_another() -> None:
    """SIGKILL stops at the exit as well."""
    with begun(script="echo begun; echo $$ >&2; exec sleep 100") as it:
        pid = int(it.stderr.readline())
        os.kill(pid, signal.SIGKILL)
        out, err = it.communicate(timeout=20)
    assert (it.returncode, err) == (137, b"")
    assert b" mappings, " in out


def test_stopped_and_continued() -> None:
    """A shell's Ctrl-Z and fg, which tracing must not swallow."""
    with begun(script="echo begun; echo $$ >&2; kill -STOP $$; exit 8") as it:
        pid = int(it.stderr.readline())
        state = Path(f"/proc/{pid}/stat")
        wait_for(lambda: state.read_text().rpartition(")")[2].split()[0] in "Tt", "the stop")
        os.kill(pid, signal.SIGCONT)
        out, err = it.communicate(timeout=20)
    assert (it.returncode, err) == (8, b"")
    assert out.startswith(b"sh (")


def test_signals_cost_little_and_are_all_delivered() -> None:
    """Queued signals, each handled before the next; some are on their way when the duration is over."""
    script = (
        "import os, signal, sys, time\n"
        "seen = 0\n"
        "def count(*_):\n    global seen; seen += 1\n"
        "signal.signal(signal.SIGRTMIN, count)\n"
        "begin = time.monotonic()\n"
        "for _ in range(1009): os.kill(os.getpid(), signal.SIGRTMIN)\n"
        "print(seen, time.monotonic() - begin)"
    )
    for duration in ("0.03", "0.06", "0.09", "30"):
        done = maps(PYTHON, "-S", "-c", script, options=("-d", duration, "-o", os.devnull))
        seen, took_s = done.stdout.split()
        assert (done.returncode, done.stderr, int(seen)) == (0, b"", 1009)
        assert float(took_s) < 3  # 0.03 s; 20 s if each waits for a look


# Whose address space cannot be shown


def refused(*arguments: str | int, **run: Any) -> tuple[int, str]:
    done = kintro("maps", *map(str, arguments), **run)
    assert done.stdout == b"" and done.stderr.startswith(b"kintro: ")
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("word", [0, 2**22 + 1, 10**30, "no-such-name"])
def test_no_such_process(word: str | int) -> None:
    code, text = refused(word)
    assert (code, str(word) in text) == (66, True)


def test_kernel_thread() -> None:
    code, text = refused(2)
    assert code == 66 and "is a kernel thread: it has no address space" in text


def test_zombie() -> None:
    with running(["true"]) as zombie:
        stat = Path(f"/proc/{zombie.pid}/stat")
        wait_for(lambda: ") Z " in stat.read_text(), "its end")
        code, text = refused(zombie.pid)
    assert code == 66 and "has ended" in text


def test_another_users() -> None:
    code, text = refused(os.getpid(), **as_nobody(), cwd="/")
    assert code == 77 and "another user's" in text and "sudo" in text


def test_names(tmp_path: Path) -> None:
    name = f"k{os.getpid()}"
    link = tmp_path / name
    link.symlink_to("/bin/sleep")
    with running([link, "100"]):
        done = wait_for(lambda: (it := kintro("maps", name)).returncode == 0 and it, "its exec")
        assert done.stdout.startswith(f"{name} (".encode())
        with running([link, "100"]) as other:
            wait_for(lambda: Path(f"/proc/{other.pid}/comm").read_text().strip() == name, "its exec")
            code, text = refused(name)
            assert code == 66 and "2 processes are named" in text and str(other.pid) in text


@pytest.mark.parametrize("words", [[], ["1", "2"], ["--watch", "--html", "x", "1"], ["--kind", "x", "1"]])
def test_wrong_command_lines(words: list[str]) -> None:
    assert kintro("maps", *words).returncode == 2


# Where it is written to


def test_full_disk() -> None:
    with open("/dev/full", "wb") as full:
        done = kintro("maps", os.getpid(), stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (
        74,
        b"kintro: cannot write standard output: No space left on device\n",
    )


@pytest.mark.parametrize("what", ["$$", "-- true", "--json $$", "--by kind $$", "--frame $$"])
def test_reader_who_leaves(what: str) -> None:
    script = f"{KINTRO} maps {what} | head -n 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, env=environment(), timeout=30)
    assert (done.stdout, done.stderr) == (b"0\n", b"")


def test_closed_output() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{KINTRO} maps $$ >&-; echo $? >&2"], capture_output=True, env=environment()
    )
    assert done.stderr == b"0\n"


# Odd surroundings


def test_children_cannot_be_made() -> None:
    """How far user space reaches is then inferred."""

    def no_children() -> None:
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))

    with running(["sleep", "100"], **as_nobody(), cwd="/") as it:
        done = kintro("maps", "--json", it.pid, **as_nobody(), cwd="/", preexec_fn=no_children)
    assert done.returncode == 0, done.stderr
    assert strictly(done.stdout)["address_space"]["source"].startswith("inferred")


def test_ignored_sigchld() -> None:
    script = f"trap '' CHLD; exec {KINTRO} maps $$"
    done = subprocess.run(["bash", "-c", script], capture_output=True, env=environment(), timeout=30)
    assert (done.returncode, done.stderr) == (0, b"")
