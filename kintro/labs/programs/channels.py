"""A writer and a reader with a pipe and a socket between them. The reader does not read; the writer ends.

python3 channels.py PIPE_BYTES SOCKET_BYTES READER_FIRST
"""

import os
import signal
import socket
import sys

LIFE_S = 3600  # so that nothing stays for ever


def tell(**facts: int) -> None:
    """Says something and waits to be told to go on."""
    print(*(f"{name} {value}" for name, value in facts.items()), flush=True)
    if not sys.stdin.readline():
        sys.exit()


def write() -> None:
    """What the writer does: it writes, says so, and ends when it is told to."""
    os.close(pipe_read)
    reader_end.close()
    os.close(end_write)
    os.write(pipe_write, b"p" * pipe_bytes)
    writer_end.send(b"s" * socket_bytes)
    os.write(ready_write, b"!")
    os.read(end_read, 1)


def read() -> None:
    """What the reader does: nothing."""
    os.close(pipe_write)
    writer_end.close()
    signal.pause()


signal.alarm(LIFE_S)
pipe_bytes, socket_bytes, reader_first = map(int, sys.argv[1:])
pipe_read, pipe_write = os.pipe()
ready_read, ready_write = os.pipe()
end_read, end_write = os.pipe()
writer_end, reader_end = socket.socketpair()
children = []
for play in (read, write) if reader_first else (write, read):
    child = os.fork()
    if child == 0:
        signal.alarm(LIFE_S)
        play()
        os._exit(0)
    children.append(child)

inodes = {"pipe_inode": os.fstat(pipe_read).st_ino, "socket_inode": os.fstat(reader_end.fileno()).st_ino}
for end in (pipe_read, pipe_write):
    os.close(end)
writer_end.close()
reader_end.close()
os.read(ready_read, 1)
tell(first_pid=children[0], second_pid=children[1], **inodes)
os.write(end_write, b"!")
os.waitpid(children[reader_first], 0)
tell(**inodes)
