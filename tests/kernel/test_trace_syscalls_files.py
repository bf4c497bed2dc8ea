"""What the descriptors of system calls refer to, as their program reads it in /proc/self/fd."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from .harness import kintro, program
from .story import Story, story

pytestmark = pytest.mark.kernel


def test_as_the_program_itself_reads_it(tmp_path: Path) -> None:
    output, told = tmp_path / "story.jsonl", tmp_path / "known.json"
    words = program("descriptors", tmp_path / "files")
    with told.open("w") as file:
        command = ["unshare", "--mount", "--", *words]
        options = ["--json", "-o", output, "--as-root"]
        done = kintro("trace-syscalls", *options, "--", *command, stdout=file, stderr=subprocess.PIPE)
    assert done.returncode == 0, done
    known = json.loads(told.read_text())
    seen = {
        call["args"]["offset"]: call["files"].get("fd")
        for call in Story(output).assert_whole().of("lseek")
        if call["args"]["whence"] == "SEEK_SET"
    }
    assert [seen.get(number) for number in range(1, len(known) + 1)] == known


def test_a_name_is_that_of_the_entry(tmp_path: Path) -> None:
    """Of a call that waits while its file gets another one."""
    seen = story(tmp_path, *program("renamed", tmp_path), options=["--as-root", "-e", "flock"])
    waited = max(seen.calls, key=lambda call: call["duration_ns"])
    assert waited["files"]["fd"] == f"{tmp_path}/before"
    assert {call["files"]["fd"] for call in seen.calls} == {f"{tmp_path}/before", f"{tmp_path}/behind"}
