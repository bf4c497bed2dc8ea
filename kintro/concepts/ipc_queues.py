"""Experiments with message queues: what is kept of a message, and in which order messages come out."""

from __future__ import annotations

import ctypes
import errno
import os
import random
import struct
from collections.abc import Sequence
from typing import NamedTuple

from kintro.concepts.experiment import Experiment, Finding, NotObserved, Picture, judged
from kintro.concepts.ipc_sight import End, channel, ends, holdings, judge_held, picture
from kintro.concepts.scene import Actor, Play
from kintro.concepts.words import Value
from kintro.observers.ipc import read_inventory
from kintro.observers.ipc_records import Channel, Inventory
from kintro.shapes import Graph

MESSAGES, SIZE_MAX = 8, 100
_IPC_CREAT, _IPC_RMID, _IPC_NOWAIT = 0o1000, 0, 0o4000  # include/uapi/linux/ipc.h
_libc = ctypes.CDLL(None, use_errno=True)

Message = tuple[int, bytes]  # its type or priority, and its text


class Queue(NamedTuple):
    """What one process put into a queue and another one took out."""

    ends: list[End]  # as they are
    told_ends: list[End]  # by the inventory, while messages waited
    waiting: int | None  # messages then
    waiting_bytes: int | None
    sent: list[Message]
    short_errno: int  # of taking one with too little room
    taken: list[Message]


class Queues(NamedTuple):
    sysv: Queue
    wanted: int  # the type that was asked for first
    posix: Queue
    graph: Graph


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        if number == errno.ENOSYS:
            raise NotObserved("no-queues")
        raise OSError(number, os.strerror(number))
    return result


def _send_sysv(queue: int, messages: Sequence[Message]) -> Play:
    for number, text in messages:
        _checked(
            _libc.msgsnd(queue, struct.pack("l", number) + text, ctypes.c_size_t(len(text)), _IPC_NOWAIT)
        )
    yield
    yield


def _take_sysv(queue: int, wanted: int) -> Play:
    yield
    short = ctypes.create_string_buffer(8)
    yield (
        ctypes.get_errno()
        if _libc.msgrcv(queue, short, ctypes.c_size_t(0), ctypes.c_long(0), _IPC_NOWAIT) < 0
        else 0
    )
    room = ctypes.create_string_buffer(8 + SIZE_MAX)
    taken: list[Message] = []
    for number in (wanted, *[0] * (MESSAGES - 1)):  # 0: whatever came first
        size = _checked(
            _libc.msgrcv(queue, room, ctypes.c_size_t(SIZE_MAX), ctypes.c_long(number), _IPC_NOWAIT)
        )
        taken.append((struct.unpack_from("l", room)[0], room.raw[8 : 8 + size]))
    yield taken


def _send_posix(queue: int, other: int, messages: Sequence[Message]) -> Play:
    os.close(other)
    for number, text in messages:
        _checked(_libc.mq_send(queue, text, ctypes.c_size_t(len(text)), number))
    yield
    yield


def _take_posix(queue: int, other: int) -> Play:
    os.close(other)
    yield
    room, priority = ctypes.create_string_buffer(SIZE_MAX), ctypes.c_uint()
    short = _libc.mq_receive(queue, room, ctypes.c_size_t(SIZE_MAX - 1), None)
    yield ctypes.get_errno() if short < 0 else 0
    taken: list[Message] = []
    for _ in range(MESSAGES):
        size = _checked(_libc.mq_receive(queue, room, ctypes.c_size_t(SIZE_MAX), ctypes.byref(priority)))
        taken.append((priority.value, room.raw[:size]))
    yield taken


def _texts() -> list[bytes]:
    return [random.randbytes(random.randint(1, SIZE_MAX)) for _ in range(MESSAGES)]


def _priorities() -> list[int]:
    """Some of them the same, and not in the order of urgency."""
    found = random.sample(range(32), MESSAGES - 2)
    found += found[:2]
    while found == sorted(found, reverse=True):
        random.shuffle(found)
    return found


def _new_posix() -> tuple[int, int]:
    """Descriptors to write to and to read from, of a queue that has no name any more."""
    if not hasattr(_libc, "mq_open"):
        raise NotObserved("no-queues")
    name = f"/kintro-{os.getpid()}-{random.getrandbits(32):x}".encode()
    attributes = struct.pack("8l", 0, MESSAGES, SIZE_MAX, 0, 0, 0, 0, 0)  # struct mq_attr
    flags = os.O_NONBLOCK | os.O_CREAT | os.O_EXCL
    into = _checked(_libc.mq_open(name, os.O_WRONLY | flags, 0o600, attributes))
    try:
        return into, _checked(_libc.mq_open(name, os.O_RDONLY | os.O_NONBLOCK))
    finally:
        _checked(_libc.mq_unlink(name))


class _Used(NamedTuple):
    """A queue, and what the inventory had of it while messages waited."""

    queue: Queue
    channel: Channel
    found: Inventory


def _use(sender: Actor, taker: Actor, who: list[End], sent: list[Message], kind: str, identity: str) -> _Used:
    sender.step()
    taker.step()
    found = read_inventory()
    one = channel(found, kind, lambda queue: queue.id == identity)
    told = one.messages, one.bytes
    queue = Queue(sorted(who, key=str), ends(one), *told, sent, taker.step(), taker.step())
    return _Used(queue, one, found)


def _use_sysv(messages: list[Message], wanted: int) -> _Used:
    queue = _checked(_libc.msgget(0, 0o600 | _IPC_CREAT))
    try:
        with Actor(_send_sysv, queue, messages) as sender, Actor(_take_sysv, queue, wanted) as taker:
            who: list[End] = [(sender.pid, None, "last sender")]
            return _use(sender, taker, who, messages, "sysv-msg", str(queue))
    finally:
        _libc.msgctl(queue, _IPC_RMID, None)


def _use_posix(messages: list[Message]) -> _Used:
    into, out = _new_posix()
    with Actor(_send_posix, into, out, messages) as sender, Actor(_take_posix, out, into) as taker:
        at = os.fstat(out)
        os.close(into)
        os.close(out)
        who: list[End] = [(sender.pid, into, "write"), (taker.pid, out, "read")]
        return _use(sender, taker, who, messages, "mqueue", f"{at.st_dev}:{at.st_ino}")


def observe_queues() -> Queues:
    types = random.sample(range(1, 100), MESSAGES)
    wanted = random.choice(types[1:])
    sysv = _use_sysv(list(zip(types, _texts())), wanted)
    posix = _use_posix(list(zip(_priorities(), _texts())))
    return Queues(sysv.queue, wanted, posix.queue, picture(posix.found, [posix.channel]))


def judge_queues(seen: Queues) -> Finding:
    facts: dict[str, Value] = {
        "messages": len(seen.sysv.sent),
        "sysv_waiting": seen.sysv.waiting,
        "posix_waiting": seen.posix.waiting,
        "sysv_waiting_bytes": seen.sysv.waiting_bytes,
        "posix_waiting_bytes": seen.posix.waiting_bytes,
        "sysv_ends": len(seen.sysv.told_ends),
        "posix_ends": len(seen.posix.told_ends),
        "sysv_whole": len(set(seen.sysv.taken) & set(seen.sysv.sent)),
        "posix_whole": len(set(seen.posix.taken) & set(seen.posix.sent)),
        "wanted_type": seen.wanted,
        "sent_types": _numbers(seen.sysv.sent),
        "taken_types": _numbers(seen.sysv.taken),
        "sent_priorities": _numbers(seen.posix.sent),
        "taken_priorities": _numbers(seen.posix.taken),
        "sysv_short_error": errno.errorcode.get(seen.sysv.short_errno, ""),
        "posix_short_error": errno.errorcode.get(seen.posix.short_errno, ""),
    }
    holds = _kept(seen.sysv, errno.E2BIG) and _kept(seen.posix, errno.EMSGSIZE)
    sent = seen.sysv.sent
    asked = [message for message in sent if message[0] == seen.wanted]
    in_turn = seen.sysv.taken == asked + [message for message in sent if message not in asked]
    urgent = seen.posix.taken == sorted(seen.posix.sent, key=lambda message: -message[0])
    pictures = (Picture("queue-graph", seen.graph),)
    return Finding(judged(holds, in_turn and urgent), facts, pictures)


def _kept(queue: Queue, refusal: int) -> bool:
    """Each message came out as it was put in, with its number; never a part of one."""
    counted = queue.waiting == len(queue.sent) and queue.waiting_bytes == sum(len(t) for _, t in queue.sent)
    whole = sorted(queue.taken) == sorted(queue.sent) and queue.short_errno == refusal
    return counted and whole and queue.told_ends == queue.ends


def _numbers(messages: Sequence[Message]) -> str:
    return " ".join(str(number) for number, _ in messages)


EXPERIMENTS = (
    Experiment("M2", observe_queues, judge_queues, on=holdings("mqueue", "sysv-msg"), judge_on=judge_held),
)
