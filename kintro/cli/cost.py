"""`kintro cost SUBJECT`: what the kernel's services cost on this machine, measured."""

from __future__ import annotations

import argparse
import importlib
import sys
import textwrap
from typing import TYPE_CHECKING

from kintro.cli import tracing
from kintro.cli.signals import Signals

if TYPE_CHECKING:
    from kintro.cli.output import Output
    from kintro.observers.cost_records import Report

HELP = "measure what entering the kernel costs on this machine"
DESCRIPTION = """Measures what things cost on this machine, side by side and pinned to a CPU. syscall: a
function call, a call that the vDSO answers in user mode, the cheapest system call, a page fault; and which
mitigations of CPU weaknesses are on, on which much of it depends. Needs neither root nor a compiler."""
EPILOG = """examples:
  kintro cost syscall                    a function call, a system call, a page fault
  kintro cost syscall --cpu 0            on that CPU
  kintro cost syscall --runs 5000        for quieter figures
  kintro cost syscall --json | jq '.costs[] | {what, median_ns, ratio}'"""

# Each has a function `measure(runs, on, stop)` that gives a Report.
SUBJECTS = {"syscall": "kintro.observers.cost_syscall"}
RUNS = 500
RUNS_MAX = 100_000
CPUS_MAX = 1 << 16
WIDTH = 80  # where there is no terminal


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", choices=tuple(SUBJECTS), help="what to measure")
    parser.add_argument(
        "--runs", type=_runs, default=RUNS, metavar="N", help="of each, taking turns (default: %(default)s)"
    )
    parser.add_argument("--cpu", type=_cpu, metavar="N", help="on this CPU (default: where kintro is)")
    tracing.add_output_options(parser, "one JSON document")


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
    from kintro.observers import cost_text
    from kintro.renderers import jsonl

    with Signals() as signals:
        subject = importlib.import_module(SUBJECTS[args.subject])
        if args.runs > RUNS and sys.stderr.isatty():
            print(f"measuring {args.runs} times, until Ctrl-C at the latest …", file=sys.stderr)
        # Told to end, it shows what it has by then.
        report = subject.measure(args.runs, args.cpu, lambda: signals.told_to_end(None))
        output = Output(args.output)
        if args.json:
            output.line(jsonl.line(cost_text.as_json(report)))
        else:
            _print(output, report)
        output.flush()
    if output.error is not None:
        raise output.error
    return 0


def _print(output: Output, report: Report) -> None:
    from kintro.observers import cost_text
    from kintro.renderers import terminal

    width, colour = output.width or WIDTH, output.colour
    wide = cost_text.is_wide(width)
    rows = [cost_text.row(cost, wide) for cost in report.costs]
    for line in terminal.lines(cost_text.columns(wide), rows, width, colour):
        output.line(line)
    output.line("")
    for text in cost_text.summary_lines(report):
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
