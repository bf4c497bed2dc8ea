"""The account of context switches as a table for people, as a sentence and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kintro.observers.buckets import BUCKETS, bounds_ns
from kintro.observers.switches import frequent, reasons, slice_ns, summed, wait_ns, wakers
from kintro.observers.switches_records import IDLE, Account, Pair, Swaps, Task
from kintro.renderers.text import duration, fit, printable
from kintro.shapes import Cell, Column

WIDE = 120  # from that many cells on there is room for more columns
WAKERS_MAX = 5
CPUS_MAX = 16  # lines

_NARROW = (
    Column("TID", 7, right=True),
    Column("COMM", 15),
    Column("VOL", 8, right=True),
    Column("INVOL", 7, right=True),
    Column("ON-CPU", 7, right=True),
    Column("BLOCKED", 7, right=True),
    Column("WAITING", 7, right=True),
    Column("P99", 7, right=True),
    Column("MAX", 7, right=True),
)
_WIDE = (
    Column("PID", 7, right=True),
    *_NARROW[:2],
    Column("SWITCHES", 8, right=True),
    *_NARROW[2:4],
    Column("MIGR", 5, right=True),
    _NARROW[4],
    Column("SLICE", 7, right=True),
    *_NARROW[5:7],
    Column("P50", 7, right=True),
    *_NARROW[7:],
    Column("WOKEN BY", None),
)


def columns(width: int | None) -> tuple[Column, ...]:
    return _WIDE if width is None or width >= WIDE else _NARROW


def row(task: Task, woken_by: str, shown: Sequence[Column]) -> tuple[Cell, ...]:
    """Cells of `shown`, which `columns` gave. `woken_by`: what `waker_text` gave."""
    cells = {
        "PID": Cell(str(task.name.pid)),
        "TID": Cell(str(task.name.tid)),
        "COMM": Cell(fit(printable(task.name.comm), 15)),
        "SWITCHES": Cell(str(task.switches)),
        "VOL": Cell(str(task.voluntary or "")),
        "INVOL": Cell(str(task.involuntary or ""), "changed"),
        "MIGR": Cell(str(task.migrations or "")),
        "ON-CPU": _span(task.on_cpu_ns),
        "SLICE": _span(slice_ns(task, 0.5)),
        "BLOCKED": _span(task.blocked_ns),
        "WAITING": _span(task.runnable_ns),
        "P50": _span(wait_ns(task, 0.5)),
        "P99": _span(wait_ns(task, 0.99)),
        "MAX": _span(task.wait_max_ns or None),
        "WOKEN BY": Cell(woken_by, "faint"),
    }
    return tuple(cells[column.title] for column in shown)


def _span(ns: int | None) -> Cell:
    return Cell("–", "faint") if ns is None else Cell(duration(ns))


def who(account: Account, slot: int, width: int | None = None) -> str:
    """A task's comm and tid, printable. In `width` cells, if there is a width: it is the comm that is cut."""
    name = account.names.get(slot)
    if slot == IDLE or name is None:
        return "idle" if slot == IDLE else "?"
    comm, tid = printable(name.comm), f" {name.tid}"
    return (comm if width is None else fit(comm, width - len(tid))) + tid


def waker_text(account: Account, slots: Sequence[tuple[int, int]]) -> str:
    """Who woke a task, those that did it most: `sh 12 (7), idle (2)`."""
    return ", ".join(f"{who(account, slot)} ({number})" for slot, number in slots[:3])


CPU_COLUMNS = (
    Column("CPU", 5, right=True),
    Column("SWITCHES", 9, right=True),
    Column("PER S", 9, right=True),
    Column("BUSY", 7, right=True),
    Column("IDLE", 7, right=True),
    Column("BUSY FOR", 8, right=True),
)


def cpu_rows(account: Account) -> list[tuple[Cell, ...]]:
    """The CPUs in their order; the first ones with most switches where they are many."""
    ranked = sorted(account.cpus.items(), key=lambda item: -item[1].switches)[:CPUS_MAX]
    rows = []
    for number, cpu in sorted(ranked):
        total_ns = cpu.busy_ns + cpu.idle_ns or 1
        texts = (
            str(number),
            str(cpu.switches),
            _rate(cpu.switches, account.duration_ns),
            f"{cpu.busy_ns / total_ns:.1%}",
            f"{cpu.idle_ns / total_ns:.1%}",
            duration(cpu.busy_ns),
        )
        rows.append(tuple(Cell(text) for text in texts))
    return rows


def left_out(number: int, what: str) -> list[str]:
    """The line below a table that ends before all is told; none if it does not."""
    return [f"and {number} more {what}{'s' * (number != 1)}"] if number > 0 else []


def _rate(number: int, duration_ns: int) -> str:
    return f"{number * 1e9 / duration_ns:,.0f}" if duration_ns > 0 else "–"


def when(account: Account, begin_ns: int, kind: str) -> str:
    """Of which time an account is; `begin_ns`: when the trace began."""
    since_ns = account.begin_ns - begin_ns
    ends = (duration(since_ns), duration(since_ns + account.duration_ns))
    return "in all:" if kind == "summary" else f"from {ends[0]} to {ends[1]}:"


def summary_lines(account: Account) -> list[str]:
    """What was counted in all."""
    parts = [f"{account.voluntary:,} voluntary", f"{account.involuntary:,} involuntary"]
    if account.whole_system:
        parts.append(f"{account.from_idle:,} from idle")
    text = (
        f"{account.switches:,} switches of {len(account.tasks)} task{'s' * (len(account.tasks) != 1)} in "
        f"{duration(account.duration_ns)} ({_rate(account.switches, account.duration_ns)}/s): "
        f"{', '.join(parts)}; lost {account.lost}"
    )
    if account.complete is not None:
        kernel = account.kernel_switches or 0
        text += "; complete" if account.complete else f"; INCOMPLETE (the kernel counted {kernel:,})"
    lines = [text]
    if account.untold:
        number = f"{account.untold:,} switch{'es' * (account.untold != 1)}"
        where = "" if account.whole_system else " on all CPUs"
        lines.append(f"the kernel's tracepoint did not tell of {number}{where}; made up for")
    if account.untold_wakings:
        number = f"{account.untold_wakings:,} wake-up{'s' * (account.untold_wakings != 1)}"
        where = "" if account.whole_system else " on all CPUs"
        lines.append(f"nobody told of {number}{where}; the waits that followed are taken from the run queues")
    if account.idle_share is not None:
        lines.append(f"CPUs were idle for {account.idle_share:.1%} of the time")
    return lines


def as_json(
    account: Account, tasks: Sequence[tuple[int, Task]], top: int | None, kind: str = "summary"
) -> dict[str, Any]:
    """`tasks`: those to be listed, in their order; `top`: how many pairs, None for all."""
    woken_by = wakers(account)
    return {
        "type": kind,
        "begin_ns": account.begin_ns,
        "duration_ns": account.duration_ns,
        "cpus": len(account.cpus),
        "switches": account.switches,
        "kernel_switches": account.kernel_switches,
        "voluntary": account.voluntary,
        "involuntary": account.involuntary,
        "from_idle": account.from_idle,
        "untold": account.untold,
        "untold_wakings": account.untold_wakings,
        "lost": account.lost,
        "losses": account.losses,
        "complete": account.complete,
        "idle_share": account.idle_share,
        "tasks": [_task_json(account, task, woken_by.get(slot, [])) for slot, task in tasks],
        "pairs": [_pair_json(account, *item) for item in frequent(account)[:top]],
        "per_cpu": [
            {
                "cpu": number,
                "switches": cpu.switches,
                "kernel_switches": cpu.kernel_switches,
                "from_idle": cpu.from_idle,
                "busy_ns": cpu.busy_ns,
                "idle_ns": cpu.idle_ns,
            }
            for number, cpu in sorted(account.cpus.items())
        ],
        "run_queue": _buckets_json(summed(task.waits for task in account.tasks.values())),
        "slices": _buckets_json(summed(task.slices for task in account.tasks.values())),
        "off_cpu": _buckets_json(account.sleeps),
    }


def _task_json(account: Account, task: Task, woken_by: Sequence[tuple[int, int]]) -> dict[str, Any]:
    waited, turned = any(task.waits), any(task.slices)
    return {
        "pid": task.name.pid,
        "tid": task.name.tid,
        "start_time_ns": task.name.start_time_ns,
        "comm": task.name.comm,
        "switches": task.switches,
        "voluntary": task.voluntary,
        "involuntary": task.involuntary,
        "on_cpu_ns": task.on_cpu_ns,
        "blocked_ns": task.blocked_ns,
        "runnable_ns": task.runnable_ns,
        "runtime_ns": task.runtime_ns,
        "run_queue_p50_ns": wait_ns(task, 0.5),
        "run_queue_p99_ns": wait_ns(task, 0.99),
        "run_queue_max_ns": task.wait_max_ns if waited else None,
        "slice_p50_ns": slice_ns(task, 0.5),
        "slice_p99_ns": slice_ns(task, 0.99),
        "slice_max_ns": task.slice_max_ns if turned else None,
        "migrations": task.migrations,
        "woken_by": [_name_json(account, slot) | {"count": number} for slot, number in woken_by[:WAKERS_MAX]],
    }


def _pair_json(account: Account, pair: Pair, swaps: Swaps) -> dict[str, Any]:
    prev, following = (_name_json(account, slot) for slot in pair)
    why = reasons(pair, swaps)
    return {
        "prev": prev,
        "next": following,
        "count": swaps.times,
        "voluntary": why.voluntary,
        "involuntary": why.involuntary,
    }


def _name_json(account: Account, slot: int) -> dict[str, Any]:
    name = account.names.get(slot)
    return {"tid": name.tid if name else None, "comm": name.comm if name else None}


def _buckets_json(buckets: Sequence[int]) -> list[dict[str, Any]]:
    return [
        {"low_ns": low, "high_ns": high, "count": buckets[bucket]}
        for bucket in range(BUCKETS)
        if buckets[bucket]
        for low, high in (bounds_ns(bucket),)
    ]
