"""`kintro doctor`: what works on this machine."""

from __future__ import annotations

import argparse

HELP = "see what works on this machine, and what to do where not"
DESCRIPTION = HELP
EPILOG = ""


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    return 0
