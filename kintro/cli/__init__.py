"""The command line: one module for each verb, one boundary for errors."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Sequence

from kintro import __version__
from kintro.errors import EX_IOERR, EX_SOFTWARE, EX_USAGE, KintroError

# Each is kintro/cli/<verb with _>.py.
VERBS = (
    "trace-fork", "syscalls", "trace-syscalls", "ctxswitch", "maps", "task", "tree", "ancestry", "pids",
    "ipc", "trace-ipc", "cost", "lab", "report", "replay", "doctor", "completion",
)  # fmt: skip


class _HelpFormat(argparse.HelpFormatter):
    """Fills a description to the width there is, and leaves examples as they are."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("examples:") else super()._fill_text(text, width, indent)


def parser(verbs: Sequence[str] = VERBS) -> argparse.ArgumentParser:
    """The command line with some verbs, or all; each verb's module adds its own part."""
    top = argparse.ArgumentParser(
        prog="kintro",
        description="See what the Linux kernel does with processes, on this very kernel.",
        epilog="examples:\n"
        "  sudo kintro trace-fork -- make      every process that a command starts\n"
        "  sudo kintro trace-fork --tree -d 5  all that lived in the next five seconds, as a tree\n"
        "  sudo kintro syscalls -- ls          the system calls of a command, how long and how they fail\n"
        "  kintro doctor                       what works on this machine, and what to do where not\n"
        "\n`kintro VERB --help` tells more.",
        formatter_class=_HelpFormat,
    )
    top.add_argument("--version", action="version", version=f"kintro {__version__}")
    parts = top.add_subparsers(title="verbs", prog="kintro", dest="verb", metavar="VERB", required=True)
    for verb in verbs:
        module = importlib.import_module(f"kintro.cli.{verb.replace('-', '_')}")
        part = parts.add_parser(
            verb,
            help=module.HELP,
            description=module.DESCRIPTION,
            epilog=module.EPILOG,
            formatter_class=_HelpFormat,
        )
        module.prepare_parser(part)
        part.set_defaults(run=module.run, parser=part)
    return top


def _open_standard_streams() -> None:
    """Whatever of them is closed (`>&-`) goes to /dev/null: else the next file opened takes its place."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != fd:
                os.dup2(opened, fd)
                os.close(opened)
            setattr(sys, name, os.fdopen(fd, "r" if fd == 0 else "w"))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code. No traceback reaches a user."""
    _open_standard_streams()
    try:
        try:
            given = sys.argv[1:] if argv is None else argv
            verbs = given[:1] if given[:1] and given[0] in VERBS else VERBS  # only what is asked for: quicker
            if not given:
                parser().print_help(sys.stderr)
                return EX_USAGE
            args, unknown = parser(verbs).parse_known_args(given)
            if unknown:
                args.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
            behind = len(given) - given.index("--") - 1 if "--" in given else None
            args.behind_dashes = behind  # how many words
            return int(args.run(args))
        finally:
            sys.stdout.flush()
    except KintroError as error:
        return _told(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _drop_output()
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            return _bug(error)
        _drop_output()
        return _told(KintroError(f"cannot write standard output: {error.strerror}", None, EX_IOERR))
    except Exception as error:
        return _bug(error)


def _told(error: KintroError) -> int:
    print(f"kintro: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"    {error.hint}", file=sys.stderr)
    return error.exit_code


def _bug(error: Exception) -> int:
    if os.environ.get("KINTRO_TRACEBACK"):
        import traceback

        traceback.print_exception(error)
    return _told(
        KintroError(
            f"a bug in kintro: {type(error).__name__}: {error}",
            "please report it with what KINTRO_TRACEBACK=1 shows",
            EX_SOFTWARE,
        )
    )


def _drop_output() -> None:
    """What is still buffered goes nowhere; else the interpreter complains when it flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
