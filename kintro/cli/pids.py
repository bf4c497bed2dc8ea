"""`kintro pids`: how many ids there are for processes and threads, who has them, how fast they go."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from kintro.cli import tracing
from kintro.cli.signals import Signals
from kintro.errors import EX_UNAVAILABLE, KintroError

if TYPE_CHECKING:
    from kintro.cli.output import Output

HELP = "see how many process ids are in use and left, and how fast they are given out"
DESCRIPTION = """Shows from where and up to where ids are given out to processes and threads, the last one,
those in use and those free, how fast they go, when the kernel's counter starts over and when an id comes
again at that rate; as root also the pid namespaces below. With --watch (root) each id as it is given out,
those that are skipped, and where the counter starts over."""
EPILOG = """examples:
  kintro pids                            what is so now, and the rate over a second
  kintro pids -i 10                      the rate over ten seconds
  sudo kintro pids --watch               each id, until Ctrl-C
  sudo kintro pids --watch -q -d 60      only the sums of a minute
  sudo kintro pids --watch --pid-namespace 1234    those inside of 1234's pid namespace"""

INTERVAL_S = 1.0
# What a tracing verb offers beside; here it is the whole system, or one namespace.
_WHOLE_SYSTEM: dict[str, Any] = {
    "pid": None, "user": None, "comm": None, "cgroup": None, "command": [], "no_follow": False,
    "as_root": False, "save": None,
}  # fmt: skip


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-i",
        "--interval",
        type=tracing.seconds,
        metavar="S",
        help="measure the rate for so long (default: 1)",
    )
    watch = parser.add_argument_group("live (root)")
    watch.add_argument("--watch", action="store_true", help="each id as it is given out")
    watch.add_argument(
        "--pid-namespace", metavar="PID", type=tracing.pid, help="those inside of PID's namespace"
    )
    watch.add_argument(
        "-d", "--duration", type=tracing.seconds, metavar="S", help="end after that many seconds"
    )
    watch.add_argument("-q", "--quiet", action="store_true", help="only gaps, starts over and the summary")
    tracing.add_output_options(parser, "one JSON document; with --watch JSON Lines")
    parser.set_defaults(**_WHOLE_SYSTEM)


def run(args: argparse.Namespace) -> int:
    live = {"--pid-namespace": args.pid_namespace, "-d": args.duration, "-q": args.quiet}
    wrong: dict[str, object] = {
        f"{name} is for --watch": value and not args.watch for name, value in live.items()
    }
    tracing.refuse(wrong | {"-i is not for --watch": args.watch and args.interval is not None})
    with Signals() as signals:
        return _watch(args, signals) if args.watch else _report(args, signals)


def _report(args: argparse.Namespace, signals: Signals) -> int:
    from kintro.cli.output import Output
    from kintro.observers import pids
    from kintro.observers import pids_text as text
    from kintro.renderers import jsonl, terminal

    report = pids.report(args.interval or INTERVAL_S, lambda: signals.told_to_end(None))
    output = Output(args.output)
    if args.json:
        output.line(jsonl.line(text.as_json(report)))
    else:
        for line in terminal.table(text.facts(report)).splitlines():
            if line.strip():  # the table has no headings
                output.line(line.rstrip())
        if report.namespaces:
            output.line("")
            for line in terminal.table(text.namespaces(report.namespaces)).splitlines():
                output.line(line)
    output.flush()
    if output.error is not None:
        raise output.error
    return 0


def _watch(args: argparse.Namespace, signals: Signals) -> int:
    from kintro.sources import host, pid_numbers

    inside = args.pid_namespace
    if inside is None and not host.in_initial_pid_namespace():
        raise KintroError(
            "this is a container with ids of its own, and the kernel's events carry the host's",
            "give --pid-namespace 1, or run kintro on the host",
            EX_UNAVAILABLE,
        )
    begun = tracing.begin(args, "lifecycle", {"THREADS": 1})
    from kintro.observers import lifecycle, lifecycle_records, pids_text, pids_watch  # noqa: F401
    from kintro.renderers import jsonl, terminal  # noqa: F401

    counter = pid_numbers.read_counter_of(inside) if inside is not None else pid_numbers.read_counter()
    if inside is None:
        allocation = pids_watch.Allocation(
            counter.last_pid,
            lambda fork: fork.tid,
            lambda: pid_numbers.read_counter().pid_max,
            pid_numbers.in_use,
        )
    else:
        allocation = pids_watch.Allocation(
            counter.last_pid, lambda fork: fork.ns_pid, lambda: counter.pid_max, None
        )
    shown = partial(_show, args, allocation)
    return tracing.run(args, signals, begun, lifecycle_records, lifecycle, shown)


def _show(
    args: argparse.Namespace,
    allocation: Any,
    records: Any,
    counts: Callable[[], Mapping[str, Any] | None],
    begin_ns: int,
    out: Output,
) -> None:
    from kintro.observers import pids_text as text
    from kintro.observers.pids_watch import Given, Tally
    from kintro.renderers import jsonl, terminal

    tally = Tally()
    if not args.json:
        out.line(terminal.heading(text.COLUMNS, out.width, out.colour))
    for event in tally.passed(allocation.events(records)):
        if args.quiet and isinstance(event, Given):
            continue
        if args.json:
            out.line(jsonl.line(text.event_json(event)))
        else:
            out.line(terminal.line(text.COLUMNS, text.row(event, begin_ns), out.width, out.colour))
    result = tally.result(counts())
    if args.json:
        out.line(jsonl.line(text.summary_json(result)))
    else:
        out.remark(text.summary_line(result))
