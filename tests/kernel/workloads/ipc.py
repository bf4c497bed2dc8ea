"""Two processes, Anna and Bert, that share a channel of each kind with known ends and contents; and Carl.

ipc.py LEDGER FOLDER [MARK]: writes into the ledger who has which end of what, as JSON Lines, then `ready` to
standard output, and waits until standard input ends. MARK tells names that all of the machine see apart.
"""

import ctypes
import fcntl
import json
import mmap
import os
import signal
import socket
import struct
import sys

LEDGER, FOLDER = sys.argv[1:3]
MARK = sys.argv[3] if len(sys.argv) > 3 else str(os.getpid())
IPC_CREAT, IPC_RMID, IPC_NOWAIT = 0o1000, 0, 0o4000
SHM = f"/dev/shm/kintro-shm-{MARK}"
READ_WRITE = mmap.PROT_READ | mmap.PROT_WRITE
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.mmap.restype = libc.sem_open.restype = ctypes.c_void_p
ledger = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
kept = []  # what must stay open


def check(result):
    if result is None or result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def note(**what):
    os.write(ledger, (json.dumps(what) + "\n").encode())


def end(channel, kind, role, fd=None):
    """This process has an end. A channel is told by a word of this workload's own."""
    note(what="end", channel=channel, kind=kind, role=role, fd=fd, pid=os.getpid())


def has(channel, **facts):
    """What the channel itself is to be told as having."""
    note(what="channel", channel=channel, facts=facts)


def keep(thing):
    kept.append(thing)
    return thing


def inode(fd):
    return os.fstat(fd).st_ino


def identity(status):
    return f"{status.st_dev}:{status.st_ino}"


class Step:
    """Lets processes wait for one another: each byte read is one process that has come so far."""

    def __init__(self):
        self.reader, self.writer = os.pipe()

    def done(self, times=1):
        os.write(self.writer, b"." * times)

    def wait(self, times=1):
        while times:
            times -= len(os.read(self.reader, times))


def mq_open(name, flags):
    attributes = struct.pack("8l", 0, 5, 64, 0, 0, 0, 0, 0)
    return check(libc.mq_open(name, flags, 0o600, attributes))


def name_of(kind):
    return f"/kintro-{kind}-{MARK}".encode()


def queue_message(identifier, text):
    message = struct.pack("l", 1) + text
    check(libc.msgsnd(identifier, message, len(text), IPC_NOWAIT))


def semop(identifier, number, amount):
    check(libc.semop(identifier, struct.pack("HhH", number, amount, 0), 1))


def map_shared(fd, length, access):
    """Without the copy of the descriptor that the module mmap keeps."""
    assert libc.mmap(None, length, access, mmap.MAP_SHARED, fd, 0) != ctypes.c_void_p(-1).value
    os.close(fd)


def anna(shared, steps):
    for fd in (shared["pipe"][0], shared["peer"][1].detach()):
        os.close(fd)
    end("pipe", "pipe", "write", shared["pipe"][1])
    os.write(shared["pipe"][1], b"thirteen here")
    has("pipe", id=str(inode(shared["pipe"][1])), bytes=13)
    peer = shared["peer"][0]
    end("peer", "unix", "peer", peer.fileno())
    peer.send(b"seven b")
    has("peer", bytes=7, type="stream", listener=None)
    end("memfd", "memfd", "mapped read-write")
    map_shared(shared["memfd"], 8192, READ_WRITE)
    has("memfd", name="kintro-memfd", bytes=8192)
    end("eventfd", "eventfd", "holder", shared["eventfd"])
    os.write(shared["eventfd"], struct.pack("Q", 0x1A))
    has("eventfd", count=0x1A)
    end("anon", "anon", "mapped read-write")
    has("anon", bytes=12288)
    # Bert is where he listens.
    steps["listening"].wait()
    end("fifo", "fifo", "write", keep(os.open(f"{FOLDER}/fifo", os.O_WRONLY)))
    os.write(kept[-1], b"five!")
    has("fifo", bytes=5, name=f"{FOLDER}/fifo", id=identity(os.stat(f"{FOLDER}/fifo")))
    client = keep(socket.socket(socket.AF_UNIX))
    client.connect(f"{FOLDER}/socket")
    end("unix", "unix", "client", client.fileno())
    datagrams = keep(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    datagrams.connect("\0" + name_of("dgram").decode())
    end("dgram", "unix", "sender", datagrams.fileno())
    for version in ("4", "6"):
        with open(f"{FOLDER}/tcp{version}") as file:
            address = json.load(file)
        tcp = keep(socket.create_connection(address[:2]))
        tcp.sendall(b"eleven byte")
        end(f"tcp{version}", "tcp", "client", tcp.fileno())
    with open(f"{FOLDER}/udp") as file:
        address = tuple(json.load(file))
    udp = keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    udp.connect(address)
    end("udp", "udp", "sender", udp.fileno())
    queue = mq_open(name_of("mq"), os.O_WRONLY)
    end("mqueue", "mqueue", "write", queue)
    for text in (b"abc", b"defg"):
        check(libc.mq_send(queue, text, len(text), 0))
    has("mqueue", name=name_of("mq").decode(), bytes=7, messages=2, messages_max=5, message_bytes_max=64)
    for text in (b"x" * 20, b"y" * 30):
        queue_message(shared["msg"], text)
    end("msg", "sysv-msg", "last sender")
    semop(shared["sem"], 0, 4)
    end("sem", "sysv-sem", "last operator")
    check(libc.shmat(shared["shm"], None, 0))
    end("shm", "sysv-shm", "mapped read-write")
    map_shared(os.open(SHM, os.O_RDWR), 4096, READ_WRITE)
    end("posix-shm", "shm", "mapped read-write")
    has("posix-shm", name=name_of("shm").decode(), bytes=4096)
    check(libc.sem_open(name_of("sem"), 0))
    end("posix-sem", "sem", "mapped read-write")
    has("posix-sem", name=name_of("sem").decode())
    map_shared(os.open(f"{FOLDER}/file", os.O_RDWR), 4096, READ_WRITE)
    end("file", "file", "mapped read-write")
    with open(f"{FOLDER}/bert") as file:
        bert_pid = int(file.read())
    end("pidfd", "pidfd", "holder", keep(os.pidfd_open(bert_pid)))
    has("pidfd", target_ns_pid=bert_pid)
    os.kill(bert_pid, signal.SIGUSR1)
    os.kill(bert_pid, signal.SIGUSR2)
    steps["sent"].done(2)


def bert(shared, steps):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2})
    end("signal", "signal", "receiver")
    has(
        "signal", messages=2, signals=["SIGUSR1", "SIGUSR2"], to_process=["SIGUSR1", "SIGUSR2"], to_threads=[]
    )
    for fd in (shared["pipe"][1], shared["peer"][0].detach()):
        os.close(fd)
    end("pipe", "pipe", "read", shared["pipe"][0])
    end("peer", "unix", "peer", shared["peer"][1].fileno())
    end("memfd", "memfd", "read-write", shared["memfd"])
    end("eventfd", "eventfd", "holder", shared["eventfd"])
    end("anon", "anon", "mapped read-write")
    reader = keep(os.open(f"{FOLDER}/fifo", os.O_RDONLY | os.O_NONBLOCK))
    end("fifo", "fifo", "read", reader)
    listener = keep(socket.socket(socket.AF_UNIX))
    listener.bind(f"{FOLDER}/socket")
    listener.listen()
    end("listener", "unix", "listener", listener.fileno())
    has(
        "listener",
        name=f"{FOLDER}/socket",
        state="listen",
        clients_waiting=1,
        id=str(inode(listener.fileno())),
    )
    receiver = keep(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    receiver.bind("\0" + name_of("dgram").decode())
    end("dgram", "unix", "receiver", receiver.fileno())
    has("dgram", name="@" + name_of("dgram").decode(), type="dgram", bytes=0)
    servers = {}
    for version, family, host in (("4", socket.AF_INET, "127.0.0.1"), ("6", socket.AF_INET6, "::1")):
        server = keep(socket.create_server((host, 0), family=family))
        servers[version] = server
        with open(f"{FOLDER}/tcp{version}", "w") as file:
            json.dump(server.getsockname(), file)
        end(f"tcp{version}-listener", "tcp", "listener", server.fileno())
        has(f"tcp{version}-listener", id=str(inode(server.fileno())), state="listen", clients_waiting=0)
    udp = keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    udp.bind(("127.0.0.1", 0))
    with open(f"{FOLDER}/udp", "w") as file:
        json.dump(udp.getsockname(), file)
    end("udp", "udp", "receiver", udp.fileno())
    has("udp", bytes=0, messages=None, name=f"127.0.0.1:{udp.getsockname()[1]}")
    queue = mq_open(name_of("mq"), os.O_RDONLY | os.O_CREAT)
    end("mqueue", "mqueue", "read", queue)
    sem = libc.sem_open(name_of("sem"), os.O_CREAT, 0o600, 1)
    assert sem
    end("posix-sem", "sem", "mapped read-write")
    for path in (SHM, f"{FOLDER}/file"):
        with open(path, "wb") as file:
            file.truncate(4096)
        map_shared(os.open(path, os.O_RDONLY), 4096, mmap.PROT_READ)
    end("posix-shm", "shm", "mapped read")
    end("file", "file", "mapped read")
    has("file", name=f"{FOLDER}/file", bytes=4096)
    mask = (ctypes.c_ulong * 16)()
    libc.sigaddset(mask, signal.SIGHUP)
    signals = check(libc.signalfd(-1, mask, 0))
    end("signalfd", "signalfd", "receiver", signals)
    has("signalfd", signals=["SIGHUP"])
    check(libc.shmat(shared["shm"], None, 0o10000))  # SHM_RDONLY
    end("shm", "sysv-shm", "mapped read")
    has("shm", id=str(shared["shm"]), bytes=5000, attached=2, attached_unseen=0)
    semop(shared["sem"], 1, 9)
    end("sem", "sysv-sem", "last operator")
    has("sem", id=str(shared["sem"]), values=[4, 9, 0], semaphores=3, waiting=0)
    with open(f"{FOLDER}/bert", "w") as file:
        file.write(str(os.getpid()))
    end("pidfd", "pidfd", "target")
    steps["listening"].done()
    accepted = keep(listener.accept()[0])
    end("unix", "unix", "server", accepted.fileno())
    has("unix", name=f"{FOLDER}/socket", type="stream", listener=str(inode(listener.fileno())), bytes=0)
    for version, server in servers.items():
        connection = keep(server.accept()[0])
        end(f"tcp{version}", "tcp", "server", connection.fileno())
        has(f"tcp{version}", bytes=11, state="established", listener=str(inode(server.fileno())))
    steps["sent"].wait()
    buffer = ctypes.create_string_buffer(100)
    assert libc.msgrcv(shared["msg"], buffer, 64, 0, 0) == 20
    end("msg", "sysv-msg", "last receiver")
    has("msg", id=str(shared["msg"]), bytes=30, messages=1)
    steps["accepted"].done()


def carl(shared, steps):
    """Has asked to be accepted, and is not."""
    for fd in (*shared["pipe"], shared["memfd"], shared["eventfd"], *(s.detach() for s in shared["peer"])):
        os.close(fd)
    end("anon", "anon", "mapped read-write")
    steps["sent"].wait()
    steps["accepted"].wait()
    client = keep(socket.socket(socket.AF_UNIX))
    client.connect(f"{FOLDER}/socket")
    end("listener", "unix", "waiting", client.fileno())


def bring_up_loopback():
    """In a new network namespace it is down."""
    with socket.socket() as any_socket:
        flags = fcntl.ioctl(any_socket, 0x8913, struct.pack("16sh22x", b"lo", 0))  # SIOCGIFFLAGS
        if not struct.unpack("16sh22x", flags)[1] & 1:  # IFF_UP
            fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh22x", b"lo", 1))  # SIOCSIFFLAGS


def main():
    bring_up_loopback()
    os.mkfifo(f"{FOLDER}/fifo")
    shared = {
        "pipe": os.pipe(),
        "peer": socket.socketpair(),
        "memfd": os.memfd_create("kintro-memfd"),
        "eventfd": check(libc.eventfd(0, 0)),
        "anon": mmap.mmap(-1, 12288),
        "msg": check(libc.msgget(0, 0o600 | IPC_CREAT)),
        "sem": check(libc.semget(0, 3, 0o600 | IPC_CREAT)),
        "shm": check(libc.shmget(0, 5000, 0o600 | IPC_CREAT)),
    }
    os.ftruncate(shared["memfd"], 8192)
    steps = {name: Step() for name in ("listening", "sent", "accepted", "ready")}
    end("anon", "anon", "mapped read-write")
    pids = []
    try:
        for role in (anna, bert, carl):
            pid = os.fork()
            if pid == 0:
                libc.prctl(15, role.__name__.encode(), 0, 0, 0)  # PR_SET_NAME
                try:
                    role(shared, steps)
                    steps["ready"].done()
                    sys.stdin.read()
                    os._exit(0)
                except BaseException as error:
                    print(role.__name__, repr(error), file=sys.stderr, flush=True)
                    os._exit(1)
            pids.append(pid)
        for fd in (
            *shared["pipe"],
            shared["memfd"],
            shared["eventfd"],
            *(s.detach() for s in shared["peer"]),
        ):
            os.close(fd)
        steps["ready"].wait(3)
        print("ready", flush=True)
        sys.stdin.read()
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        libc.msgctl(shared["msg"], IPC_RMID, None)
        libc.semctl(shared["sem"], 0, IPC_RMID)
        libc.shmctl(shared["shm"], IPC_RMID, None)
        libc.mq_unlink(name_of("mq"))
        for name in ("sem.kintro-sem-" + MARK, "kintro-shm-" + MARK):
            if os.path.exists(f"/dev/shm/{name}"):
                os.unlink(f"/dev/shm/{name}")


main()
