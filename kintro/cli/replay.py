"""`kintro replay DIR`: shows a saved session again, without root and without a kernel to trace."""

from __future__ import annotations

import argparse
import importlib
import sys

from kintro.cli import trace_fork, trace_ipc, trace_syscalls, tracing
from kintro.errors import EX_NOINPUT, EX_USAGE, KintroError

HELP = "show a saved session again"
DESCRIPTION = """Shows a session that a tracing verb kept with --save, as that verb would have shown it
live. Works on any machine and without root. A session that was cut off is shown as far as it goes."""
EPILOG = """examples:
  kintro replay /tmp/s1                  as it looked live
  kintro replay /tmp/s1 --tree           of trace-fork: as a tree
  kintro replay /tmp/s2 -e file --failed of trace-syscalls: only these calls
  kintro replay /tmp/s3 --events         of trace-ipc: with each operation
  kintro replay /tmp/s1 --json           as JSON Lines"""

# Verb → the module that knows its records, the one that knows its counts, and the verb's own.
_VERBS = {
    "trace-fork": ("lifecycle_records", "lifecycle", trace_fork),
    "trace-syscalls": ("calls_records", "calls", trace_syscalls),
    "trace-ipc": ("traffic_records", "traffic", trace_ipc),
}
_OPTIONS = {
    "trace-fork": ("threads", "tree"),
    "trace-syscalls": ("expression", "failed", "slower", "timeline"),
    "trace-ipc": ("events", "top"),
}


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("session", metavar="DIR", help="the folder that --save made")
    tracing.add_output_options(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="only the summary (and the tree)")
    for verb, (_, _, module) in _VERBS.items():
        module.add_views(parser.add_argument_group(f"for a session of {verb}"))


def run(args: argparse.Namespace) -> int:
    from kintro.cli.output import Output
    from kintro.sources.session import read_records, read_session
    from kintro.sources.trace import is_number

    session = read_session(args.session)
    verb = session.info.get("verb")
    if not isinstance(verb, str) or verb not in _VERBS:
        raise KintroError(
            f"{args.session} is a session of {verb!r}, which this kintro does not know", None, EX_NOINPUT
        )
    for other, options in _OPTIONS.items():
        for option in options:
            if other != verb and getattr(args, option):
                raise KintroError(
                    f"--{option} is for a session of {other}, this one is of {verb}", None, EX_USAGE
                )
    kinds, observer = (importlib.import_module(f"kintro.observers.{name}") for name in _VERBS[verb][:2])
    output = Output(args.output)
    if session.cut:
        print(
            f"kintro: {args.session} was cut off: shown up to the last whole batch, what was lost is unknown",
            file=sys.stderr,
        )
    counts = None if session.cut else session.info.get("counts")
    begin_ns = session.info.get("begin_ns")
    if not (is_number(begin_ns) and begin_ns >= 0 and (counts is None or observer.is_tally(counts))):
        raise KintroError(f"{args.session} is damaged: session.json", None, EX_NOINPUT)
    records = read_records(session, kinds.RECORDS, kinds.dtypes())
    _VERBS[verb][2].replay(args, session.info, records, lambda: counts, begin_ns, output)
    output.flush()
    if output.error is not None:
        raise output.error
    return 0
