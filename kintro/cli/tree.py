"""`kintro tree`: the processes of one moment, each below its parent."""

from __future__ import annotations

import argparse
import time

from kintro.cli import tracing

HELP = "see all processes, or those below one, as a tree of one moment"
DESCRIPTION = """Shows all processes, or one and those below it, each below its parent: user, state, age,
threads, command line, zombies, and where pid namespaces begin. All that is shown lived at one moment: what
ended while it was read is left out and counted. Needs no root."""
EPILOG = """examples:
  kintro tree                            all processes but the kernel's own
  kintro tree 1234                       one and those below it
  kintro tree --kernel                   kernel threads too, below kthreadd
  kintro tree --threads $$               each thread, too
  kintro tree --json | jq '.processes[] | select(.state == "Z")'"""


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pid", nargs="?", metavar="PID", type=tracing.pid, help="only this and those below it"
    )
    parser.add_argument("--kernel", action="store_true", help="kernel threads too")
    parser.add_argument("--threads", action="store_true", help="each thread, with its state and age")
    tracing.add_output_options(parser, "one JSON document")


def run(args: argparse.Namespace) -> int:
    from kintro.cli.output import Output
    from kintro.observers import tree
    from kintro.observers import tree_text as text
    from kintro.renderers import jsonl, terminal

    snapshot = tree.read_snapshot(threads=args.threads)
    boottime_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    found = tree.nodes(snapshot, args.pid, args.kernel)
    totals = tree.totals(snapshot, found)
    output = Output(args.output)
    if args.json:
        output.line(jsonl.line(text.as_json(snapshot, found, totals, args.threads)))
    else:
        for line in terminal.tree(text.tree(found, boottime_ns), output.width, output.colour):
            output.line(line)
        output.remark(text.totals_line(totals))
    output.flush()
    if output.error is not None:
        raise output.error
    return 0
