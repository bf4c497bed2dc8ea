"""Runs experiments: each in a process of its own, with a deadline, so that nothing of it stays behind.

As root that process has System V and POSIX IPC of its own: what an experiment makes ends with it.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import NamedTuple

from kintro.concepts.experiment import Experiment, Finding, NotObserved
from kintro.concepts.scene import die_with_parent
from kintro.concepts.words import CONCEPTS, Claim, Value, claims
from kintro.errors import EX_NOPERM, KintroError

DEADLINE_S = 30.0
_CLONE_NEWIPC = 0x08000000  # include/uapi/linux/sched.h
_POLL_S = 0.1
_libc = ctypes.CDLL(None, use_errno=True)


class Result(NamedTuple):
    """What an experiment found, and how long it took."""

    claim: Claim
    finding: Finding
    duration_ns: int


def experiments(chosen: Iterable[str] = ()) -> list[Experiment]:
    """Those of the claims and concepts that are named, by default all, in the document's order."""
    names = set(chosen)
    wanted = [c for c in claims().values() if not names or {c.id, c.concept} & names]
    found: dict[str, Experiment] = {}
    for concept in CONCEPTS:
        if any(claim.concept == concept for claim in wanted):
            module = importlib.import_module(f"kintro.concepts.{concept}")
            found |= {experiment.id: experiment for experiment in module.EXPERIMENTS}
    return [found[claim.id] for claim in wanted]


def run(
    experiment: Experiment, pid: int | None = None, told_to_end: Callable[[], bool] = lambda: False
) -> Result:
    """Runs one, or the part of it that looks at a process which is there already.

    To be called while there is no other thread, as it forks. What fails is not observed, with the reason.
    """
    begin_ns = time.monotonic_ns()
    answers, theirs = Pipe(duplex=False)
    worker = os.fork()
    if worker == 0:
        answers.close()
        _work(theirs, experiment, pid)
    theirs.close()
    try:
        finding = _answer(answers, begin_ns, told_to_end)
    finally:
        answers.close()
        _end(worker)
    return Result(claims()[experiment.id], finding, time.monotonic_ns() - begin_ns)


def _end(worker: int) -> None:
    """Ends the worker and all that it made and left behind, which is in its process group."""
    os.kill(worker, signal.SIGKILL)
    # Not waited for yet, so that its number is still taken, and nobody else's.
    os.waitid(os.P_PID, worker, os.WEXITED | os.WNOWAIT)
    for end in (os.killpg, os.kill):
        try:
            end(worker, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
    os.waitpid(worker, 0)


def _answer(answers: Connection, begin_ns: int, told_to_end: Callable[[], bool]) -> Finding:
    while not answers.poll(_POLL_S):
        if told_to_end():
            return _unseen("told-to-end")
        if time.monotonic_ns() - begin_ns > DEADLINE_S * 1e9:
            return _unseen("deadline", limit_s=DEADLINE_S)
    try:
        return answers.recv()
    except EOFError:
        return _unseen("died")


def _unseen(reason: str, **facts: Value) -> Finding:
    return Finding("not-observed", facts, (), reason)


def _work(answers: Connection, experiment: Experiment, pid: int | None) -> None:
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # what the caller holds back is not for experiments
        os.setsid()
        die_with_parent(round(2 * DEADLINE_S))
        if os.geteuid() == 0:
            _libc.unshare(_CLONE_NEWIPC)  # where that is refused, experiments still clear up after themselves
        answers.send(found(experiment, pid))
    finally:
        os._exit(0)


def found(experiment: Experiment, pid: int | None = None) -> Finding:
    """What an experiment finds, run in this process."""
    needs_root, observe, judge = experiment.root, experiment.observe, experiment.judge
    if pid is not None:
        if experiment.on is None:
            return _unseen("disturbs")
        needs_root, observe, judge = (
            experiment.on_root,
            partial(experiment.on, pid),
            experiment.judge_on or judge,
        )
    if needs_root and os.geteuid() != 0:
        return _unseen("root")
    if not _proc_is_ours():
        return _unseen("other-proc")
    try:
        return settled(judge(observe()))
    except NotObserved as unseen:
        return _unseen(unseen.reason, **unseen.facts)
    except KintroError as error:
        return _unseen("permission" if error.exit_code == EX_NOPERM else "failed", message=error.message)
    except OSError as error:
        return _unseen("failed", message=str(error))
    except Exception as error:
        return _unseen("bug", message=f"{type(error).__name__}: {error}")


def settled(finding: Finding) -> Finding:
    """Nothing speaks against a claim that was seen in part only: with events lost, it was not observed."""
    whole = finding.facts.get("lost", 0) == 0 and finding.facts.get("complete", True) is True
    if finding.verdict == "refuted" and not whole:
        return finding._replace(verdict="not-observed", reason="incomplete")
    return finding


def _proc_is_ours() -> bool:
    """Not so where it was mounted in another pid namespace, or not at all."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def run_all(
    chosen: Iterable[str] = (), pid: int | None = None, told_to_end: Callable[[], bool] = lambda: False
) -> Iterator[Result]:
    """Runs experiments one after the other, as they would disturb each other's times."""
    for experiment in experiments(chosen):
        if told_to_end():
            return
        yield run(experiment, pid, told_to_end)
