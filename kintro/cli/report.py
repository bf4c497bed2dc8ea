"""`kintro report`: what a textbook claims about processes, put to the test on this kernel."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from kintro import __version__
from kintro.cli import tracing
from kintro.cli.signals import Signals
from kintro.concepts import words
from kintro.errors import EX_NOINPUT, EX_SOFTWARE, EX_UNAVAILABLE, KintroError

if TYPE_CHECKING:
    from kintro.cli.output import Output
    from kintro.concepts.report import Circumstances
    from kintro.concepts.runner import Result
    from kintro.shapes import Report

HELP = "put to the test what a textbook claims about processes, on this kernel"
DESCRIPTION = """Tries out what textbooks claim about processes, claim by claim, with real processes on the
running kernel, and tells what was done, what was seen, and whether the claim holds. Without names all claims;
else those of the concepts and with the ids that are named. Takes root for most of them. Ctrl-C ends it with
what is there by then."""
EPILOG = """examples:
  sudo kintro report                     all claims, in sentences
  sudo kintro report fork C3             those about fork, and one about the context switch
  sudo kintro report --html report.html  a page to read, with pictures and all numbers
  sudo kintro report --lang zh --markdown report.md
  sudo kintro report --on 1234           what of it can be seen on a running process
  sudo kintro report --json | jq '.claims[] | {id, verdict}'"""

WIDTH = 80  # where there is no terminal
BAR = 30  # cells of the progress bar
# Reasons for which nothing was observed that are failures, and not merely a lack of rights or of a situation.
FAILURES = {"failed": EX_UNAVAILABLE, "deadline": EX_UNAVAILABLE, "died": EX_SOFTWARE, "bug": EX_SOFTWARE}


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names", nargs="*", type=_name, metavar="CONCEPT|ID",
        help=f"what to try: {', '.join(words.CONCEPTS)}; or claims by their ids, such as F2",
    )  # fmt: skip
    parser.add_argument("--on", type=tracing.pid, metavar="PID", help="look at this process, disturb nothing")
    parser.add_argument("--lang", choices=words.LANGUAGES, help="the language (default: the locale's)")
    parser.add_argument("--html", metavar="FILE", help="a page for a browser, with pictures and all numbers")
    parser.add_argument("--markdown", metavar="FILE", help="the same as Markdown")
    tracing.add_output_options(parser, "one JSON document")


def names() -> tuple[str, ...]:
    """What can be named: concepts, and ids of claims."""
    return (*words.CONCEPTS, *words.claims())


def _name(text: str) -> str:
    """Capital letters or small ones: no two names differ by that only."""
    found = [name for name in names() if name.casefold() == text.casefold()]
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(names())}")
    return found[0]


def language(environment: Mapping[str, str]) -> str:
    """That of the locale (locale(7)), as far as there are words in it; else English."""
    found = (environment.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    code = next(filter(None, found), "")[:2]
    return code if code in words.LANGUAGES else "en"


def run(args: argparse.Namespace) -> int:
    files = args.html is not None or args.markdown is not None
    written = [os.path.realpath(path) if path != "-" else path for _, path in _files(args)]
    tracing.refuse(
        {
            "-o is for the text or for --json": args.output is not None and files and not args.json,
            "each of --html, --markdown and --json needs a file of its own": len(set(written)) < len(written),
        }
    )
    spoken = args.lang or language(os.environ)
    around = _around(args.on)
    results: list[Result] = []
    outputs = _outputs(args) if args.json or files else {}
    with Signals() as signals:
        from kintro.concepts import report, runner

        wanted = len(runner.experiments(args.names))
        found = _with_progress(runner.run_all(args.names, args.on, _Ended(signals)), wanted)
        if args.json or files:
            results += found
            _write(outputs, results, report.report(results, wanted, around, spoken), around, spoken)
        else:
            _print(args, found, results, wanted, around, spoken)
    failures = FAILURES if args.on is None else FAILURES | {"ended": EX_NOINPUT}
    return max((failures.get(result.finding.reason, 0) for result in results), default=0)


class _Ended:
    """Whether somebody told kintro to end, since it began."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._ended = False

    def __call__(self) -> bool:
        self._ended = self._signals.told_to_end(None) or self._ended
        return self._ended


def _around(pid: int | None) -> Circumstances:
    """KintroError (66) if there is no such process."""
    import datetime

    from kintro.concepts.report import Circumstances
    from kintro.sources import cpu, host

    system = os.uname()
    comm = "" if pid is None else host.read_text(f"proc/{pid}/comm")
    if comm is None:
        raise KintroError(f"no process {pid}", None, EX_NOINPUT)
    return Circumstances(
        kernel=f"{system.sysname} {system.release}",
        host=system.nodename,
        machine=system.machine,
        cpu=cpu.model(),
        cpus=os.cpu_count() or 1,
        taken_at=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        version=__version__,
        pid=pid,
        comm=comm,
    )


def _with_progress(found: Iterator[Result], wanted: int) -> Iterator[Result]:
    """The same, with a bar on standard error while it goes on, if that is a terminal."""
    if not sys.stderr.isatty():
        yield from found
        return
    for number in range(wanted + 1):
        filled = BAR * number // wanted
        bar = f"\r[{'#' * filled}{'.' * (BAR - filled)}] {number}/{wanted}"
        print(bar, end="", file=sys.stderr, flush=True)
        result = next(found, None)
        # Taken away before anything else is written, which may be to the same terminal.
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        if result is None:
            return
        yield result


def _files(args: argparse.Namespace) -> list[tuple[str, str]]:
    """What is written at the end, and where: `-` is standard output."""
    wanted = (
        ("html", args.html),
        ("markdown", args.markdown),
        ("json", (args.output or "-") if args.json else None),
    )
    return [(kind, path) for kind, path in wanted if path is not None]


def _outputs(args: argparse.Namespace) -> dict[str, Output]:
    """Opened before anything is tried, which takes long, and not emptied before the end. KintroError (74)."""
    from kintro.cli.output import Output

    return {kind: Output(path, keeping=True) for kind, path in _files(args)}


def _write(
    outputs: Mapping[str, Output], results: list[Result], whole: Report, around: Circumstances, spoken: str
) -> None:
    from kintro.concepts import report
    from kintro.renderers import html, jsonl, markdown

    made = {
        "html": lambda: html.report(whole),
        "markdown": lambda: markdown.report(whole),
        "json": lambda: jsonl.line(report.as_json(results, around, spoken)),
    }
    for kind, output in outputs.items():
        output.line(made[kind]().rstrip("\n"))
        output.flush()
        if output.error is not None:
            raise output.error


def _print(
    args: argparse.Namespace, found: Iterator[Result], results: list[Result], wanted: int,
    around: Circumstances, spoken: str,
) -> None:  # fmt: skip
    """Claim by claim as they are tried, so that there is something to read meanwhile."""
    from kintro.cli.output import Output
    from kintro.concepts import report
    from kintro.renderers import report_text

    output = Output(args.output)
    width, colour = output.width or WIDTH, output.colour
    own, concept = report.spoken(spoken), ""

    def tell(lines: Iterator[str]) -> None:
        for line in lines:
            output.line(line)
        output.offer()

    tell(report_text.heading(report.report((), wanted, around, spoken), width, colour))
    for result in found:
        if output.closed:  # nobody reads it any more
            break
        results.append(result)
        if result.claim.concept != concept:
            concept = result.claim.concept
            tell(report_text.chapter_heading(report.title(concept, spoken), colour))
        tell(report_text.account(report.account(result, spoken, around.pid), own, width, colour))
    tell(report_text.verdicts(report.report(results, wanted, around, spoken), width, colour))
    output.flush()
    if output.error is not None:
        raise output.error
