"""What every tracing verb shares: its options, and the run with its command and signals."""

from __future__ import annotations

import argparse
import os
import select
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

from kintro.cli.signals import Signals
from kintro.errors import EX_NOINPUT, EX_UNAVAILABLE, EX_USAGE, KintroError

WAITING_MAX = 256 << 20  # bytes of output that wait for a slow reader while the trace goes on
EVENTS = "JSON Lines, one object for each event"


def add_options(parser: argparse.ArgumentParser, json: str = EVENTS, save: bool = True) -> None:
    """The options that mean the same in every tracing verb. `save`: there are events to keep."""
    which = parser.add_argument_group("what to trace (default: the whole system)")
    which.add_argument("-p", "--pid", type=pid, help="this process and its descendants")
    which.add_argument("--no-follow", action="store_true", help="with -p: not its descendants")
    which.add_argument("-u", "--user", metavar="USER", help="processes of this user (name or uid)")
    which.add_argument("--comm", metavar="NAME", help="processes of this name, as `ps -o comm` shows it")
    which.add_argument("--cgroup", metavar="PATH", help="processes in this cgroup v2 folder or below")
    which.add_argument("--pid-namespace", metavar="PID", type=pid, help="processes in PID's pid namespace")
    which.add_argument("--as-root", action="store_true", help="run COMMAND as root, not as the calling user")
    which.add_argument(
        "command", nargs="*", metavar="-- COMMAND", help="run this, trace it and what it starts"
    )
    how = parser.add_argument_group("how long and where to")
    how.add_argument("-d", "--duration", type=seconds, metavar="S", help="end after that many seconds")
    if save:
        how.add_argument("--save", metavar="DIR", help="keep the session in this folder, for kintro replay")
    add_output_options(how, json)


def add_output_options(group: Any, json: str = EVENTS) -> None:
    group.add_argument("-o", "--output", metavar="FILE", help="write to this file, not to standard output")
    group.add_argument("--json", action="store_true", help=json)


def pid(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 31):
        raise argparse.ArgumentTypeError(f"{text!r} is not a process id")
    return int(text)


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 31):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of lines, 1 or more")
    return int(text)


def add_account_options(parser: argparse.ArgumentParser, top: str) -> None:
    """Those of verbs that add up: how much is shown, `top`, and how often."""
    parser.add_argument("-n", "--top", type=number, metavar="N", help=top)
    parser.add_argument(
        "-i", "--interval", type=seconds, metavar="S", help="also what happened in each S seconds"
    )


def filters(args: argparse.Namespace) -> Any:
    """The kernel-side filters that the options ask for. KintroError for what does not exist."""
    from kintro.sources import host
    from kintro.sources.filters import Filters

    namespace = None
    if args.pid_namespace is not None:
        namespace = host.pid_namespace(args.pid_namespace)
        if namespace is None:
            there = os.path.exists(f"/proc/{args.pid_namespace}")
            problem = "may not look into" if there else "no"
            raise KintroError(f"{problem} process {args.pid_namespace}", None, EX_NOINPUT)
    return Filters(
        pid=args.pid,
        command=bool(args.command),
        follow=not args.no_follow,
        uid=_uid(args.user) if args.user is not None else None,
        comm=os.fsencode(args.comm) if args.comm is not None else None,
        cgroup=args.cgroup,
        pid_namespace=namespace,
    )


def _uid(user: str) -> int:
    import pwd

    if user.isascii() and user.isdigit() and int(user) < 1 << 32:
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise KintroError(f"no user {user!r}", "name one that `getent passwd` lists", EX_NOINPUT) from None


class Begun(NamedTuple):
    """What `begin` hands to `run`."""

    output: Any
    timeline: Any  # a BinaryFile, or None
    loading: Any
    defines: Mapping[str, int]


def begin(args: argparse.Namespace, probe: str, defines: Mapping[str, int]) -> Begun:
    """Begins to load a probe. Its observer, and whatever else is slow to import, is to be imported then."""
    from kintro.cli.output import BinaryFile, Output
    from kintro.sources.bpf import Loading, require_tracing

    _require_sense(args)
    require_tracing()
    _require_initial_namespace(args)
    wanted = filters(args)
    # Before any thread is at work: see as_calling_user.
    output = Output(args.output, WAITING_MAX)
    path = _timeline_of(args)
    timeline = BinaryFile(path) if path is not None else None
    return Begun(output, timeline, Loading(probe, wanted, defines), defines)


def _timeline_of(args: argparse.Namespace) -> str | None:
    """Of a verb that has that option."""
    return getattr(args, "timeline", None)


def _require_sense(args: argparse.Namespace) -> None:
    """KintroError (2) for options that do not go together."""
    wrong = {
        "give either --pid or a command, not both": args.command and args.pid is not None,
        "--output and --timeline name the same file": args.output and args.output == _timeline_of(args),
        "there is no command behind --": args.behind_dashes == 0,
        "--no-follow is for --pid": args.no_follow and args.pid is None,
        "--as-root is for a command": args.as_root and not args.command,
        "an interval is at least 0.01 s": (getattr(args, "interval", None) or 1) < 0.01,
        "--comm: the kernel keeps 15 bytes of a name": len(os.fsencode(args.comm or "")) > 15,
    }
    refuse(wrong)


def refuse(wrong: Mapping[str, object]) -> None:
    """KintroError (2) for the first message whose condition is true."""
    for message, is_so in wrong.items():
        if is_so:
            raise KintroError(message, None, EX_USAGE)


def run(
    args: argparse.Namespace,
    signals: Signals,
    begun: Begun,
    kinds: Any,
    observer: Any,
    show: Callable[[Any, Callable[[], Mapping[str, Any] | None], int, Any], None],
    prepare: Callable[[Any], None] = lambda trace: None,
    kept: Mapping[str, Any] | None = None,
    columnar: bool = False,
    listed: Collection[str] | None = None,
    taken: Callable[[Mapping[str, Any]], None] | None = None,
) -> int:
    """Traces and has `show` present it; returns the exit code.

    `kinds`: the module of the records; `observer`: the one that knows when all is settled, and the counts.

    `show(records, counts, begin_ns, output)`: `counts()` is known once the records are exhausted.
    `prepare(trace)`: called when all is loaded, before anything is traced.
    `kept`: what a saved session is to tell beside the records.
    `columnar`: there may be millions of them. `listed`: the kinds that `show` looks at one by one; None: all.
    `taken`: then called with each batch of columns, before `show` gets its records.
    """
    from kintro.cli.saving import Saver
    from kintro.sources.command import Command
    from kintro.sources.rows import Rows, pumped, records
    from kintro.sources.trace import Trace

    output = begun.output
    output.interrupt_fd = signals.fd
    with ExitStack() as stack:
        saver = stack.enter_context(Saver()) if args.save is not None else None
        order: Any = Rows(kinds.DECODE)
        if saver is not None or columnar:
            from kintro.sources.columns import Columns

            def each(batch: Mapping[str, Any]) -> None:
                if saver is not None:
                    saver.write(batch)
                if taken is not None:
                    taken(batch)

            order = Columns(kinds.DECODE, kinds.dtypes(), each, listed)

        def ready() -> Command | None:
            """Called when all is loaded. A session takes a moment to begin, without the command."""
            if saver is not None:
                saver.open(args, begun.defines, kinds.dtypes(), kept or {})
            return Command(args.command, args.as_root) if args.command else None

        trace = stack.enter_context(Trace(begun.loading, order, observer.settled, ready, args.duration))
        command = trace.command
        if command is not None:
            signals.forward_pending(command.send, terminals=True)
        begin_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        prepare(trace)

        def end() -> None:
            if sys.stderr.isatty():  # what the terminal echoed, ^C, stands alone then
                print(file=sys.stderr)
            trace.stop()

        def told() -> None:
            """To a command that runs signals are handed on; once it has ended they are ours."""
            runs = command is not None and command.poll() is None
            signals.handle(end, command.send if command is not None and runs else None)

        trace.when_readable(signals.fd, told)
        _say_begun(args)

        def offered() -> bool:
            output.offer()
            if output.closed and command is None and saver is None:
                trace.stop()
            return output.waiting_fd is None

        def rows() -> Iterator[Any]:
            for batch in trace.rows():
                yield batch
                if not offered():
                    trace.when_writable(output.waiting_fd, offered)

        def counts() -> Mapping[str, Any] | None:
            return observer.tally(trace.account) if trace.account else None

        show(pumped(records(rows(), kinds.RECORDS), trace.drain), counts, begin_ns, output)
        if saver is not None:
            saver.close(begin_ns, counts())
        # What came meanwhile belonged to the trace; one more signal ends the wait for a slow reader.
        send = command.send if command else None
        signals.forward_pending(send)
        output.flush(lambda: signals.told_to_end(send))
        signals.forward_pending(send)
        if command is not None:
            if command.poll() is None:
                print(f"kintro: tracing has ended, the command (pid {command.pid}) goes on", file=sys.stderr)
            wait(command, signals)
        for place in (output, saver, begun.timeline):
            if place is not None and place.error is not None:
                raise place.error
        return command.exit_code if command else 0


def wait(command: Any, signals: Any) -> None:
    """Waits for a command that outlives its trace (-d), handing signals on meanwhile."""
    poll = select.poll()
    poll.register(command.pidfd, select.POLLIN)
    poll.register(signals.fd, select.POLLIN)
    while command.poll() is None:
        if any(fd == signals.fd for fd, _ in poll.poll()):
            signals.handle(lambda: None, command.send)


def _require_initial_namespace(args: argparse.Namespace) -> None:
    from kintro.sources import host

    if (args.command or args.pid is not None) and not host.in_initial_pid_namespace():
        raise KintroError(
            "this is a container with pids of its own, and the kernel's events carry the host's",
            "run kintro on the host, or trace the whole system here (no -p, no command)",
            EX_UNAVAILABLE,
        )


def _say_begun(args: argparse.Namespace) -> None:
    if not args.command and sys.stderr.isatty():
        end = f"for {args.duration:g} s" if args.duration else "until Ctrl-C"
        print(f"tracing {end} …", file=sys.stderr)
