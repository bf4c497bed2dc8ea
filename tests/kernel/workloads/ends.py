"""Ends of processes that take their time, or are not what they seem. Arguments: the ledger, which way."""

import mmap
import os
import signal
import sys
import threading
import time

from ledger import Ledger, be_subreaper, reap_the_rest

book = Ledger(sys.argv[1])


def filled(mebibytes):
    """Memory whose return takes the kernel a while: about 0.1 ms for each MiB in small pages."""
    memory = mmap.mmap(-1, mebibytes << 20)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    for at in range(0, mebibytes << 20, mmap.PAGESIZE):
        memory[at] = 1
    return memory


def thread_execs():
    """100 processes whose second thread execs: it takes over the pid of the first, which ends."""

    def body():
        threading.Thread(target=os.execv, args=("/bin/true", ["true"])).start()
        time.sleep(20)

    for number in range(100):
        book.run(f"process-{number}", body)


def many_threads():
    """Processes of 60 threads with much memory, killed: the last thread leaves long after it is decided."""

    def body(said):
        memory = filled(200)
        for _ in range(60):
            threading.Thread(target=time.sleep, args=(20,)).start()
        os.write(said, b"!")
        time.sleep(20)
        return len(memory)

    for number in range(5):
        ready, said = os.pipe()
        pid = book.child(f"process-{number}", body, said)
        os.read(ready, 1)
        os.kill(pid, signal.SIGKILL)
        book.reap(f"process-{number}", pid)


def children_end_meanwhile():
    """A parent with much memory begins to exit; its younger children end before the eldest is handed on.

    Before that, it ignores SIGCHLD (`ignored`) or not (`kept`): they are gone then, or zombies.
    """

    def parent(ignore):
        if ignore:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        memory = filled(800)
        parent_exits, held = os.pipe()
        name = "ignored" if ignore else "kept"

        def younger():
            os.close(held)
            os.read(parent_exits, 1)
            return 3

        book.child(f"{name}-eldest", lambda: time.sleep(1.5))
        for number in range(4):
            book.child(f"{name}-younger-{number}", younger)
        os.close(parent_exits)
        os.write(held, b"!!!!")
        os._exit(len(memory) >> 40)

    be_subreaper()
    for ignore in (True, False):
        book.run(f"parent-{ignore}", parent, ignore)
    reap_the_rest()


globals()[sys.argv[2]]()
