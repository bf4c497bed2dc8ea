"""What a process is given, and that its threads have it in common: by /proc and by the kernel's records."""

from __future__ import annotations

import mmap
import os
import random
import resource
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from typing import NamedTuple

from kintro.concepts.experiment import Finding, NotObserved, Picture, judged
from kintro.concepts.scene import Actor, Play
from kintro.concepts.words import Value
from kintro.errors import KintroError
from kintro.observers import task
from kintro.observers.task_sharing import structs
from kintro.shapes import Table
from kintro.sources import host, procfs
from kintro.sources.kernel_memory import TaskMemory
from kintro.sources.processes import read_snapshot

KTHREADD = 2
FILES = 300  # more than a process has slots for that opens few


class Holder(NamedTuple):
    """A task, and what it can use, as the kernel tells of this very task."""

    tid: int
    memory_bytes: int | None  # None: it has no address space
    fd_slots: int | None
    umask: int | None
    times_run: int | None  # how often it was put on a CPU
    structs: Mapping[str, int] | None  # of task_sharing.py; None: they were not read

    @property
    def told(self) -> tuple[int | None, ...]:
        return self.memory_bytes, self.fd_slots, self.umask


class Resources(NamedTuple):
    """What one thread of a process got, as all its threads and a child have it."""

    threads: list[Holder]  # the first is the one that did not ask for anything
    child: Holder
    kernel_thread: Holder | None
    kernel_threads: int


def _gets(threads: int) -> Play:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with Actor(_waits) as child:
        child.step()
        asked, done, over = threading.Event(), threading.Event(), threading.Event()
        ready = threading.Barrier(threads + 1)
        held: list[object] = []

        def ask() -> None:
            ready.wait()
            asked.wait()
            held.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(FILES))
            held.append(mmap.mmap(-1, random.randint(1000, 2000) * mmap.PAGESIZE))
            os.umask(0o077 ^ os.umask(0))
            done.set()
            over.wait()

        def wait() -> None:
            ready.wait()
            over.wait()

        for number in range(threads):
            threading.Thread(target=wait if number else ask, daemon=True).start()
        ready.wait()
        yield child.pid
        asked.set()
        done.wait()
        yield True
        over.set()


def _waits() -> Play:
    yield True


def holder(tasks: task.Tasks, memory: TaskMemory | None, pid: int, tid: int) -> Holder:
    fields = {field.name: field.proc for field in tasks.describe(pid, tid).fields}

    def number(name: str) -> int | None:
        value = fields[name]
        return value if isinstance(value, int) else None

    told = number("vm_size"), number("fd_slots"), number("umask"), number("times_run")
    return Holder(tid, *told, structs(memory, tid) if memory is not None else None)


def _memory(stack: ExitStack) -> TaskMemory | None:
    """The kernel's records, where they can be read."""
    if os.geteuid() != 0 or not host.in_initial_pid_namespace():
        return None
    return stack.enter_context(TaskMemory())


def observe_resources() -> Resources:
    with ExitStack() as stack:
        process = stack.enter_context(Actor(_gets, random.randint(3, 6)))
        child_pid = process.step()
        process.step()
        memory = _memory(stack)
        tasks = task.Tasks(memory or KintroError("not read"))
        threads = [holder(tasks, memory, process.pid, tid) for tid in procfs.thread_ids(process.pid)]
        child = holder(tasks, memory, child_pid, child_pid)
        in_kernel = [p.pid for p in read_snapshot().processes.values() if p.is_kernel_thread]
        one = holder(tasks, memory, KTHREADD, KTHREADD) if KTHREADD in in_kernel else None
        return Resources(threads, child, one, len(in_kernel))


def _same(threads: list[Holder]) -> bool:
    """Whether all of them have the same; by the kernel's records also the same structs."""
    return len({one.told for one in threads}) == 1 and _same_structs(threads)


def _same_structs(threads: list[Holder]) -> bool:
    return all(one.structs == threads[0].structs for one in threads)


def _differ(one: Holder, other: Holder) -> bool:
    told = all(a != b for a, b in zip(one.told, other.told))
    theirs = other.structs or {}
    return told and all(address != theirs.get(name) for name, address in (one.structs or {}).items())


def _held(threads: list[Holder]) -> dict[str, Value]:
    first = threads[0]
    same = sum(one.structs == first.structs for one in threads) if first.structs else None
    return {
        "threads": len(threads),
        "same_told": sum(one.told == first.told for one in threads),
        "memory_bytes": first.memory_bytes,
        "fd_slots": first.fd_slots,
        "same_structs": same,
        "scheduled": sum(bool(one.times_run) for one in threads),
    }


def judge_resources(seen: Resources) -> Finding:
    facts = {
        **_held(seen.threads),
        "child_memory_bytes": seen.child.memory_bytes,
        "child_fd_slots": seen.child.fd_slots,
        "kernel_threads": seen.kernel_threads,
    }
    holds = len(seen.threads) > 1 and _same(seen.threads) and _differ(seen.threads[0], seen.child)
    bare = seen.kernel_thread
    no_memory = bare is not None and bare.memory_bytes is None and not (bare.structs or {}).get("mm")
    own_turns = facts["scheduled"] == len(seen.threads)
    tasks = [*seen.threads, seen.child, *([bare] if bare else [])]
    shown = Picture("holders", _table(tasks))
    return Finding(judged(holds, no_memory and own_turns), facts, (shown,))


def _table(tasks: list[Holder]) -> Table:
    """Structs are numbered in the order in which they come: their addresses are nothing to hand on."""
    names = list(tasks[0].structs or {})
    numbers: dict[str, dict[int, str]] = {name: {0: "–"} for name in names}
    rows = []
    for one in tasks:
        amounts = one.memory_bytes, one.fd_slots, one.times_run
        shown = ("" if value is None else f"{value:,}" for value in amounts)
        addresses = ((name, (one.structs or {}).get(name, 0)) for name in names)
        which = [numbers[name].setdefault(at, f"#{len(numbers[name])}") for name, at in addresses]
        rows.append((str(one.tid), *shown, *which))
    columns = ("tid", "memory, bytes", "slots for files", "turns on a CPU", *names)
    return Table(columns, tuple(rows))


def observe_threads(pid: int) -> list[Holder]:
    """Of a process that goes on meanwhile: read anew until all its threads are told the same."""
    with ExitStack() as stack:
        memory = _memory(stack)
        tasks = task.Tasks(memory or KintroError("not read"))
        for _ in range(10):
            found = [holder(tasks, memory, pid, tid) for tid in procfs.thread_ids(pid)]
            if found[0].memory_bytes is None:
                raise NotObserved("no-memory", pid=pid)
            if _same_of_running(found):
                break
        return found


def _same_of_running(threads: list[Holder]) -> bool:
    """By the structs where they are known: amounts change while they are read."""
    if threads[0].structs is not None:
        return _same_structs(threads)
    return len({one.told[1:] for one in threads}) == 1


def judge_threads(seen: list[Holder]) -> Finding:
    facts: dict[str, Value] = {"pid": seen[0].tid, **_held(seen)}
    return Finding(judged(_same_of_running(seen), len(seen) > 1), facts, (Picture("holders", _table(seen)),))
