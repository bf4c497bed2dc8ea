"""Maps memory and touches some of it.

python3 address_space.py PAGES TOUCHED
"""

import ctypes
import mmap
import random
import signal
import sys


def tell(**facts: int) -> None:
    """Says something and waits to be told to go on."""
    print(*(f"{name} {value}" for name, value in facts.items()), flush=True)
    if not sys.stdin.readline():
        sys.exit()


signal.alarm(3600)  # so that nothing stays for ever
pages, touched = map(int, sys.argv[1:])
memory = mmap.mmap(-1, pages * mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)  # a huge page would be there as a whole
for page in random.sample(range(pages), touched):
    memory[page * mmap.PAGESIZE] = 1
tell(memory_address=ctypes.addressof(ctypes.c_char.from_buffer(memory)))
