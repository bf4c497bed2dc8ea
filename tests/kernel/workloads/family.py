"""A process with two threads, and a child by fork that wrote to some of its memory; both then wait.

Prints the pids of both. They end with standard input.
"""

import mmap
import os
import sys
import threading

PAGES = 300
data = [os.urandom(mmap.PAGESIZE) for _ in range(PAGES)]
for_both = mmap.mmap(-1, 4 * mmap.PAGESIZE)
for_both.write(b"x" * len(for_both))
ready, said = os.pipe()
child = os.fork()
if child == 0:
    for_both[0] = 1
    data = [bytes(page) + b"!" for page in data]
    os.write(said, b"!")
    sys.stdin.read()
    os._exit(0)
os.read(ready, 1)
threading.Thread(target=threading.Event().wait, daemon=True).start()
print(os.getpid(), child, flush=True)
sys.stdin.read()
