"""A parent that dies before so many living children. Small, since it is forked thousands of times."""

import json
import os
import sys

alive, held_by_all = os.pipe()
gone, held_by_parent = os.pipe()
if (parent := os.fork()) == 0:
    os.close(alive)
    pids = []
    for _ in range(int(sys.argv[2])):
        pid = os.fork()
        if pid == 0:
            os.close(held_by_parent)
            os.read(gone, 1)  # ends when the parent has ended, and no child is behind with closing its end
            os._exit(0)
        pids.append(pid)
    with open(sys.argv[1], "w") as ledger:
        for note in (
            {"what": "born", "role": "parent", "pid": os.getpid()},
            {"what": "children", "pids": pids},
        ):
            ledger.write(json.dumps(note) + "\n")
    os._exit(0)
os.close(held_by_all)
os.close(held_by_parent)
os.waitpid(parent, 0)
os.read(alive, 1)
