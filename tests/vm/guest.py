"""What is checked inside of a machine, as an ordinary user who may call sudo: guest.py CHECK.

Each check ends with an error that says what was seen in place of what. It runs with the distribution's Python
and nothing else, and every number has a witness: strace, /proc, or what the command was told to do.
"""

from __future__ import annotations

import json
import os
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
CHILDREN = 23
SHELL_LOOP = f"i=0; while [ $i -lt {CHILDREN} ]; do (exit $i); i=$((i + 1)); done; exit 7"
BLOCKS = 997
DD = ["dd", "if=/dev/zero", "of=/dev/null", "bs=1", f"count={BLOCKS}", "status=none"]
SLEEPS = 50
SLEEPER = ["python3", "-c", f"import time\nfor _ in range({SLEEPS}): time.sleep(0.01)"]
KERNEL_TESTS = ["counts", "ends"]


def run(*argv: str, code: int = 0) -> str:
    """What the command wrote to stdout; it must end with `code`."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True)
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


def lab() -> None:
    """A lab from start to check, answered as the kernel says it is."""
    if subprocess.run(["kintro", "lab", "list"], capture_output=True).returncode:
        print("this kintro has no labs")
        return
    print(run("sudo", "kintro", "lab", "verify", "zombie"))


def kernel_tests() -> None:
    """A part of the kernel test suite, with the kintro that is installed."""
    python = "/opt/kintro/bin/python"
    if not PYTEST.is_dir():
        pip = ["-I", "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", str(PYTEST)]
        offline = ["--no-index", "--find-links", str(WHEELS)] if WHEELS.is_dir() else []
        run("sudo", python, *pip, *offline, "pytest", "hypothesis")
    files = [f"{REPOSITORY}/tests/kernel/test_{name}.py" for name in KERNEL_TESTS]
    settings = [f"PYTHONPATH={PYTEST}", "PYTHONDONTWRITEBYTECODE=1", "KINTRO_DEADLINE_S=600"]
    pytest = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(REPOSITORY)]
    print(run("sudo", "env", *settings, *pytest, *files))


ALL = (doctor, trace_fork, maps, syscalls, ctxswitch, lab, kernel_tests)
CHECKS = {check.__name__: check for check in ALL}

if __name__ == "__main__":
    CHECKS[sys.argv[1]]()
