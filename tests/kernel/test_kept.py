"""A second start without the compiler counts the same; whatever is wrong with what was kept, it is compiled.

What is kept is moved away for these tests and put back. Whether the compiler ran is seen from outside: by the
CPU time of children that kintro has waited for when it traces.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kintro.sources.kept import FOLDER

from .harness import Seen, end_of, program, running, seen_in, tracing, wait_for

pytestmark = pytest.mark.kernel

# Says that it is there, waits until that is taken back, and becomes the program that is named behind.
WAIT = """
import os, sys, time
open(sys.argv[1], "w").close()
while os.path.exists(sys.argv[1]):
    time.sleep(0.01)
os.execv(sys.argv[2], sys.argv[2:])
"""
COUNTED = ("forks", "threads", "execs", "exits", "reparents")
PLAIN = (23, 7, 5 + 2, 24, 5)  # of workloads/counts.py; WAIT and what it becomes are two execs more
VARIANTS = {
    "plain": ([], PLAIN, 23),
    "--threads": (["--threads"], PLAIN, 30),
    "--comm": (["--comm", Path(sys.executable).name], None, None),
    "-p": (["-p"], (23, 7, 5 + 1, 24, 5), 23),
}


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    """No folder; what was in it comes back."""
    aside = FOLDER.with_name(f"kintro-test-{os.getpid()}")
    if FOLDER.exists():
        FOLDER.rename(aside)
    try:
        yield
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
        if aside.exists():
            aside.rename(FOLDER)


def files() -> set[Path]:
    return set(FOLDER.iterdir()) if FOLDER.exists() else set()


def attached(pid: int) -> bool:
    try:
        links = [entry.readlink().name for entry in Path(f"/proc/{pid}/fd").iterdir()]
    except FileNotFoundError:  # closed meanwhile
        return False
    return links.count("anon_inode:bpf_link") + links.count("anon_inode:bpf-raw-tracepoint") >= 4


def run(tmp_path: Path, *options: str) -> tuple[Seen, bool]:
    """A trace of the workload of known numbers, and whether a compiler ran for it."""
    output, ledger, waits = (tmp_path / name for name in ("events.jsonl", "ledger.jsonl", "waits"))
    for path in (output, ledger):
        path.unlink(missing_ok=True)
    command = [sys.executable, "-S", "-E", "-c", WAIT, str(waits), *program("counts", ledger)]
    with ExitStack() as stack:
        if "-p" in options:
            traced = stack.enter_context(running(command))
            wait_for(waits.exists, "the start of the process")
            tracer = stack.enter_context(tracing(output, *options, str(traced.pid)))
        else:
            tracer = stack.enter_context(tracing(output, *options, "--", *command))
        wait_for(lambda: waits.exists() and attached(tracer.pid), "the trace to begin")
        ticks = map(int, Path(f"/proc/{tracer.pid}/stat").read_text().rpartition(")")[2].split()[13:15])
        compiled = sum(ticks) > 0
        waits.unlink()
        if "-p" in options:
            traced.wait(20)
        status, stderr = end_of(tracer)
    assert status == 0, stderr
    return seen_in(output, status), compiled


def counts(seen: Seen) -> tuple[int, ...]:
    seen.assert_whole()
    return tuple(seen.summary[name] for name in COUNTED)


@pytest.mark.parametrize("variant", VARIANTS)
def test_second_start_has_no_compiler_and_counts_the_same(tmp_path: Path, variant: str) -> None:
    options, wanted, shown = VARIANTS[variant]
    first, compiled = run(tmp_path, *options)
    assert compiled and files()  # others may trace at the same time, and keep theirs
    second, compiled_again = run(tmp_path, *options)
    assert not compiled_again
    assert counts(second) == counts(first)
    assert len(second.of("fork")) == len(first.of("fork")) > 0
    if wanted is not None:
        assert (counts(second), len(second.of("fork"))) == (wanted, shown)


def test_modes(tmp_path: Path) -> None:
    run(tmp_path)
    assert FOLDER.stat().st_mode & 0o7777 == 0o700
    assert {path.stat().st_mode & 0o7777 for path in files()} == {0o600}


def test_other_parameters_are_another_file(tmp_path: Path) -> None:
    run(tmp_path)
    one = files()
    _, compiled = run(tmp_path, "--comm", Path(sys.executable).name)
    assert compiled
    assert len(files()) == 2 and one < files()
    _, compiled = run(tmp_path)
    assert not compiled


def test_damaged_file(tmp_path: Path) -> None:
    run(tmp_path)
    (path,) = files()
    good = path.read_bytes()
    damaged = bytearray(good)
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    seen, compiled = run(tmp_path)
    assert (compiled, counts(seen)) == (True, PLAIN)
    assert path.read_bytes() == good  # bcc compiles the same text to the same code


def test_program_that_the_verifier_refuses(tmp_path: Path) -> None:
    """With a right checksum, so that only the kernel can tell."""
    run(tmp_path)
    (path,) = files()
    good = path.read_bytes()
    head, _, body = good.partition(b"\n")
    fields = json.loads(body)
    code, names = fields["programs"]["tp_sched_process_exit"]
    fields["programs"]["tp_sched_process_exit"] = ["ff" + code[2:], names]  # no such instruction
    body = json.dumps(fields).encode()
    path.write_bytes(head.rpartition(b" ")[0] + b" %08x\n" % zlib.crc32(body) + body)
    seen, compiled = run(tmp_path)
    assert (compiled, counts(seen)) == (True, PLAIN)
    assert path.read_bytes() == good
    _, compiled = run(tmp_path)
    assert not compiled


def test_folder_that_others_may_write(tmp_path: Path) -> None:
    run(tmp_path)
    FOLDER.chmod(0o770)
    seen, compiled = run(tmp_path)
    assert (compiled, counts(seen)) == (True, PLAIN)


def test_nothing_can_be_kept(tmp_path: Path) -> None:
    FOLDER.write_text("not a folder")
    try:
        seen, compiled = run(tmp_path)
        assert (compiled, counts(seen)) == (True, PLAIN)
    finally:
        FOLDER.unlink()
