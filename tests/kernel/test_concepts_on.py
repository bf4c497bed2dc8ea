"""Claims shown on processes that are there already, in containers, and by what independent witnesses say."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from kintro.concepts import runner, words
from kintro.concepts.experiment import Experiment, Finding
from kintro.observers.task_sharing import SHARED, structs
from kintro.sources.kernel_memory import TaskMemory
from kintro.sources.procfs import thread_ids

from .harness import program, running, wait_for

pytestmark = pytest.mark.kernel

ON = [experiment for experiment in runner.experiments() if experiment.on is not None]


@pytest.fixture(scope="module")
def family() -> Iterator[tuple[int, int]]:
    """The pids of a process and of its child."""
    with running(program("family"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        parent, child = map(int, process.stdout.readline().split())
        yield parent, child


def assert_told(found: Finding, claim: words.Claim) -> None:
    terms = words.of_concept(claim.concept).terms
    assert found.reason or found.facts.keys() <= terms.keys()
    assert {picture.caption for picture in found.pictures} <= terms.keys()
    template = terms[found.reason] if found.reason else claim.seen_on
    assert template is not None
    for language in words.LANGUAGES:
        told = words.filled(getattr(template, language), found.facts)
        assert told and not re.search(r"[{}]", told)


@pytest.mark.parametrize("experiment", ON, ids=lambda experiment: experiment.id)
def test_a_claim_on_a_running_process(experiment: Experiment, family: tuple[int, int]) -> None:
    """It never speaks against the claim, and is told in every language."""
    for pid in (*family, 1, 2, os.getpid()):
        result = runner.run(experiment, pid)
        found = result.finding
        assert found.verdict != "refuted" and found.reason not in ("bug", "died", "deadline"), found
        assert_told(found, result.claim)


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ("P1", "holds-with-nuance"), ("P2", "holds-with-nuance"), ("F1", "holds"),
        ("F2", "holds-with-nuance"), ("F4", "holds-with-nuance"), ("T1", "holds"),
        ("T2", "holds-with-nuance"), ("D1", "holds-with-nuance"), ("I1", "holds"), ("I4", "holds"),
        ("I5", "holds"),
    ],
)  # fmt: skip
def test_what_is_seen_on_a_parent(claim: str, verdict: str, family: tuple[int, int]) -> None:
    parent, child = family
    [experiment] = runner.experiments([claim])
    found = runner.run(experiment, parent).finding
    assert found.verdict == verdict, found
    assert found.facts["pid"] == parent
    if claim in ("F2", "F4"):
        assert found.facts["other_pid"] == child
    if claim == "P2":
        assert (found.facts["threads"], found.facts["same_structs"]) == (2, 2)


def test_forks_of_a_child(family: tuple[int, int]) -> None:
    parent, child = family
    [experiment] = runner.experiments(["F1"])
    facts = runner.run(experiment, child).finding.facts
    assert (facts["proc_parent_pid"], facts["kernel_parent_pid"]) == (parent, parent)


def test_code_of_a_running_process(family: tuple[int, int]) -> None:
    """By choice it is compared with a process that is no relative, if there is one."""
    [experiment] = runner.experiments(["F3"])
    with running(program("family"), stdin=subprocess.PIPE, stdout=subprocess.PIPE):
        found = runner.run(experiment, family[1]).finding
    assert (found.verdict, found.facts["related"]) == ("holds-with-nuance", False)


# Each has a file system of its own, on which the program is the first file.
OF_ITS_OWN = 'mount -t tmpfs none "$1" && cp "$(command -v sleep)" "$1/program" && exec "$1/program" 60'


def runs_own(pid: int) -> bool:
    return os.readlink(f"/proc/{pid}/exe").endswith("/program")


def test_programs_with_the_same_inode_on_other_file_systems(tmp_path: Path) -> None:
    command = ["unshare", "--mount", "sh", "-c", OF_ITS_OWN, "sh", str(tmp_path)]
    with running(command) as one, running(command) as other:
        for process in (one, other):
            wait_for(partial(runs_own, process.pid), "the program of its own")
        assert os.stat(f"/proc/{one.pid}/exe").st_ino == os.stat(f"/proc/{other.pid}/exe").st_ino
        experiments = runner.experiments(["P1", "F3"])
        runs, code = (runner.run(experiment, one.pid).finding for experiment in experiments)
    assert (runs.verdict, runs.facts["others"]) == ("holds", 0)
    assert code.reason == "no-other"


DOCTORED = {
    "P1": lambda seen: seen._replace(others=[seen.own]),
    "P2": lambda seen: [seen[0], seen[1]._replace(structs={})],
    "F1": lambda seen: seen._replace(kernel_parent_pid=1 << 30),
    "F2": lambda seen: seen._replace(private=(0, 0)),
    "F3": lambda seen: seen._replace(code=(700, 1)),
    "F4": lambda seen: seen._replace(public=(1, 1)),
    "T1": lambda seen: seen._replace(processes=seen.processes[:-1]),
    "D1": lambda seen: seen._replace(
        task=seen.task._replace(fields=tuple(f._replace(equal=False) for f in seen.task.fields))
    ),
    "I1": lambda seen: seen._replace(having_it=2),
    "I4": lambda seen: seen._replace(kernel=[0] * len(seen.processes)),
    "I5": lambda seen: seen._replace(returned=[seen.pid, 1 << 30]),
}


@pytest.mark.parametrize("claim", DOCTORED)
def test_it_can_speak_against_the_claim(claim: str, family: tuple[int, int]) -> None:
    [experiment] = runner.experiments([claim])
    assert experiment.on is not None
    judge = experiment.judge_on or experiment.judge
    assert judge(DOCTORED[claim](experiment.on(family[0]))).verdict == "refuted"


_ALL = (
    "from kintro.concepts import runner; import sys\n"
    "for result in runner.run_all(sys.argv[1:]):\n"
    "    print(result.claim.id, result.finding.verdict, result.finding.reason)"
)
CONCEPTS = ("process", "fork", "tree", "descriptor", "identity")


@pytest.mark.parametrize("mounted", [True, False])
def test_in_a_container(mounted: bool) -> None:
    """Whether its /proc is its own or the host's, nothing is refuted, and nothing fails."""
    unshare = ["unshare", "--pid", "--net", "--ipc", "--mount", "--fork", *["--mount-proc"] * mounted]
    command = [*unshare, sys.executable, "-c", _ALL, *CONCEPTS]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = [line.split() for line in told.splitlines()]
    assert len(found) == len(runner.experiments(CONCEPTS))
    for claim, verdict, *reason in found:
        assert verdict != "refuted" and "bug" not in reason, (claim, verdict, reason)
    assert any(verdict.startswith("holds") for _, verdict, *_ in found) == mounted


_KCMP = {"x86_64": 312, "aarch64": 272, "riscv64": 272}
_KINDS = {"mm": 1, "files": 2, "fs": 3, "sighand": 4}  # include/uapi/linux/kcmp.h


@pytest.mark.skipif(os.uname().machine not in _KCMP, reason="the number of kcmp(2) is not known here")
def test_structs_that_tasks_share_are_those_that_kcmp_tells(family: tuple[int, int]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    parent, child = family
    tasks = [*thread_ids(parent), child]
    assert len(tasks) == 3
    with TaskMemory() as memory:
        found = {tid: structs(memory, tid) for tid in tasks}
        assert structs(memory, 1 << 30) is None
        assert (structs(memory, 2) or {})["mm"] == 0
    for other in tasks[1:]:
        for name, kind in _KINDS.items():
            answer = libc.syscall(_KCMP[os.uname().machine], parent, other, kind, 0, 0)
            if answer < 0:
                pytest.skip("this kernel has no kcmp(2)")
            a, b = found[parent], found[other]
            assert a and b and set(a) == set(SHARED)
            assert (a[name] == b[name]) == (answer == 0)
