"""Starts processes and threads. Each of them adds one to the same variable.

python3 threads_vs_processes.py PROCESSES THREADS
"""

import os
import signal
import sys
import threading

LIFE_S = 3600  # so that nothing stays for ever
count = 0


def tell(**facts: int) -> None:
    """Says something and waits to be told to go on."""
    print(*(f"{name} {value}" for name, value in facts.items()), flush=True)
    if not sys.stdin.readline():
        sys.exit()


def add() -> None:
    global count
    count += 1


def work() -> None:
    add()
    threading.Event().wait(LIFE_S)


signal.alarm(LIFE_S)
processes, threads = map(int, sys.argv[1:])
tell(pid=os.getpid())

done_read, done_write = os.pipe()
end_read, end_write = os.pipe()
for _ in range(processes):
    if os.fork() == 0:
        signal.alarm(LIFE_S)
        os.close(end_write)
        add()
        os.write(done_write, b"!")
        os.read(end_read, 1)  # until the parent ends
        os._exit(0)
for _ in range(processes):
    os.read(done_read, 1)
for _ in range(threads):
    before = count
    threading.Thread(target=work, daemon=True).start()
    while count == before:
        pass
tell(count=count)
