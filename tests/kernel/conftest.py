"""What some kernel tests need: perf with a mounted tracefs, a trace that has to be compiled."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kintro.sources.kept import FOLDER

from .harness import WORKLOADS
from .touching import Touched, touching

NAMES = {"syscalls": "calls", "switches": "switcher"}
TRACEFS = Path("/sys/kernel/tracing")


@pytest.fixture
def touched() -> Iterator[Touched]:
    """A watched process that touches memory as it is told."""
    with touching() as found:
        yield found


@pytest.fixture(scope="session")
def perf() -> Iterator[str]:
    """The path of perf, with tracefs mounted for as long as it is wanted."""
    path = shutil.which("perf")
    if path is None:
        pytest.skip("perf is not installed")
    mounted = not (TRACEFS / "events").exists()
    if mounted:
        done = subprocess.run(["mount", "-t", "tracefs", "nodev", TRACEFS], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"tracefs cannot be mounted: {done.stderr.strip()}")
    try:
        count = [path, "stat", "-e", "sched:sched_process_fork", "--", "true"]
        tried = subprocess.run(count, capture_output=True, text=True)
        if tried.returncode:
            pytest.skip(f"perf cannot count forks here: {tried.stderr.strip()[:200]}")
        yield path
    finally:
        if mounted:
            subprocess.run(["umount", TRACEFS], capture_output=True)


def compiled(source: str, folder: Path) -> str:
    """The path of a workload in C, compiled where everybody can run it."""
    gcc = shutil.which("gcc") or shutil.which("cc")
    if gcc is None:
        pytest.skip("no C compiler")
    path = folder / NAMES[source]
    flags = ["-O1", "-Wall", "-Werror", "-pthread"]
    subprocess.run([gcc, *flags, "-o", path, WORKLOADS / f"{source}.c"], check=True)
    for above in (path.parent, *path.parents[1:3]):
        above.chmod(above.stat().st_mode | 0o755)  # of /tmp only what it lacks, not what it has
    return str(path)


@pytest.fixture(scope="session")
def workload(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of workloads/syscalls.c, compiled."""
    return compiled("syscalls", tmp_path_factory.mktemp("bin"))


@pytest.fixture(scope="session")
def switcher(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of workloads/switches.c, compiled."""
    return compiled("switches", tmp_path_factory.mktemp("bin"))


@pytest.fixture
def never_compiled() -> Iterator[Callable[[], list[str]]]:
    """Makes options of a trace that was not run before, so that nothing kept serves it."""
    kept = set(FOLDER.iterdir()) if FOLDER.is_dir() else set()
    yield lambda: ["--comm", os.urandom(7).hex()]
    for path in set(FOLDER.iterdir()) - kept if FOLDER.is_dir() else ():
        path.unlink(missing_ok=True)
