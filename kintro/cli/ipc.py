"""`kintro ipc`: who talks to whom, through which channel, and what waits in it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kintro.cli import tracing

if TYPE_CHECKING:
    from kintro.observers.ipc_records import Inventory

HELP = "see who talks to whom: pipes, sockets, queues, shared memory, semaphores, signals"
DESCRIPTION = """Lists every channel between processes, who is at which end, and how many bytes and messages
wait in it: pipes and FIFOs, UNIX sockets, TCP and UDP on this machine, System V and POSIX queues, semaphores
and shared memory, memfd, shared files, eventfd, signalfd, pidfd, pending signals. With PID, only the channels
that this process has part in. Without root, only what one's own processes hold."""
EPILOG = """examples:
  sudo kintro ipc                        every channel of this machine
  sudo kintro ipc 1234                   what one process shares, and with whom
  sudo kintro ipc --kind unix --kind tcp only these kinds
  sudo kintro ipc --html ipc.html        a page that draws processes and channels
  sudo kintro ipc --dot | sfdp -Tsvg -o ipc.svg    the same for Graphviz
  sudo kintro ipc --json                 one JSON document"""

# The observer's, written here again, so that --help loads nothing: a test holds them to be the same.
KINDS = (
    "pipe", "fifo", "unix", "tcp", "udp", "mqueue", "sysv-msg", "sysv-sem", "sysv-shm", "shm", "sem", "memfd",
    "anon", "file", "eventfd", "signalfd", "pidfd", "signal",
)  # fmt: skip


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pid", nargs="?", type=tracing.pid, metavar="PID", help="only the channels of this process"
    )
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this kind; may be repeated")
    parser.add_argument("--dot", action="store_true", help="a graph in the language of Graphviz")
    parser.add_argument("--html", metavar="FILE", help="a page for a browser that draws the graph")
    tracing.add_output_options(parser, "one JSON document")


def run(args: argparse.Namespace) -> int:
    views = [name for name in ("json", "dot", "html") if getattr(args, name)]
    tracing.refuse(
        {
            "one of --json, --dot and --html at a time": len(views) > 1,
            "-o is not for --html, which names its own file": args.html is not None
            and args.output is not None,
        }
    )
    from kintro.observers import ipc

    inventory = ipc.read_inventory()
    title = "Who talks to whom"
    if args.pid is not None:
        inventory = ipc.of_process(inventory, args.pid)
        title = f"Whom process {args.pid} talks to"
    if args.kind:
        inventory = ipc.of_kinds(inventory, args.kind)
    _show(args, inventory, title)
    return 0


def _show(args: argparse.Namespace, inventory: Inventory, title: str) -> None:
    from kintro.cli.output import Output
    from kintro.observers import ipc_text
    from kintro.renderers import jsonl, terminal

    output = Output(args.html or args.output)
    if args.json:
        output.line(jsonl.line(ipc_text.as_json(inventory)))
    elif args.dot or args.html:
        from kintro.observers.ipc_graph import graph

        shape = graph(inventory, title)
        if args.dot:
            from kintro.renderers.dot import dot

            for line in dot(shape):
                output.line(line)
        else:
            from kintro.renderers import html

            output.line(html.graph(shape))
    else:
        columns = ipc_text.columns(inventory)
        rows = map(ipc_text.row, inventory.channels)
        for line in terminal.lines(columns, rows, output.width, output.colour):
            output.line(line)
        for line in ipc_text.summary(inventory):
            output.remark(line)
    output.flush()
    if output.error is not None:
        raise output.error
