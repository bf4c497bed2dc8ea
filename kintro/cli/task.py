"""`kintro task PID`: the kernel's own record of a process, beside what /proc tells of it."""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING

from kintro.cli import tracing

if TYPE_CHECKING:
    from kintro.cli.output import Output
    from kintro.observers.task_records import Task

HELP = "see the kernel's own record of a process, beside what /proc tells"
DESCRIPTION = """Shows what the kernel keeps of a process: identity, state, priorities, credentials, signals,
limits, files, namespaces, memory, CPU time. Each as /proc has it, the member of task_struct that holds it,
and for root what an eBPF program reads there. Both are compared."""
EPILOG = """examples:
  sudo kintro task 1234                  a process
  sudo kintro task 1234 -t 1240          one of its threads
  sudo kintro task 0                     the idle task, which /proc does not show: its own parent
  kintro task $$                         this shell, without root: by /proc alone
  sudo kintro task 1234 --json | jq '.fields[] | select(.equal == false)'"""

WIDTH = 80  # where there is no terminal
PID_MAX = 1 << 31


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pid", type=_number, metavar="PID", help="the process; 0: the idle task")
    parser.add_argument("-t", "--tid", type=_number, help="this thread of it (default: the first)")
    tracing.add_output_options(parser, "one JSON document")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < PID_MAX):
        raise argparse.ArgumentTypeError(f"{text!r} is not a process id")
    return int(text)


def run(args: argparse.Namespace) -> int:
    from kintro.cli.output import Output
    from kintro.observers import task_text
    from kintro.observers.task import reading, require
    from kintro.renderers import jsonl

    tracing.refuse({"-t is not for the idle task": args.pid == 0 and args.tid is not None})
    if args.pid:
        require(args.pid, args.tid or args.pid)
    with reading() as tasks:
        task = tasks.describe(args.pid, args.tid)
    output = Output(args.output)
    if args.json:
        output.line(jsonl.line(task_text.as_json(task)))
    else:
        _print(output, task)
    output.flush()
    if output.error is not None:
        raise output.error
    return 0


def _print(output: Output, task: Task) -> None:
    from kintro.observers import task_text
    from kintro.renderers import terminal

    width, colour = output.width or WIDTH, output.colour
    wide = task_text.is_wide(width)
    columns = task_text.columns(wide)
    output.line(task_text.title(task))
    output.line("")
    output.line(terminal.heading(columns, width, colour))
    for group, fields in task_text.groups(task):
        output.line(terminal.styled(group.upper(), "title", colour))
        for field in fields:
            for row in task_text.rows(field, wide, width):
                output.line(terminal.line(columns, row, width, colour))
            indent = " " * (1 + (columns[0].width or 0))
            for line in textwrap.wrap(task_text.details(field), width - len(indent)):
                output.line(terminal.styled(indent + line, "faint", colour))
    output.line("")
    for text in task_text.summary_lines(task):
        for line in textwrap.wrap(text, width, subsequent_indent="  "):
            output.line(line)
