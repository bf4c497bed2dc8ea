"""Who talks to whom: what is read, how ends are paired, how it is told. Without root."""

from __future__ import annotations

import ctypes
import os
import socket

import pytest

from kintro.cli import ipc as verb
from kintro.errors import KintroError
from kintro.observers import ipc_graph, ipc_text
from kintro.observers.ipc import of_kinds, of_process, read_inventory
from kintro.observers.ipc_files import signal_names
from kintro.observers.ipc_memory import SysV, message_queues
from kintro.observers.ipc_records import KINDS, Channel, Endpoint, Inventory, Unread
from kintro.observers.ipc_sockets import NetSockets, inet
from kintro.renderers.dot import dot
from kintro.sources import mqueue, netlink, setns, sysvipc
from kintro.sources.descriptors import Descriptor, parse_fdinfo
from kintro.sources.holdings import Holdings, Pending, parse_shared, read_holdings
from kintro.sources.netlink import InetSocket
from kintro.sources.queued import queued_bytes

# Of /proc/sysvipc, by words: the columns' widths differ between kernels.
MSG = """\
key msqid perms cbytes qnum lspid lrpid uid gid cuid cgid stime rtime ctime
-1091576147 3 640 30 1 101 102 0 0 0 0 1795456264 1795456265 1795456263
"""
SHM = """\
key shmid perms size cpid lpid nattch uid gid cuid cgid atime dtime ctime
0 7 1600 5000 101 102 2 0 0 0 0 1795456264 1795456270 1795456263
"""
MAPS = b"""\
55a000000000-55a000001000 r--p 00000000 fe:00 17                         /usr/bin/x
7f0000000000-7f0000001000 r--s 00000000 00:1b 42                         /dev/shm/name with  spaces
7f0000001000-7f0000002000 rw-s 00001000 00:1b 42                         /dev/shm/name with  spaces
7f0000002000-7f0000003000 rw-s 00000000 00:01 0                          /SYSV0000002a (deleted)
7f0000003000-7f0000004000 rw-s 00000000 00:06 93                         /dev/dri/card0
7f0000004000-7f0000005000 rw-s 00000000 00:0e 26                         anon_inode:[perf_event]
7f0000005000-7f0000006000 rw-s 00000000 00:01 9                          /dev/zero (deleted)
"""


def process(pid: int, *descriptors: Descriptor) -> Holdings:
    return Holdings(pid, b"name", pid, 1, 1, descriptors, (), Pending(0, 0, 0), True)


# What is read


def test_system_v_tables() -> None:
    [queue] = sysvipc.parse_msg(MSG)
    assert queue == (0xBEEFDEAD, 3, 0o640, 30, 1, 101, 102, 1795456264, 1795456265)
    [segment] = sysvipc.parse_shm(SHM)  # without the columns of newer kernels
    assert (segment.size_bytes, segment.attached, segment.resident_bytes) == (5000, 2, None)
    assert segment.changed_s == 1795456270
    assert sysvipc.parse_sem("") == []
    with pytest.raises(ValueError):
        sysvipc.parse_msg("something else\n1 2\n")
    with pytest.raises(ValueError):
        sysvipc.parse_msg(MSG + "1 2 3\n")


def test_a_queues_file() -> None:
    assert mqueue.parse_status(b"QSIZE:129  NOTIFY:2  SIGNO:0  NOTIFY_PID:8260\n") == (129, 8260)
    with pytest.raises(ValueError):
        mqueue.parse_status(b"something else")


def test_fdinfo() -> None:
    info = parse_fdinfo(b"pos:\t0\nflags:\t02\neventfd-count:               1a\neventfd-id: 3\n")
    assert (info["eventfd-count"], info["eventfd-id"]) == ("1a", "3")


def test_shared_mappings_of_a_process() -> None:
    found = {mapping.path: mapping for mapping, _ in parse_shared(MAPS)}
    assert set(found) == {b"/dev/shm/name with  spaces", b"/SYSV0000002a", b"/dev/zero"}
    shm = found[b"/dev/shm/name with  spaces"]
    assert (shm.access, shm.times, shm.inode, shm.dev) == ("read-write", 2, 42, os.makedev(0, 0x1B))


def test_what_this_process_holds() -> None:
    reader, writer = os.pipe()
    a, b = socket.socketpair()
    try:
        holdings = read_holdings(os.getpid())
        assert holdings is not None
        by_fd = {descriptor.fd: descriptor for descriptor in holdings.descriptors}
        inode = os.fstat(reader).st_ino
        assert [(by_fd[fd].kind, by_fd[fd].access, by_fd[fd].inode) for fd in (reader, writer)] == [
            ("pipe", "read", inode), ("pipe", "write", inode),
        ]  # fmt: skip
        for fd, access in ((reader, os.O_RDONLY), (writer, os.O_WRONLY)):
            with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
                assert int(parse_fdinfo(file.read())["flags"], 8) & os.O_ACCMODE == access
        assert by_fd[a.fileno()].kind == by_fd[b.fileno()].kind == "socket"
        assert (holdings.net, holdings.ipc) == (setns.own("net"), setns.own("ipc"))
        os.write(writer, b"1234567")
        assert queued_bytes(os.getpid(), {reader: inode, writer: inode}) == {reader: 7, writer: 7}
        assert queued_bytes(os.getpid(), {reader: inode + 1, a.fileno(): inode}) == {}
        assert os.read(reader, 100) == b"1234567"
    finally:
        os.close(reader)
        os.close(writer)
        a.close()
        b.close()
    assert read_holdings(2**22 + 5) is None


def test_sockets_have_their_names_and_other_ends() -> None:
    name = b"\0kintro\0\xff\n%d" % os.getpid()
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(name)
        listener.listen()
        client.connect(name)
        inodes = [os.fstat(one.fileno()).st_ino for one in (listener, client)]
        before = {one.inode: one for one in netlink.sockets()[0]}
        assert before[inodes[0]].name == b"@" + name[1:]
        assert before[inodes[0]].listens and before[inodes[0]].waiting == (inodes[1],)
        accepted, _ = listener.accept()
        with accepted:
            client.send(b"12345")
            after = {one.inode: one for one in netlink.sockets()[0]}
            other = os.fstat(accepted.fileno()).st_ino
            assert (after[inodes[1]].peer, after[other].peer) == (other, inodes[1])
            assert after[other].receive_queue == 5
            assert after[inodes[0]].waiting == ()


def test_a_kernel_without_the_modules_of_sock_diag(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Linux 6.1 answers when it was booted without unix_diag and inet_diag."""
    pyroute2 = pytest.importorskip("pyroute2")
    answer = {"header": {"type": 2, "error": None}, "event": "NLMSG_ERROR"}
    monkeypatch.setattr(pyroute2.DiagSocket, "get_sock_stats", lambda *_, **__: (answer,))
    assert netlink.sockets() == ([], [])


def test_a_namespace_that_is_left_or_closed() -> None:
    assert setns.inside("net", setns.own("net"), 0, lambda: 7) == 7
    with pytest.raises(KintroError):
        setns.inside("net", 1, os.getpid(), lambda: 7)
    with pytest.raises(KintroError):
        setns.inside("net", 1, 2**22 + 5, lambda: 7)


def test_the_test_itself_is_told() -> None:
    reader, writer = os.pipe()
    memory = os.memfd_create("kintro-test")
    os.ftruncate(memory, 12345)
    event = ctypes.CDLL(None).eventfd(5, 0)
    try:
        inode = os.fstat(reader).st_ino
        found = of_process(read_inventory(), os.getpid())
        [pipe] = [c for c in found.channels if (c.kind, c.id) == ("pipe", str(inode))]
        assert [(end.pid, end.fd, end.role) for end in sorted(pipe.endpoints)] == [
            (os.getpid(), reader, "read"), (os.getpid(), writer, "write"),
        ]  # fmt: skip
        assert (pipe.bytes, pipe.is_between) == (0, False)
        [shared] = [c for c in found.channels if c.kind == "memfd" and c.name == b"kintro-test"]
        assert shared.bytes == 12345
        assert 5 in [c.facts["count"] for c in of_kinds(found, ["eventfd"]).channels]
    finally:
        for fd in (reader, writer, memory, event):
            os.close(fd)
    with pytest.raises(KintroError) as raised:
        of_process(found, 2**22 + 5)
    assert raised.value.exit_code == 66


# How ends are paired


def tcp(
    inode: int, local: tuple[str, int], remote: tuple[str, int] = ("0.0.0.0", 0), **more: int
) -> InetSocket:
    state = 1 if remote[1] else netlink.LISTEN
    return InetSocket(inode, "tcp", state, local, remote, 0, 0)._replace(**more)


def udp(inode: int, local: tuple[str, int], remote: tuple[str, int] = ("0.0.0.0", 0)) -> InetSocket:
    return InetSocket(inode, "udp", 1 if remote[1] else 7, local, remote, 0, 0)


def paired(*sockets: InetSocket) -> tuple[dict[str, dict[str, int]], set[int]]:
    """Channel → role → pid, where the process of a pid holds the socket with that inode; and what is
    outside."""
    of = {
        one.inode: [(process(one.inode), Descriptor(3, "socket", "read-write", 0, one.inode, b"", None, {}))]
        for one in sockets
        if one.inode
    }
    channels, outside = inet([NetSockets(1, [], list(sockets))], of)
    return {c.id: {end.role: end.pid for end in c.endpoints} for c in channels}, outside


SERVER, CLIENT, AWAY = ("127.0.0.1", 80), ("127.0.0.1", 4000), ("192.0.2.1", 4000)


def test_a_server_is_who_has_the_listeners_port() -> None:
    for wild in (SERVER, ("0.0.0.0", 80), ("::", 80)):
        found, outside = paired(tcp(9, wild), tcp(5, SERVER, CLIENT), tcp(4, CLIENT, SERVER))
        assert found == {"4-5": {"server": 5, "client": 4}, "9": {"listener": 9}}
        assert outside == set()


def test_without_a_listener_both_are_peers() -> None:
    found, _ = paired(tcp(5, SERVER, CLIENT), tcp(4, CLIENT, SERVER))
    assert set(found["4-5"]) == {"peer"}


def test_who_is_not_accepted_yet_waits_at_the_listener() -> None:
    found, outside = paired(tcp(9, SERVER), tcp(0, SERVER, CLIENT), tcp(4, CLIENT, SERVER))
    assert (found, outside) == ({"9": {"listener": 9, "waiting": 4}}, set())


def test_a_connection_to_itself_and_one_whose_other_end_was_closed() -> None:
    assert paired(tcp(4, CLIENT, CLIENT)) == ({"4-4": {"peer": 4}}, set())
    found, _ = paired(tcp(0, SERVER, CLIENT, state=5), tcp(4, CLIENT, SERVER, state=8))
    assert found == {"0-4": {"peer": 4}}


def test_another_machines_is_outside() -> None:
    found, outside = paired(tcp(9, ("0.0.0.0", 4000)), tcp(4, CLIENT, AWAY), udp(6, CLIENT, AWAY))
    assert (found, outside) == ({"9": {"listener": 9}}, {4, 6})


def test_datagrams_to_a_bound_socket() -> None:
    found, outside = paired(udp(9, ("0.0.0.0", 80)), udp(4, CLIENT, SERVER))
    assert (found, outside) == ({"9": {"receiver": 9, "sender": 4}}, set())


def test_a_pid_of_system_v_that_is_anothers_by_now() -> None:
    [queue] = sysvipc.parse_msg(MSG)
    asked = []

    def who(pid: int, when_s: int) -> Endpoint:
        asked.append((pid, when_s))
        return Endpoint(pid, None, None, "")

    [found] = message_queues([SysV(1, [queue], [], [])], who)
    assert asked == [(101, 1795456264), (102, 1795456265)]
    assert [end.role for end in found.endpoints] == ["last sender", "last receiver"]
    assert (found.name, found.pids, found.is_between) == (b"0xbeefdead", frozenset(), False)


# How it is told


def channel(kind: str, *ends: Endpoint, **more: object) -> Channel:
    return Channel(kind, "1", b"", None, None, ends, {})._replace(**more)


A, B, C = (Endpoint(pid, name, 3, "", pid) for pid, name in ((1, b"anna"), (2, b"be\x1brt"), (3, b"carl")))


def told(*channels: Channel) -> Inventory:
    return Inventory(channels, 3, 1, 2, (Unread("net", 77, 4, "cannot enter\nit"),), 5, 6)


def test_kinds_are_those_of_the_verb() -> None:
    assert verb.KINDS == KINDS
    assert {kind for _, kinds in ipc_graph.GROUPS.values() for kind in kinds} == set(KINDS)


def test_a_line_says_who_passes_to_whom() -> None:
    found = channel("pipe", A._replace(role="write"), B._replace(role="read"), bytes=7)
    cells = [cell.text for cell in ipc_text.row(found)]
    assert cells == ["pipe", "1", "7B", "", "anna (1) fd 3 → be\\x1brt (2) fd 3"]
    many = channel("eventfd", *(Endpoint(pid, b"x", 4, "holder") for pid in range(1, 41)))
    assert ipc_text.row(many)[-1].text.endswith("x (4) fd 4 ↔ 36 more")
    assert ipc_text.row(channel("sysv-shm"))[-1].text == "[held by nobody that can be seen]"
    memory = channel("memfd", A._replace(role="read"), A._replace(role="mapped write", fd=None))
    assert ipc_text.row(memory)[-1].text == "anna (1) fd 3, writes"


def test_what_was_not_to_be_seen_is_said() -> None:
    lines = "\n".join(ipc_text.summary(told()))
    for words in (
        "3 processes read, 1 ended",
        "closed to this user: what 2 of these processes hold",
        "4 processes: cannot enter\\nit",
    ):
        assert words in lines
    document = ipc_text.as_json(told())
    assert document["namespaces_not_read"][0]["inode"] == 77
    assert (document["sockets_unknown"], document["sockets_outside"]) == (5, 6)


def test_masks_of_signals() -> None:
    assert signal_names(0) == []
    assert signal_names(1 << 14 | 1 << 39) == ["SIGTERM", "SIGRTMIN+6"]


def test_a_graph_has_what_joins_processes() -> None:
    alone = channel("pipe", A._replace(role="write"), A._replace(role="read"))
    read_only = channel("file", A._replace(role="mapped read"), B._replace(role="mapped read"))
    pipe = channel("pipe", B._replace(role="write"), A._replace(role="read"))
    three = channel("eventfd", *(end._replace(role="holder") for end in (A, B, C)))
    found = ipc_graph.graph(told(alone, read_only, pipe, pipe, three), "title")
    assert {node.id: node.group for node in found.nodes} == {
        "p1": "process", "p2": "process", "p3": "process", "c2": "sync",
    }  # fmt: skip
    lines = {(line.source, line.target): line for line in found.lines}
    assert set(lines) == {("p1", "p2"), ("p1", "c2"), ("p2", "c2"), ("p3", "c2")}
    assert lines["p1", "p2"][2:] == ("stream", False, True, (0, 1))
    assert lines["p1", "c2"][3:5] == (True, True)
    assert len(found.table.rows) == 3


def test_processes_that_differ_in_their_pids_only_are_drawn_as_one() -> None:
    workers = [Endpoint(pid, b"worker", 4, "write", pid) for pid in range(10, 40)]
    log = channel("pipe", *workers, A._replace(role="read"))
    found = ipc_graph.graph(told(log), "title")
    assert {node.id: node.label for node in found.nodes} == {
        "p10": "worker × 30", "p1": "anna (1)", "c0": "pipe 1",
    }  # fmt: skip
    assert {(line.source, line.target) for line in found.lines} == {("p10", "c0"), ("p1", "c0")}
    assert found.subtitle == "1 channels between 31 processes"
    # One that also has a channel of its own with another stands apart.
    own = channel("pipe", workers[0], A._replace(role="read"))
    assert ("p10", "c0") in {line[:2] for line in ipc_graph.graph(told(log, own), "title").lines}
    assert "worker × 29" in {node.label for node in ipc_graph.graph(told(log, own), "title").nodes}


def test_graphviz_text() -> None:
    found = ipc_graph.graph(
        told(channel("pipe", A._replace(role="write"), B._replace(role="read", comm=b'"]\\\n'))), 'a "b"'
    )
    lines = list(dot(found))
    assert lines[0] == 'digraph "a \\"b\\"" {'
    assert '  "p2" [label="\\"]\\\\\\\\n (2)"]' in lines
    assert '  "p1" -> "p2" [dir=forward, label="pipe", color="#2563c9"]' in lines
