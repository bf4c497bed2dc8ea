"""kintro doctor on this very machine: as root, without it, and in namespaces."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from typing import Any

import pytest

from kintro.cli import VERBS
from kintro.observers.doctor import OFFLINE

from .harness import KINTRO, as_nobody, environment, kintro, strictly

pytestmark = pytest.mark.kernel

CHILDREN = 23

# Doctor with one kernel member taken for another: the parent is looked for where the group leader is.
WRONG_OFFSET = """
import sys
from kintro.cli import main
from kintro.sources.btf import Btf

members = Btf.members

def wrong(self, type_id):
    found = {name: (offset, kind) for name, offset, kind in members(self, type_id)}
    if {"real_parent", "group_leader"} <= set(found):
        found["real_parent"] = found["group_leader"]
    return [(name, *where) for name, where in found.items()]

Btf.members = wrong
from kintro.sources import kept
kept.key_of = lambda *_: None  # nothing wrong is to be kept, nothing right to be found
sys.exit(main(["doctor", "--json"]))
"""


def document(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    """The one JSON document on standard output; nothing must be on standard error."""
    assert done.stderr == b"", done.stderr.decode()
    (line,) = done.stdout.splitlines()
    found = strictly(line)
    assert (found["type"], found["kernel"]) == ("doctor", platform.release())
    assert [verb["verb"] for verb in found["verbs"]] == list(VERBS)
    return found


def compared(found: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {item["name"]: (item["probe"], item["proc"]) for item in found["self_test"]["compared"]}


def trace_fork(found: dict[str, Any]) -> tuple[bool | None, str | None]:
    return next((verb["ok"], verb["todo"]) for verb in found["verbs"] if verb["verb"] == "trace-fork")


def unshare(*arguments: str) -> list[str]:
    program = shutil.which("unshare")
    if program is None:
        pytest.skip("unshare (util-linux) is not installed")
    tried = subprocess.run([program, *arguments, "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"unshare {' '.join(arguments)}: {tried.stderr.strip()}")
    return [program, *arguments]


def test_all_works_as_root() -> None:
    done = kintro("doctor", "--json")
    found = document(done)
    assert (done.returncode, found["ok"]) == (0, True), found
    assert all(verb["ok"] is True and verb["todo"] is None for verb in found["verbs"])
    assert all(check["ok"] is True for check in found["checks"] if check["needed_by"])
    test = found["self_test"]
    assert (test["ok"], test["lost"]) == (True, 0)
    seen = compared(found)
    assert seen["forks"] == seen["exits"] == (CHILDREN, CHILDREN)
    assert seen["wait statuses"][0] == [number << 8 for number in range(CHILDREN)]
    assert len(set(seen["pids"][0])) == CHILDREN
    assert seen["exec: argv"][0][-2:] == ["two words", ""]


def test_the_text_says_the_same() -> None:
    done = kintro("doctor")
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode()
    assert "NOT OK" not in text and "\x1b" not in text
    assert "Self-test: passed, 0 events lost." in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_wrong_offset_is_found() -> None:
    done = subprocess.run([sys.executable, "-c", WRONG_OFFSET], env=environment(), capture_output=True)
    found = document(done)
    assert (done.returncode, found["ok"], found["self_test"]["ok"]) == (70, False, False)
    seen = compared(found)
    assert seen["parents"][0] == seen["pids"][0] != seen["parents"][1]
    assert trace_fork(found)[0] is False


def test_without_root_only_permission_is_missing() -> None:
    if subprocess.run([KINTRO, "--version"], capture_output=True, **as_nobody()).returncode:
        pytest.skip(f"{KINTRO} cannot be run by other users")
    found = document(done := kintro("doctor", "--json", **as_nobody()))
    assert (done.returncode, found["ok"], found["self_test"]) == (77, False, None)
    assert trace_fork(found) == (False, "sudo kintro doctor")
    assert [verb["ok"] for verb in found["verbs"]] == [verb in OFFLINE for verb in VERBS]
    capabilities = next(check for check in found["checks"] if check["name"] == "capabilities")
    assert (capabilities["value"], capabilities["ok"]) == ([], False)
    text = kintro("doctor", **as_nobody())
    assert (text.returncode, text.stderr) == (77, b"") and b"Traceback" not in text.stdout


def test_a_pid_namespace_of_its_own() -> None:
    command = [*unshare("--pid", "--fork", "--mount-proc"), KINTRO, "doctor", "--json"]
    done = subprocess.run(command, env=environment(), capture_output=True)
    found = document(done)
    assert (done.returncode, found["self_test"]["ok"]) == (69, True), found["self_test"]
    assert compared(found)["forks"] == (CHILDREN, CHILDREN)
    ok, todo = trace_fork(found)
    assert ok is False and todo is not None and todo.startswith("run kintro on the host")


def test_root_of_a_user_namespace_is_refused_before_the_kernel_does() -> None:
    done = subprocess.run(
        [*unshare("--user", "--map-root-user"), KINTRO, "doctor", "--json"],
        env=environment(),
        capture_output=True,
    )
    found = document(done)
    assert (done.returncode, found["self_test"]) == (77, None)
    assert "outside of the user namespace" in (trace_fork(found)[1] or "")


def test_without_btf() -> None:
    hide = f"mount -t tmpfs kintro /sys/kernel/btf && exec {KINTRO} doctor --json"
    done = subprocess.run([*unshare("--mount"), "sh", "-c", hide], env=environment(), capture_output=True)
    found = document(done)
    assert (done.returncode, found["self_test"]) == (69, None)
    assert trace_fork(found) == (False, "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y")
    assert os.path.exists("/sys/kernel/btf/vmlinux")  # it was hidden from that process only
