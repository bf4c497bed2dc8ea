"""Process life: who was created by whom, what it ran, how it ended, who took its children.

Probe: probes/lifecycle.c. Records are what it sends, in raw units; events are what they mean. A process is
known by (pid, start time), so that a pid used again is another process.

What it cannot see: the fork of a process that was there before tracing began.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from kintro.observers.lifecycle_records import (
    DECODE,
    PROBE,
    RECORDS,
    Event,
    Exec,
    Exit,
    Fork,
    Orphan,
    Reaper,
    Reparent,
    clone_flag_names,
)
from kintro.sources.bpf import Loading
from kintro.sources.command import picked
from kintro.sources.filters import Filters
from kintro.sources.rows import Rows, pumped, records
from kintro.sources.trace import Account, Trace, is_number

Key = tuple[int, int]  # a process or thread: its id and start time

_REAPER_FOUND, _REAPER_NONE = 1, 2  # probes/lifecycle.h
_EXIT_DEAD = 0x10  # include/linux/sched.h


def settled(counters: Mapping[str, int]) -> bool:
    """Whether no task that began to exit is still on its way."""
    return counters["left"] >= counters["leaving"]


class Run:
    """A trace to iterate over: gives events until it ends; then `summary` has the counts."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._seen: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Event]:
        for event in Adoptions().events(pumped(records(self._trace.rows(), RECORDS), self._trace.drain)):
            self._seen[counted_as(event)] += 1
            yield event

    def stop(self) -> None:
        """Makes the iteration come to its end."""
        self._trace.stop()

    @property
    def summary(self) -> Summary:
        """What was counted. Of use when the iteration is over."""
        account = self._trace.account
        return summary(self._seen, tally(account) if account else None)


@contextmanager
def trace(
    command: Sequence[str] | None = None,
    filters: Filters | None = None,
    duration_s: float | None = None,
    threads: bool = False,
    during: Callable[[], Any] | None = None,
) -> Iterator[Run]:
    """Traces process life, of a command and its descendants if one is given; `with trace(...) as run`.

    `during` is called when the iteration has begun and all is attached; the trace ends when it returns.
    Raises KintroError for whatever stands against it, as the command line tells it.
    """
    filters, make = picked(command, filters)
    loading = Loading(PROBE, filters, {"THREADS": 1} if threads else {})
    with Trace(loading, Rows(DECODE), settled, make, duration_s, during) as running:
        yield Run(running)


class Adoptions:
    """Puts orphans and their reaper together; holds the orphans until then."""

    def __init__(self) -> None:
        self._waiting: dict[Key, dict[Key, Orphan]] = {}  # parent → child → orphan
        self._parents: dict[Key, set[Key]] = {}  # child → parents: several threads may leave at once

    def events(self, stream: Iterable[Any]) -> Iterator[Event]:
        """Records → events: forks, execs and exits as they are, a Reparent for each orphan that was taken."""
        for record in stream:
            if isinstance(record, Orphan):
                child = record.pid, record.start_time_ns
                self._waiting.setdefault(_parent(record), {})[child] = record
                self._parents.setdefault(child, set()).add(_parent(record))
            elif isinstance(record, Reaper):
                for child, orphan in self._waiting.pop(_parent(record), {}).items():
                    self._parents[child].discard(_parent(record))
                    if not self._parents[child]:
                        del self._parents[child]
                    if record.outcome != _REAPER_NONE and orphan.exit_state != _EXIT_DEAD:
                        yield _reparent(orphan, record)
            else:
                if isinstance(record, Exit) and record.process:
                    self._note_end(record)
                yield record

    def _note_end(self, end: Exit) -> None:
        """A child that ends after its parent began to exit, and before it was handed on: it is a zombie then.

        Or it has been reaped, by its parent's other threads or because nobody wants to know.
        """
        child = end.pid, end.start_time_ns
        for parent in self._parents.get(child, ()):
            orphan = self._waiting[parent][child]
            self._waiting[parent][child] = orphan._replace(exit_state=end.exit_state)


def _parent(record: Orphan | Reaper) -> Key:
    return record.parent_tid, record.parent_start_time_ns


def _reparent(orphan: Orphan, reaper: Reaper) -> Reparent:
    found = reaper.outcome == _REAPER_FOUND
    return Reparent(
        ts_ns=reaper.ts_ns,
        start_time_ns=orphan.start_time_ns,
        pid=orphan.pid,
        tid=orphan.tid,
        comm=orphan.comm,
        old_ppid=orphan.parent_pid,
        new_ppid=reaper.new_ppid if found else None,
        new_parent_start_time_ns=reaper.new_start_time_ns if found else None,
        reason=_reason(reaper) if found else None,
        zombie=bool(orphan.exit_state),
    )


def _reason(reaper: Reaper) -> str:
    """By the order in which find_new_reaper (kernel/exit.c) looks: a thread, a subreaper, the init."""
    if reaper.new_ppid == reaper.parent_pid:
        return "thread"
    if reaper.new_ns_pid == 1:
        return "namespace-init" if reaper.new_ns_level else "init"
    return "subreaper"


def as_json(event: Event) -> dict[str, Any]:
    """An event as the JSON object that `trace-fork --json` prints."""
    common = {
        "type": type(event).__name__.lower(),
        "ts_ns": event.ts_ns,
        "pid": event.pid,
        "tid": event.tid,
        "comm": event.comm,
        "start_time_ns": event.start_time_ns,
    }
    if isinstance(event, Fork):
        names = ("ppid", "creator_pid", "creator_tid", "ns_pid")
        return (
            common
            | _picked(event, names)
            | {
                "kind": event.kind,
                "clone_flags": clone_flag_names(event.clone_flags),
            }
        )
    if isinstance(event, Exec):
        return common | _picked(event, ("ppid", "uid", "filename", "argv", "argv_truncated"))
    if isinstance(event, Exit):
        utime_ns, stime_ns = event.times_ns()
        return common | {
            "ppid": event.ppid,
            "process": bool(event.process),
            **_picked(event, ("exit_code", "signal", "core_dumped", "lifetime_ns")),
            "utime_ns": utime_ns,
            "stime_ns": stime_ns,
            **_picked(event, ("voluntary_switches", "involuntary_switches", "minor_faults", "major_faults")),
        }
    return common | _picked(event, ("old_ppid", "new_ppid", "reason", "zombie"))


def _picked(event: Event, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(event, name) for name in names}


class Summary(NamedTuple):
    """What a run counted, by counters in the kernel. None: not known."""

    duration_ns: int | None
    forks: int  # new processes
    threads: int
    execs: int
    exits: int  # processes that ended
    reparents: int
    lost: int | None
    kernel_forks: int | None  # tasks of any kind by /proc/stat; None where not the whole system was traced
    complete: bool  # nothing was lost, and our count is the kernel's


def tally(account: Account) -> dict[str, int | None]:
    """What of an Account a session keeps, by the names of Summary."""
    counters = account.counters
    return {
        "duration_ns": account.duration_ns,
        "forks": counters["forks"],
        "threads": counters["threads"],
        "execs": counters["exec_sent"] + counters["exec_lost"],
        "exits": counters["exits"],
        "lost": account.lost,
        "kernel_forks": account.kernel_forks,
        "late": account.late,
    }


_TALLY = ("duration_ns", "forks", "threads", "execs", "exits", "lost", "kernel_forks", "late")


def is_tally(found: object) -> bool:
    """Whether this, from a session of any origin, has the form that `tally` gives."""
    if not isinstance(found, dict) or set(found) != set(_TALLY):
        return False
    numbers = {name: value for name, value in found.items() if not (name == "kernel_forks" and value is None)}
    return all(map(is_number, numbers.values()))


def summary(seen: Counter[str], counted: Mapping[str, Any] | None) -> Summary:
    """From the number of events seen, by name, and the kernel's counts (see `tally`).

    Without the latter, as for a session that was cut off, what was seen is all that is known.
    """
    if counted is None:
        return Summary(None, seen["forks"], seen["threads"], seen["execs"], seen["exits"], seen["reparents"],
                       None, None, False)  # fmt: skip
    kernel_forks, lost = counted["kernel_forks"], counted["lost"]
    agrees = kernel_forks in (None, counted["forks"] + counted["threads"])
    return Summary(
        duration_ns=counted["duration_ns"],
        forks=counted["forks"],
        threads=counted["threads"],
        execs=counted["execs"],
        exits=counted["exits"],
        reparents=seen["reparents"],
        lost=lost,
        kernel_forks=kernel_forks,
        complete=lost == 0 and agrees,
    )


def is_of_thread(event: Event) -> bool:
    """Whether an event tells of a thread that is only a part of its process."""
    return (isinstance(event, Fork) and event.kind == "thread") or (
        isinstance(event, Exit) and not event.process
    )


def counted_as(event: Event) -> str:
    """The name of the Summary field that an event counts for; '' for the exit of a thread."""
    if isinstance(event, Fork):
        return "threads" if event.kind == "thread" else "forks"
    if isinstance(event, Exit):
        return "exits" if event.process else ""
    return "execs" if isinstance(event, Exec) else "reparents"


def summary_json(result: Summary) -> dict[str, Any]:
    return {"type": "summary"} | result._asdict()
