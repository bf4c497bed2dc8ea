"""`kintro ancestry PID`: a process and its ancestors up to the root; with a session also ended ones."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from typing import Any

from kintro.cli import tracing
from kintro.errors import EX_NOINPUT, KintroError

HELP = "see a process's ancestors up to the root, with a session also those that have ended"
DESCRIPTION = """Shows the parent of a process, its parent, and so on up to the root, with start time, user,
process group, session, namespaces and command line. /proc only knows the parent that a process has now. With
a session that trace-fork kept, the chain leads through ancestors that have ended, and tells who took whose
children. Needs no root."""
EPILOG = """examples:
  kintro ancestry $$                     this shell's ancestors
  sudo kintro trace-fork -q --save /tmp/s1    keep what happens, until Ctrl-C
  kintro ancestry 1234 --traced /tmp/s1  where 1234 came from, also through what has ended
  kintro ancestry 1234 --json            one JSON document"""


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pid", metavar="PID", type=tracing.pid, help="the process; with --traced an ended one, too"
    )
    parser.add_argument("--traced", metavar="DIR", help="a session of trace-fork --save")
    tracing.add_output_options(parser, "one JSON document")


def run(args: argparse.Namespace) -> int:
    from kintro.cli.output import Output
    from kintro.observers import ancestry
    from kintro.observers import ancestry_text as text
    from kintro.renderers import jsonl, terminal
    from kintro.sources.ancestors import missing, read_chain, read_namespaces

    begin: Mapping[str, int] = {}
    if args.traced is None:
        chain = read_chain(args.pid)
        processes: Mapping[int, Any] = {process.pid: process for process in chain}
        known: Mapping[Any, Any] = {}
    else:
        known, begin, processes = _session(args.traced)
    clocks = time.clock_gettime_ns(time.CLOCK_MONOTONIC), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    found = ancestry.climb(args.pid, ancestry.Alive(processes, clocks[1] - clocks[0]), known)
    if found is None and args.traced is None:
        raise missing(args.pid)
    if found is None:
        raise KintroError(f"no process {args.pid}, neither now nor in {args.traced}", None, EX_NOINPUT)
    looked_at = (a._replace(namespaces=read_namespaces(a.pid)) if a.process else a for a in found.ancestors)
    found = found._replace(ancestors=tuple(looked_at))
    real_ns = time.time_ns()

    def realtime_ns(ancestor: Any) -> int:
        if ancestor.process is not None:
            return real_ns - clocks[1] + ancestor.process.start_time_ns
        return begin["begin_realtime_ns"] - begin["begin_ns"] + ancestor.life.start_time_ns

    output = Output(args.output)
    if args.json:
        output.line(jsonl.line(text.as_json(found)))
    else:
        for line in terminal.tree(text.tree(found, realtime_ns), output.width, output.colour):
            output.line(line)
        for note in text.notes(found, args.traced is not None):
            output.remark(note)
    output.flush()
    if output.error is not None:
        raise output.error
    return 0


def _session(path: str) -> tuple[Mapping[Any, Any], Mapping[str, int], Mapping[int, Any]]:
    """What a session tells, when it began by two clocks, and the processes that can be those it tells of."""
    from kintro.observers import ancestry, lifecycle, lifecycle_records
    from kintro.sources import host
    from kintro.sources.processes import read_snapshot
    from kintro.sources.session import read_records, read_session

    session = read_session(path)
    if session.info.get("verb") != "trace-fork":
        raise KintroError(f"{path} is no session of trace-fork", "see its --save", EX_NOINPUT)
    told = {name: session.info.get(name) for name in ("begin_ns", "begin_realtime_ns")}
    begin = {name: value for name, value in told.items() if isinstance(value, int)}
    if len(begin) < 2:
        raise KintroError(f"{path} is damaged: session.json", None, EX_NOINPUT)
    lost = None if session.cut else (session.info.get("counts") or {}).get("lost")
    if lost != 0:
        print(f"kintro: {path} is not whole: ancestors may be missing", file=sys.stderr)
    records = read_records(session, lifecycle_records.RECORDS, lifecycle_records.dtypes())
    known = ancestry.lives(lifecycle.Adoptions().events(records))
    stranger = None
    if host.boot_id() is None or session.info.get("boot_id") != host.boot_id():
        stranger = "it is of another boot or machine"
    elif not host.in_initial_pid_namespace():
        stranger = "it has the host's pids, and this is a container with its own"
    if stranger is not None:
        print(f"kintro: {path} alone is told of, not who lives here: {stranger}", file=sys.stderr)
        return known, begin, {}
    return known, begin, read_snapshot().processes
