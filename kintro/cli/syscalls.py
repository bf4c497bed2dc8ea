"""`kintro syscalls`: which system calls, how many, how long, with which errors."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from kintro.cli import tracing
from kintro.cli.signals import Signals

if TYPE_CHECKING:
    from kintro.cli.output import Output

HELP = "see which system calls are made, how long they take and how they fail"
DESCRIPTION = """Counts every system call in the kernel: how many, how long, with which errors, and how much
time the threads spent in user mode and in calls. A call that does not return while the trace goes on is
counted as open."""
EPILOG = """examples:
  sudo kintro syscalls -- ls                    a command and all it starts
  sudo kintro syscalls -d 5                     the whole system, for five seconds
  sudo kintro syscalls -p 1234 -i 1             a process, every second
  sudo kintro syscalls --sort errors -n 10 -- make      what fails most
  sudo kintro syscalls --by process --comm sshd         each process for itself
  sudo kintro syscalls --json -d 5 | jq '.syscalls[] | {name, p99_ns}'

With a command, kintro ends when it ends and leaves with its exit status (128 + n after signal n)."""

SORTS = ("calls", "total", "errors", "max", "name")


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    tracing.add_options(parser, "one JSON object at the end; with -i also one for each interval", save=False)
    parser.set_defaults(save=None)
    parser.add_argument("--sort", choices=SORTS, default="total", help="by what (default: %(default)s)")
    parser.add_argument("--by", choices=("process",), help="each process for itself")
    tracing.add_account_options(parser, "only the first N")


def run(args: argparse.Namespace) -> int:
    with Signals() as signals:
        from kintro.observers import syscalls_read

        begun = tracing.begin(args, "syscalls", syscalls_read.defines(args.by == "process"))
        # Imported while that goes on.
        import numpy  # noqa: F401

        from kintro.observers import syscalls, syscalls_records

        view = _View(args, begun.output)
        # Of others there may be zombies that nobody waits for.
        settled = syscalls.settled if args.command else None
        observer = SimpleNamespace(**vars(syscalls) | {"settled": settled})
        return tracing.run(args, signals, begun, syscalls_records, observer, view.show, view.prepare)


class _View:
    """Shows the intervals, if asked for, and the account."""

    def __init__(self, args: argparse.Namespace, out: Output) -> None:
        from kintro.observers.syscalls import Reading
        from kintro.sources.syscall_names import syscall_names

        self._args, self._out = args, out
        self._names = syscall_names()
        self._by_process = args.by == "process"
        self._first = self._last = Reading(0)

    def prepare(self, trace: Any) -> None:
        from kintro.observers import syscalls_read
        from kintro.observers.syscalls import Reading

        self._probe = trace.probe
        command = trace.command.pid if trace.command is not None else None
        self._first = self._last = Reading(syscalls_read.begin(trace.probe, command))
        if self._args.interval is not None:
            trace.every(self._args.interval, self._interval)

    def _interval(self) -> None:
        from kintro.observers import syscalls, syscalls_read

        now = syscalls_read.read(self._probe, self._by_process)
        self._tell(syscalls.account(now, self._names, self._last, moving=True), "interval")
        self._last = now
        self._out.offer()

    def show(
        self, records: Any, counts: Callable[[], Mapping[str, Any] | None], begin_ns: int, out: Output
    ) -> None:
        from kintro.observers import syscalls, syscalls_read

        for _ in records:  # there are none: this is the trace
            pass
        told = counts()
        end_ns = self._first.ts_ns + (told["duration_ns"] if told else 0)
        now = syscalls_read.read(self._probe, self._by_process, end_ns)
        self._tell(syscalls.account(now, self._names, self._first), "summary")

    def _tell(self, account: Any, kind: str) -> None:
        from kintro.observers import syscalls, syscalls_text
        from kintro.renderers import jsonl, terminal

        args, out = self._args, self._out
        calls = sorted(account.syscalls, key=syscalls.sort_key(args.sort))[: args.top]
        if args.json:
            out.line(jsonl.line(syscalls_text.as_json(account, calls, kind)))
            return
        wide, octaves = syscalls_text.is_wide(out.width), syscalls_text.octaves(calls)
        columns = syscalls_text.columns(wide, self._by_process, syscalls_text.scale_ns(octaves))
        comms = {process.key: process.comm for process in account.processes}
        rows = (syscalls_text.row(call, octaves, columns, comms) for call in calls)
        for line in terminal.lines(columns, rows, out.width, out.colour):
            out.line(line)
        for text in syscalls_text.summary_lines(account):
            out.remark(text)
