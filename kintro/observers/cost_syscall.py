"""What it costs to enter the kernel: function call, vDSO call, system call and page fault, side by side.

How: functions of the C library are called by a loop of the C library (kintro.sources.c_loop), so that nothing
but compiled code runs and no compiler is needed.

- function: abs(3), a few instructions.
- vdso: timespec_get(3), which calls clock_gettime(2) and returns 1; that one's 0 would end the loop.
- syscall: getppid(2), which only looks up a number. It returns 0 for a process whose parent is outside of its
  pid namespace; then getpid(2) takes its place.
- touch, fault: a byte is written to each page of fresh memory, twice. The second time is touch, the first one
  less the second is fault: the trap, and a page found, zeroed and entered.

In each round every one has its turn, so that what disturbs hits all alike. A run is short against a time
slice, so that most are not interrupted: hence the median. Cost: 2 ms of CPU time for a round.

What it cannot tell: how much of a system call is the switch of modes and how much the work inside; and the
loop's own turn, which is in the first three, so that the function call's figure is an upper bound.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Sequence

from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.observers.cost_records import Cost, Report, Runs, costs, machine
from kintro.sources import c_loop, cpu, vdso

RUNS = 500  # by default
PAGES = 256  # in a run
ONE = 1  # for abs the number, for timespec_get TIME_UTC of time.h


def measure(runs: int = RUNS, on: int | None = None, stop: Callable[[], bool] = lambda: False) -> Report:
    """Measures all on a CPU, by default the one where this thread is. `stop()` is asked after each round."""
    answered = vdso.vdso_answers()
    moment = ctypes.create_string_buffer(16)  # struct timespec
    function = _Calls(200_000, ONE, "abs")
    clock = _Calls(20_000, ctypes.addressof(moment), "timespec_get")
    syscall = _Calls(2_000, ONE, "getppid", "getpid")
    touched: list[c_loop.Touched] = []
    with cpu.pinned(on) as chosen:
        for _ in range(runs):
            for each in (function, clock, syscall):
                each.run()
            touched.append(c_loop.touch(PAGES))
            if stop():
                break
    name = syscall.name
    found = costs(
        (
            Runs("function", "function (abs)", "abs(1), called by a loop", function.calls, function.ns),
            Runs("vdso", "vDSO (clock_gettime)", _how(answered), clock.calls, clock.ns),
            Runs("syscall", f"syscall ({name})", "into the kernel and back", syscall.calls, syscall.ns),
            *_of_pages(touched),
        )
    )
    facts = {"syscall": name, "vdso_answers": answered, "page_bytes": mmap.PAGESIZE}
    return Report("syscall", machine(chosen), found, facts, findings(found, answered))


class _Calls:
    """The runs of a function of the C library."""

    def __init__(self, calls: int, first: int, *names: str) -> None:
        """`calls` in a run, with `first` as its argument. Of the names the first that does not return 0."""
        self.calls = calls
        self.ns: list[float] = []
        self._first, self._names = first, list(names)

    @property
    def name(self) -> str:
        return self._names[0]

    def run(self) -> None:
        while (taken_ns := self._taken_ns()) is None:
            if len(self._names) == 1:
                raise KintroError(f"{self.name}() of this C library returns 0", None, EX_UNAVAILABLE)
            del self._names[0]
            self.ns.clear()
        self.ns.append(taken_ns / self.calls)

    def _taken_ns(self) -> int | None:
        return c_loop.calls_ns(c_loop.address(self.name), self._first, ONE, self.calls)


def _how(answered: bool | None) -> str:
    if answered is None:
        return "the time, in user mode if the vDSO answers"
    return "the time, read in user mode" if answered else "the time, a system call here"


def _of_pages(touched: Sequence[c_loop.Touched]) -> tuple[Runs, Runs]:
    there = [run.again_ns / PAGES for run in touched]
    more = [(run.first_ns - run.again_ns) / PAGES for run in touched]
    counts = sum(run.again_faults for run in touched), sum(run.first_faults for run in touched)
    return (
        Runs("touch", "touch a page", "write to a page that is there", PAGES, there, counts[0]),
        Runs("fault", "page fault", "write to one that is not yet there, less that", PAGES, more, counts[1]),
    )


def findings(found: Sequence[Cost], answered: bool | None) -> tuple[str, ...]:
    """What the medians come to. `answered`: whether the vDSO answers clock_gettime."""
    median = {cost.what: cost.median_ns for cost in found}
    more = median["syscall"] - median["function"]
    told = [
        f"a system call takes {more:.0f} ns more than a function call: into kernel mode and back, "
        "state saved and restored, and next to no work done there"
    ]
    if answered:
        times = median["syscall"] / median["vdso"]
        told.append(
            f"the vDSO tells the time without entering the kernel, in {median['vdso']:.0f} ns: "
            f"a system call takes {times:.1f} times as long"
        )
    elif answered is False:
        told.append("the vDSO cannot read this clock source: clock_gettime is a system call here")
    faults = next(cost for cost in found if cost.what == "fault")
    told.append(f"the kernel counted {faults.counted:,} page faults for {faults.calls:,} fresh pages")
    return tuple(told)
