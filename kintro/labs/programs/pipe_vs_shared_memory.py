"""Sends messages to a child: first through a pipe, then through memory that both share.

python3 pipe_vs_shared_memory.py MESSAGES PAGES
"""

import ctypes
import mmap
import os
import signal
import sys

LIFE_S = 3600  # so that nothing stays for ever
MESSAGE = b"m" * 1024


def tell(**facts: int) -> None:
    """Says something and waits to be told to go on."""
    print(*(f"{name} {value}" for name, value in facts.items()), flush=True)
    if not sys.stdin.readline():
        sys.exit()


signal.alarm(LIFE_S)
messages, pages = map(int, sys.argv[1:])
memory = mmap.mmap(-1, pages * mmap.PAGESIZE)  # MAP_SHARED
pipe_read, pipe_write = os.pipe()
ask_read, ask_write = os.pipe()
done_read, done_write = os.pipe()
child = os.fork()
if child == 0:
    signal.alarm(LIFE_S)
    os.close(ask_write)
    os.close(pipe_write)
    left = messages * len(MESSAGE)
    while left:
        piece = os.read(pipe_read, 1 << 16)
        if not piece:  # the parent is gone
            os._exit(1)
        left -= len(piece)
    os.write(done_write, b"!")
    os.read(ask_read, 1)
    for page in range(pages):
        assert memory[page * mmap.PAGESIZE] == MESSAGE[0]
    os.write(done_write, b"!")
    os.read(ask_read, 1)
    os._exit(0)

tell(child_pid=child, memory_address=ctypes.addressof(ctypes.c_char.from_buffer(memory)))
for _ in range(messages):
    os.write(pipe_write, MESSAGE)
os.read(done_read, 1)
tell(child_pid=child)
for _ in range(messages):
    for page in range(pages):
        start = page * mmap.PAGESIZE
        memory[start : start + len(MESSAGE)] = MESSAGE
os.write(ask_write, b"!")  # one word that all is there
os.read(done_read, 1)
tell(child_pid=child)
