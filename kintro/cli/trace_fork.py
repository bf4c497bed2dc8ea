"""`kintro trace-fork`: every fork, exec, exit and change of parent as it happens."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from kintro.cli import tracing
from kintro.cli.signals import Signals

if TYPE_CHECKING:
    from kintro.cli.output import Output

HELP = "see every fork, exec, exit and change of parent"
DESCRIPTION = """Shows each process as it is created, the programs it runs, how it ends, and who takes its
children when it ends before them; at the end, what was counted, compared with the kernel's own count."""
EPILOG = """examples:
  sudo kintro trace-fork                     the whole system, until Ctrl-C
  sudo kintro trace-fork -- make -j4         a command and all it starts
  sudo kintro trace-fork --tree -- ./test    the tree of all that lived, with lifetimes and exit codes
  sudo kintro trace-fork -p 1234 -d 10       a process and its descendants, for ten seconds
  sudo kintro trace-fork --comm sshd --json  JSON Lines, for other programs
  sudo kintro trace-fork --save /tmp/s1 -q   keep it, to look at it later: kintro replay /tmp/s1 --tree

With a command, kintro ends when it ends and leaves with its exit status (128 + n after signal n)."""


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    tracing.add_options(parser)
    add_views(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="only the summary (and the tree)")


def add_views(parser: Any) -> None:
    """The options that say how the events are shown, live and in a replay."""
    parser.add_argument("--threads", action="store_true", help="show threads too; they are always counted")
    parser.add_argument("--tree", action="store_true", help="at the end, the tree of all that lived")


def run(args: argparse.Namespace) -> int:
    with Signals() as signals:
        return _run(args, signals)


def _run(args: argparse.Namespace, signals: Signals) -> int:
    # A tree counts the threads of each process, and a saved session can be shown either way.
    defines = {"THREADS": 1} if args.threads or args.tree or args.save else {}
    begun = tracing.begin(args, "lifecycle", defines)
    # Imported while that goes on, and before tracing begins, not while the first events wait.
    from kintro.observers import lifecycle, lifecycle_records, lifecycle_text  # noqa: F401
    from kintro.renderers import jsonl, terminal  # noqa: F401

    return tracing.run(args, signals, begun, lifecycle_records, lifecycle, partial(show, args))


def replay(args: argparse.Namespace, info: Mapping[str, Any], *presented: Any) -> None:
    """Presents a saved session; `info` is what it says of itself."""
    show(args, *presented)


def show(
    args: argparse.Namespace,
    records: Iterable[Any],
    counts: Callable[[], Mapping[str, Any] | None],
    begin_ns: int,
    out: Output,
) -> None:
    """Presents the records, live or saved: as lines or JSON, then the tree if asked for, then the summary."""
    from kintro.observers import lifecycle
    from kintro.observers import lifecycle_text as text
    from kintro.renderers import jsonl, terminal

    lines = not args.quiet and (args.json or not args.tree)
    headed = False
    seen: Counter[str] = Counter()
    kept: list[Any] = []
    for event in lifecycle.Adoptions().events(iter(records)):
        seen[lifecycle.counted_as(event)] += 1
        if args.tree:
            kept.append(event)
        if not lines or (lifecycle.is_of_thread(event) and not args.threads):
            continue
        if args.json:
            out.line(jsonl.line(lifecycle.as_json(event)))
        else:
            if not headed:
                out.line(terminal.heading(text.COLUMNS, out.width, out.colour))
                headed = True
            out.line(terminal.line(text.COLUMNS, text.row(event, begin_ns), out.width, out.colour))
    if args.tree:
        found = text.processes(kept)
        if args.json:
            out.line(jsonl.line(text.tree_json(found)))
        else:
            for line in terminal.tree(text.tree(found), out.width, out.colour):
                out.line(line)
    result = lifecycle.summary(seen, counts())
    if args.json:
        out.line(jsonl.line(lifecycle.summary_json(result)))
    else:
        out.remark(text.summary_line(result))
