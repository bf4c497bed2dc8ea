#!/bin/sh
# A little of everything that can happen to a process. It prints nothing.

printf '%s\n' pear apple fig | sort | head -n 1 >/dev/null

# The subshell of $( ) ends at once, so the sleeper gets a new parent. $( ) itself reads until the
# sleeper, which holds the pipe's other end, is gone.
: "$(sleep 0.3 &)"

/usr/bin/python3 -c '
from threading import Barrier, Thread

together = Barrier(3)
threads = [Thread(target=together.wait) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
'

sh -c 'exit 3' || true
