"""A process with three children that fork all the time, as do their children; ends with its stdin.

Every process notes each fork with the time before it (CLOCK_MONOTONIC). With `loop`, it is one process that
forks slowly, so that pids do not come round. Arguments: ledger, comm, `tree` or `loop`.
"""

import os
import select
import sys
import time

book = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)


def born(before_ns, pid, ppid):
    os.write(book, b'{"what":"fork","before_ns":%d,"pid":%d,"ppid":%d}\n' % (before_ns, pid, ppid))


def fork(body):
    before_ns = time.monotonic_ns()
    pid = os.fork()
    if pid == 0:
        body()
        os._exit(0)
    born(before_ns, pid, os.getpid())
    return pid


def has_children():
    """Two processes that end at once, the second through a third."""
    os.waitpid(fork(lambda: None), 0)
    os.waitpid(fork(lambda: os.waitpid(fork(lambda: None), 0)), 0)


def over():
    return select.select([0], [], [], 0)[0]


def loops(pace_s=0):
    while not over():
        os.waitpid(fork(has_children), 0)
        time.sleep(pace_s)


with open("/proc/self/comm", "w") as comm:
    comm.write(sys.argv[2])
born(0, os.getpid(), os.getppid())
if sys.argv[3] == "loop":
    loops(0.005)
    sys.exit()
children = [fork(loops) for _ in range(3)]
for child in children:
    os.waitpid(child, 0)
