"""`kintro ctxswitch`: who runs, who waits for a CPU, who made way for whom."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from kintro.cli import tracing
from kintro.cli.signals import Signals

if TYPE_CHECKING:
    from kintro.cli.output import Output

HELP = "see who ran, who waited for a CPU and who made way for whom"
DESCRIPTION = """Counts every context switch in the kernel: for each task how often it left a CPU, of its own
accord or not, how long it ran, was blocked, and waited for a CPU; for each CPU how long it was busy. In the
end the counts are compared with the kernel's own."""
EPILOG = """examples:
  sudo kintro ctxswitch -d 5                    the whole system, for five seconds
  sudo kintro ctxswitch -- make -j4             a command and all it starts
  sudo kintro ctxswitch -p 1234 -i 1            a process, every second
  sudo kintro ctxswitch -d 5 --sort latency     who waited longest for a CPU
  sudo kintro ctxswitch -d 5 --matrix -n 20     who made way for whom
  sudo kintro ctxswitch -d 5 --latency --slices --off-cpu      histograms
  sudo kintro ctxswitch -d 5 --timeline cpus.html              every turn on each CPU, as a page
  sudo kintro ctxswitch --json -d 5 | jq '.tasks[] | {comm, on_cpu_ns, runnable_ns}'

With a command, kintro ends when it ends and leaves with its exit status (128 + n after signal n)."""

SORTS = ("on-cpu", "switches", "involuntary", "blocked", "waiting", "latency", "migrations", "name")
TIMELINES = (".pftrace", ".json", ".html")
LINES = 20  # of a table, unless -n says otherwise


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    tracing.add_options(parser, "one JSON object at the end; with -i also one for each interval", save=False)
    parser.set_defaults(save=None)
    views = parser.add_argument_group("what to show in place of the tasks")
    views.add_argument("--matrix", action="store_true", help="who made way for whom, as table and heat map")
    views.add_argument("--latency", action="store_true", help="how long tasks waited for a CPU: a histogram")
    views.add_argument("--slices", action="store_true", help="how long they then kept it")
    views.add_argument("--off-cpu", action="store_true", help="how long they were blocked")
    parser.add_argument(
        "--timeline", metavar="FILE", type=_timeline,
        help="also every turn on each CPU: FILE.pftrace (Perfetto), FILE.json (Chrome) or FILE.html (a page)",
    )  # fmt: skip
    parser.add_argument("--sort", choices=SORTS, default="on-cpu", help="by what (default: %(default)s)")
    tracing.add_account_options(parser, f"only the first N (tables: {LINES})")


def _timeline(text: str) -> str:
    if not text.endswith(TIMELINES):
        raise argparse.ArgumentTypeError(f"{text!r} does not end in {' or '.join(TIMELINES)}")
    return text


def run(args: argparse.Namespace) -> int:
    with Signals() as signals:
        from kintro.observers import switches_read

        more = {"TIMELINE": 1} if args.timeline is not None else {}
        begun = tracing.begin(args, "switches", switches_read.defines() | more)
        # Imported while that goes on.
        import numpy  # noqa: F401

        from kintro.observers import switches, switches_records

        view = _View(args, begun, begun.loading.filters.whole_system)
        settled = switches.settled if args.command else None
        observer = SimpleNamespace(**vars(switches) | {"settled": settled})
        return tracing.run(
            args, signals, begun, switches_records, observer, view.show, view.prepare, columnar=bool(more)
        )


class _View:
    """Shows the intervals, if asked for, and the account."""

    def __init__(self, args: argparse.Namespace, begun: Any, whole_system: bool) -> None:
        from kintro.observers.switches import Reading

        self._args, self._out, self._file = args, begun.output, begun.timeline
        if self._file is not None:
            from kintro.observers import switches_timeline

            switches_timeline.require(args.timeline)
        self._whole_system = whole_system
        self._first = self._last = Reading(0)
        self._end_ns = 0

    def prepare(self, trace: Any) -> None:
        self._probe = trace.probe
        self._command_pid = trace.command.pid if trace.command is not None else None
        trace.around(self._begin, self._end)
        if self._file is not None:
            trace.at_end(self._rest)
        if self._args.interval is not None:
            trace.every(self._args.interval, self._interval)

    def _begin(self) -> None:
        from kintro.observers import switches_read
        from kintro.observers.switches import Reading

        self._first = self._last = Reading(switches_read.begin(self._probe, self._command_pid))

    def _end(self) -> None:
        from kintro.observers import switches_read

        self._end_ns = switches_read.end(self._probe)

    def _timeline(self) -> Any:
        """What draws the turns; None if nobody asked for it."""
        if self._file is None:
            return None
        from kintro.observers import switches_read, switches_timeline

        return switches_timeline.made(
            self._args.timeline, self._file.write, self._first.ts_ns, switches_read.names_of(self._probe)
        )

    def _rest(self, end_ns: int) -> Any:
        from kintro.observers import switches_read

        return switches_read.under_way(self._probe, self._end_ns)

    def _interval(self) -> None:
        from kintro.observers import switches, switches_read

        now = switches_read.read(self._probe)
        self._tell(switches.account(now, self._last, self._whole_system, moving=True), "interval")
        self._last = now
        self._out.offer()

    def show(
        self, records: Any, counts: Callable[[], Mapping[str, Any] | None], begin_ns: int, out: Output
    ) -> None:
        from kintro.observers import switches, switches_read

        events, timeline = iter(records), None
        for event in events:  # this is the trace; only for a timeline there are any
            timeline = timeline or self._timeline()
            timeline.add(event)
        if timeline is not None:
            timeline.flush()
        now = switches_read.read(self._probe, self._end_ns)
        self._tell(switches.account(now, self._first, self._whole_system), "summary")

    def _tell(self, account: Any, kind: str) -> None:
        from kintro.observers import switches, switches_text
        from kintro.renderers import jsonl, terminal

        args, out = self._args, self._out
        by = switches.sort_key(args.sort)
        tasks = sorted(account.tasks.items(), key=lambda item: by(item[1]))
        if args.json:
            out.line(jsonl.line(switches_text.as_json(account, tasks[: args.top], args.top, kind)))
            return
        if args.interval is not None:
            title = switches_text.when(account, self._first.ts_ns, kind)
            out.line(terminal.styled(title, "title", out.colour))
        top = args.top or LINES
        for line in self._views(account, top) if self._wants_views else self._tasks(account, tasks, top):
            out.line(line)
        cpus = switches_text.cpu_rows(account)
        for line in terminal.lines(switches_text.CPU_COLUMNS, cpus, out.width, out.colour):
            out.line(line)
        for line in switches_text.left_out(len(account.cpus) - len(cpus), "CPU"):
            out.line(line)
        for text in switches_text.summary_lines(account):
            out.remark(text)

    @property
    def _wants_views(self) -> bool:
        args = self._args
        return args.matrix or args.latency or args.slices or args.off_cpu

    def _tasks(self, account: Any, tasks: list[tuple[int, Any]], top: int) -> Iterator[str]:
        from kintro.observers import switches, switches_text
        from kintro.renderers import terminal

        out, woken_by = self._out, switches.wakers(account)
        columns = switches_text.columns(out.width)
        rows = (
            switches_text.row(task, switches_text.waker_text(account, woken_by.get(slot, [])), columns)
            for slot, task in tasks[:top]
        )
        yield from terminal.lines(columns, rows, out.width, out.colour)
        yield from switches_text.left_out(len(tasks) - top, "task")

    def _views(self, account: Any, top: int) -> Iterator[str]:
        from kintro.observers import switches, switches_text, switches_views
        from kintro.renderers import terminal

        args, out, tasks = self._args, self._out, account.tasks.values()
        if args.matrix:
            pairs = switches_views.pair_rows(account, top)
            yield from terminal.lines(switches_views.PAIR_COLUMNS, pairs, out.width, out.colour)
            yield from switches_text.left_out(len(account.pairs) - top, "pair")
            yield from switches_views.heat_map(account, out.width)
        if args.latency:
            yield from switches_views.histogram("waits for a CPU", switches.summed(t.waits for t in tasks))
        if args.slices:
            yield from switches_views.histogram("turns on a CPU", switches.summed(t.slices for t in tasks))
        if args.off_cpu:
            yield from switches_views.histogram("blocked", account.sleeps)
