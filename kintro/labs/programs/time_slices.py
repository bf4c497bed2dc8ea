"""Two processes want the same CPU all the time; one of them is nicer than the other.

python3 time_slices.py NICE SECONDS
"""

import os
import signal
import sys
import time

LIFE_S = 3600  # so that nothing stays for ever


def tell(**facts: int) -> None:
    """Says something and waits to be told to go on."""
    print(*(f"{name} {value}" for name, value in facts.items()), flush=True)
    if not sys.stdin.readline():
        sys.exit()


def hog(nice: int) -> int:
    """A process that waits for a line of its pipe and then computes; its pid."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(LIFE_S)
        os.close(go_write)
        os.nice(nice)
        os.write(done_write, b"!")
        os.read(go_read, 1)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass
        os.write(done_write, b"!")
        os.read(go_read, 1)  # until the parent ends
        os._exit(0)
    return pid


signal.alarm(LIFE_S)
nice, seconds = map(int, sys.argv[1:])
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
go_read, go_write = os.pipe()
done_read, done_write = os.pipe()
first, nicer = hog(0), hog(nice)
for _ in range(2):
    os.read(done_read, 1)
tell(first_pid=first, nicer_pid=nicer)
os.write(go_write, b"!!")
for _ in range(2):
    os.read(done_read, 1)
tell(first_pid=first, nicer_pid=nicer)
