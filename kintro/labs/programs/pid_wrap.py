"""Goes to the end of the pids of a pid namespace of its own. Takes root.

python3 pid_wrap.py HELD LEFT PROCESSES

HELD processes hold the first pids of the next round, LEFT pids are left of this one; then PROCESSES are made.
"""

import ctypes
import os
import signal
import sys

CLONE_NEWPID = 0x20000000  # clone(2)
FIRST = 300  # of each round but the first: RESERVED_PIDS of kernel/pid.c
LIFE_S = 3600  # so that nothing stays for ever
LAST_PID = "/proc/sys/kernel/ns_last_pid"  # of the namespace of who writes to it


def tell(**facts: int) -> None:
    """Says something and waits to be told to go on."""
    print(*(f"{name} {value}" for name, value in facts.items()), flush=True)
    if not sys.stdin.readline():
        sys.exit()


def set_last(pid: int) -> None:
    """Makes `pid` the last one that was given out."""
    with open(LAST_PID, "w") as file:
        file.write(str(pid))


def held() -> None:
    """A process that stays."""
    if os.fork() == 0:
        signal.alarm(LIFE_S)
        signal.pause()
        os._exit(0)


def short() -> None:
    """A process that ends at once."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


signal.alarm(LIFE_S)
holders, left, processes = map(int, sys.argv[1:])
if ctypes.CDLL(None).unshare(CLONE_NEWPID):
    sys.exit("a pid namespace takes root")
first = os.fork()
if first:
    os.waitpid(first, 0)
    sys.exit()

# The first process of the new namespace, and its pid 1.
signal.alarm(LIFE_S)
with open("/proc/sys/kernel/pid_max") as file:
    end = int(file.read())
set_last(FIRST - 1)
for _ in range(holders):
    held()
set_last(end - 1 - left)
tell(end=end)
for _ in range(processes):
    short()
tell(end=end)
