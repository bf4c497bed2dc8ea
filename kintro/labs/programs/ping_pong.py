"""Two processes on one CPU hand a byte to and fro through pipes.

python3 ping_pong.py ROUNDS
"""

import os
import signal
import sys

LIFE_S = 3600  # so that nothing stays for ever


def tell(**facts: int) -> None:
    """Says something and waits to be told to go on."""
    print(*(f"{name} {value}" for name, value in facts.items()), flush=True)
    if not sys.stdin.readline():
        sys.exit()


signal.alarm(LIFE_S)
rounds = int(sys.argv[1])
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
ping_read, ping_write = os.pipe()
pong_read, pong_write = os.pipe()
other = os.fork()
if other == 0:
    signal.alarm(LIFE_S)
    os.close(ping_write)
    while os.read(ping_read, 1):
        os.write(pong_write, b"!")
    os._exit(0)

tell(first_pid=os.getpid(), other_pid=other)
for _ in range(rounds):
    os.write(ping_write, b"!")
    os.read(pong_read, 1)
tell(first_pid=os.getpid(), other_pid=other)
