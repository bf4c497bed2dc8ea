"""Inter-process communication as JSON objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kintro.observers.lifecycle_records import signal_name
from kintro.observers.traffic import Seen, Summary
from kintro.observers.traffic_records import EARLY, PEEKED
from kintro.observers.traffic_signals import Signal
from kintro.observers.traffic_sums import Amounts, ChannelSums, Part, SignalSums
from kintro.observers.traffic_text import as_channel, rate_of, role


def as_json(event: Seen | Signal) -> dict[str, Any]:
    """An event as the JSON object that `trace-ipc --json` prints."""
    if isinstance(event, Signal):
        return _signal_json(event)
    one = event.operation
    return {
        "type": "ipc",
        "ts_ns": None if one.flags & EARLY else one.ts_ns,
        "pid": one.pid,
        "tid": one.tid,
        "comm": one.comm,
        "op": event.name,
        "direction": event.direction,
        "kind": event.channel.kind,
        "channel": event.channel.id or None,
        "name": event.channel.name,
        "fd": one.fd if one.fd >= 0 else None,
        "messages": one.messages,
        "bytes": one.size_bytes,
        "peeked": bool(one.flags & PEEKED),
        "wakes": one.wakes,
        "blocked_ns": one.blocked_ns,
        "duration_ns": one.duration_ns,
        "ret": one.returned,
        "errno": event.error,
    }


def _signal_json(one: Signal) -> dict[str, Any]:
    return {
        "type": "signal",
        "ts_ns": one.generated_ns if one.generated_ns is not None else one.delivered_ns,
        "generated_ns": one.generated_ns,
        "delivered_ns": one.delivered_ns,
        "latency_ns": one.latency_ns,
        "signal": signal_name(one.number),
        "number": one.number,
        "code": one.code,
        "sender": one.sender._asdict() if one.sender is not None else None,
        "receiver": one.receiver._asdict(),
        "to_process": one.to_process,
        "action": one.action,
    }


def summary_json(
    result: Summary, channels: Sequence[ChannelSums], signals: Sequence[SignalSums], folded: int
) -> dict[str, Any]:
    return {
        "type": "summary",
        **result._asdict(),
        "operations_without_channel": folded,
        "channels": [_channel_json(one, result.duration_ns) for one in channels],
        "signal_sums": [_signal_sums_json(one) for one in signals],
    }


def _channel_json(one: ChannelSums, duration_ns: int | None) -> dict[str, Any]:
    rate = rate_of(one, duration_ns)
    return {
        "kind": one.name.kind,
        "id": one.name.id or None,
        "name": one.name.name,
        "ipc_namespace": one.namespace,
        "between_processes": as_channel(one).is_between,
        "sent_messages": one.sent.messages,
        "sent_bytes": one.sent.bytes,
        "received_messages": one.received.messages,
        "received_bytes": one.received.bytes,
        "bytes_per_s": round(rate) if rate is not None else None,
        **_work(one.all),
        "endpoints": [_part_json(part) for part in one.parts],
    }


def _part_json(part: Part) -> dict[str, Any]:
    return {
        "pid": part.pid,
        "comm": part.comm,
        "fd": part.fd,
        "role": role(part),
        "sent_messages": part.sent.messages,
        "sent_bytes": part.sent.bytes,
        "received_messages": part.received.messages,
        "received_bytes": part.received.bytes,
        **_work(part.all),
    }


def _work(amounts: Amounts) -> dict[str, int]:
    return {
        name: getattr(amounts, name)
        for name in ("calls", "errors", "unfinished", "wakes", "blocked_ns", "took_ns", "took_max_ns")
    }


def _signal_sums_json(one: SignalSums) -> dict[str, Any]:
    return {
        "signal": signal_name(one.number),
        "number": one.number,
        "sender": None if one.sender is None else dict(zip(("pid", "comm"), one.sender)),
        "from_kernel": one.from_kernel,
        "receiver": dict(zip(("pid", "comm"), one.receiver)),
        "count": one.times,
        "actions": {action or "none": count for action, count in one.actions.items()},
        "latency_mean_ns": one.latency_ns // one.timed if one.timed else None,
        "latency_max_ns": one.latency_max_ns if one.timed else None,
    }
