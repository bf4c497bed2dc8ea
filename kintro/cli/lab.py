"""`kintro lab`: labs with a prediction, an observation and a check against what the kernel did."""

from __future__ import annotations

import argparse
import io
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from kintro.cli import tracing
from kintro.cli.report import language
from kintro.concepts.words import LANGUAGES
from kintro.errors import EX_NOINPUT, EX_UNAVAILABLE, KintroError
from kintro.labs.catalogue import NAMES, beginning

if TYPE_CHECKING:
    from kintro.cli.output import Output
    from kintro.labs.session import Session

HELP = "learn by labs: predict, observe, and be checked against what the kernel did"
DESCRIPTION = """Labs for students of operating systems. start asks for a prediction, makes a situation with
real processes, and names the commands to observe it with in a second terminal; meanwhile kintro records what
the kernel does. check grades the observations against that, and explains. Numbers are drawn anew each time.
sheet tells all as Markdown or HTML to hand in. verify, for teachers, plays labs through on this machine."""
EPILOG = """examples:
  kintro lab list                        which labs there are, and what is done
  kintro lab start zombie                do a lab
  sudo kintro lab start fork-and-frames  most need root
  kintro lab check zombie                answer what is open; marks and explanation
  kintro lab sheet -o labs.md            to hand in, as Markdown
  kintro lab sheet --html labs.html      and for a browser
  sudo kintro lab verify                 for teachers: whether all labs work here"""

ACTIONS = ("list", "start", "check", "sheet", "verify")
WIDTH = 80  # where there is no terminal


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=ACTIONS, help="what to do")
    parser.add_argument("lab", nargs="?", choices=NAMES, metavar="NAME", help=f"which: {', '.join(NAMES)}")
    parser.add_argument(
        "--answers", metavar="FILE", help="answers as JSON, not asked for: with start and check"
    )
    parser.add_argument("--lang", choices=LANGUAGES, help="the language (default: the locale's)")
    parser.add_argument("--html", metavar="FILE", help="with sheet: a page for a browser")
    tracing.add_output_options(parser, "one JSON document: with list, check and verify")


def run(args: argparse.Namespace) -> int:
    action = args.action
    tracing.refuse(
        {
            f"{action} which lab? {', '.join(NAMES)}": action in ("start", "check") and args.lab is None,
            "list is of all labs": action == "list" and args.lab is not None,
            "--answers is for start and check": args.answers is not None and action not in ("start", "check"),
            "--html is for sheet": args.html is not None and action != "sheet",
            "-o is not for start, which talks with you": action == "start" and args.output is not None,
            "-o is not for --html, which names its own file": None not in (args.html, args.output),
            "--json is for list, check and verify": args.json and action not in ("list", "check", "verify"),
        }
    )
    actions = {"list": _list, "start": _start, "check": _check, "sheet": _sheet, "verify": _verify}
    return actions[action](args, args.lang or language(os.environ))


def _list(args: argparse.Namespace, spoken: str) -> int:
    from kintro.cli.output import Output, as_calling_user
    from kintro.labs import lab_text, state
    from kintro.renderers import jsonl, terminal

    path = state.file_of(os.environ)
    with as_calling_user():
        kept = state.read(path)
    entries = lab_text.entries(kept)
    output = Output(args.output)
    if args.json:
        output.line(jsonl.line(lab_text.list_json(entries, spoken)))
    else:
        columns = lab_text.columns(spoken)
        rows = [lab_text.row(entry, spoken) for entry in entries]
        for line in terminal.lines(columns, rows, output.width, output.colour):
            output.line(line)
    return _flushed(output)


def _start(args: argparse.Namespace, spoken: str) -> int:
    from kintro.cli.lab_dialogue import Dialogue
    from kintro.cli.output import Output

    _end_when_told()
    output = Output()
    answers = _answers(args.answers) if args.answers is not None else None
    dialogue = Dialogue(output, spoken, answers, _student())
    try:
        session = dialogue.play(args.lab)
    except KeyboardInterrupt:
        dialogue.left(args.lab)
        raise
    if dialogue.missing(session):
        dialogue.say(dialogue.own["open"].format(lab=args.lab))
    else:
        _tell(output, session, spoken)
    return _flushed(output)


def _check(args: argparse.Namespace, spoken: str) -> int:
    from kintro.cli.lab_dialogue import Dialogue
    from kintro.cli.output import Output, as_calling_user
    from kintro.labs import lab_text, session, state, words
    from kintro.renderers import jsonl

    path = state.file_of(os.environ)
    with as_calling_user():
        kept = state.last(state.read(path), args.lab)
    if kept is None:
        hint = f"begin with: {beginning(args.lab)}"
        raise KintroError(f"the lab {args.lab} has not been done yet", hint, EX_NOINPUT)
    if not kept.whole or not session.fits(words.of_lab(args.lab), kept.session):
        hint = f"do it again: {beginning(args.lab)}"
        raise KintroError(f"the session of {args.lab} is not as kintro wrote it", hint, EX_NOINPUT)
    output = Output(args.output)
    answers = _answers(args.answers) if args.answers is not None else None
    done = Dialogue(output, spoken, answers, _student(), quiet=args.json).finish(kept.session)
    if session.missing(words.of_lab(args.lab), done):
        raise KintroError(
            f"answers of the lab {args.lab} are missing", "what was answered is kept", EX_NOINPUT
        )
    if args.json:
        output.line(jsonl.line(lab_text.check_json(done, spoken)))
    else:
        _tell(output, done, spoken)
    return _flushed(output)


def _tell(output: Output, session: Session, spoken: str) -> None:
    from kintro.labs import lab_text

    for line in lab_text.check(session, spoken, output.width or WIDTH, output.colour):
        output.line(line)


def _sheet(args: argparse.Namespace, spoken: str) -> int:
    from kintro.cli.output import Output, as_calling_user
    from kintro.labs import sheet, state

    path = state.file_of(os.environ)
    with as_calling_user():
        kept = state.read(path)
    made = sheet.sheet([args.lab] if args.lab else NAMES, kept, spoken)
    output = Output(args.html or args.output)
    if args.html is not None:
        from kintro.renderers import html

        output.line(html.sheet(made).rstrip("\n"))
    else:
        from kintro.renderers import sheet_markdown

        output.line(sheet_markdown.markdown(made).rstrip("\n"))
    return _flushed(output)


def _verify(args: argparse.Namespace, spoken: str) -> int:
    from kintro.cli.output import Output
    from kintro.labs import verify
    from kintro.renderers import jsonl

    _end_when_told()
    output = Output(args.output)
    found = []
    for name in [args.lab] if args.lab else NAMES:
        result = verify.verify(name)
        found.append(result)
        if not args.json:
            output.line(f"{name:<24}{result.told}")
            output.flush()
    if args.json:
        output.line(jsonl.line({"type": "labs", "labs": [result._asdict() for result in found]}))
    _flushed(output)
    return 0 if all(result.works for result in found) else EX_UNAVAILABLE


def _end_when_told() -> None:
    """Has signals that end kintro do so as Ctrl-C does: with the lab's program."""
    import signal

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def _student() -> TextIO:
    """Who answers, whatever is typed: what is no text is no answer."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    return sys.stdin


def _flushed(output: Output) -> int:
    output.flush()
    if output.error is not None:
        raise output.error
    return 0


def _answers(path: str) -> dict[str, dict[str, Any]]:
    """What a file of answers has of predictions and observations. KintroError (66) if it is none."""
    import json

    from kintro.cli.output import as_calling_user

    try:
        with as_calling_user(), open(path, "rb") as file:
            found = json.loads(file.read(1 << 20))
    except OSError as error:
        raise KintroError(f"cannot read {path}: {error.strerror}", None, EX_NOINPUT) from error
    except (ValueError, RecursionError) as error:
        raise KintroError(f"{path} is no JSON: {error}", None, EX_NOINPUT) from error
    parts = ("predictions", "observations")
    if not isinstance(found, dict) or found.keys() - set(parts):
        raise KintroError(f"{path}: expected an object with predictions and observations", None, EX_NOINPUT)
    if not all(isinstance(found.get(part, {}), dict) for part in parts):
        raise KintroError(f"{path}: predictions and observations are objects", None, EX_NOINPUT)
    return {part: found.get(part, {}) for part in parts}
