"""`kintro ipc` where it may not see all, where processes come and go, and where names are hostile."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kintro.sources.holdings import read_holdings

from .harness import KINTRO, NOBODY, as_nobody, kintro, running, strictly, wait_for
from .test_ipc import WORDS, Shared, inventory, workload

pytestmark = pytest.mark.kernel

LIBC = ctypes.CDLL(None, use_errno=True)
HOSTILE = b'\x1b[31m</script><b>\xff"\n\\x'  # at most 15 bytes of it become a comm


@pytest.fixture
def open_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chown(name, NOBODY, NOBODY)
        yield Path(name)


@contextmanager
def python(code: str, *arguments: Any, before: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """A Python that has run the code and said `ready`, and waits for the end of its standard input."""
    text = f"{code}\nprint('ready', flush=True)\nsys.stdin.read()"
    argv = [*before, sys.executable, "-I", "-S", "-c", f"import ctypes, os, signal, socket, sys\n{text}"]
    command = [*argv, *map(str, arguments)]
    with running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        yield process


def of(found: dict[str, Any], kind: str, pid: int) -> list[dict[str, Any]]:
    """The channels of a kind that a process has part in."""
    return [
        c for c in found["channels"] if c["kind"] == kind and pid in {end["pid"] for end in c["endpoints"]}
    ]


# Without all rights


def test_without_root_ones_own_processes_are_told_whole(open_folder: Path) -> None:
    user = {**as_nobody(), "cwd": "/"}
    with workload(open_folder, **user) as (ledger, pid):
        found = inventory(**user)
        shared = Shared(ledger, found, pid)
        for word in WORDS:
            assert len(shared.channel(word)["endpoints"]) == len(shared.ends[word])
        assert shared.channel("pipe")["bytes"] == 13
        assert (shared.channel("mqueue")["bytes"], shared.channel("mqueue")["messages"]) == (7, 2)
        held = {end["pid"] for c in found["channels"] for end in c["endpoints"] if end["fd"] is not None}
        assert {os.stat(f"/proc/{pid}").st_uid for pid in held if Path(f"/proc/{pid}").exists()} == {NOBODY}
        table = kintro("ipc", **user)
    assert found["processes_not_permitted"] > 0
    assert b"not told, as they are closed to this user: what " in table.stdout


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_a_namespace_that_may_not_be_entered_is_told(tmp_path: Path) -> None:
    with workload(tmp_path, ["unshare", "--net", "--ipc", "--pid", "--fork"]) as (ledger, pid):
        done = subprocess.run(
            ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--", KINTRO, "ipc", "--json"],
            capture_output=True,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        found = strictly(done.stdout)
        spaces = {kind: os.stat(f"/proc/{pid}/ns/{kind}").st_ino for kind in ("net", "ipc")}
        shared = Shared(ledger, found, pid)
        unread = {one["kind"]: one for one in found["namespaces_not_read"] if one["inode"] in spaces.values()}
        assert {kind: one["inode"] for kind, one in unread.items()} == spaces
        assert all("Operation not permitted" in one["why"] for one in unread.values())
        assert {one["processes"] for one in unread.values()} == {5}  # and unshare
        assert found["sockets_unknown"] >= 2 * 6
        # What descriptors and mappings tell needs nobody to enter anything.
        for word in (
            "pipe",
            "fifo",
            "mqueue",
            "shm",
            "posix-shm",
            "memfd",
            "anon",
            "eventfd",
            "pidfd",
            "signal",
        ):
            assert shared.channel(word)
        assert shared.channel("shm")["listed"] is False


# Processes and descriptors that go


def test_processes_that_end_meanwhile_are_dropped_and_counted() -> None:
    """Until it happened: processes start and end all the time."""
    storm = "while :; do /bin/true | /bin/true; done"
    with running(["sh", "-c", storm]), running(["sh", "-c", storm]):
        assert wait_for(lambda: inventory()["processes_ended"], "a process that ends meanwhile", 60) > 0


def test_a_process_that_has_ended() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    done = kintro("ipc", str(process.pid))
    assert (done.returncode, done.stdout) == (66, b"")
    assert done.stderr == f"kintro: no process {process.pid}\n".encode()


def test_who_has_sent_to_a_queue_and_ended() -> None:
    queue = LIBC.msgget(0, 0o600)
    try:
        sender = subprocess.Popen(
            [sys.executable, "-c", f"import ctypes; ctypes.CDLL(None).msgsnd({queue}, bytes([1] * 16), 8, 0)"]
        )
        sender.wait()
        [found] = [c for c in inventory()["channels"] if (c["kind"], c["id"]) == ("sysv-msg", str(queue))]
    finally:
        LIBC.msgctl(queue, 0, None)
    assert (found["bytes"], found["messages"], found["between_processes"]) == (8, 1, False)
    [end] = found["endpoints"]
    assert (end["pid"], end["comm"], end["role"]) == (sender.pid, None, "last sender")


def test_a_queue_without_a_name_and_who_is_to_be_notified() -> None:
    code = (
        "libc = ctypes.CDLL(None); fd = libc.mq_open(b'/kintro-gone', os.O_CREAT | os.O_RDWR, 0o600, None)\n"
        "libc.mq_unlink(b'/kintro-gone'); libc.mq_send(fd, b'12345', 5, 0); libc.mq_send(fd, b'', 0, 0)\n"
        "event = (ctypes.c_long * 8)(); event[1] = signal.SIGUSR1; libc.mq_receive\n"
        "ready = libc.mq_notify(fd, event)"
    )
    with python(code) as process:
        [found] = of(inventory(), "mqueue", process.pid)
    assert (found["name"], found["unlinked"]) == ("/kintro-gone", True)
    assert (found["bytes"], found["messages"]) == (5, 2)
    assert [end["role"] for end in found["endpoints"]] == ["read-write", "notified"]


def test_a_pidfd_of_a_process_that_was_waited_for() -> None:
    code = "pid = os.spawnlp(os.P_NOWAIT, 'true', 'true'); fd = os.pidfd_open(pid); os.waitpid(pid, 0)"
    with python(code) as process:
        [found] = of(inventory(), "pidfd", process.pid)
    assert (found["target"], found["ended"]) == (None, True)
    assert [end["role"] for end in found["endpoints"]] == ["holder"]


def test_pidfds_of_different_ended_processes_join_nobody() -> None:
    code = "pid = os.spawnlp(os.P_NOWAIT, 'true', 'true'); fd = os.pidfd_open(pid); os.waitpid(pid, 0)"
    with python(code) as one, python(code) as other:
        found = inventory()
        for process in (one, other):
            [channel] = of(found, "pidfd", process.pid)
            assert {end["pid"] for end in channel["endpoints"]} == {process.pid}


def test_a_signal_that_waits_for_several_threads() -> None:
    code = (
        "import threading, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})\n"
        "threads = [threading.Thread(target=signal.sigwait, args=({signal.SIGINT},), daemon=True)\n"
        "           for _ in range(3)]\n"
        "[(thread.start(), signal.pthread_kill(thread.ident, signal.SIGUSR1)) for thread in threads]"
    )
    with python(code) as process:
        [found] = of(inventory(), "signal", process.pid)
    assert (found["messages"], found["signals"]) == (3, ["SIGUSR1"])


def test_a_process_whose_first_thread_has_ended() -> None:
    code = (
        "import threading\nr, w = os.pipe(); os.write(w, b'abc')\n"
        "end = lambda: ctypes.CDLL(None).syscall({'x86_64': 60, 'aarch64': 93}[os.uname().machine], 0)\n"
        "def wait():\n    print('ready', flush=True); sys.stdin.read(); os._exit(0)\n"
        "threading.Thread(target=wait).start(); end()"
    )
    with python(code) as process:
        wait_for(lambda: b") Z " in Path(f"/proc/{process.pid}/stat").read_bytes(), "the end of a thread")
        found = inventory(str(process.pid))
        tree = json.loads(kintro("tree", "--json", str(process.pid)).stdout)
        shown = kintro("tree", str(process.pid)).stdout
    ends = [(end["role"], end["fd"]) for c in of(found, "pipe", process.pid) for end in c["endpoints"]]
    pipe = [c for c in found["channels"] if len(c["endpoints"]) == 2 and not c["between_processes"]]
    assert {end["role"] for end in pipe[0]["endpoints"]} == {"read", "write"} and len(ends) >= 4
    assert tree["totals"]["zombies"] == 0 and b"first thread has ended" in shown


def test_a_datagram_socket_connected_to_itself(tmp_path: Path) -> None:
    code = (
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "s.bind(sys.argv[1]); s.connect(sys.argv[1]); s.send(b'self')"
    )
    with python(code, tmp_path / "socket") as process:
        [found] = of(inventory(), "unix", process.pid)
    assert (found["name"], found["state"]) == (str(tmp_path / "socket"), "connected")


def test_the_tid_of_a_thread_is_no_pid() -> None:
    code = "import threading\nthreading.Thread(target=sys.stdin.read).start()"
    with python(code) as process:
        [tid] = {int(name) for name in os.listdir(f"/proc/{process.pid}/task")} - {process.pid}
        for verb in ("ipc", "task"):
            done = kintro(verb, str(tid))
            assert (done.returncode, done.stdout) == (66, b"")
            assert f"{tid} is a thread of process {process.pid}\n".encode() in done.stderr
        assert kintro("task", "-t", str(tid), str(process.pid)).returncode == 0
    assert kintro("task", "0", "-t", str(tid)).returncode == 2


def test_real_time_signals_are_not_counted_as_if_each_were_one() -> None:
    code = (
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN, signal.SIGTERM})\n"
        "for number in (signal.SIGRTMIN, signal.SIGRTMIN): os.kill(os.getpid(), number)\n"
        "signal.pthread_kill(__import__('_thread').get_ident(), signal.SIGTERM)"
    )
    with python(code) as process:
        [found] = of(inventory(), "signal", process.pid)
    assert found["messages"] is None
    assert (found["to_process"], found["to_threads"]) == (["SIGRTMIN"], ["SIGTERM"])


def test_a_path_leads_into_another_network_namespace(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        code = "client = socket.socket(socket.AF_UNIX); client.connect(sys.argv[1])"
        with python(code, tmp_path / "socket", before=("unshare", "--net")) as process:
            accepted, _ = listener.accept()
            with accepted:
                [found] = of(inventory(), "unix", process.pid)
    assert {(end["pid"], end["role"]) for end in found["endpoints"]} == {
        (process.pid, "client"), (os.getpid(), "server"),
    }  # fmt: skip


def test_one_abstract_name_in_two_network_namespaces() -> None:
    code = (
        "s = socket.socket(socket.AF_UNIX); s.bind('\\0kintro-one-name'); s.listen()\n"
        "c = socket.socket(socket.AF_UNIX); c.connect('\\0kintro-one-name'); a, _ = s.accept()"
    )
    with python(code) as here, python(code, before=("unshare", "--net")) as there:
        found = inventory()
        spaces = set()
        for process in (here, there):
            pair, listener = sorted(of(found, "unix", process.pid), key=lambda c: c["state"])
            assert pair["name"] == listener["name"] == "@kintro-one-name"
            assert pair["listener"] == listener["id"]
            assert {end["role"] for end in pair["endpoints"]} == {"client", "server"}
            spaces.add(pair["net_namespace"])
    assert len(spaces) == 2


def test_a_zombie_is_no_process_that_ended_meanwhile() -> None:
    process = subprocess.Popen(["true"])
    wait_for(lambda: b") Z " in Path(f"/proc/{process.pid}/stat").read_bytes(), "a zombie")
    try:
        holdings = read_holdings(process.pid)
    finally:
        process.wait()
    assert holdings is not None and holdings.readable
    assert (holdings.comm, holdings.descriptors, holdings.mappings) == (b"true", (), ())


# Very many


def test_many_descriptors_and_sockets() -> None:
    code = (
        "import resource; hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16384),) * 2)\n"
        "kept = [os.pipe() for _ in range(2000)], [socket.socketpair() for _ in range(1000)]\n"
        "files = [os.open('/etc/passwd', 0) for _ in range(2000)]"
    )
    with python(code) as process:
        found = inventory(str(process.pid))
    whole = [c for c in found["channels"] if [end["pid"] for end in c["endpoints"]] == [process.pid] * 2]
    assert len([c for c in whole if c["kind"] == "pipe"]) == 2000
    assert len([c for c in whole if c["kind"] == "unix"]) == 1000
    fds = [end["fd"] for c in whole for end in c["endpoints"]]
    assert len(set(fds)) == len(fds) == 6000


# Strangers' names


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + HOSTILE.replace(b"/", b"")))
    folder.mkdir()
    code = (
        "ctypes.CDLL(None).prctl(15, bytes.fromhex(sys.argv[2]), 0, 0, 0)\n"
        "os.mkfifo(sys.argv[1] + '/fifo'); fd = os.open(sys.argv[1] + '/fifo', os.O_RDWR)\n"
        "s = socket.socket(socket.AF_UNIX); s.bind(b'\\0' + bytes.fromhex(sys.argv[2])); s.listen()\n"
        "c = socket.socket(socket.AF_UNIX); c.connect(s.getsockname()); a, _ = s.accept()\n"
        "r, w = os.pipe()\n"
        "if os.fork() == 0: sys.stdin.read(); os._exit(0)"
    )
    with python(code, folder, HOSTILE.hex()) as process:
        yield process.pid, folder


def test_names_do_no_harm(hostile: tuple[int, Path], tmp_path: Path) -> None:
    pid, _ = hostile
    found = inventory(str(pid))
    told = HOSTILE.decode("utf-8", "backslashreplace")
    assert {end["comm"] for c in of(found, "pipe", pid) for end in c["endpoints"]} >= {
        HOSTILE[:15].decode("utf-8", "backslashreplace")
    }
    assert [c["name"] for c in of(found, "fifo", pid)] == [f"{tmp_path}/{told.replace('/', '')}/fifo"]
    assert {c["name"] for c in of(found, "unix", pid)} == {f"@{told}"}
    for view in ((), ("--dot",)):
        done = kintro("ipc", str(pid), *view)
        assert re.findall(rb"[\x00-\x09\x0b-\x1f\x7f]", done.stdout) == []
        assert done.stdout.decode("utf-8")
    page = tmp_path / "page.html"
    assert kintro("ipc", str(pid), "--html", str(page)).returncode == 0
    assert "<b>" not in page.read_text() and page.read_text().count("</script>") == 1


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
def test_graphviz_reads_it(hostile: tuple[int, Path]) -> None:
    pid, _ = hostile
    text = kintro("ipc", str(pid), "--dot").stdout
    done = subprocess.run(["dot", "-Tplain"], input=text, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert f"p{pid} ".encode() in done.stdout


# The command line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--json", "--dot"], "one of --json, --dot and --html at a time"),
        (["--html", "x", "-o", "y"], "-o is not for --html, which names its own file"),
    ],
)
def test_what_does_not_go_together(words: list[str], message: str) -> None:
    done = kintro("ipc", *words)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (2, b"", f"kintro: {message}\n")


def test_a_reader_who_leaves() -> None:
    command = f"{KINTRO} ipc | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_ctrl_c_ends_it() -> None:
    with running([KINTRO, "ipc"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
    assert b"Traceback" not in stderr
