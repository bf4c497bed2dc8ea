"""An experiment with the process descriptor: what /proc tells of a process, beside the kernel's record."""

from __future__ import annotations

import os
import random
import resource
from typing import NamedTuple

from kintro.concepts.experiment import Experiment, Finding, NotObserved, Picture, judged
from kintro.concepts.scene import Actor, Play
from kintro.concepts.words import Value
from kintro.observers import task
from kintro.observers.task_records import Field, Task
from kintro.observers.task_text import shown
from kintro.shapes import Table

# The claim's four, by the groups of fields that tell of them.
KINDS = {
    "priority": ("priority",),
    "state": ("state",),
    "addresses": ("memory", "addresses"),
    "rights": ("credentials", "limits", "signals"),
}
_TRIES = 5


class Described(NamedTuple):
    """A process by both, and what it was made to have. None: nothing was set."""

    task: Task
    nice: int | None
    umask: int | None
    files_limit: int | None


def _has(nice: int, umask: int, files_limit: int) -> Play:
    os.nice(nice - os.nice(0))
    os.umask(umask)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_limit, files_limit))
    yield True


def observe_descriptor() -> Described:
    nice, umask, limit = random.randint(5, 19), random.randint(1, 0o777), random.randint(64, 512)
    with Actor(_has, nice, umask, limit) as actor:
        actor.step()
        return Described(described(actor.pid), nice, umask, limit)


def described(pid: int) -> Task:
    """With the fewest fields that differ: a process that goes on may change between two looks."""
    with task.reading() as tasks:
        best = tasks.describe(pid)
        for _ in range(_TRIES):
            if not _differing(best):
                break
            best = min(best, tasks.describe(pid), key=lambda one: len(_differing(one)))
    if best.no_kernel is not None:
        raise NotObserved("no-record", message=best.no_kernel)
    return best


def observe_running(pid: int) -> Described:
    return Described(described(pid), None, None, None)


def _differing(found: Task) -> list[Field]:
    return [field for field in found.fields if field.equal is False]


def judge_descriptor(seen: Described) -> Finding:
    fields = seen.task.fields
    known = {(field.group, field.name): field for field in fields}
    nice, umask = known["priority", "nice"], known["files", "umask"]
    limit, size = known["limits", "nofile"], known["memory", "vm_size"]
    equal = {
        kind: sum(field.equal is True for field in fields if field.group in groups)
        for kind, groups in KINDS.items()
    }
    # The struct in which a member lies: where the last pointer on the way leads to.
    holders = {field.members[0].path.rpartition("->")[0] for field in fields if field.equal and field.members}
    facts: dict[str, Value] = {
        "pid": seen.task.pid,
        "equal": sum(field.equal is True for field in fields),
        "differ": len(_differing(seen.task)),
        **{f"{kind}_equal": number for kind, number in equal.items()},
        "structs": len(holders),
        "nice": _number(nice),
        "umask_octal": None if umask.kernel is None else shown("octal", umask.kernel),
        "files_limit": _number(limit),
    }
    asked = (seen.nice, seen.umask, seen.files_limit)
    kept = (_number(nice), _number(umask), _number(limit))
    as_set = all(one is None or one == other for one, other in zip(asked, kept))
    needed = [kind for kind in KINDS if kind != "addresses" or (size.proc, size.kernel) != (None, None)]
    all_kinds = all(equal[kind] for kind in needed)
    holds = not _differing(seen.task) and all_kinds and as_set
    return Finding(judged(holds, len(holders) > 3), facts, (Picture("fields", _table(fields)),))


def _number(field: Field) -> int | None:
    """By the kernel's record; of a limit the one that holds now."""
    value = field.kernel[0] if isinstance(field.kernel, tuple) and field.kernel else field.kernel
    return value if isinstance(value, int) else None


def _table(fields: tuple[Field, ...]) -> Table:
    wanted = [group for groups in KINDS.values() for group in groups]
    rows = [
        (field.group, field.name, shown(field.unit, field.proc), shown(field.unit, field.kernel),
         field.members[0].path if field.members else "")
        for group in wanted
        for field in fields
        if field.group == group and field.equal is not None
    ]  # fmt: skip
    return Table(("group", "field", "/proc", "kernel", "member"), tuple(rows))


EXPERIMENTS = (
    Experiment("D1", observe_descriptor, judge_descriptor, root=True, on=observe_running, on_root=True),
)
