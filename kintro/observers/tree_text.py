"""The tree of processes for people and as JSON."""

from __future__ import annotations

import pwd
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from kintro.observers.tree import Node, Totals
from kintro.renderers.text import command_line, duration, printable
from kintro.shapes import Cell, Column, Tree, TreeRow
from kintro.sources.processes import Process, Snapshot, Thread

COLUMNS = (Column("USER", 8), Column("S", 1), Column("AGE", 7, right=True))
_MEANING = {"R": "good", "D": "changed", "T": "changed", "t": "changed", "Z": "bad", "X": "bad"}


def tree(found: Sequence[Node], boottime_ns: int, with_arguments: bool = True) -> Tree:
    """`boottime_ns`: CLOCK_BOOTTIME of the snapshot, from which ages count. Threads come before children.

    Without arguments it may be handed on: command lines tell much about a machine.
    """
    told = label if with_arguments else name
    depths = [node.depth for node in found[1:]] + [0]
    rows = [
        row
        for node, after in zip(found, depths)
        for row in _rows(node, boottime_ns, after > node.depth, told(node))
    ]
    return Tree(COLUMNS, "PROCESS", tuple(rows))


def _rows(node: Node, boottime_ns: int, has_children: bool, told: str) -> Iterator[TreeRow]:
    process = node.process
    cells = (Cell(user(process.euid)), *_facts(process, boottime_ns))
    yield TreeRow(node.depth, node.last, cells, told)
    for number, thread in enumerate(process.thread_list, 1):
        last = number == len(process.thread_list) and not has_children
        cells = (Cell(""), *_facts(thread, boottime_ns))
        yield TreeRow(node.depth + 1, last, cells, f"{{{printable(thread.comm)}}} ({thread.tid})")


def _facts(task: Process | Thread, boottime_ns: int) -> tuple[Cell, Cell]:
    return Cell(task.state, _MEANING.get(task.state, "")), Cell(age(task.start_time_ns, boottime_ns), "faint")


def age(start_time_ns: int, boottime_ns: int) -> str:
    """In whole seconds at least: a start time of /proc is known to a hundredth of one."""
    past_ns = max(0, boottime_ns - start_time_ns)
    return f"{past_ns // 1_000_000_000} s" if past_ns < 100_000_000_000 else duration(past_ns)


def label(node: Node) -> str:
    """Name, pid, what is out of the ordinary, command line."""
    shown = arguments(node.process)
    return f"{name(node)}  {shown}" if shown else name(node)


def name(node: Node) -> str:
    """Name, pid, what is out of the ordinary."""
    process = node.process
    text = f"{printable(process.comm)} ({process.pid})"
    if process.threads > 1 and not process.thread_list:
        text += f" +{process.threads - 1} thread{'' if process.threads == 2 else 's'}"
    notes = []
    if node.enters_pid_namespace:
        notes.append(f"pid {process.ns_pids[-1]} in a pid namespace of its own")
    elif len(process.ns_pids) > 1:
        notes.append(f"pid {process.ns_pids[-1]} inside")
    if node.hidden_parent:
        notes.append(f"parent {process.ppid} not visible")
    if process.is_zombie:
        notes.append("zombie")
    if process.first_thread_ended:
        notes.append("first thread has ended")
    if notes:
        text += f" [{', '.join(notes)}]"
    return text


def arguments(process: Process) -> str:
    return command_line(process.argv) + (" …(more)" if process.argv_truncated else "")


@cache
def user(uid: int) -> str:
    """The name of a user, or his number where he has none."""
    try:
        return printable(pwd.getpwuid(uid).pw_name)
    except (KeyError, OverflowError):
        return str(uid)


def totals_line(totals: Totals) -> str:
    """What is shown, and what is not."""
    zombies = f" ({_count(totals.zombies, 'zombie')})" if totals.zombies else ""
    processes = _count(totals.processes, "process", "processes")
    parts = [f"{processes}{zombies}, {_count(totals.threads, 'thread')}"]
    if totals.pid_namespaces:
        parts.append(_count(totals.pid_namespaces, "pid namespace") + " entered")
    if totals.kernel_threads_left_out:
        parts.append(f"{_count(totals.kernel_threads_left_out, 'kernel thread')} not shown (--kernel)")
    parts.append(f"{totals.vanished} ended while they were read")
    if totals.unreadable:
        parts.append(f"{totals.unreadable} may not be read by this user")
    return "; ".join(parts)


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def as_json(snapshot: Snapshot, found: Sequence[Node], totals: Totals, with_threads: bool) -> dict[str, Any]:
    """One document: a flat list in depth-first order, each with its depth and its parent."""
    return {
        "type": "tree",
        "ts_ns": snapshot.taken_ns,
        "processes": [
            {
                "depth": node.depth,
                **process_json(node.process, with_threads),
                "enters_pid_namespace": node.enters_pid_namespace,
                "hidden_parent": node.hidden_parent,
            }
            for node in found
        ],
        "totals": totals._asdict(),
    }


def process_json(process: Process, with_threads: bool = False) -> dict[str, Any]:
    fields = process._asdict()
    listed = fields.pop("thread_list")
    if with_threads:
        fields["thread_list"] = [thread._asdict() for thread in listed]
    return fields
