"""`kintro trace-ipc`: inter-process communication as it happens, with bytes and latency."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from kintro.cli import tracing
from kintro.cli.signals import Signals

if TYPE_CHECKING:
    from kintro.cli.output import Output

HELP = "see what passes through pipes, sockets, queues, semaphores and signals, how much and how fast"
DESCRIPTION = """Follows inter-process communication call by call: reads and writes on pipes, FIFOs, sockets,
message queues and eventfds, semaphores, shared memory, futexes that wait or wake, and signals from sender to
receiver. Tells at the end, for each channel, its ends, messages, bytes, wake-ups and the time spent asleep;
what was told is compared with what the kernel began."""
EPILOG = """examples:
  sudo kintro trace-ipc -- sh -c 'seq 100000 | wc -l'    what a pipe carried, and who waited for whom
  sudo kintro trace-ipc -d 5                    the whole system, for five seconds
  sudo kintro trace-ipc -p 1234                 a process and its descendants, until Ctrl-C
  sudo kintro trace-ipc --events -p 1234        also each operation and each signal
  sudo kintro trace-ipc --json -d 5 | jq 'select(.type == "signal") | .latency_ns'
  sudo kintro trace-ipc --save /tmp/s3 -- make  keep it, to look at later: kintro replay /tmp/s3

With a command, kintro ends when it ends and leaves with its exit status (128 + n after signal n)."""


LINES = 40  # of a table, unless -n says otherwise


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    tracing.add_options(parser)
    add_views(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="with --json: only the summary")


def add_views(parser: Any) -> None:
    """The options that say what is shown, live and in a replay."""
    parser.add_argument("--events", action="store_true", help="also a line for each operation and signal")
    parser.add_argument(
        "-n", "--top", type=tracing.number, metavar="N", help=f"only the first N channels (table: {LINES})"
    )


def run(args: argparse.Namespace) -> int:
    with Signals() as signals:
        from kintro.observers import thread_records

        begun = tracing.begin(args, "traffic", thread_records.defines())
        # Imported while that goes on.
        from kintro.observers import traffic_read, traffic_records

        view = _View(args)
        request = traffic_read.Request(view.channels)
        return tracing.run(
            args, signals, begun, traffic_records, request, view.show, request.prepare,
            columnar=True, listed=view.listed, taken=view.add,
        )  # fmt: skip


def replay(args: argparse.Namespace, info: Mapping[str, Any], records: Any, *presented: Any) -> None:
    """Presents a saved session; `info` is what it says of itself."""
    import numpy as np

    from kintro.observers import traffic, traffic_records
    from kintro.sources.syscall_names import syscall_names

    view = _View(args, syscall_names(str(info.get("machine"))))
    dtype = traffic_records.dtypes()["operation"]
    view.show(traffic.in_chunks(records, lambda rows: view.sums.add(np.array(rows, dtype))), *presented)


class _View:
    """Shows channels and signals, live or saved."""

    def __init__(self, args: argparse.Namespace, calls: Mapping[int, str] | None = None) -> None:
        from kintro.observers import traffic, traffic_channels, traffic_sums
        from kintro.sources.syscall_names import syscall_names

        self._args = args
        self.channels = traffic_channels.Channels()
        self.sums = traffic_sums.Sums()
        self._story = traffic.Story(self.channels, syscall_names() if calls is None else calls)

    @property
    def _tells_events(self) -> bool:
        return not self._args.quiet if self._args.json else self._args.events

    @property
    def listed(self) -> tuple[str, ...] | None:
        """Which records it wants to see one by one: all, or, where it tells no operations, all others."""
        from kintro.observers.traffic_records import RECORDS

        return None if self._tells_events else tuple(kind for kind in RECORDS if kind != "operation")

    def add(self, batch: Mapping[str, Any]) -> None:
        """A batch as it was taken."""
        if "operation" in batch:
            self.sums.add(batch["operation"])

    def show(
        self,
        records: Iterable[Any],
        counts: Callable[[], Mapping[str, Any] | None],
        begin_ns: int,
        out: Output,
    ) -> None:
        from kintro.observers import traffic, traffic_json, traffic_text
        from kintro.observers.traffic_signals import Signal
        from kintro.renderers import jsonl, terminal

        args = self._args
        headed = args.json
        for event in self._story.events(records):
            if isinstance(event, Signal):
                self.sums.add_signal(event)
            if not self._tells_events:
                continue
            if args.json:
                out.line(jsonl.line(traffic_json.as_json(event)))
                continue
            if not headed:
                out.line(terminal.heading(traffic_text.COLUMNS, None, out.colour))
                headed = True
            row = traffic_text.row(event, begin_ns)
            out.line(terminal.line(traffic_text.COLUMNS, row, None, out.colour))
        result = traffic.summary(self.sums.operations, self.sums.signals, counts())
        channels, signals = self.sums.channels(self.channels), self.sums.signal_sums()
        top = args.top or (None if args.json else LINES)
        shown = channels[:top]
        if args.json:
            out.line(jsonl.line(traffic_json.summary_json(result, shown, signals, self.sums.folded)))
            return
        for line in traffic_text.channel_lines(shown, result.duration_ns, out.width, out.colour):
            out.line(line)
        if len(shown) < len(channels):
            out.line(f"and {traffic_text.more(len(channels) - len(shown), 'channel')}")
        for line in traffic_text.signal_lines(signals[:top], out.width, out.colour):
            out.line(line)
        if top is not None and len(signals) > top:
            out.line(f"and {traffic_text.more(len(signals) - top, 'kind')} of signals")
        out.remark(traffic_text.summary_line(result, len(channels)))
