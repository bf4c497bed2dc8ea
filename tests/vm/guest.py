"""What is checked inside of a machine, as an ordinary user who may call sudo: guest.py CHECK.

Each check ends with an error that says what was seen in place of what. It runs with the distribution's Python
and nothing else, and every number has a witness: strace, /proc, or what the command was told to do.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
WHEELS = Path("/usr/local/share/kintro/wheels")
PYTEST = Path("/var/tmp/kintro-pytest")
PYTHON = "/opt/kintro/bin/python"
CHILDREN = 23
SHELL_LOOP = f"i=0; while [ $i -lt {CHILDREN} ]; do (exit $i); i=$((i + 1)); done; exit 7"
BLOCKS = 997
DD = ["dd", "if=/dev/zero", "of=/dev/null", "bs=1", f"count={BLOCKS}", "status=none"]
SLEEPS = 50
SLEEPER = ["python3", "-c", f"import time\nfor _ in range({SLEEPS}): time.sleep(0.01)"]
MORE_KERNEL_TESTS = (
    "doctor.py::test_a_wrong_offset_is_found",
    "maps.py::test_bash",
    "maps.py::test_python_with_threads",
    "syscalls.py::test_each_count_and_each_error_twenty_times",
    "trace_ipc.py::test_each_message_and_each_byte",
    "trace_ipc.py::test_signals_from_sender_to_receiver",
    "ctxswitch.py::test_a_command",
    "tree.py::test_a_chain_through_one_that_has_ended",
    "task.py::test_a_zombie",
)


def run(*argv: str, code: int = 0) -> str:
    """What the command wrote to stdout; it must end with `code`."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True)
    if done.returncode != code:
        print(done.stdout, flush=True)
    equal(f"the exit code of {' '.join(argv)}", done.returncode, code)
    return done.stdout


def equal(what: str, seen: object, wanted: object) -> None:
    if seen != wanted:
        raise SystemExit(f"{what}: {seen}, not {wanted}")
    print(f"{what}: {seen}", flush=True)


def sudo_json(*argv: str, code: int = 0) -> list[dict[str, Any]]:
    """What `sudo kintro ARGV` wrote to a file as JSON, line by line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "out.json")
        verb, *rest = argv
        run("sudo", "kintro", verb, "--json", "-o", str(path), *rest, code=code)
        return [json.loads(line) for line in path.read_text().splitlines()]


@contextmanager
def asleep() -> Iterator[int]:
    """The pid of a program that waits until it is no longer wanted."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        try:
            maps = Path(f"/proc/{process.pid}/maps")
            while "/cat" not in maps.read_text():
                os.sched_yield()
            yield process.pid
        finally:
            assert process.stdin is not None
            process.stdin.close()


def doctor() -> None:
    """All verbs work as root; without root only permission is missing."""
    print(run("sudo", "kintro", "doctor"))
    print(run("kintro", "doctor", code=77).splitlines()[0])


def trace_fork() -> None:
    lines = sudo_json("trace-fork", "--", "sh", "-c", SHELL_LOOP, code=7)
    types = Counter(line["type"] for line in lines)
    equal("fork events", types["fork"], CHILDREN)
    equal("exec events", types["exec"], 1)
    equal("exit events", types["exit"], CHILDREN + 1)
    codes = sorted(line["exit_code"] for line in lines if line["type"] == "exit")
    equal("exit codes", codes, sorted([*range(CHILDREN), 7]))
    summary = lines[-1]
    counts = {key: summary[key] for key in ("forks", "exits", "lost")}
    equal("counts", counts, {"forks": CHILDREN, "exits": CHILDREN + 1, "lost": 0})
    owners = {line["uid"] for line in lines if line["type"] == "exec"}
    equal("the user of the command", owners, {os.getuid()})


def maps() -> None:
    with asleep() as pid:
        seen = json.loads(run("kintro", "maps", "--json", str(pid)))["mappings"]
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    equal("mappings", len(seen), len(lines))


def syscalls() -> None:
    """The calls of a program, each kind of them, against strace's count."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "strace")
        run("strace", "-f", "-c", "-o", str(told), *DD)
        table = [line.split() for line in told.read_text().splitlines()[2:-2]]
    wanted = {line[-1]: int(line[3]) for line in table}
    summary = sudo_json("syscalls", "--", *DD)[-1]
    seen = {call["name"]: call["calls"] for call in summary["syscalls"]}
    for name in ("read", "write"):
        equal(f"calls of {name}", seen[name], wanted[name])
    equal("lost, complete", [summary["lost"], summary["complete"]], [0, True])


def ctxswitch() -> None:
    summary = sudo_json("ctxswitch", "--", *SLEEPER)[-1]
    tasks = {task["tid"]: task for task in summary["tasks"]}
    most = max(tasks.values(), key=lambda task: task["voluntary"])
    equal("at least one voluntary switch for each sleep", most["voluntary"] >= SLEEPS, True)
    equal("switches by the kernel's count", summary["switches"], summary["kernel_switches"])
    equal("lost, complete", [summary["lost"], summary["complete"]], [0, True])


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on (proc_pid_stat(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def zombies(parent: int) -> int:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return sum(stat(int(child))[0] == "Z" for child in children)


def lab() -> None:
    """The lab of the zombies from start to check, by a student who looks into /proc: full marks."""
    argv = ["kintro", "lab", "start", "zombie", "--lang", "en"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as talk:
        assert talk.stdin is not None and talk.stdout is not None

        def says(line: object) -> str:
            """What the lab says to that, up to its next question."""
            talk.stdin.write(f"{line}\n".encode())
            return listens()

        def listens() -> str:
            said = b""
            while not said.endswith(b"> ") and (piece := talk.stdout.read(65536)):
                said += piece
            print(said.decode(), flush=True)
            return said.decode()

        listens()
        says("yes")
        told = says(4096)
        parent, zombie = (int(re.search(rf"kintro {verb} (\d+)", told)[1]) for verb in ("tree", "task"))
        says(zombies(parent))
        status = run("sudo", "cat", f"/proc/{zombie}/stat").split()[-1]
        says(os.waitstatus_to_exitcode(int(status)))
        run("sudo", "kill", "-9", str(zombie))
        says("no" if stat(zombie)[0] == "Z" else "yes")
        says(zombies(parent))
    equal("the exit code of the lab", talk.returncode, 0)
    checked = json.loads(run("kintro", "lab", "check", "zombie", "--json"))
    equal("marks", [checked["right"], checked["marks"]], [4, 4])
    listed = json.loads(run("sudo", "kintro", "lab", "list", "--json"))["labs"]
    equal("labs done, as sudo sees them", [one["name"] for one in listed if one["right"] == 4], ["zombie"])
    equal("~/labs/sheets.md", Path.home().joinpath("labs/sheets.md").is_file(), True)


def install_pytest() -> None:
    if not PYTEST.is_dir():
        pip = ["-I", "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", str(PYTEST)]
        offline = ["--no-index", "--find-links", str(WHEELS)] if WHEELS.is_dir() else []
        run("sudo", PYTHON, *pip, *offline, "pytest", "hypothesis")


def pytest(*tests: str) -> None:
    """Tests of tests/kernel, as root, with the kintro that is installed."""
    install_pytest()
    settings = [f"PYTHONPATH={PYTEST}", "PYTHONDONTWRITEBYTECODE=1", "KINTRO_DEADLINE_S=600"]
    argv = [PYTHON, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "--rootdir", str(REPOSITORY)]
    print(run("sudo", "env", *settings, *argv, *(f"{REPOSITORY}/tests/kernel/test_{test}" for test in tests)))


def kernel_tests() -> None:
    pytest("counts.py", "ends.py")


def more_kernel_tests() -> None:
    """Something of each of the other observers."""
    pytest(*MORE_KERNEL_TESTS)


ALL = (
    doctor, trace_fork, maps, syscalls, ctxswitch, lab, install_pytest, kernel_tests, more_kernel_tests,
)  # fmt: skip
CHECKS = {check.__name__: check for check in ALL}

if __name__ == "__main__":
    CHECKS[sys.argv[1]]()
