"""Forks so many short-lived processes, a few at a time, and writes their pids. Arguments: ledger, count."""

import json
import os
import sys

AT_ONCE = 8
count, pids, living = int(sys.argv[2]), [], 0
for number in range(count):
    pid = os.fork()
    if pid == 0:
        os._exit(number % 256)
    pids.append(pid)
    living += 1
    if living == AT_ONCE:
        os.wait()
        living -= 1
while living:
    os.wait()
    living -= 1
with open(sys.argv[1], "w") as ledger:
    json.dump({"what": "forks", "pids": pids, "pid": os.getpid()}, ledger)
