"""Channels that carry something else, to somebody else, at another time or more slowly."""

from __future__ import annotations

from typing import Any


def of(part: str, **changes: Any) -> Any:
    """Changes a part of what was seen; a change that is a function gets what there is."""

    def doctor(seen: Any) -> Any:
        there = getattr(seen, part)
        made = {
            name: value(getattr(there, name)) if callable(value) else value for name, value in changes.items()
        }
        return seen._replace(**{part: there._replace(**made)})

    return doctor


def swapped(found: Any) -> Any:
    return found[:2][::-1] + found[2:]


def cut(messages: Any) -> Any:
    (number, text), *others = messages
    return [(number, text[:-1]), *others]


def others_number(messages: Any) -> Any:
    (number, text), *others = messages
    return [(number + 100, text), *others]


def slower(kind_ns: Any) -> Any:
    return {kind: ns * 1000 if kind.startswith("shm") else ns for kind, ns in kind_ns.items()}


DOCTORED = {
    "M1": [
        of("stream", told_ends=[]),
        of("stream", told_ends=lambda ends: ends[:1]),
        of("stream", waiting_bytes=0),
        of("stream", same_bytes=False),
        lambda seen: seen._replace(stream=seen.stream._replace(read=seen.stream.wrote), traced=None),
        lambda seen: seen._replace(traced=(seen.traced[0], seen.traced[0])),
        lambda seen: seen._replace(traced=(seen.traced[0][1:], seen.traced[1])),
    ],
    "M2": [
        change
        for queue in ("sysv", "posix")
        for change in (
            of(queue, taken=cut),
            of(queue, taken=others_number),
            of(queue, taken=lambda messages: messages[1:]),
            of(queue, waiting=1),
            of(queue, waiting_bytes=1),
            of(queue, short_errno=0),
            of(queue, told_ends=[]),
        )
    ],
    "M3": [
        of("both", same_bytes=False),
        of("both", same_frames=0),
        of("both", other_frames=1),
        of("both", told_pids=[]),
        of("speed", latency_ns=slower),
        of("speed", transfer_ns=slower),
    ],
    "M4": [
        of("struck", places=lambda places: places[1:]),
        of("struck", places=lambda places: places[:1] * len(places)),
        of("struck", places=lambda places: [place + (1 << 40) for place in places]),
        of("struck", calls=lambda calls: calls | {"rt_sigtimedwait": 1}),
        of("struck", calls=lambda calls: calls | {"rt_sigreturn": 1}),
        of("struck", places=[]),
    ],
    "M5": [
        change
        for kind in ("posix", "sysv")
        for change in (
            of(kind, order=swapped),
            of(kind, order=b""),
            of(kind, blocked=0),
            of(kind, woken=0),
        )
    ]
    + [
        of("waiting", waiting=0),
        of("waiting", went_on_early=True),
        of("waiting", waiting_after=1),
        of("waiting", told_ends=[]),
    ],
    "M6": [
        change
        for kind in ("unix", "tcp")
        for change in (
            of(kind, told_ends=[]),
            of(kind, told_ends=swapped),
            of(kind, same_forth=False),
            of(kind, same_back=False),
        )
    ]
    + [of("unix", waiting_bytes=0)],
}

PLAIN = {
    "M1": [
        of("packets", same_bytes=False),
        of("packets", read=lambda read: [sum(read)]),
    ],
    "M2": [of(queue, taken=swapped) for queue in ("sysv", "posix")],
    "M3": [
        lambda seen: seen._replace(counted=seen.added),
        of("speed", latency_ns=lambda kind_ns: kind_ns | {"shm-futex": min(kind_ns.values())}),
    ],
    "M4": [
        of("asked", pending=[]),
        of("asked", taken=[]),
        of("asked", left=["SIGIO"]),
    ],
    "M5": [
        lambda seen: seen._replace(posix_calls=1),
        lambda seen: seen._replace(sysv_calls=1),
    ],
    "M6": [
        of("unix", peer_pid=0),
        of("tcp", peer_pid=1),
        of("handed", holders=[]),
        of("handed", holders_after=[]),
    ],
}
