"""Holds signals back for a while, and then takes them.

python3 signals.py SIGNAL
"""

import os
import signal
import sys


def tell(**facts: int) -> None:
    """Says something and waits to be told to go on."""
    print(*(f"{name} {value}" for name, value in facts.items()), flush=True)
    if not sys.stdin.readline():
        sys.exit()


def handle(number: int, frame: object) -> None:
    pass


signal.alarm(3600)  # so that nothing stays for ever
blocked = {int(sys.argv[1]), signal.SIGRTMIN + 1}
for number in blocked:
    signal.signal(number, handle)
signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
tell(pid=os.getpid())
signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
tell(pid=os.getpid())
