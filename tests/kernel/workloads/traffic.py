"""Uses each kind of inter-process communication a known number of times, with known sizes.

traffic.py LEDGER FOLDER: anna and bert, two children, talk to each other; LEDGER gets one JSON line for what
each did with a channel: `kind`, `pid`, `fd`, `id`, and how many messages and bytes it sent and received. Says
"ready" when all is done, and waits for the end of its standard input.
"""

import ctypes
import json
import mmap
import os
import signal
import socket
import struct
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
LEDGER, FOLDER = sys.argv[1:3]
MARK = os.path.basename(FOLDER).encode()
IPC_PRIVATE, IPC_CREAT, IPC_RMID = 0, 0o1000, 0
SYS_FUTEX = {"x86_64": 202, "aarch64": 98}[os.uname().machine]
ledger = os.open(LEDGER, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
steps = {}
COUNT = 7  # of most operations
READ = ("0", "63")  # on x86-64, and on others
PAUSE = ("34", "73")  # where there is no pause(2), it is ppoll(2)


def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def did(kind, **what):
    """Beside the ledger's own write, which is to a regular file, this makes no call."""
    os.write(ledger, json.dumps({"kind": kind, "pid": os.getpid(), **what}).encode() + b"\n")


class Step:
    """One process waits until the other has come so far; by signals and files it would be traffic too."""

    def __init__(self):
        self.flag = mmap.mmap(-1, 4096)

    def done(self):
        self.flag[0] = 1

    def wait(self, seconds=20):
        end = time.monotonic() + seconds
        while not self.flag[0]:
            if time.monotonic() > end:
                raise TimeoutError("a step was not reached")
            time.sleep(0.001)


def step(name):
    return steps[name]


def asleep_in(pid, *calls):
    """Waits until that thread sleeps in one of these system calls (proc_pid_syscall(5))."""
    end = time.monotonic() + 20
    while True:
        with open(f"/proc/{pid}/syscall") as file:
            if file.read().split()[0] in calls:
                return
        if time.monotonic() > end:
            raise TimeoutError(f"{pid} does not sleep in any of {calls}")
        time.sleep(0.001)


def inode(fd):
    return os.fstat(fd).st_ino


def place(fd):
    status = os.fstat(fd)
    return f"{status.st_dev}:{status.st_ino}"


# What anna does, and what bert does with it.


def anna_pipe(shared):
    fd = shared["pipe"][1]
    asleep_in(shared["bert"].value, *READ)
    for _ in range(COUNT):
        os.write(fd, b"x" * 100)
    os.writev(fd, [b"y" * 30, b"z" * 70])
    did("pipe", fd=fd, id=str(inode(fd)), sent=[COUNT + 1, 100 * COUNT + 100], received=[0, 0])


def bert_pipe(shared):
    fd = shared["pipe"][0]
    for _ in range(COUNT + 1):
        assert len(os.read(fd, 100)) == 100
    did("pipe", fd=fd, id=str(inode(fd)), sent=[0, 0], received=[COUNT + 1, 100 * COUNT + 100])


def anna_moved(shared):
    """sendfile, vmsplice and tee into one pipe, splice from there into another."""
    (source_r, source_w), (_, target_w) = shared["source"], shared["target"]
    with open(f"{FOLDER}/data", "w+b") as file:
        file.write(b"d" * 300)
        file.flush()
        assert os.sendfile(source_w, file.fileno(), 0, 300) == 300
    buffer = ctypes.create_string_buffer(b"v" * 200, 200)
    vector = struct.pack("@PN", ctypes.addressof(buffer), 200)
    assert check(libc.vmsplice(source_w, ctypes.create_string_buffer(vector), ctypes.c_ulong(1), 0)) == 200
    assert check(libc.tee(source_r, target_w, ctypes.c_size_t(500), 0)) == 500
    assert check(libc.splice(source_r, None, target_w, None, ctypes.c_size_t(500), 0)) == 500
    did("pipe", fd=source_w, id=str(inode(source_w)), sent=[2, 500], received=[0, 0])
    did("pipe", fd=source_r, id=str(inode(source_r)), sent=[0, 0], received=[1, 500])
    did("pipe", fd=target_w, id=str(inode(target_w)), sent=[2, 1000], received=[0, 0])
    step("moved").done()


def bert_moved(shared):
    step("moved").wait()
    fd = shared["target"][0]
    assert len(os.read(fd, 4096)) == 1000
    did("pipe", fd=fd, id=str(inode(fd)), sent=[0, 0], received=[1, 1000])


def anna_fifo(shared):
    fd = os.open(f"{FOLDER}/fifo", os.O_WRONLY)
    for _ in range(COUNT):
        os.write(fd, b"f" * 50)
    did("fifo", fd=fd, id=place(fd), name=f"{FOLDER}/fifo", sent=[COUNT, 50 * COUNT], received=[0, 0])


def bert_fifo(shared):
    fd = os.open(f"{FOLDER}/fifo", os.O_RDONLY)
    for _ in range(COUNT):
        assert len(os.read(fd, 50)) == 50
    did("fifo", fd=fd, id=place(fd), name=f"{FOLDER}/fifo", sent=[0, 0], received=[COUNT, 50 * COUNT])


def pair_of(one, other):
    return "-".join(map(str, sorted((one, other))))


def anna_pair(shared):
    """A message peeked at is not received by that."""
    one, _ = shared["pair"]
    for _ in range(COUNT):
        one.sendmsg([b"s" * 150, b"t" * 50])
    assert one.recv(10, socket.MSG_WAITALL) == b"r" * 10
    did("unix", fd=one.fileno(), id=shared["pair_id"], sent=[COUNT, 200 * COUNT], received=[1, 10])


def bert_pair(shared):
    _, other = shared["pair"]
    assert len(other.recv(10, socket.MSG_PEEK)) == 10
    for _ in range(COUNT):
        assert len(other.recv(200, socket.MSG_WAITALL)) == 200
    other.send(b"r" * 10)
    did("unix", fd=other.fileno(), id=shared["pair_id"], sent=[1, 10], received=[COUNT, 200 * COUNT])


def anna_unix(shared):
    """Through a socket that has a path; the first is sent before anybody has accepted."""
    client = socket.socket(socket.AF_UNIX)
    step("unix listens").wait()
    client.connect(f"{FOLDER}/socket")
    for _ in range(COUNT):
        client.send(b"u" * 30)
    step("unix sent").done()
    step("unix accepted").wait()
    client.send(b"u" * 30)
    told = [COUNT + 1, 30 * (COUNT + 1)]
    did("unix", fd=client.detach(), id=None, name=f"{FOLDER}/socket", sent=told, received=[0, 0])


def bert_unix(shared):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{FOLDER}/socket")
    listener.listen()
    step("unix listens").done()
    step("unix sent").wait()
    server, _ = listener.accept()
    step("unix accepted").done()
    for _ in range(COUNT + 1):
        assert len(server.recv(30, socket.MSG_WAITALL)) == 30
    told = [COUNT + 1, 30 * (COUNT + 1)]
    did("unix", fd=server.detach(), id=None, name=f"{FOLDER}/socket", sent=[0, 0], received=told)
    listener.detach()


def anna_dgram(shared):
    """To an abstract name; one message is empty."""
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    step("dgram").wait()
    for _ in range(COUNT):
        sender.sendto(b"d" * 20, b"\0" + MARK)
    sender.sendto(b"", b"\0" + MARK)
    did("unix", fd=sender.detach(), id=None, name="@" + MARK.decode(), sent=[COUNT + 1, 20 * COUNT],
        received=[0, 0])  # fmt: skip


def bert_dgram(shared):
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(b"\0" + MARK)
    step("dgram").done()
    for number in range(COUNT + 1):
        assert len(receiver.recv(100)) == (20 if number < COUNT else 0)
    did("unix", fd=receiver.fileno(), id=str(inode(receiver.fileno())), name="@" + MARK.decode(),
        sent=[0, 0], received=[COUNT + 1, 20 * COUNT])  # fmt: skip
    receiver.detach()


def tcp(name, family, host):
    def anna(shared):
        client = socket.socket(family)
        step(name).wait()
        with open(f"{FOLDER}/{name}") as file:
            client.connect(tuple(json.load(file)))
        for _ in range(COUNT):
            client.sendall(b"t" * 1000)
        text = [f"[{a}]:{p}" if ":" in a else f"{a}:{p}" for a, p, *_ in
                (client.getsockname(), client.getpeername())]  # fmt: skip
        did("tcp", fd=client.detach(), id=None, name=" → ".join(text), sent=[COUNT, 1000 * COUNT],
            received=[0, 0])  # fmt: skip

    def bert(shared):
        listener = socket.create_server((host, 0), family=family)
        with open(f"{FOLDER}/{name}", "w") as file:
            json.dump(listener.getsockname()[:2], file)
        step(name).done()
        server, _ = listener.accept()
        for _ in range(COUNT):
            assert len(server.recv(1000, socket.MSG_WAITALL)) == 1000
        text = [f"[{a}]:{p}" if ":" in a else f"{a}:{p}" for a, p, *_ in
                (server.getpeername(), server.getsockname())]  # fmt: skip
        did("tcp", fd=server.detach(), id=None, name=" → ".join(text), sent=[0, 0],
            received=[COUNT, 1000 * COUNT])  # fmt: skip
        listener.detach()

    return anna, bert


class Messages:
    """sendmmsg(2) and recvmmsg(2) of several messages of a size."""

    def __init__(self, number, size):
        self.number = number
        self.data = ctypes.create_string_buffer(number * size)
        self.vectors = (ctypes.c_char * (16 * number))()
        self.headers = (ctypes.c_char * (64 * number))()
        for i in range(number):
            struct.pack_into("@PN", self.vectors, 16 * i, ctypes.addressof(self.data) + i * size, size)
            at = ctypes.addressof(self.vectors) + 16 * i
            struct.pack_into("@PI4xPNPNi4xI4x", self.headers, 64 * i, 0, 0, at, 1, 0, 0, 0, 0)

    def send(self, fd):
        assert check(libc.sendmmsg(fd, self.headers, self.number, 0)) == self.number

    def receive(self, fd):
        assert check(libc.recvmmsg(fd, self.headers, self.number, 0, None)) == self.number


def anna_udp(shared):
    """By address, then connected, several messages with one call."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    step("udp").wait()
    with open(f"{FOLDER}/udp") as file:
        there = tuple(json.load(file))
    for _ in range(COUNT):
        sender.sendto(b"u" * 64, there)
    sender.connect(there)
    Messages(5, 40).send(sender.fileno())
    name = "{}:{}".format(*there)
    did("udp", fd=sender.detach(), id=None, name=name, sent=[COUNT + 5, 64 * COUNT + 200], received=[0, 0])
    step("udp sent").done()


def bert_udp(shared):
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    with open(f"{FOLDER}/udp", "w") as file:
        json.dump(receiver.getsockname(), file)
    step("udp").done()
    for _ in range(COUNT):
        assert len(receiver.recv(100)) == 64
    step("udp sent").wait()
    Messages(5, 100).receive(receiver.fileno())
    name = "{}:{}".format(*receiver.getsockname())
    did("udp", fd=receiver.fileno(), id=str(inode(receiver.fileno())), name=name,
        sent=[0, 0], received=[COUNT + 5, 64 * COUNT + 200])  # fmt: skip
    receiver.detach()


def mq_open(flags):
    attributes = struct.pack("@8l", 0, 4, 128, 0, 0, 0, 0, 0)
    libc.mq_open.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p]
    return check(libc.mq_open(b"/" + MARK, flags | os.O_CREAT, 0o600, attributes))


def anna_mqueue(shared):
    queue = mq_open(os.O_WRONLY)
    for _ in range(COUNT):
        check(libc.mq_send(queue, b"q" * 30, ctypes.c_size_t(30), 1))
    did("mqueue", fd=queue, id=place(queue), name="/" + MARK.decode(), sent=[COUNT, 30 * COUNT],
        received=[0, 0])  # fmt: skip


def bert_mqueue(shared):
    queue = mq_open(os.O_RDONLY)
    buffer = ctypes.create_string_buffer(128)
    for _ in range(COUNT):
        assert check(libc.mq_receive(queue, buffer, ctypes.c_size_t(128), None)) == 30
    did("mqueue", fd=queue, id=place(queue), name="/" + MARK.decode(), sent=[0, 0],
        received=[COUNT, 30 * COUNT])  # fmt: skip


def anna_msg(shared):
    """One message is empty."""
    message = ctypes.create_string_buffer(struct.pack("@l", 1) + b"m" * 40)
    for _ in range(COUNT):
        check(libc.msgsnd(shared["msg"], message, ctypes.c_size_t(40), 0))
    check(libc.msgsnd(shared["msg"], message, ctypes.c_size_t(0), 0))
    did("sysv-msg", fd=None, id=str(shared["msg"]), sent=[COUNT + 1, 40 * COUNT], received=[0, 0])


def bert_msg(shared):
    buffer = ctypes.create_string_buffer(100)
    for number in range(COUNT + 1):
        length = check(libc.msgrcv(shared["msg"], buffer, ctypes.c_size_t(64), ctypes.c_long(0), 0))
        assert length == (40 if number < COUNT else 0)
    did("sysv-msg", fd=None, id=str(shared["msg"]), sent=[0, 0], received=[COUNT + 1, 40 * COUNT])


def semop(which, change):
    check(libc.semop(which, struct.pack("=HhH", 0, change, 0), ctypes.c_size_t(1)))


def anna_sem(shared):
    for _ in range(COUNT):
        semop(shared["sem"], 1)
    did("sysv-sem", fd=None, id=str(shared["sem"]), calls=COUNT)


def bert_sem(shared):
    for _ in range(COUNT):
        semop(shared["sem"], -1)
    did("sysv-sem", fd=None, id=str(shared["sem"]), calls=COUNT)


def attach(shared):
    libc.shmat.restype = ctypes.c_void_p
    for _ in range(3):
        address = libc.shmat(shared["shm"], None, 0)
        check(libc.shmdt(ctypes.c_void_p(address)))
    did("sysv-shm", fd=None, id=str(shared["shm"]), calls=6)


def anna_eventfd(shared):
    fd = shared["eventfd"]
    for _ in range(COUNT):
        os.write(fd, struct.pack("=Q", 1))
    did("eventfd", fd=fd, id=eventfd_id(fd), sent=[COUNT, 8 * COUNT], received=[0, 0])


def bert_eventfd(shared):
    fd = shared["eventfd"]
    for _ in range(COUNT):
        os.read(fd, 8)
    did("eventfd", fd=fd, id=eventfd_id(fd), sent=[0, 0], received=[COUNT, 8 * COUNT])


def eventfd_id(fd):
    with open(f"/proc/self/fdinfo/{fd}") as file:
        return dict(line.split(":") for line in file)["eventfd-id"].strip()


def futex(address, operation, value):
    return check(libc.syscall(SYS_FUTEX, ctypes.c_void_p(address), operation, value, None, None, 0))


def anna_futex(shared):
    """Sleeps three times, until bert wakes it; twice there is nothing to wait for."""
    did("futex", fd=None, id=None, calls=3, direction="wait")
    for _ in range(3):
        futex(shared["futex"], 0, 0)
    for _ in range(2):
        assert libc.syscall(SYS_FUTEX, ctypes.c_void_p(shared["futex"]), 0, 1, None, None, 0) == -1


def bert_futex(shared):
    assert futex(shared["futex"] + 4, 1, 1) == 0  # where nobody waits
    for _ in range(3):
        while futex(shared["futex"], 1, 1) == 0:
            time.sleep(0.001)
    did("futex", fd=None, id=None, calls=3, direction="wake")


def anna_signals(shared):
    """Handled, ignored, held back and taken, merged, deadly."""
    bert = shared["bert"].value
    for number in range(COUNT):
        step(f"signal {number}").wait()
        os.kill(bert, signal.SIGUSR1)
    step("ignores").wait()
    for _ in range(3):
        os.kill(bert, signal.SIGUSR2)
    step("blocks").wait()
    for _ in range(4):
        os.kill(bert, signal.SIGRTMIN + 3)
    for _ in range(2):
        os.kill(bert, signal.SIGHUP)
    step("sent").done()
    child = os.fork()
    if child == 0:
        signal.pause()
    asleep_in(child, *PAUSE)
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
    did("signal", receiver=child, number=signal.SIGTERM, actions={"default": 1})
    did("signal", receiver=bert, number=signal.SIGUSR1, actions={"handler": COUNT})
    did("signal", receiver=bert, number=signal.SIGUSR2, actions={"ignored": 3})
    did("signal", receiver=bert, number=signal.SIGRTMIN + 3, actions={"waited": 4})
    did("signal", receiver=bert, number=signal.SIGHUP, actions={"waited": 1, "merged": 1})


def bert_signals(shared):
    handled = []
    signal.signal(signal.SIGUSR1, lambda *_: handled.append(1))
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    taken = {signal.SIGRTMIN + 3, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, taken)
    for number in range(COUNT):
        step(f"signal {number}").done()
        while len(handled) <= number:
            time.sleep(0.001)
    step("ignores").done()
    step("blocks").done()
    step("sent").wait()
    for _ in range(2):
        assert signal.sigwait([signal.SIGRTMIN + 3]) == signal.SIGRTMIN + 3
    mask = (ctypes.c_ulong * 16)()
    for number in taken:
        libc.sigaddset(mask, int(number))
    fd = check(libc.signalfd(-1, mask, 0))
    assert len(os.read(fd, 4096)) == 3 * 128


CHAPTERS = {
    "pipe": (anna_pipe, bert_pipe), "moved": (anna_moved, bert_moved), "fifo": (anna_fifo, bert_fifo),
    "pair": (anna_pair, bert_pair), "unix": (anna_unix, bert_unix), "dgram": (anna_dgram, bert_dgram),
    "tcp4": tcp("tcp4", socket.AF_INET, "127.0.0.1"), "tcp6": tcp("tcp6", socket.AF_INET6, "::1"),
    "udp": (anna_udp, bert_udp), "mqueue": (anna_mqueue, bert_mqueue), "msg": (anna_msg, bert_msg),
    "sem": (anna_sem, bert_sem), "shm": (attach, attach), "eventfd": (anna_eventfd, bert_eventfd),
    "futex": (anna_futex, bert_futex), "signals": (anna_signals, bert_signals),
}  # fmt: skip


def main():
    os.mkfifo(f"{FOLDER}/fifo")
    memory = mmap.mmap(-1, 4096)
    shared = {
        "pipe": os.pipe(), "source": os.pipe(), "target": os.pipe(), "pair": socket.socketpair(),
        "eventfd": check(libc.eventfd(0, 1)),  # EFD_SEMAPHORE
        "msg": check(libc.msgget(IPC_PRIVATE, 0o600 | IPC_CREAT)),
        "sem": check(libc.semget(IPC_PRIVATE, 1, 0o600 | IPC_CREAT)),
        "shm": check(libc.shmget(IPC_PRIVATE, 5000, 0o600 | IPC_CREAT)),
        "futex": ctypes.addressof(ctypes.c_uint32.from_buffer(memory)),
        "anna": ctypes.c_int32.from_buffer(memory, 64), "bert": ctypes.c_int32.from_buffer(memory, 128),
    }  # fmt: skip
    shared["pair_id"] = pair_of(*(inode(one.fileno()) for one in shared["pair"]))
    names = [
        *("moved", "unix listens", "unix sent", "unix accepted", "dgram", "tcp4", "tcp6", "udp", "udp sent"),
        *("ignores", "blocks", "sent"), *(f"signal {number}" for number in range(COUNT)),
        *(f"{name} {role}" for name in CHAPTERS for role in ("anna", "bert")),
        *("anna", "bert", "end"),
    ]  # fmt: skip
    steps.update((name, Step()) for name in names)
    pids = []
    try:
        for place_of, role in enumerate(("anna", "bert")):
            pid = os.fork()
            if pid == 0:
                libc.prctl(15, role.encode(), 0, 0, 0)  # PR_SET_NAME
                shared[role].value = os.getpid()
                try:
                    for name, chapter in CHAPTERS.items():
                        step(f"{name} {role}").done()
                        step(f"{name} {'bert' if role == 'anna' else 'anna'}").wait()
                        chapter[place_of](shared)
                    step(role).done()
                    step("end").wait(60)
                    os._exit(0)
                except BaseException as error:
                    print(role, repr(error), file=sys.stderr, flush=True)
                    os._exit(1)
            pids.append(pid)
        step("anna").wait(30)
        step("bert").wait(30)
        print("ready", flush=True)
        sys.stdin.read()
        step("end").done()
    except TimeoutError:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        raise
    finally:
        for pid in pids:
            os.waitpid(pid, 0)
        libc.msgctl(shared["msg"], IPC_RMID, None)
        libc.semctl(shared["sem"], 0, IPC_RMID)
        libc.shmctl(shared["shm"], IPC_RMID, None)
        libc.mq_unlink(b"/" + MARK)


main()
