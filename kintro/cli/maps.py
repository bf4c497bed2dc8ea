"""`kintro maps`: where everything in a process's address space lies, and what of it is in memory."""

from __future__ import annotations

import argparse
import os

from kintro.cli import tracing
from kintro.cli.signals import Signals
from kintro.errors import EX_NOINPUT, EX_USAGE, KintroError

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


# The observer's, written here again, so that --help loads nothing: a test holds them to be the same.
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
        "-d",
        "--duration",
        type=tracing.seconds,
        metavar="S",
        help="look at COMMAND after S seconds; --watch: for so long",
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
    parser.add_argument("-i", "--interval", type=tracing.seconds, metavar="S", help="of --watch (default: 1)")
    tracing.add_output_options(parser, "one JSON document; with --watch JSON Lines")


def run(args: argparse.Namespace) -> int:
    if not args.words:
        raise KintroError("whose address space?", "give a pid, a name, or -- COMMAND", EX_USAGE)
    _require_sense(args)
    with Signals() as signals:
        if args.behind_dashes is not None:
            return _of_command(args, signals)
        _of_process(args, signals, find(args.words[0]))
    return 0


def _require_sense(args: argparse.Namespace) -> None:
    """KintroError (2) for options that do not go together."""
    views = [f"--{name}" for name in ("frame", "diff", "watch", "picture", "html") if getattr(args, name)]
    views += ["--physical"] if args.physical and args.by else []
    picks = [f"--{name}" for name in ("kind", "by") if getattr(args, name)]
    picks += ["--sort"] if args.sort != "address" else []
    if views and picks:
        raise KintroError(f"{picks[0]} is for the table of mappings, not for {views[0]}", None, EX_USAGE)
    command = args.behind_dashes is not None
    wrong = {
        "one process at a time: a command stands behind --": not command and len(args.words) > 1,
        "give a process or a command, not both": command and len(args.words) != args.behind_dashes,
        "--watch makes no page": args.watch and args.html is not None,
        "--html is a view of its own, and of --diff": args.html is not None
        and (args.physical or args.frame or args.picture or args.json),
        "--picture is for people, not for --json": args.picture and args.json,
        "-d is for a command, and for --watch": args.duration is not None and not (command or args.watch),
        "-i is for --watch": args.interval is not None and not args.watch,
        "--as-root is for a command": args.as_root and not command,
    }
    tracing.refuse(wrong)


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


def _of_command(args: argparse.Namespace, signals: Signals) -> int:
    from kintro.sources.command import Command
    from kintro.sources.exit_stop import ExitStop

    with Command(args.words, args.as_root) as command:
        signals.forward_pending(command.send, terminals=True)
        if args.watch:
            command.start()
            _of_process(args, signals, command.pid)
        else:
            with ExitStop(command) as stop:
                there = stop.run(args.duration, lambda: signals.forward_pending(command.send))
                if not there and command.status is not None:
                    message = "the command was killed before it could be looked at"
                    raise KintroError(message, "see -d", command.exit_code)
                _of_process(args, signals, command.pid)
        tracing.wait(command, signals)
        return command.exit_code


def _of_process(args: argparse.Namespace, signals: Signals, pid: int) -> None:
    from kintro.cli import maps_views as views
    from kintro.cli.output import Output
    from kintro.observers.memory_space import read_space

    space = read_space(pid, kernel_symbols=args.frame or args.picture or args.html is not None)
    other = read_space(find(args.diff)) if args.diff is not None else None
    if args.html is not None:
        views.page(args.html, space, other)
        return
    output = Output(args.output)  # not before there is something to write: an old file stays as it is
    if args.watch:
        views.watch(args, signals, pid, output)
    elif other is not None:
        views.diff(args, space, other, output)
    elif args.physical:
        views.physical(args, space, output)
    else:
        views.space(args, space, output)
    output.flush()
    if output.error is not None:
        raise output.error
