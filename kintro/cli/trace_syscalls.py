"""`kintro trace-syscalls`: every system call as it returns, with its arguments."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from kintro.cli import tracing
from kintro.cli.signals import Signals

if TYPE_CHECKING:
    from kintro.cli.output import BinaryFile, Output

HELP = "see each system call with its arguments, its result and how long it took"
DESCRIPTION = """Shows each system call when it returns: when it began, which thread made it, how long it
took, its arguments by name, what they refer to, and its result. Nothing is stopped for that, and nothing is
lost unseen: at the end, what was told is compared with what the kernel began."""
EPILOG = """examples:
  sudo kintro trace-syscalls -- ls                       a command and all it starts
  sudo kintro trace-syscalls -p 1234 -d 5                a process and its descendants, for five seconds
  sudo kintro trace-syscalls -e file -- ls               only calls that take a path
  sudo kintro trace-syscalls -e network,close -p 1234    classes and names together
  sudo kintro trace-syscalls --failed -- make            only those that fail
  sudo kintro trace-syscalls --slower 10ms -p 1234       only those that take 10 ms or more
  sudo kintro trace-syscalls --json -d 5 | jq 'select(.name == "openat") | .args.pathname'
  sudo kintro trace-syscalls --save /tmp/s2 -q -- make   keep it, to look at later: kintro replay /tmp/s2

Classes are file, process, network, ipc, memory, signal, desc, creds and clock, as strace has them; ! takes
all others.
With a command, kintro ends when it ends and leaves with its exit status (128 + n after signal n)."""

_UNITS_NS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000}


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    tracing.add_options(parser)
    parser.add_argument(
        "-s", "--string-bytes", metavar="N", type=_bytes, default=32,
        help="so much of what is read and written is shown, up to 4000 bytes (default: %(default)s)",
    )  # fmt: skip
    add_views(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="only the summary")


def add_views(parser: Any) -> None:
    """The options that say what is shown, live and in a replay; live they act in the kernel."""
    parser.add_argument("-e", "--expression", metavar="CALLS", help="names or classes with commas between")
    parser.add_argument("--failed", action="store_true", help="only calls that fail")
    parser.add_argument(
        "--slower", metavar="TIME", type=_span_ns, help="only calls that take as long: 500us, 10ms, 2s"
    )
    parser.add_argument("--timeline", metavar="FILE", help="also a Perfetto trace, FILE.pftrace")


def _bytes(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 4000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes up to 4000")
    return int(text)


def _span_ns(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 500us, 10ms or 2s")
    return round(float(found[1]) * _UNITS_NS[found[2]])


def run(args: argparse.Namespace) -> int:
    with Signals() as signals:
        from kintro.observers import thread_records

        begun = tracing.begin(args, "calls", thread_records.defines())
        # Imported while that goes on.
        from kintro.observers import calls_names, calls_read, calls_records

        names, formats = calls_names.of_this_kernel()
        view = _View(args, names, begun.timeline, os.uname().release)
        limits = args.string_bytes, args.failed, args.slower or 0
        request = calls_read.Request(names, view.chosen, *limits)
        return tracing.run(
            args, signals, begun, calls_records, request, view.show, request.prepare,
            kept={"formats": formats}, columnar=True, listed=view.listed,
        )  # fmt: skip


def replay(args: argparse.Namespace, info: Mapping[str, Any], *presented: Any) -> None:
    """Presents a saved session; `info` is what it says of itself."""
    from kintro.cli.output import BinaryFile
    from kintro.observers import calls_names

    options, kernel = info.get("options"), info.get("kernel")
    given = options if isinstance(options, dict) else {}
    args.pid, args.command = given.get("pid"), given.get("command")
    timeline = BinaryFile(args.timeline) if args.timeline is not None else None
    _View(args, calls_names.of_session(info), timeline, str(kernel)).show(*presented)
    if timeline is not None and timeline.error is not None:
        raise timeline.error


class _View:
    """Shows calls, live or saved."""

    def __init__(
        self, args: argparse.Namespace, names: Any, timeline: BinaryFile | None, kernel: str
    ) -> None:
        from kintro.observers import calls_names

        self._args, self._names, self._timeline, self._kernel = args, names, timeline, kernel
        self.chosen = calls_names.chosen(args.expression, names)
        self._headed = False
        if timeline is not None:
            from kintro.observers import calls_timeline  # noqa: F401  # before anything is traced

    @property
    def _filtered(self) -> bool:
        args = self._args
        return args.expression is not None or args.failed or bool(args.slower)

    @property
    def listed(self) -> tuple[str, ...] | None:
        """Which records it wants to see one by one: none, or all."""
        return None if not self._args.quiet or self._timeline is not None else ()

    def show(
        self,
        records: Iterable[Any],
        counts: Callable[[], Mapping[str, Any] | None],
        begin_ns: int,
        out: Output,
    ) -> None:
        from kintro.observers import calls, calls_text
        from kintro.renderers import jsonl

        args, timeline, number, shown = self._args, None, 0, 0
        if self._timeline is not None:
            from kintro.observers.calls_timeline import CallsTimeline

            timeline = CallsTimeline(self._timeline.write, self._kernel, begin_ns, not self._filtered)
        for seen in calls.Story(self._names).calls(records):
            number += 1
            if not calls.passes(seen, self.chosen, args.failed, args.slower or 0):
                continue
            shown += 1
            if timeline is not None:
                timeline.add(seen)
            if not args.quiet:
                self._tell(seen, begin_ns, out)
        if timeline is not None:
            timeline.flush()
        if self._filtered and number and not shown:
            print("kintro: none of these calls was saved", file=sys.stderr)
        result = calls.summary(number, counts())
        if args.json:
            out.line(jsonl.line(calls_text.summary_json(result)))
        else:
            out.remark(calls_text.summary_line(result))

    def _tell(self, seen: Any, begin_ns: int, out: Output) -> None:
        from kintro.observers import calls_text
        from kintro.renderers import jsonl, terminal

        if self._args.json:
            out.line(jsonl.line(calls_text.as_json(seen)))
            return
        # Not cut to the terminal's width: the end of a line is the result.
        if not self._headed:
            out.line(terminal.heading(calls_text.COLUMNS, None, out.colour))
            self._headed = True
        row = calls_text.row(seen, begin_ns)
        out.line(terminal.line(calls_text.COLUMNS, row, None, out.colour))
