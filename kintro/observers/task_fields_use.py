"""The fields of a task that tell what it uses: its address space, and its time on CPUs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kintro.observers.task_proc import Facts
from kintro.observers.task_source import (
    ALONE,
    HEAP,
    NO_MEMORY,
    PAGE,
    PER_CPU,
    SAMPLED,
    Source,
    in_bytes,
    in_ticks,
)

_FILE, _ANON, _SWAP, _SHMEM = range(4)  # enum of include/linux/mm_types_task.h


def _count(kind: int) -> str:
    """Pages of a kind, counted by a percpu_counter since 6.2."""
    return f"mm->rss_stat[{kind}].count | mm->rss_stat.count[{kind}]"


def _up(address: int) -> int:
    """To the next page's begin."""
    return -(-address // PAGE) * PAGE


def _text_bytes(start: int, end: int, exec_pages: int) -> int:
    return min(_up(end) - start // PAGE * PAGE, exec_pages * PAGE)


def memory_sources() -> Iterator[Source]:
    def of(name: str, proc: Callable[[Facts], Any], *paths: str, **more: Any) -> Source:
        more.setdefault("kernel", in_bytes)
        more.setdefault("note", NO_MEMORY)
        return Source("memory", name, "bytes", proc, paths, **more)

    def sum_of(*pages: int) -> int:
        return sum(max(0, number) for number in pages) * PAGE

    resident = _count(_FILE), _count(_ANON), _count(_SHMEM)
    yield of("vm_size", lambda f: f.status.vm_size_bytes, "mm->total_vm")
    yield of(
        "vm_peak",
        lambda f: f.status.vm_peak_bytes,
        "mm->hiwater_vm",
        "mm->total_vm",
        kernel=lambda most, now: max(most, now) * PAGE,
    )
    yield of("vm_locked", lambda f: f.status.vm_locked_bytes, "mm->locked_vm")
    yield of("vm_pinned", lambda f: f.status.vm_pinned_bytes, "mm->pinned_vm")
    yield of("vm_data", lambda f: f.status.vm_data_bytes, "mm->data_vm")
    yield of("vm_stack", lambda f: f.status.vm_stack_bytes, "mm->stack_vm")
    text = "mm->start_code", "mm->end_code", "mm->exec_vm"
    yield of("vm_exe", lambda f: f.status.vm_exe_bytes, *text, kernel=_text_bytes)
    yield of(
        "vm_lib",
        lambda f: f.status.vm_lib_bytes,
        text[2],
        *text[:2],
        kernel=lambda pages, start, end: pages * PAGE - _text_bytes(start, end, pages),
    )
    yield of("vm_pte", lambda f: f.status.vm_pte_bytes, "mm->pgtables_bytes", kernel=lambda size: size)
    yield of(
        "rss", lambda f: f.stat.rss_pages * PAGE if f.status.vm_size_bytes else None, *resident, kernel=sum_of
    )
    about: dict[str, Any] = {"kernel": sum_of, "how": "about", "note": PER_CPU}
    yield of("vm_rss", lambda f: f.status.vm_rss_bytes, *resident, **about)
    yield of("rss_file", lambda f: f.status.rss_file_bytes, resident[0], **about)
    yield of("rss_anon", lambda f: f.status.rss_anon_bytes, resident[1], **about)
    yield of("rss_shmem", lambda f: f.status.rss_shmem_bytes, resident[2], **about)
    yield of("vm_swap", lambda f: f.status.vm_swap_bytes, _count(_SWAP), **about)
    yield of(
        "mappings",
        lambda f: f.mappings,
        "mm->map_count",
        kernel=lambda number: number,
        file="maps",
    )._replace(unit="number")
    yield from _addresses()


def _addresses() -> Iterator[Source]:
    def of(name: str, proc: Callable[[Facts], Any], more: str = NO_MEMORY) -> Source:
        def seen(facts: Facts) -> int | None:
            there = facts.status.vm_size_bytes is not None and "maps" not in facts.why
            return proc(facts) if there else None

        file = "" if more == ALONE else "maps"
        return Source("addresses", name, "address", seen, (f"mm->{name}",), note=more, file=file)

    yield of("start_code", lambda f: f.stat.startcode)
    yield of("end_code", lambda f: f.stat.endcode)
    yield of("start_data", lambda f: f.stat.start_data)
    yield of("end_data", lambda f: f.stat.end_data)
    yield of("start_brk", lambda f: f.stat.start_brk)
    yield of("brk", lambda f: f.heap_end, HEAP)._replace(kernel=_up, how="about")
    yield of("start_stack", lambda f: f.stat.startstack)
    yield of("arg_start", lambda f: f.stat.arg_start)
    yield of("arg_end", lambda f: f.stat.arg_end)
    yield of("env_start", lambda f: f.stat.env_start)
    yield of("env_end", lambda f: f.stat.env_end)
    yield of("mmap_base", lambda f: None, ALONE)
    yield of("task_size", lambda f: None, ALONE)


def scheduling_sources() -> Iterator[Source]:
    def of(name: str, unit: str, proc: Callable[[Facts], Any], path: str, **more: Any) -> Source:
        return Source("scheduling", name, unit, proc, (path,), **{"how": "grows", **more})

    def schedstat(number: int) -> Callable[[Facts], Any]:
        return lambda facts: facts.schedstat and facts.schedstat[number]

    ticks: dict[str, Any] = {"kernel": in_ticks}
    sampled: dict[str, Any] = {"kernel": in_ticks, "how": "about", "note": SAMPLED}
    why = {"file": "schedstat"}
    yield of("sum_exec_runtime", "ns", schedstat(0), "se.sum_exec_runtime", **why)
    yield of("run_delay", "ns", schedstat(1), "sched_info.run_delay", **why)
    yield of("times_run", "number", schedstat(2), "sched_info.pcount", **why)
    yield of("utime", "ticks", lambda f: f.thread.utime_ticks, "prev_cputime.utime", **ticks)
    yield of("stime", "ticks", lambda f: f.thread.stime_ticks, "prev_cputime.stime", **ticks)
    yield of("utime_sampled", "ticks", lambda f: f.thread.utime_ticks, "utime", **sampled)
    yield of("stime_sampled", "ticks", lambda f: f.thread.stime_ticks, "stime", **sampled)
    yield of("nvcsw", "number", lambda f: f.status.voluntary_switches, "nvcsw")
    yield of("nivcsw", "number", lambda f: f.status.nonvoluntary_switches, "nivcsw")
    yield of("min_flt", "number", lambda f: f.thread.minflt, "min_flt")
    yield of("maj_flt", "number", lambda f: f.thread.majflt, "maj_flt")
    of_all = "signal->prev_cputime"
    yield of("process_utime", "ticks", lambda f: f.stat.utime_ticks, f"{of_all}.utime", **ticks)
    yield of("process_stime", "ticks", lambda f: f.stat.stime_ticks, f"{of_all}.stime", **ticks)
    yield of("children_utime", "ticks", lambda f: f.stat.cutime_ticks, "signal->cutime", **ticks)
    yield of("children_stime", "ticks", lambda f: f.stat.cstime_ticks, "signal->cstime", **ticks)
    yield of("children_min_flt", "number", lambda f: f.stat.cminflt, "signal->cmin_flt")
    yield of("children_maj_flt", "number", lambda f: f.stat.cmajflt, "signal->cmaj_flt")
