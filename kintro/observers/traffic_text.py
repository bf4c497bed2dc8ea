"""Inter-process communication as lines and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress

from kintro.observers import ipc_text
from kintro.observers.ipc_records import Channel, Endpoint
from kintro.observers.lifecycle_records import signal_name
from kintro.observers.traffic import Seen, Summary
from kintro.observers.traffic_channels import Name
from kintro.observers.traffic_records import EARLY, PEEKED
from kintro.observers.traffic_signals import Party, Signal
from kintro.observers.traffic_sums import ChannelSums, Part, SignalSums
from kintro.renderers import terminal
from kintro.renderers.text import duration, printable, short_size
from kintro.shapes import Cell, Column

COLUMNS = (
    Column("TIME(s)", 11, right=True),
    Column("TID", 7, right=True),
    Column("COMM", 15),
    Column("TOOK", 7, right=True),
    Column("WHAT", None),
    Column("", None),
)


def row(event: Seen | Signal, begin_ns: int) -> tuple[Cell, ...]:
    """An event as the cells of COLUMNS; the time is that of its beginning, from `begin_ns` on."""
    if isinstance(event, Signal):
        return _signal_row(event, begin_ns)
    one = event.operation
    time = "before" if one.flags & EARLY else f"{(one.ts_ns - begin_ns) / 1e9:.6f}"
    took = one.duration_ns
    result = "?" if one.returned is None else f"-1 {event.error}" if event.error else str(one.ret)
    fd = f"fd {one.fd} " if one.fd >= 0 else ""
    what = f"{event.name} {fd}{_channel(event.channel)}"
    apart = [
        text
        for number, text in (
            (one.messages > 1, f"{one.messages} messages, {one.size_bytes} bytes"),
            (one.blocked_ns, f"asleep {duration(one.blocked_ns)}"),
            (one.wakes, f"wakes {one.wakes}"),
            (one.flags & PEEKED, "left there"),
        )
        if number
    ]
    return (
        Cell(time, "faint"),
        Cell(str(one.tid)),
        Cell(printable(one.comm)),
        Cell("–" if took is None else duration(took), "faint"),
        Cell(what),
        Cell(f"= {result}" + (f" ({', '.join(apart)})" if apart else ""), "bad" if event.error else ""),
    )


def _signal_row(one: Signal, begin_ns: int) -> tuple[Cell, ...]:
    began = one.generated_ns
    sender, latency = one.sender, one.latency_ns
    who = sender if sender is not None else Party(0, None, b"kernel")
    target = f"{printable(one.receiver.comm or b'?')} ({one.receiver.tid or one.receiver.pid})"
    return (
        Cell("before" if began is None else f"{(began - begin_ns) / 1e9:.6f}", "faint"),
        Cell("" if sender is None else str(sender.tid)),
        Cell(printable(who.comm or b"?") if began is not None else "?"),
        Cell("–" if latency is None else duration(latency), "faint"),
        Cell(f"{signal_name(one.number)} to {target}", "changed"),
        Cell(f"= {one.action or 'not arrived'}"),
    )


def _channel(name: Name) -> str:
    return f"{name.kind}:{name.id or '?'}" + (f" [{printable(name.name)}]" if name.name else "")


def table_columns(channels: Sequence[ChannelSums]) -> tuple[Column, ...]:
    ids = max((len(one.name.id) for one in channels), default=2)
    return (
        Column("KIND", 8),
        Column("ID", max(2, min(ids, 24))),
        Column("CALLS", 7, True),
        Column("SENT", 7, True),
        Column("BYTES", 6, True),
        Column("RECEIVED", 8, True),
        Column("BYTES", 6, True),
        Column("BYTES/s", 7, True),
        Column("WAKES", 6, True),
        Column("ASLEEP", 7, True),
        Column("WHO", None),
    )


# What a terminal of fewer columns leaves out, so that there is room for who it was.
_LEFT_OUT_BELOW = {"CALLS": 100, "BYTES/s": 120, "WAKES": 120, "ASLEEP": 120}


def table_row(channel: ChannelSums, duration_ns: int | None) -> tuple[Cell, ...]:
    sent, received, whole = channel.sent, channel.received, channel.all
    rate = rate_of(channel, duration_ns)
    name = f" [{printable(channel.name.name)}]" if channel.name.name else ""
    return (
        Cell(channel.name.kind),
        Cell(channel.name.id or "?"),
        Cell(str(whole.calls)),
        Cell(str(sent.messages) if sent.calls else ""),
        Cell(short_size(sent.bytes) if sent.calls else ""),
        Cell(str(received.messages) if received.calls else ""),
        Cell(short_size(received.bytes) if received.calls else ""),
        Cell(short_size(round(rate)) if rate else ""),
        Cell(str(whole.wakes) if whole.wakes else ""),
        Cell(duration(whole.blocked_ns) if whole.blocked_ns else ""),
        Cell(ipc_text.who(as_channel(channel)) + name),
    )


def as_channel(channel: ChannelSums) -> Channel:
    """As `kintro ipc` has channels, with those for ends that did something."""
    ends = tuple(Endpoint(part.pid, part.comm, part.fd, role(part)) for part in channel.parts)
    return Channel(*channel.name, None, None, ends, {})


def role(part: Part) -> str:
    """What a process did: it wrote, it read, both, or something else."""
    if part.sent.calls and part.received.calls:
        return "read-write"
    return "write" if part.sent.calls else "read" if part.received.calls else "user"


def rate_of(channel: ChannelSums, duration_ns: int | None) -> float | None:
    """Bytes in a second of the trace: those sent, or, if nobody who is traced sent any, those received."""
    moved = channel.sent.bytes or channel.received.bytes
    return moved / duration_ns * 1e9 if duration_ns else None


SIGNAL_COLUMNS = (
    Column("SIGNAL", 11),
    Column("COUNT", 6, True),
    Column("MEAN", 7, True),
    Column("MOST", 7, True),
    Column("WHO", None),
)


def signal_row(one: SignalSums) -> tuple[Cell, ...]:
    sender = "kernel" if one.from_kernel else "?"
    if one.sender is not None:
        sender = f"{printable(one.sender[1] or b'?')} ({one.sender[0]})"
    receiver = f"{printable(one.receiver[1] or b'?')} ({one.receiver[0]})"
    actions = ", ".join(f"{count} {action or 'not arrived'}" for action, count in one.actions.items())
    return (
        Cell(signal_name(one.number)),
        Cell(str(one.times)),
        Cell(duration(one.latency_ns // one.timed) if one.timed else ""),
        Cell(duration(one.latency_max_ns) if one.timed else ""),
        Cell(f"{sender} → {receiver}: {actions}"),
    )


def summary_line(result: Summary, channels: int) -> str:
    """What was counted, and what was lost."""
    span = "an unknown time" if result.duration_ns is None else duration(result.duration_ns)
    told = (
        f"{result.operations:,} operation{'' if result.operations == 1 else 's'} on {channels:,} "
        f"channel{'' if channels == 1 else 's'}, {result.signals:,} "
        f"signal{'' if result.signals == 1 else 's'} in {span}"
    )
    for number, what in (
        (result.unfinished, "unfinished"),
        (result.early, "begun before the trace"),
        (result.passed_over, "on futexes neither waited nor woke"),
        (result.calls_32_bit, "32-bit calls not looked at"),
    ):
        if number:
            told += f"; {number:,} {what}"
    told += f"; lost {'unknown' if result.lost is None else format(result.lost, ',')}"
    return told + ("; complete" if result.complete else "; INCOMPLETE")


def more(number: int, what: str) -> str:
    return f"{number:,} more {what}{'' if number == 1 else 's'}"


def channel_lines(
    channels: Sequence[ChannelSums], duration_ns: int | None, width: int | None, colour: bool
) -> Iterator[str]:
    """The table; without rows nothing."""
    if channels:
        columns = table_columns(channels)
        kept = [width is None or width >= _LEFT_OUT_BELOW.get(column.title, 0) for column in columns]
        rows = (tuple(compress(table_row(one, duration_ns), kept)) for one in channels)
        yield from terminal.lines(tuple(compress(columns, kept)), rows, width, colour)


def signal_lines(signals: Sequence[SignalSums], width: int | None, colour: bool) -> Iterator[str]:
    if signals:
        yield from terminal.lines(SIGNAL_COLUMNS, map(signal_row, signals), width, colour)
