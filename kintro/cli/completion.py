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


def run(args: argparse.Namespace) -> int:
    import shtab

    from kintro.cli import parser

    print(shtab.complete(parser(), args.shell))
    return 0
