"""Fills memory, forks, and has the child write to some of the pages.

python3 fork_and_frames.py PAGES WRITTEN
"""

import ctypes
import mmap
import os
import random
import signal
import sys


def tell(**facts: int) -> None:
    """Says something and waits to be told to go on."""
    print(*(f"{name} {value}" for name, value in facts.items()), flush=True)
    if not sys.stdin.readline():
        sys.exit()


LIFE_S = 3600  # so that nothing stays for ever
PAGE = mmap.PAGESIZE
pages, written = map(int, sys.argv[1:])
memory = mmap.mmap(-1, pages * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)  # a huge page would be copied in one piece
for page in range(pages):
    memory[page * PAGE] = 1

ask_read, ask_write = os.pipe()
done_read, done_write = os.pipe()
child = os.fork()
signal.alarm(LIFE_S)
if child == 0:
    os.close(ask_write)
    if os.read(ask_read, 1):
        for page in random.sample(range(pages), written):
            memory[page * PAGE] = 2
        os.write(done_write, b"!")
        os.read(ask_read, 1)  # until the parent has ended
    os._exit(0)

tell(child_pid=child, memory_address=ctypes.addressof(ctypes.c_char.from_buffer(memory)))
os.write(ask_write, b"!")
os.read(done_read, 1)
tell(child_pid=child)
