"""`kintro cost SUBJECT`: what the kernel's services cost on this machine, measured."""

from __future__ import annotations

import argparse
import importlib
import sys
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

from kintro.cli import tracing
from kintro.cli.signals import Signals

if TYPE_CHECKING:
    from kintro.cli.output import Output

HELP = "measure what entering the kernel costs on this machine"
DESCRIPTION = """Measures what things cost on this machine, side by side and pinned to a CPU. syscall: a
function call, a call that the vDSO answers in user mode, the cheapest system call, a page fault; and which
mitigations of CPU weaknesses are on, on which much of it depends. switch: a context switch between two
processes and between two threads, by pipe, futex and sched_yield, and what it takes more when each has memory
to work on. ipc: a message between two processes, by each kind of communication: latency, throughput by size,
system calls and switches. Needs neither root nor a compiler."""
EPILOG = """examples:
  kintro cost syscall                    a function call, a system call, a page fault
  kintro cost switch                     a context switch
  sudo kintro cost switch                also with kintro's probe, which counts the switches too
  sudo kintro cost ipc                   pipes, sockets, queues, shared memory, signals, side by side
  kintro cost ipc --kind pipe --kind shm-spin --size 1 --size 64K    only these
  sudo kintro cost ipc --html ipc.html   also as a page for a browser
  kintro cost syscall --cpu 0            on that CPU
  kintro cost syscall --runs 5000        for quieter figures
  kintro cost syscall --json | jq '.costs[] | {what, median_ns, ratio}'
  kintro cost switch --json | jq '.switches[] | {what, between, median_ns, low_ns, high_ns}'"""


class Subject(NamedTuple):
    measures: str  # a module with `measure(runs, on, stop)` that gives a report, which has a `machine`
    tells: str  # a module with `tables`, `summary_lines` and `as_json` of the report
    runs: int  # by default
    run_s: float  # about how long one takes


SUBJECTS = {
    "syscall": Subject("kintro.observers.cost_syscall", "kintro.observers.cost_text", 500, 0.002),
    "switch": Subject("kintro.observers.cost_switch", "kintro.observers.cost_switch_text", 50, 0.15),
    "ipc": Subject("kintro.observers.cost_ipc", "kintro.observers.cost_ipc_text", 20, 0.8),
}
# The observer's, written here again, so that --help loads nothing: a test holds them to be the same.
KINDS = (
    "pipe", "unix-stream", "unix-dgram", "tcp", "sysv-msg", "mqueue", "shm-futex", "shm-spin", "signal",
    "eventfd",
)  # fmt: skip
SIZE_MAX = 16 << 20
RUNS_MAX = 100_000
PATIENCE_S = 2  # above that it says for how long it will measure
CPUS_MAX = 1 << 16
WIDTH = 80  # where there is no terminal


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", choices=tuple(SUBJECTS), help="what to measure")
    parser.add_argument(
        "--runs", type=_runs, metavar="N",
        help="of each, taking turns "
        f"(default: {', '.join(f'{subject.runs} for {name}' for name, subject in SUBJECTS.items())})",
    )  # fmt: skip
    parser.add_argument("--cpu", type=_cpu, metavar="N", help="on this CPU (default: where kintro is)")
    of_ipc = parser.add_argument_group("of ipc")
    of_ipc.add_argument("--kind", action="append", choices=KINDS, help="only this kind; may be repeated")
    of_ipc.add_argument(
        "--size", action="append", type=_size, metavar="BYTES",
        help="throughput of messages so large, such as 100, 64K, 1M; may be repeated",
    )  # fmt: skip
    of_ipc.add_argument("--html", metavar="FILE", help="a page for a browser that draws it")
    tracing.add_output_options(parser, "one JSON document")


def _size(text: str) -> int:
    number, unit = (text[:-1], text[-1:].upper()) if text[-1:].upper() in ("K", "M") else (text, "")
    if number.isascii() and number.isdigit():
        size_bytes = int(number) << {"": 0, "K": 10, "M": 20}[unit]
        if 0 < size_bytes <= SIZE_MAX:
            return size_bytes
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes from 1 to {SIZE_MAX >> 20}M")


def _runs(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= RUNS_MAX):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of runs from 1 to {RUNS_MAX}")
    return int(text)


def _cpu(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < CPUS_MAX):
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a CPU")
    return int(text)


def run(args: argparse.Namespace) -> int:
    from kintro.cli.output import Output
    from kintro.renderers import jsonl

    only = {
        name: tuple(dict.fromkeys(given))
        for name, given in (("kinds", args.kind), ("sizes", sorted(args.size or ())))
        if given
    }
    tracing.refuse(
        {
            "--kind, --size and --html are for ipc": args.subject != "ipc"
            and bool(only or args.html is not None),
            "--html is a view of its own": args.html is not None and (args.json or args.output is not None),
        }
    )
    with Signals() as signals:
        subject = SUBJECTS[args.subject]
        runs = args.runs or subject.runs
        measures, tells = map(importlib.import_module, (subject.measures, subject.tells))
        if runs * subject.run_s > PATIENCE_S and sys.stderr.isatty():
            print(f"measuring for some {runs * subject.run_s:.0f} s, or until Ctrl-C …", file=sys.stderr)
        # Told to end, it shows what it has by then.
        report = measures.measure(runs, args.cpu, lambda: signals.told_to_end(None), **only)
        output = Output(args.html or args.output)
        if args.json:
            output.line(jsonl.line(tells.as_json(report)))
        elif args.html is not None:
            from kintro.observers.cost_ipc_page import comparison
            from kintro.renderers import html

            output.line(html.comparison(comparison(report)))
        else:
            _print(output, report, tells)
        output.flush()
    if output.error is not None:
        raise output.error
    return 0


def _print(output: Output, report: Any, tells: Any) -> None:
    from kintro.observers import cost_text
    from kintro.renderers import terminal

    width, colour = output.width or WIDTH, output.colour
    for shown, rows in tells.tables(report, width):
        for line in terminal.lines(shown, rows, width, colour):
            output.line(line)
        output.line("")
    for text in tells.summary_lines(report):
        for line in textwrap.wrap(text, width):
            output.line(line)
    output.line("")
    columns = cost_text.MITIGATIONS
    output.line(terminal.heading(columns, width, colour))
    room = max(20, width - (columns[0].width or 0) - 1)
    for name, state in cost_text.mitigations(report.machine):
        for part in textwrap.wrap(state.text, room):
            output.line(terminal.line(columns, (name, state._replace(text=part)), width, colour))
            name = name._replace(text="")
