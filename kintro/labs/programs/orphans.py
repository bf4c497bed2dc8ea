"""A grandparent, a parent and its children; then the parent ends, and its children live on.

python3 orphans.py CHILDREN SUBREAPER
"""

import ctypes
import os
import signal
import sys

LIFE_S = 3600  # so that nothing stays for ever
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


def tell(**facts: int) -> None:
    """Says something and waits to be told to go on."""
    print(*(f"{name} {value}" for name, value in facts.items()), flush=True)
    if not sys.stdin.readline():
        sys.exit()


signal.alarm(LIFE_S)
children, subreaper = map(int, sys.argv[1:])
if subreaper:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

ready_read, ready_write = os.pipe()
end_read, end_write = os.pipe()
parent = os.fork()
if parent == 0:
    os.close(end_write)
    for _ in range(children):
        if os.fork() == 0:
            signal.alarm(LIFE_S)
            signal.pause()
            os._exit(0)
    os.write(ready_write, b"!")
    os.read(end_read, 1)
    os._exit(0)

os.read(ready_read, 1)
tell(parent_pid=parent)
os.write(end_write, b"!")
os.waitpid(parent, 0)
tell(parent_pid=parent)
