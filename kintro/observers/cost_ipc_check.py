"""System calls and switches of messages, by kintro's own probes (probes/syscalls.c, probes/switches.c).

Not while anything is timed: what a probe counts costs more. Of each program one run is counted while nothing
else is done but to tell the two to play and to be told that they are done, which is two system calls of each
and a switch; what a run without a program comes to is subtracted. Before that the two are told to play once
for nothing: of the first order they wait already, so that its call would have no beginning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from kintro.errors import KintroError
from kintro.observers.cost_ipc_records import Counted
from kintro.sources import host
from kintro.sources.bpf import Loading
from kintro.sources.filters import Filters
from kintro.sources.players import NOTHING, Players

if TYPE_CHECKING:
    from kintro.sources.probe import Probe

Played = tuple[Players, int, int]  # which program, and how many messages it has
_Counts = tuple[Counter[str], int, int]  # calls by name, switches, switches by the kernel


def counts(played: Sequence[Played], stop: Callable[[], bool]) -> tuple[list[Counted | None], str | None]:
    """Of each. None, and why, where there is no probe, such as without root, or when `stop()` says so."""
    nothing: list[Counted | None] = [None] * len(played)
    if not host.in_initial_pid_namespace():
        return nothing, "in a pid namespace of its own, where the kernel's tids are not to be seen"
    try:
        with _probes({pid for court, _, _ in played for pid in court.pids}) as (of_calls, of_switches):
            idle = {}
            for court in {id(court): court for court, _, _ in played}.values():
                court.run(NOTHING, timed=False)
                idle[id(court)] = _counted(of_calls, of_switches, court, NOTHING)
            found: list[Counted | None] = []
            for court, program, messages in played:
                if stop():
                    return nothing, "they were told to end"
                calls, switches, kernels = _counted(of_calls, of_switches, court, program)
                idle_calls, idle_switches, idle_kernels = idle[id(court)]
                calls.subtract(idle_calls)
                more = {name: number for name, number in sorted(calls.items()) if number}
                found.append(
                    Counted(messages, more, max(0, switches - idle_switches), max(0, kernels - idle_kernels))
                )
            return found, None
    except KintroError as error:
        return nothing, error.message


@contextmanager
def _probes(pids: set[int]) -> Iterator[tuple[Probe, Probe]]:
    """That of system calls and that of switches, both attached, for these processes only.

    Others may be many, and all that is counted of them would be read each time.
    """
    from kintro.observers import switches_read, switches_records, syscalls_read, syscalls_records
    from kintro.sources.probe import Probe

    with ExitStack() as stack:
        only = Filters(min(pids), follow=False)
        loadings = [
            Loading(syscalls_records.PROBE, only, syscalls_read.defines(by_process=True)),
            Loading(switches_records.PROBE, only, switches_read.defines()),
        ]
        for loading in loadings:
            stack.callback(loading.close)
        of_calls, of_switches = (stack.enter_context(Probe(loading)) for loading in loadings)
        syscalls_read.begin(of_calls, None)
        for probe in (of_calls, of_switches):
            for pid in pids:
                probe.add_target(pid)
            probe.attach()
        switches_read.begin(of_switches, None)
        yield of_calls, of_switches
        switches_read.end(of_switches)


def _counted(of_calls: Probe, of_switches: Probe, court: Players, program: int) -> _Counts:
    from kintro.observers import switches, switches_read, syscalls, syscalls_read
    from kintro.sources.syscall_names import syscall_names

    kernel_before = court.switches()  # both are asleep now, and again below
    calls_before, switches_before = syscalls_read.read(of_calls, True), switches_read.read(of_switches)
    court.run(program, timed=False)
    kernel_after = court.switches()
    calls = syscalls.account(syscalls_read.read(of_calls, True), syscall_names(), calls_before, moving=True)
    account = switches.account(
        switches_read.read(of_switches), switches_before, whole_system=False, moving=True
    )
    pids = set(court.pids)
    by_name: Counter[str] = Counter()
    for call in calls.syscalls:
        if call.process is not None and call.process.pid in pids:
            by_name[call.name] += call.returned
    tasks = [task for task in account.tasks.values() if task.name.tid in pids]
    return by_name, sum(task.switches for task in tasks), kernel_after - kernel_before
