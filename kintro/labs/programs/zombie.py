"""A parent whose children end, each with a code of its own. It asks only some of them for it, and late.

python3 zombie.py REAPED CODE...
"""

import os
import signal
import sys


def tell(**facts: int) -> None:
    """Says something and waits to be told to go on."""
    print(*(f"{name} {value}" for name, value in facts.items()), flush=True)
    if not sys.stdin.readline():
        sys.exit()


signal.alarm(3600)  # so that nothing stays for ever
reaped, *codes = map(int, sys.argv[1:])
children = []
for code in codes:
    child = os.fork()
    if child == 0:
        os._exit(code)
    children.append(child)

for child in children:
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # until it has ended, and leave it as it is
tell(zombie_pid=children[-1])

for child in children[:reaped]:
    os.waitpid(child, 0)
tell(reaped=reaped)
