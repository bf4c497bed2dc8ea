"""`kintro replay DIR`: shows a saved session again, without root and without a kernel to trace."""

from __future__ import annotations

import argparse
import importlib
import sys

from kintro.cli import trace_fork, tracing
from kintro.errors import EX_NOINPUT, KintroError

HELP = "show a saved session again"
DESCRIPTION = """Shows a session that a tracing verb kept with --save, as that verb would have shown it
live. Works on any machine and without root. A session that was cut off is shown as far as it goes."""
EPILOG = """examples:
  kintro replay /tmp/s1           as it looked live
  kintro replay /tmp/s1 --tree    as a tree
  kintro replay /tmp/s1 --json    as JSON Lines"""

_OBSERVERS = {"trace-fork": "kintro.observers.lifecycle"}


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("session", metavar="DIR", help="the folder that --save made")
    tracing.add_output_options(parser)
    trace_fork.add_views(parser)


def run(args: argparse.Namespace) -> int:
    from kintro.cli.output import Output
    from kintro.sources.session import read_session

    session = read_session(args.session)
    verb = session.info.get("verb")
    if not isinstance(verb, str) or verb not in _OBSERVERS:
        raise KintroError(
            f"{args.session} is a session of {verb!r}, which this kintro does not know", None, EX_NOINPUT
        )
    observer = importlib.import_module(_OBSERVERS[verb])
    output = Output(args.output)
    if session.cut:
        print(
            f"kintro: {args.session} was cut off: shown up to the last whole batch, what was lost is unknown",
            file=sys.stderr,
        )
    counts = None if session.cut else session.info.get("counts")
    begin_ns = session.info.get("begin_ns")
    if not (isinstance(begin_ns, int) and (counts is None or observer.is_tally(counts))):
        raise KintroError(f"{args.session} is damaged: session.json", None, EX_NOINPUT)
    trace_fork.show(args, observer.saved_records(session), lambda: counts, begin_ns, output)
    output.flush()
    if output.error is not None:
        raise output.error
    return 0
