"""Children that use a known resource each, single-threaded, and what wait4(2) says of them."""

import mmap
import os
import sys
import time

from ledger import Ledger

book = Ledger(sys.argv[1])


def faults():
    memory = mmap.mmap(-1, 2000 * mmap.PAGESIZE)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    for page in range(2000):
        memory[page * mmap.PAGESIZE] = 1
    os._exit(0)


def sleeps():
    for _ in range(600):
        time.sleep(0.00001)
    os._exit(0)


def pushed_aside():
    """Two of them at a time share one CPU, so that the scheduler interrupts each now and then."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    computes()


def computes():
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    os._exit(0)


def calls():
    """System time: reads that copy."""
    end = time.process_time() + 0.2
    with open("/dev/zero", "rb", buffering=0) as zero:
        while time.process_time() < end:
            zero.read(1 << 16)
    os._exit(0)


for number in range(5):
    for body in (faults, sleeps, computes, calls):
        book.run(f"{body.__name__}-{number}", body)
    rivals = [(f"pushed_aside-{number}-{one}", pushed_aside) for one in "ab"]
    for role, pid in [(role, book.child(role, body)) for role, body in rivals]:
        book.reap(role, pid)
book.wait_for_all()
