"""Renames a file in the folder argv[1] while a thread waits for its lock."""

import fcntl
import os
import sys
import threading
import time
from pathlib import Path

before, behind = f"{sys.argv[1]}/before", f"{sys.argv[1]}/behind"
holder = os.open(before, os.O_CREAT | os.O_RDONLY, 0o600)
fcntl.flock(holder, fcntl.LOCK_EX)
waiter = os.open(before, os.O_RDONLY)
thread = threading.Thread(target=fcntl.flock, args=(waiter, fcntl.LOCK_EX))
thread.start()
while "lock" not in Path(f"/proc/self/task/{thread.native_id}/wchan").read_text():
    time.sleep(0.01)
os.rename(before, behind)
fcntl.flock(waiter, fcntl.LOCK_UN)  # holds nothing yet: a call with the new name meanwhile
fcntl.flock(holder, fcntl.LOCK_UN)
thread.join()
fcntl.flock(waiter, fcntl.LOCK_UN)
