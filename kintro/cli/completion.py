"""`kintro completion SHELL`: prints the shell's completion script."""

from __future__ import annotations

import argparse

HELP = "print a completion script for a shell"
DESCRIPTION = (
    "Prints a script that makes a shell complete kintro's verbs and options. script/install installs it."
)
EPILOG = """examples:
  eval "$(kintro completion bash)"    for this shell"""


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"))


def _verbs(whole: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    [verbs] = [action for action in whole._actions if isinstance(action, argparse._SubParsersAction)]
    return list(verbs.choices.values())


def run(args: argparse.Namespace) -> int:
    import shtab

    from kintro.cli import parser, report

    whole = parser()
    for part in (whole, *_verbs(whole)):
        for action in part._actions:
            if action.metavar in ("FILE", "DIR", "PATH"):
                action.complete = shtab.FILE if action.metavar == "FILE" else shtab.DIRECTORY  # type: ignore[attr-defined]
            if action.metavar == "CONCEPT|ID":
                action.choices = report.names()
    print(shtab.complete(whole, args.shell))
    return 0
