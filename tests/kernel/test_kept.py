"""A second start without the compiler counts the same; whatever is wrong with what was kept, it is compiled.

What is kept is moved away for these tests and put back. Whether the compiler was there is seen from outside:
/proc/PID/maps of kintro while it traces.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kintro.sources.kept import FOLDER

from .harness import SUMMARY, Seen, json_lines, kintro, program, running, seen_in, tracing, wait_for

pytestmark = pytest.mark.kernel

VARIANTS: dict[str, list[str]] = {
    "plain": [],
    "threads": ["--threads"],
    "comm": ["--comm", "python3"],
    "no-follow": ["--no-follow"],
}


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    """An empty folder; what was in it comes back."""
    aside = FOLDER.with_name(f"kintro-test-{os.getpid()}")
    if FOLDER.exists():
        FOLDER.rename(aside)
    try:
        yield
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
        if aside.exists():
            aside.rename(FOLDER)


def files() -> set[str]:
    return set(os.listdir(FOLDER)) if FOLDER.exists() else set()


def kept_file() -> Path:
    (name,) = files()
    return FOLDER / name


def run(tmp_path: Path, *options: str) -> tuple[Seen, bool]:
    """A trace of the workload of known numbers, and whether the compiler was loaded meanwhile."""
    output, ledger, go = (tmp_path / name for name in ("events.jsonl", "ledger.jsonl", "go"))
    for path in (output, ledger, go):
        path.unlink(missing_ok=True)
    wait = 'touch "$0"; while [ -e "$0" ]; do read -r -t 0.02 _ <> <(:); done; exec "$@"'
    command = ["bash", "-c", wait, str(go), *program("counts", ledger)]
    with tracing(output, *options, "--", *command) as process:
        wait_for(go.exists, "the start of the command")
        mapped = Path(f"/proc/{process.pid}/maps").read_text()
        go.unlink()
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    return seen_in(output, 0, stderr), "libbcc" in mapped or "libLLVM" in mapped
