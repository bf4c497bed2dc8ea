"""`kintro maps`: where everything in a process's address space lies, and what of it is in memory."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kintro.cli import tracing
from kintro.cli.signals import Signals
from kintro.errors import EX_NOINPUT, EX_USAGE, KintroError

if TYPE_CHECKING:
    from kintro.cli.output import Output
    from kintro.observers.memory_records import AddressSpace, Region

HELP = "see a process's address space: what lies where, and what of it is in memory"
DESCRIPTION = """Shows every mapping of a process with what it is, found out and not guessed, and how much of
it is in memory. A command is held right before it ends, with all its memory in place (or looked at after -d
seconds). Compares two processes page by page, watches one grow, draws it to scale."""
EPILOG = """examples:
  kintro maps 1234                       every mapping of a process
  kintro maps bash --by kind             sums by kind, most in memory first
  sudo kintro maps 1234 --sort rss       what takes the memory
  kintro maps -- python3 -c 'import json'    a command, right before it ends
  sudo kintro maps 1234 --physical       page frames: shared with how many, huge, zero
  sudo kintro maps 1234 --diff 1235      what two processes share, page by page
  sudo kintro maps 1234 --watch -i 2     what appears, grows and goes, and the page faults
  kintro maps 1234 --html space.html     a picture to scale, to zoom into"""

KINDS = (
    "text", "rodata", "data", "bss", "heap", "stack", "thread-stack", "anon", "file", "shared", "memfd",
    "shm", "vdso", "vvar", "vsyscall", "gap",
)  # fmt: skip
SORTS = ("address", "size", "rss", "pss", "dirty", "swap")


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="PID, NAME or -- COMMAND", help="the process: by its pid or its name"
    )
    parser.add_argument("--as-root", action="store_true", help="run COMMAND as root, not as the calling user")
    parser.add_argument(
        "-d", "--duration", type=tracing.seconds, metavar="S", help="look at COMMAND after that many seconds"
    )
    which = parser.add_argument_group("which mappings")
    which.add_argument("--kind", action="append", choices=KINDS, help="only this kind; may be repeated")
    which.add_argument("--sort", choices=SORTS, default="address", help="by what (default: %(default)s)")
    which.add_argument("--by", choices=("object", "kind"), help="in groups with their sums")
    views = parser.add_argument_group("other views").add_mutually_exclusive_group()
    views.add_argument("--frame", action="store_true", help="how far user space reaches; the kernel's half")
    views.add_argument("--physical", action="store_true", help="the page frames behind each mapping (root)")
    views.add_argument("--diff", metavar="B", help="what it shares with process B, page by page (root)")
    views.add_argument("--watch", action="store_true", help="what changes, and the page faults (root)")
    views.add_argument("--picture", action="store_true", help="a drawing for the terminal")
    parser.add_argument("--html", metavar="FILE", help="a page for a browser, also of --diff")
    parser.add_argument(
        "-i", "--interval", type=tracing.seconds, default=1.0, metavar="S", help="of --watch (default: 1)"
    )
    tracing.add_output_options(parser, "one JSON document; with --watch JSON Lines")


def run(args: argparse.Namespace) -> int:
    from kintro.cli.output import Output

    if not args.words:
        raise KintroError("whose address space?", "give a pid, a name, or -- COMMAND", EX_USAGE)
    _require_sense(args)
    with Signals() as signals:
        output = Output(args.output)
        if args.dashes:
            code = _of_command(args, signals, output)
        elif len(args.words) > 1:
            raise KintroError("one process at a time", "a command stands behind --", EX_USAGE)
        else:
            code = 0
            _of_process(args, signals, find(args.words[0]), output)
        output.flush()
    if output.error is not None:
        raise output.error
    return code


def _require_sense(args: argparse.Namespace) -> None:
    """KintroError (2) for options that do not go together."""
    views = [f"--{name}" for name in ("frame", "diff", "watch", "picture", "html") if getattr(args, name)]
    views += ["--physical"] if args.physical and args.by else []
    picks = [f"--{name}" for name in ("kind", "by") if getattr(args, name)]
    picks += ["--sort"] if args.sort != "address" else []
    if views and picks:
        raise KintroError(f"{picks[0]} is for the table of mappings, not for {views[0]}", None, EX_USAGE)
    if args.watch and args.html is not None:
        raise KintroError("--watch makes no page", None, EX_USAGE)


def find(word: str) -> int:
    """The pid that a word names. KintroError (66) if there is none, or several."""
    if word.isascii() and word.isdigit():
        return int(word)
    import psutil

    found = []
    for process in psutil.process_iter(["pid", "name"]):
        name = process.info["name"]  # whole, where the kernel keeps 15 bytes of it
        if word in (name, name[:15]) and process.info["pid"] != os.getpid():
            found.append(process.info["pid"])
    if len(found) == 1:
        return int(found[0])
    if not found:
        raise KintroError(f"no process is named {word!r}", "see `ps -e` for those there are", EX_NOINPUT)
    some = ", ".join(map(str, sorted(found)[:8])) + (", …" if len(found) > 8 else "")
    message = f"{len(found)} processes are named {word!r}: {some}"
    raise KintroError(message, "give one of these pids", EX_NOINPUT)


def _of_command(args: argparse.Namespace, signals: Signals, output: Output) -> int:
    from kintro.sources.command import Command
    from kintro.sources.exit_stop import ExitStop

    if args.watch:
        with Command(args.words, args.as_root) as command:
            signals.forward_pending(command.send, terminals=True)
            _watch(args, signals, command.pid, output, command.start)
            tracing.wait(command, signals)
            return command.exit_code
    with Command(args.words, args.as_root) as command:
        signals.forward_pending(command.send, terminals=True)
        with ExitStop(command) as stop:
            there = stop.run(args.duration, lambda: signals.forward_pending(command.send))
            if not there and command.status is not None:
                raise KintroError(
                    "the command was killed before it could be looked at", "see -d", command.exit_code
                )
            _of_process(args, signals, command.pid, output)
        output.flush()
        tracing.wait(command, signals)
        return command.exit_code


def _of_process(args: argparse.Namespace, signals: Signals, pid: int, output: Output) -> None:
    from kintro.observers.memory_space import read_space

    if args.watch:
        _watch(args, signals, pid, output)
        return
    space = read_space(pid, kernel_symbols=args.frame or args.picture or args.html is not None)
    if args.diff is not None:
        _diff(args, space, read_space(find(args.diff)), output)
    elif args.html is not None:
        from kintro.observers.memory_layout import layout

        _page(args.html, layout(space))
    elif args.physical:
        _physical(args, space, output)
    else:
        _space(args, space, output)


def _space(args: argparse.Namespace, space: AddressSpace, output: Output) -> None:
    from kintro.observers import memory, memory_text
    from kintro.renderers import jsonl, terminal

    regions = _picked(args, space)
    if args.json:
        document = memory.as_json(space, regions)
        if args.by:
            document["groups"] = [
                {"name": group.name, **group.sums._asdict()} for group in memory.groups(regions, args.by)
            ]
        if not args.frame:
            del document["address_space"]["kernel"]
        output.line(jsonl.line(document))
        return
    if args.picture:
        from kintro.observers.memory_layout import layout
        from kintro.renderers.picture import picture

        for line in picture(layout(space), output.width or 80, output.colour):
            output.line(line)
        return
    output.line(terminal.styled(memory_text.heading(space), "title", output.colour))
    if args.frame:
        _lines(memory_text.FRAME_COLUMNS, memory_text.frame_rows(space.frame), output)
        return
    if args.by:
        shape = memory_text.tree(memory.groups(regions, args.by), args.by)
        for line in terminal.tree(shape, output.width, output.colour):
            output.line(line)
    else:
        columns = memory_text.columns(regions, output.width is None or output.width >= 110)
        _lines(columns, (memory_text.row(region, columns) for region in regions), output)
    output.line(terminal.styled(memory_text.totals(space), "title", output.colour))


def _picked(args: argparse.Namespace, space: AddressSpace) -> list[Region]:
    from kintro.observers.memory import SORTS

    regions = [region for region in space.regions if not args.kind or region.kind in args.kind]
    return sorted(regions, key=SORTS[args.sort])


def _lines(columns: Any, rows: Any, output: Output) -> None:
    from kintro.renderers import terminal

    output.line(terminal.heading(columns, output.width, output.colour))
    for row in rows:
        output.line(terminal.line(columns, row, output.width, output.colour))


def _physical(args: argparse.Namespace, space: AddressSpace, output: Output) -> None:
    from kintro.observers import frames_text, memory
    from kintro.observers.memory_physical import physical
    from kintro.renderers import jsonl, terminal

    regions = _picked(args, space)
    found = physical(space.pid, regions)
    if args.json:
        document = memory.as_json(space, regions)
        del document["address_space"]["kernel"]
        for entry, item in zip(document["mappings"], found, strict=True):
            entry["physical"] = frames_text.physical_json(item)
        output.line(jsonl.line(document))
        return
    rows = (frames_text.physical_row(item, region) for item, region in zip(found, regions, strict=True))
    _lines(frames_text.PHYSICAL_COLUMNS, rows, output)
    output.line(terminal.styled(frames_text.physical_summary(found), "title", output.colour))


def _diff(args: argparse.Namespace, a: AddressSpace, b: AddressSpace, output: Output) -> None:
    from kintro.observers import frames_text
    from kintro.observers.memory_diff import diff, diff_json
    from kintro.renderers import jsonl, terminal

    found = diff(a.pid, a.regions, b.pid, b.regions)
    if args.html is not None:
        from kintro.observers.memory_layout import diff_layout

        _page(args.html, diff_layout(a, b, found))
    elif args.json:
        output.line(jsonl.line(diff_json(found)))
    else:
        columns = frames_text.diff_columns(found)
        _lines(columns, frames_text.diff_rows(found, (*b.regions, *a.regions)), output)
        output.line(terminal.styled(frames_text.diff_summary(found), "title", output.colour))


def _page(path: str, layout: Any) -> None:
    from kintro.cli.output import Output
    from kintro.renderers.html import address_space

    page = Output(path)
    page.line(address_space(layout))
    page.flush()
    if page.error is not None:
        raise page.error


def _watch(
    args: argparse.Namespace,
    signals: Signals,
    pid: int,
    output: Output,
    start: Callable[[], None] | None = None,
) -> None:
    import time

    from kintro.observers import watch, watch_text
    from kintro.renderers import jsonl
    from kintro.sources.mappings import Mapping, read_maps

    def read(of: int) -> list[Mapping]:
        try:
            return read_maps(of)
        except KintroError:  # it has ended
            return []

    with watch.watch(pid, read, args.interval) as running:
        running.when_readable(signals.fd, lambda: signals.handle(running.stop, None))
        if start is not None:
            start()
        begin_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        if not args.json:
            _lines(watch_text.COLUMNS, (), output)
        for interval in running:
            if args.json:
                for item in watch_text.json_objects(interval):
                    output.line(jsonl.line(item))
            else:
                from kintro.renderers import terminal

                for row in watch_text.rows(interval, begin_ns):
                    output.line(terminal.line(watch_text.COLUMNS, row, output.width, output.colour))
            output.offer()
            if output.closed:
                break
        if args.json:
            output.line(jsonl.line(watch_text.summary_json(running)))
        else:
            output.line(watch_text.summary_line(running))
