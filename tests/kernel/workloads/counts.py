"""Exactly 23 processes, 7 threads, 5 execs, 5 orphans: 2 under the init, 1 under a pid namespace's, 2 under a
subreaper; one process is killed by SIGKILL.

  6 plain + 1 killed + 5 that exec + 1 with 4 threads + (1 parent + 2 orphans)
  + (1 subreaper + 1 parent + 2 orphans) + (1 namespace's init + 1 parent + 1 orphan) = 23
"""

import os
import signal
import sys
import threading

from ledger import CLONE_NEWPID, Ledger, be_subreaper, reap_the_rest

PROGRAMS = (
    ["/bin/true"],
    ["/bin/false"],
    ["/bin/sh", "-c", "exit 9"],
    ["/bin/true", "two words", "", "last"],
    ["/bin/sh", "-c", "kill -TERM $$"],
)
book = Ledger(sys.argv[1])


def threads(count):
    def note():
        book.note("thread", role=str(threading.get_native_id()), pid=int(os.readlink("/proc/self")))

    made = [threading.Thread(target=note) for _ in range(count)]
    for thread in made:
        thread.start()
    for thread in made:
        thread.join()


def waits(ready):
    os.write(ready, b"!")
    signal.pause()


def executes(role, argv):
    book.note("exec", role=role, argv=argv)
    os.execv(argv[0], argv)


def subreaper():
    be_subreaper()
    book.run("parent-2", book.parent_of_orphans, "orphan-3", "orphan-4")
    reap_the_rest()


def namespace_init():
    book.run("parent-3", book.parent_of_orphans, "orphan-5")
    reap_the_rest()


for number in range(6):
    book.run(f"plain-{number}", lambda code=number: code)
is_ready, ready = os.pipe()
victim = book.child("victim", waits, ready)
os.read(is_ready, 1)
os.kill(victim, signal.SIGKILL)
book.reap("victim", victim)
for number, argv in enumerate(PROGRAMS):
    role = f"program-{number}"
    book.run(role, executes, role, argv)
book.run("threaded", threads, 4)
book.run("parent-1", book.parent_of_orphans, "orphan-1", "orphan-2")
book.run("subreaper", subreaper)
book.run("namespace-init", namespace_init, flags=CLONE_NEWPID)
threads(3)
book.wait_for_all()
