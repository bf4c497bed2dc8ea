"""Channels that descriptors lead to: pipes, FIFOs, POSIX queues, eventfd, signalfd, pidfd; pending
signals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from kintro.observers.ipc_records import Channel, Endpoint
from kintro.observers.lifecycle_records import signal_name
from kintro.sources.descriptors import Descriptor
from kintro.sources.holdings import Holdings
from kintro.sources.mqueue import Contents, MessageQueue

_FIRST_REAL_TIME = 32  # signals from here on queue, those below are pending or not

Held = tuple[Holdings, Descriptor]
QueuedOf = Mapping[tuple[str, int, int], int]  # (kind, dev, inode) → bytes


def by_kind(processes: Iterable[Holdings]) -> dict[str, list[Held]]:
    """All descriptors with their processes."""
    found: dict[str, list[Held]] = defaultdict(list)
    for process in processes:
        for descriptor in process.descriptors:
            found[descriptor.kind].append((process, descriptor))
    return found


def endpoint(process: Holdings, fd: int | None, role: str) -> Endpoint:
    return Endpoint(process.pid, process.comm, fd, role, process.ns_pid)


def pipes(held: Mapping[str, list[Held]], queued: QueuedOf) -> Iterator[Channel]:
    """Pipes and FIFOs, each with who holds which end."""
    for kind in ("pipe", "fifo"):
        for key, ends in _by_file(held.get(kind, ())).items():
            told = {descriptor.access for _, descriptor in ends}
            ends_there = {"reader": told != {"write"}, "writer": told != {"read"}}
            identity = str(key[1]) if kind == "pipe" else f"{key[0]}:{key[1]}"
            yield Channel(
                kind,
                identity,
                ends[0][1].name,
                queued.get((kind, *key)),
                None,
                _ends(ends),
                {"ends_not_seen": [name for name, there in ends_there.items() if not there]},
            )


def queues(
    held: Iterable[Held],
    listed: Iterable[MessageQueue],
    unlinked: Mapping[tuple[int, int], Contents | None],
    by_pid: Mapping[int, Holdings],
) -> Iterator[Channel]:
    """POSIX message queues: those listed, and those that only a descriptor leads to."""
    ends = _by_file(held)
    named = {(queue.dev, queue.inode): queue for queue in listed}
    for key in {**named, **ends}:
        contents = named[key].contents if key in named else unlinked.get(key)
        name = named[key].name if key in named else ends[key][0][1].name
        parts = _ends(ends.get(key, ()))
        if contents is not None and contents.notified:
            process = by_pid.get(contents.notified)
            comm, ns_pid = (process.comm, process.ns_pid) if process else (None, None)
            parts = (*parts, Endpoint(contents.notified, comm, None, "notified", ns_pid))
        yield Channel(
            "mqueue",
            f"{key[0]}:{key[1]}",
            name,
            contents.bytes if contents else None,
            contents.messages if contents else None,
            parts,
            {
                "messages_max": contents.messages_max if contents else None,
                "message_bytes_max": contents.message_bytes_max if contents else None,
                "unlinked": key not in named,
            },
        )


def events(held: Iterable[Held]) -> Iterator[Channel]:
    """eventfd(2), each with its counter; kernels before 5.2 do not tell which ones are the same."""
    by_id: dict[str, list[Held]] = defaultdict(list)
    for process, descriptor in held:
        own = f"{process.pid}:{descriptor.fd}"
        by_id[descriptor.info.get("eventfd-id", own)].append((process, descriptor))
    for identity, ends in by_id.items():
        info = ends[0][1].info
        facts = {
            "count": int(info["eventfd-count"], 16) if "eventfd-count" in info else None,
            "semaphore": info.get("eventfd-semaphore") == "1" if "eventfd-semaphore" in info else None,
        }
        parts = tuple(endpoint(process, descriptor.fd, "holder") for process, descriptor in ends)
        yield Channel("eventfd", identity, b"", None, None, parts, facts)


def signal_descriptors(held: Iterable[Held]) -> Iterator[Channel]:
    """signalfd(2); which descriptors are copies of one another the kernel does not tell."""
    for process, descriptor in held:
        names = signal_names(int(descriptor.info.get("sigmask", "0"), 16))
        ends = (endpoint(process, descriptor.fd, "receiver"),)
        identity = f"{process.pid}:{descriptor.fd}"
        yield Channel("signalfd", identity, b"", None, None, ends, {"signals": names})


def process_descriptors(held: Iterable[Held], by_pid: Mapping[int, Holdings]) -> Iterator[Channel]:
    """pidfd_open(2): all that lead to one process are one channel.

    -1: it has been waited for; 0: it is none of this pid namespace. Which of these are of one process is not
    told: each is a channel of its own.
    """
    by_target: dict[str, list[Held]] = defaultdict(list)
    for process, descriptor in held:
        told = descriptor.info.get("Pid", "0")
        by_target[told if int(told) > 0 else f"{process.pid}:{descriptor.fd}"].append((process, descriptor))
    for identity, ends in by_target.items():
        target = int(ends[0][1].info.get("Pid", "0"))
        parts = [endpoint(process, descriptor.fd, "holder") for process, descriptor in ends]
        if target in by_pid:
            parts.append(endpoint(by_pid[target], None, "target"))
        facts = {"target": target if target > 0 else None, "ended": target < 0}
        yield Channel("pidfd", identity, b"", None, None, tuple(parts), facts)


def pending_signals(processes: Iterable[Holdings]) -> Iterator[Channel]:
    """Signals that were sent and are not delivered yet. Real-time ones may be queued several times."""
    for process in processes:
        pending = process.pending
        mask = pending.process | pending.threads
        if mask:
            real_time = mask >> (_FIRST_REAL_TIME - 1)
            facts = {
                "signals": signal_names(mask),
                "to_process": signal_names(pending.process),
                "to_threads": signal_names(pending.threads),
            }
            ends = (endpoint(process, None, "receiver"),)
            messages = None if real_time else pending.signals
            yield Channel("signal", str(process.pid), b"", None, messages, ends, facts)


def signal_names(mask: int) -> list[str]:
    """Of a mask with bit n - 1 for signal n."""
    return [signal_name(number) for number in range(1, 65) if mask >> (number - 1) & 1]


def _by_file(held: Iterable[Held]) -> dict[tuple[int, int], list[Held]]:
    found: dict[tuple[int, int], list[Held]] = defaultdict(list)
    for process, descriptor in held:
        found[descriptor.dev, descriptor.inode].append((process, descriptor))
    return found


def _ends(held: Iterable[Held]) -> tuple[Endpoint, ...]:
    return tuple(endpoint(process, descriptor.fd, descriptor.access) for process, descriptor in held)
