"""Forks a child every millisecond until its standard input or 30 s end. Argument: a file for pids."""

import os
import select
import sys
import time

deadline = time.monotonic() + 30
with open(sys.argv[1], "w", buffering=1) as book:
    while not select.select([0], [], [], 0.001)[0] and time.monotonic() < deadline:
        if (pid := os.fork()) == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        book.write(f"{pid}\n")
