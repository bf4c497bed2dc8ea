"""Experiments with processes: a program against its runs, and what a process is given."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

from kintro.concepts.experiment import Experiment, Finding, NotObserved, Picture, judged
from kintro.concepts.family import wait_until
from kintro.concepts.resources import judge_resources, judge_threads, observe_resources, observe_threads
from kintro.concepts.scene import Actor, Play
from kintro.concepts.words import Value
from kintro.errors import KintroError
from kintro.observers import lifecycle
from kintro.observers.lifecycle_records import Exec
from kintro.renderers.text import duration, printable
from kintro.shapes import Table
from kintro.sources import host, procfs
from kintro.sources.filters import Filters
from kintro.sources.processes import read_process, read_snapshot
from kintro.sources.procfs import FileId


class Execution(NamedTuple):
    """A process and the program that it runs at a moment."""

    pid: int
    start_time_ns: int
    comm: bytes
    file: FileId | None  # the program's


class Executions(NamedTuple):
    """Several processes that run one program, and several programs that ran in one process."""

    of_one_program: list[Execution]
    in_one_process: list[Execution]  # in the order of time
    execs: int | None  # of that process by the kernel's events; None without root


def execution(pid: int) -> Execution:
    process = read_process(pid)
    if process is None:
        raise NotObserved("ended", pid=pid)
    return Execution(pid, process.start_time_ns, process.comm, procfs.exe_file(pid))


def _after(before: Execution) -> Execution:
    """The next program of a process, when that waits for something."""

    def is_next() -> bool:
        process = read_process(before.pid)
        return process is None or (process.comm != before.comm and process.state == "S")

    wait_until(is_next)
    return execution(before.pid)


def _becomes(argv: list[str], stdin: int) -> Play:
    """The second step is told nothing: the exec closes its line."""
    os.dup2(stdin, 0)
    yield True
    os.execvp(argv[0], argv)


def observe_executions() -> Executions:
    for name in ("sh", "sleep"):
        if shutil.which(name) is None:
            raise NotObserved("no-command", name=name)
    stages: list[Execution] = []
    with ExitStack() as stack:
        out, into = os.pipe()
        stack.callback(os.close, out)
        with open(into, "wb", buffering=0) as line:
            runs = []
            for _ in range(random.randint(3, 6)):
                runs.append(stack.enter_context(Actor(_becomes, ["sleep", "60"], out)))
                runs[-1].step()
                runs[-1].step()
            changes = stack.enter_context(Actor(_becomes, ["sh", "-c", "read line; exec sleep 60"], out))

            changes.step()

            def change() -> None:
                stages.append(execution(changes.pid))
                changes.step()
                stages.append(_after(stages[-1]))
                line.write(b"\n")
                stages.append(_after(stages[-1]))

            execs = _execs(changes.pid, change)
            return Executions([execution(run.pid) for run in runs], stages, execs)


def _execs(pid: int, during: Callable[[], None]) -> int | None:
    """How many the kernel told of; None where this user may not trace, or the kernel calls it otherwise."""
    if os.geteuid() != 0 or not host.in_initial_pid_namespace():
        during()
        return None
    with lifecycle.trace(filters=Filters(pid=pid), during=during) as run:
        return sum(isinstance(event, Exec) for event in run)


def judge_executions(seen: Executions) -> Finding:
    runs, stages = seen.of_one_program, seen.in_one_process
    files, pids = {run.file for run in runs}, {run.pid for run in runs}
    facts: dict[str, Value] = {
        "processes": len(runs),
        "different_pids": len(pids),
        "program_inode": _inode(runs[0]),
        "pid": stages[0].pid,
        "programs": len({stage.file for stage in stages}),
        "names": " → ".join(printable(stage.comm) for stage in stages),
        "starts": len({stage.start_time_ns for stage in stages}),
        "execs": seen.execs,
    }
    holds = len(runs) > 1 and len(pids) == len(runs) and len(files) == 1 and None not in files
    one_process = len({(stage.pid, stage.start_time_ns) for stage in stages}) == 1
    several = len({stage.file for stage in stages}) > 1 and seen.execs in (None, len(stages) - 1)
    shown = _picture([*runs, *stages])
    return Finding(judged(holds, one_process and several), facts, (Picture("executions", shown),))


def _inode(one: Execution) -> int | None:
    return one.file.inode if one.file is not None else None


def _picture(found: list[Execution]) -> Table:
    rows = tuple(
        (str(one.pid), duration(one.start_time_ns), printable(one.comm), str(_inode(one) or ""))
        for one in found
    )
    return Table(("pid", "started after boot", "program", "inode"), rows)


class Runs(NamedTuple):
    """A process that is there already, and all that run the same program."""

    own: Execution
    others: list[Execution]
    threads: int


def observe_runs(pid: int) -> Runs:
    own = execution(pid)
    if own.file is None:
        raise NotObserved("no-program", pid=pid)
    others = []
    for process in read_snapshot().processes.values():
        try:
            if process.pid != pid and procfs.exe_file(process.pid) == own.file:
                others.append(execution(process.pid))
        except (KintroError, NotObserved):  # it has ended, or is somebody else's
            continue
    return Runs(own, others, len(procfs.thread_ids(pid)))


def judge_runs(seen: Runs) -> Finding:
    facts: dict[str, Value] = {
        "pid": seen.own.pid,
        "name": printable(seen.own.comm),
        "program_inode": _inode(seen.own),
        "others": len(seen.others),
        "threads": seen.threads,
    }
    apart = len({one.pid for one in (seen.own, *seen.others)}) == 1 + len(seen.others)
    same = all(one.file == seen.own.file for one in seen.others)
    shown = _picture([seen.own, *seen.others])
    return Finding(judged(apart and same, seen.threads > 1), facts, (Picture("executions", shown),))


EXPERIMENTS = (
    Experiment("P1", observe_executions, judge_executions, on=observe_runs, judge_on=judge_runs),
    Experiment("P2", observe_resources, judge_resources, on=observe_threads, judge_on=judge_threads),
)
