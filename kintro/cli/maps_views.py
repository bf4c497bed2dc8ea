"""The views of `kintro maps`: an address space as a table, groups, frames, a comparison, a watch."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from kintro.cli.output import Output
from kintro.cli.signals import Signals
from kintro.errors import KintroError

if TYPE_CHECKING:
    from kintro.observers.memory_records import AddressSpace, Region


def space(args: argparse.Namespace, of: AddressSpace, output: Output) -> None:
    from kintro.observers import memory, memory_text
    from kintro.renderers import jsonl, terminal

    regions = _picked(args, of)
    if args.json:
        document = memory.as_json(of, regions)
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

        for line in picture(layout(of), output.width or 80, output.colour):
            output.line(line)
        return
    output.line(terminal.styled(memory_text.heading(of), "title", output.colour))
    if args.frame:
        _lines(memory_text.FRAME_COLUMNS, memory_text.frame_rows(of.frame), output)
        return
    if args.by:
        shape = memory_text.tree(memory.groups(regions, args.by), args.by)
        for line in terminal.tree(shape, output.width, output.colour):
            output.line(line)
    else:
        columns = memory_text.columns(regions, output.width is None or output.width >= 110)
        _lines(columns, (memory_text.row(region, columns) for region in regions), output)
    if args.kind:
        output.line(f"{len(regions)} of {len(of.regions)} mappings are of this kind; of all:")
    output.remark(memory_text.totals(of))


def _picked(args: argparse.Namespace, space: AddressSpace) -> list[Region]:
    from kintro.observers.memory import SORTS

    regions = [region for region in space.regions if not args.kind or region.kind in args.kind]
    return sorted(regions, key=SORTS[args.sort])


def _lines(columns: Any, rows: Any, output: Output) -> None:
    from kintro.renderers import terminal

    for line in terminal.lines(columns, rows, output.width, output.colour):
        output.line(line)


def physical(args: argparse.Namespace, of: AddressSpace, output: Output) -> None:
    from kintro.observers import frames_text, memory
    from kintro.observers.memory_physical import physical as frames_of
    from kintro.renderers import jsonl

    regions = _picked(args, of)
    found = frames_of(of.pid, regions)
    if args.json:
        document = memory.as_json(of, regions)
        del document["address_space"]["kernel"]
        for entry, item in zip(document["mappings"], found, strict=True):
            entry["physical"] = frames_text.physical_json(item)
        output.line(jsonl.line(document))
        return
    rows = (frames_text.physical_row(item, region) for item, region in zip(found, regions, strict=True))
    _lines(frames_text.PHYSICAL_COLUMNS, rows, output)
    output.remark(frames_text.physical_summary(found))


def diff(args: argparse.Namespace, a: AddressSpace, b: AddressSpace, output: Output) -> None:
    """What two processes share, most that differs first."""
    from kintro.observers import frames_text, memory_text
    from kintro.observers.memory_diff import diff as compared
    from kintro.observers.memory_diff import diff_json
    from kintro.renderers import jsonl, terminal

    found = compared(a.pid, a.regions, b.pid, b.regions)
    if args.json:
        output.line(jsonl.line(diff_json(found)))
        return
    for one in (a, b):
        output.line(terminal.styled(memory_text.heading(one), "title", output.colour))
    columns = frames_text.diff_columns(found)
    _lines(columns, frames_text.diff_rows(found, (*b.regions, *a.regions)), output)
    output.remark(frames_text.diff_summary(found))


def page(path: str, a: AddressSpace, b: AddressSpace | None) -> None:
    """Writes the page of one address space, or of two compared."""
    from kintro.observers.memory_diff import diff as compared
    from kintro.observers.memory_layout import diff_layout, layout
    from kintro.renderers.html import address_space

    shape = layout(a)
    if b is not None:
        shape = diff_layout(a, b, compared(a.pid, a.regions, b.pid, b.regions))
    output = Output(path)
    output.line(address_space(shape))
    output.flush()
    if output.error is not None:
        raise output.error


def watch(args: argparse.Namespace, signals: Signals, pid: int, output: Output) -> None:
    """What changes, interval by interval, until the process ends, the time is up, or Ctrl-C."""
    from kintro.observers import watch_text
    from kintro.observers.watch import watch as watched
    from kintro.renderers import jsonl
    from kintro.sources.mappings import Mapping, read_maps

    def read(of: int) -> list[Mapping]:
        try:
            return read_maps(of)
        except KintroError:  # it has ended
            return []

    with watched(pid, read, args.interval or 1.0) as running:
        running.when_readable(signals.fd, lambda: signals.handle(running.stop, None))
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
            over = args.duration is not None and interval.ts_ns - begin_ns >= args.duration * 1e9
            if output.closed or over:
                break
        if args.json:
            output.line(jsonl.line(watch_text.summary_json(running)))
        else:
            output.remark(watch_text.summary_line(running))
