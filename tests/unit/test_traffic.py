"""How what is sent of inter-process communication is put together and added up."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kintro.observers import traffic, traffic_sums, traffic_text
from kintro.observers import traffic_records as records
from kintro.observers.traffic_channels import Channels, Name
from kintro.observers.traffic_records import Address, Delivered, Generated, Operation, Socket
from kintro.observers.traffic_signals import Signal, Signals
from kintro.observers.traffic_sums import Amounts, Sums


def unix(inode: int, other: int = 0, name: bytes = b"", kind: int = socket.SOCK_STREAM) -> Socket:
    return Socket(0, inode, other, 1, socket.AF_UNIX, kind, 0, 0, 0, name)


def inet(inode: int, local: str, remote: str = "0.0.0.0:0", protocol: int = socket.IPPROTO_TCP) -> Socket:
    (host, port), (other, there) = (place.rsplit(":", 1) for place in (local, remote))
    addresses = [ipaddress.ip_address(one.strip("[]")) for one in (host, other)]
    family = socket.AF_INET6 if addresses[0].version == 6 else socket.AF_INET
    data = b"".join(one.packed.ljust(16, b"\0") for one in addresses)
    return Socket(0, inode, 0, 1, family, socket.SOCK_STREAM, protocol, int(port), int(there), data)


def known(*told: Socket | Address) -> Channels:
    channels = Channels()
    for one in told:
        channels.add(one)
    return channels


def test_a_unix_socket_that_was_not_accepted_yet_belongs_to_the_pair() -> None:
    channels = known(unix(7))
    assert channels.name(records.UNIX, 7, 0, 0, 0, 1) == Name("unix", "7", b"")
    channels.add(unix(5, 7, b"/run/x\0"))
    assert channels.name(records.UNIX, 7, 0, 0, 0, 1) == Name("unix", "5-7", b"/run/x")
    assert channels.name(records.UNIX, 5, 7, 0, records.PAIRED, 1) == Name("unix", "5-7", b"/run/x")


def test_datagrams_belong_to_the_socket_that_they_are_sent_to() -> None:
    there = struct.pack("=IIH", 1, 0, socket.AF_UNIX) + b"\0abstract"
    nowhere = struct.pack("=IIH", 1, 0, socket.AF_UNIX) + b"/gone\0\0"
    channels = known(
        unix(9, name=b"\0abstract", kind=socket.SOCK_DGRAM), Address(0, 1, there), Address(0, 2, nowhere)
    )
    flags = records.ADDRESSED
    assert channels.name(records.UNIX, 4, 1, 0, flags, 1) == Name("unix", "9", b"@abstract")
    assert channels.name(records.UNIX, 4, 2, 0, flags, 1) == Name("unix", "", b"/gone")
    assert channels.name(records.UNIX, 4, 9, 0, records.TOWARDS, 1) == Name("unix", "9", b"@abstract")


@pytest.mark.parametrize("order", [1, -1])
def test_both_ends_of_a_connection_make_one_channel(order: int) -> None:
    ends = [inet(8, "127.0.0.1:80", "127.0.0.1:5000"), inet(3, "127.0.0.1:5000", "127.0.0.1:80")][::order]
    channels = known(*ends)
    one, other = (channels.name(records.TCP, inode, 0, 0, 0, 1) for inode in (8, 3))
    assert one == other and one.id == "3-8"
    alone = known(ends[0]).name(records.TCP, ends[0].inode, 0, 0, 0, 1)
    assert alone.id == str(ends[0].inode) and " → " in alone.name.decode()
    with_listener = known(inet(2, "0.0.0.0:80"), *ends)
    wanted = Name("tcp", "3-8", "127.0.0.1:5000 → 127.0.0.1:80".encode())
    assert with_listener.name(records.TCP, 8, 0, 0, 0, 1) == wanted
    assert with_listener.name(records.TCP, 3, 0, 0, 0, 1) == wanted


def test_a_reply_belongs_to_the_channel_of_the_question() -> None:
    udp = socket.IPPROTO_UDP
    server = inet(4, "127.0.0.1:53", protocol=udp)
    client = inet(6, "127.0.0.1:4000", "127.0.0.1:53", udp)
    address = (
        struct.pack("=IIH", 1, udp, socket.AF_INET)
        + struct.pack("!H", 4000)
        + bytes([127, 0, 0, 1])
        + bytes(8)
    )
    channels = known(server, client, Address(0, 1, address))
    asked = channels.name(records.UDP, 6, 0, 0, 0, 1)
    assert asked == Name("udp", "4", b"127.0.0.1:53")
    assert channels.name(records.UDP, 4, 1, 0, records.ADDRESSED, 1) == asked
    assert channels.name(records.UDP, 4, 0, 0, 0, 1) == asked


def test_an_ipv4_address_in_an_ipv6_socket_is_one() -> None:
    channels = known(
        inet(5, "[::ffff:127.0.0.1]:80", "[::ffff:127.0.0.1]:9"), inet(4, "127.0.0.1:9", "127.0.0.1:80")
    )
    assert channels.name(records.TCP, 5, 0, 0, 0, 1).id == "4-5"


def test_names_of_other_kinds() -> None:
    channels = Channels()
    channels.keys[records.SYSV_MSG, 1, 7] = 0x1234
    assert channels.name(records.SYSV_MSG, 7, 0, 1, 0, 1) == Name("sysv-msg", "7", b"0x00001234")
    assert channels.name(records.FIFO, 3, 0, 254 << 20 | 1, 0, 1).id == f"{os.makedev(254, 1)}:3"
    assert channels.name(records.FUTEX, 0x10, 0, 0, 0, 5).id == "5:0x10"
    assert channels.name(records.FUTEX, 3, 0x18, 1, records.SHARED, 5).id == "1:3:0x18"
    assert channels.name(records.PIPE, 3, 0, 0, 0, 5) == Name("pipe", "3", b"")
    assert channels.name(99, 3, 0, 0, 0, 5) == Name("99", "3", b"")  # of a forged session


def generated(ts_ns: int, number: int = 10, result: int = 0, flags: int = 3, tid: int = 20) -> Generated:
    return Generated(ts_ns, 0x61, 0, 5, 5, 20, tid, number, 0, result, flags, b"sender")


def delivered(ts_ns: int, number: int = 10, flags: int = records.WANTED, tid: int = 20) -> Delivered:
    return Delivered(ts_ns, 2, 20, tid, number, 0, flags, b"receiver")


def matched(*told: Generated | Delivered) -> list[Signal]:
    signals = Signals()
    return [one for record in told for one in signals.of(record)] + list(signals.rest())


def test_a_threads_own_signals_come_before_those_of_its_process() -> None:
    first, second = matched(generated(1, 40), generated(2, 40, flags=2), delivered(5, 40), delivered(9, 40))
    assert (first.generated_ns, first.to_process, first.latency_ns) == (2, False, 3)
    assert (second.generated_ns, second.to_process, second.latency_ns) == (1, True, 8)


def test_a_signal_that_was_taken_unseen_is_not_the_next_one() -> None:
    first, second = matched(generated(1), generated(7), delivered(9))
    assert (first.generated_ns, first.action, first.latency_ns) == (1, None, None)
    assert (second.generated_ns, second.action, second.latency_ns) == (7, "handler", 2)
    queued = matched(generated(1, 40), generated(7, 40), delivered(9, 40), delivered(9, 40))
    assert [one.generated_ns for one in queued] == [1, 7]  # real-time signals wait in a row


def test_what_does_not_arrive() -> None:
    ignored, merged, waits = matched(generated(1, result=1), generated(3, result=2), generated(2, 12))
    assert (ignored.action, merged.action, waits.action) == ("ignored", "merged", None)
    assert waits.receiver == (20, None, b"a") and waits.sender == (5, 5, b"sender")


def test_a_deadly_signal_is_told_once() -> None:
    fatal = records.WANTED | records.FATAL
    [only] = matched(generated(1, 15), delivered(3, 15, fatal), delivered(4, 15, fatal, tid=21))
    assert (only.delivered_ns, only.number) == (3, 15)


def test_only_one_end_has_to_be_wanted() -> None:
    assert not matched(generated(1, flags=1), delivered(2, flags=0))
    assert len(matched(generated(1, flags=3), delivered(2, flags=0))) == 1
    assert len(matched(generated(1, flags=1), delivered(2))) == 1
    [unknown] = matched(delivered(2))
    assert (unknown.generated_ns, unknown.sender, unknown.latency_ns) == (None, None, None)


def test_no_more_wait_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kintro.observers.traffic_signals.WAITING_MAX", 3)
    signals = Signals()
    given_up = [one for n in range(10) for one in signals.of(generated(n, 10, tid=n, flags=2))]
    assert [one.generated_ns for one in given_up] == list(range(7))
    assert len(list(signals.rest())) == 3


small = st.integers(0, 2)
operations = st.builds(
    Operation,
    ended_ns=st.integers(100, 200), ts_ns=st.integers(50, 100), ret=st.integers(-3, 50),
    size_bytes=st.integers(0, 1 << 40), blocked_ns=small, channel=small, other=small, dev=small, tid=small,
    pid=st.integers(1, 3), fd=st.integers(-1, 2), nr=small, messages=small, wakes=small,
    flags=st.sampled_from((0, records.UNFINISHED, records.EARLY)), kind=st.just(records.PIPE),
    direction=st.sampled_from((records.SEND, records.RECEIVE, records.NEITHER)), comm=st.just(b"x"),
)  # fmt: skip


@given(st.lists(st.lists(operations, max_size=20), max_size=4))
def test_sums_are_those_of_the_single_operations(batches: list[list[Operation]]) -> None:
    sums = Sums()
    for batch in batches:
        sums.add(np.array(batch, records.dtypes()["operation"]))
    single = [one for batch in batches for one in batch]
    by_channel: dict[str, list[Operation]] = defaultdict(list)
    for one in single:
        by_channel[str(one.channel)].append(one)
    found = {one.name.id: one for one in sums.channels(Channels())}
    assert set(found) == set(by_channel) and sums.operations == len(single)
    for name, channel in found.items():
        own = by_channel[name]
        for direction, amounts in (
            (records.SEND, channel.sent),
            (records.RECEIVE, channel.received),
            (None, channel.all),
        ):
            those = [one for one in own if direction in (None, one.direction)]
            took = [one.duration_ns for one in those if one.duration_ns is not None]
            assert amounts == Amounts(
                len(those),
                sum(one.returned is not None and one.ret < 0 for one in those),
                sum(one.returned is None for one in those),
                sum(one.messages for one in those),
                sum(one.size_bytes for one in those),
                sum(one.wakes for one in those),
                sum(one.blocked_ns for one in those),
                sum(took),
                max(took, default=0),
            )


def test_who_is_not_known_is_not_the_kernel() -> None:
    """A timer sends one; the other was sent before the trace."""
    sums = Sums()
    timer = generated(1)._replace(code=-2)
    for one in matched(timer, delivered(2), delivered(3)):
        sums.add_signal(one)
    told = {one.from_kernel: one for one in sums.signal_sums()}
    assert {known: (one.sender, one.times, one.timed) for known, one in told.items()} == {
        True: (None, 1, 1), False: (None, 1, 0),
    }  # fmt: skip
    assert [traffic_text.signal_row(told[known])[-1].text[:8] for known in (True, False)] == [
        "kernel →", "? → rece",
    ]  # fmt: skip


def test_beyond_a_limit_signals_are_told_by_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic_sums, "GROUPS_MAX", 1)
    sums = Sums()
    for pid in (20, 21, 22):
        [one] = matched(generated(1, result=1)._replace(pid=pid))
        sums.add_signal(one)
    assert sorted((one.receiver[0], one.times, one.from_kernel) for one in sums.signal_sums()) == [
        (0, 2, False), (20, 1, False),
    ]  # fmt: skip


def test_a_narrow_terminal_has_room_for_who() -> None:
    sums = Sums()
    sums.add(rows(7))
    channels = sums.channels(Channels())
    least = {"BYTES/s", "WAKES", "ASLEEP"}
    for width, missing in ((80, {*least, "CALLS"}), (100, least), (120, set()), (None, set())):
        heading, _ = traffic_text.channel_lines(channels, 10**9, width, False)
        titles = {column.title for column in traffic_text.table_columns(channels)}
        assert titles - set(heading.split()) == missing


def rows(*channels: int) -> np.ndarray:
    batch = np.zeros(len(channels), records.dtypes()["operation"])
    batch["channel"], batch["pid"], batch["kind"] = channels, 1, records.PIPE
    return batch


def test_beyond_a_limit_operations_have_no_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic_sums, "GROUPS_MAX", 2)
    sums = Sums()
    sums.add(rows(1, 2, 3, 4, 1))
    told = {one.name.id: one.all.calls for one in sums.channels(Channels())}
    assert told == {"1": 2, "2": 1, "": 2} and sums.folded == 2


def test_two_groups_of_one_hash_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic_sums, "_MIX", np.uint64(0))
    sums = Sums()
    sums.add(rows(1, 2, 1))
    assert {one.name.id: one.all.calls for one in sums.channels(Channels())} == {"1": 2, "2": 1}


def test_complete_is_what_was_told_and_had_begun() -> None:
    counted = {
        "duration_ns": 5, "lost": 0, "under_way": 1, "operation_sent": 9, "entered": 12, "died": 1,
        "early": 1, "passed_over": 3, "compat": 0,
    }  # fmt: skip
    assert traffic.is_tally(counted) and traffic.summary(10, 0, counted).complete
    assert traffic.summary(10, 0, counted).unfinished == 2
    assert not traffic.summary(9, 0, counted).complete
    assert not traffic.summary(10, 0, counted | {"lost": 1}).complete
    assert not traffic.summary(10, 0, None).complete
