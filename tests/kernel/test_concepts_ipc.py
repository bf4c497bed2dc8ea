"""What claims about communication tell of processes that are there already, against their own ledger."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kintro.concepts import runner, words

from .harness import running
from .test_ipc import workload

pytestmark = pytest.mark.kernel

KINDS = {
    "M1": ("pipe", "fifo"),
    "M2": ("mqueue", "sysv-msg"),
    "M5": ("sysv-sem", "sem"),
    "M6": ("unix", "tcp", "udp"),
}
MEMORY = ("sysv-shm", "shm", "memfd", "anon", "file")
HANDLES = f"""
import signal, sys
for number in ({signal.SIGUSR1:d}, {signal.SIGUSR2:d}):
    signal.signal(number, lambda *_: None)
signal.pthread_sigmask(signal.SIG_BLOCK, [{signal.SIGUSR2:d}])
print("ready", flush=True)
sys.stdin.read()
"""

# The first segment of an ipc namespace has the id 0, which is in the place of the inode of its mappings.
FIRST_SEGMENT = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
segment = libc.shmget(0, 10 * 4096, 0o1600)
address = libc.shmat(segment, None, 0)
ctypes.memset(address, 1, 10 * 4096)
other = os.fork()
assert ctypes.string_at(address, 10 * 4096) == bytes([1]) * (10 * 4096)
if other == 0:
    print(segment, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    with workload(tmp_path_factory.mktemp("ipc")) as (ledger, _):
        yield [entry for entry in ledger if entry["what"] == "end"]


def pid_of(ledger: list[dict[str, Any]], channel: str, role: str) -> int:
    return next(entry["pid"] for entry in ledger if (entry["channel"], entry["role"]) == (channel, role))


def on(claim: str, pid: int) -> tuple[str, dict[str, Any]]:
    """The verdict and its facts; what is told of them has words in every language."""
    [experiment] = runner.experiments([claim])
    result = runner.run(experiment, pid)
    finding, known = result.finding, words.of_concept("ipc").terms
    assert finding.facts.keys() <= known.keys()
    assert {picture.caption for picture in finding.pictures} <= known.keys()
    for language in words.LANGUAGES:
        template = known[finding.reason] if finding.reason else result.claim.seen_on
        assert template is not None
        assert not re.search(r"[{}]", words.filled(getattr(template, language), finding.facts))
    return finding.reason or finding.verdict, dict(finding.facts)


@pytest.mark.parametrize("claim", KINDS)
def test_channels_of_a_process(ledger: list[dict[str, Any]], claim: str) -> None:
    anna = pid_of(ledger, "fifo", "write")
    known = {e["channel"] for e in ledger if e["kind"] in KINDS[claim]}
    hers = {e["channel"] for e in ledger if e["pid"] == anna and e["channel"] in known}
    verdict, facts = on(claim, anna)
    assert verdict == "holds"
    # Beside those of the ledger there are the pipes by which the workload's processes wait for one another.
    assert facts["between"] >= len(hers) if claim == "M1" else facts["between"] == len(hers)
    assert facts["peers"] >= 1


def test_memory_that_nobody_has_touched(ledger: list[dict[str, Any]]) -> None:
    """The processes of the workload only map it: there is nothing yet whose frames could be compared."""
    anna = pid_of(ledger, "fifo", "write")
    reason, facts = on("M3", anna)
    mappers = {
        e["channel"]: {o["pid"] for o in ledger if o["channel"] == e["channel"] and "mapped" in o["role"]}
        for e in ledger
        if e["kind"] in MEMORY
    }
    shared = [pids for pids in mappers.values() if anna in pids and len(pids) > 1]
    assert (reason, facts["channels"]) == ("no-common-pages", len(shared))


def test_only_the_memory_of_the_channel_is_compared() -> None:
    command = ["unshare", "--ipc", sys.executable, "-S", "-E", "-c", FIRST_SEGMENT]
    with running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"0\n"
        verdict, facts = on("M3", process.pid)
    assert (verdict, facts["kind"], facts["channels"]) == ("holds", "sysv-shm", 1)
    assert (facts["same_frames"], facts["other_frames"]) == (10, 0)


def test_signals_of_a_process() -> None:
    command = [sys.executable, "-S", "-E", "-c", HANDLES]
    with running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGUSR2)
        verdict, facts = on("M4", process.pid)
        status = Path(f"/proc/{process.pid}/status").read_text()
    caught, blocked = (int(re.findall(rf"{name}:\s+(\w+)", status)[0], 16) for name in ("SigCgt", "SigBlk"))
    assert verdict == "holds"
    assert facts["handlers"] == caught.bit_count() and facts["pending_now"] == 1
    assert facts["open_handlers"] == (caught & ~blocked).bit_count() == facts["handlers"] - 1


@pytest.mark.parametrize("claim", ["M3", *KINDS])
def test_a_process_that_has_none(claim: str) -> None:
    with open("/dev/null", "r+") as nothing:
        streams = {"stdin": nothing, "stdout": nothing, "stderr": nothing}
        with running(["sleep", "60"], **streams) as process:
            assert on(claim, process.pid)[0] == "has-none"
