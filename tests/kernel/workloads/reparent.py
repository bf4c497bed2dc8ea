"""Ways in which a process comes to another parent, or to an unusual one. Arguments: the ledger, which way."""

import os
import sys
import threading

from ledger import CLONE_NEWPID, Ledger, be_subreaper, clone, ids, reap_the_rest

CLONE_PARENT = 0x00008000
book = Ledger(sys.argv[1])


def dies_at_once():
    """200 children that end the moment their parent is gone, whether they have a new one by then or not."""

    def parent(number):
        parent_gone, held = os.pipe()
        ready, said = os.pipe()

        def child():
            os.close(held)
            os.write(said, b"!")
            os.read(parent_gone, 1)
            return 3

        book.child(f"child-{number}", child)
        os.read(ready, 1)

    for number in range(200):
        book.run(f"parent-{number}", parent, number)


def zombie():
    def parent():
        child = book.child("zombie", lambda: 5)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)

    book.run("parent", parent)


def thread():
    """A child of a thread that ends before its process."""

    def parent():
        ready, said = os.pipe()
        thread_gone, held = os.pipe()

        def child():
            os.close(held)
            before = ids()[1]
            os.write(said, b"!")
            os.read(thread_gone, 1)
            book.note("adopted", role="child", old_ppid=before, new_ppid=ids()[1])
            return 4

        made = threading.Thread(target=book.child, args=("child", child))
        made.start()
        os.read(ready, 1)
        tid = made.native_id
        made.join()
        while os.path.exists(f"/proc/self/task/{tid}"):
            pass
        os.close(held)
        os.wait()

    book.run("parent", parent)


def threads_together():
    """40 times: a process with 6 threads, each with a child, ends with all of them at once."""

    def parent(number):
        gone, held = os.pipe()
        ready, said = os.pipe()

        def child():
            os.close(held)
            parent = os.getppid()
            os.write(said, b"!")
            os.read(gone, 1)
            while os.getppid() == parent:
                pass
            return 0

        def has_child(role):
            book.child(role, child)
            threading.Event().wait()

        for one in range(6):
            threading.Thread(target=has_child, args=(f"child-{number}-{one}",), daemon=True).start()
        left = 6
        while left:
            left -= len(os.read(ready, left))

    for number in range(40):
        book.run(f"parent-{number}", parent, number)


def namespace():
    """A pid namespace's init dies before a child, a grandchild and a zombie of its own."""

    def waits(ready):
        os.write(ready, b"!")
        threading.Event().wait()

    def has_a_child(ready):
        book.child("grandchild", waits, ready)
        waits(ready)

    def init():
        is_ready, ready = os.pipe()
        os.waitid(os.P_PID, book.child("zombie", lambda: 0), os.WEXITED | os.WNOWAIT)
        book.child("child", has_a_child, ready)
        os.read(is_ready, 1)
        os.read(is_ready, 1)
        return 6

    book.run("init", init, flags=CLONE_NEWPID)


def nested():
    """Subreaper outer has subreaper inner, which has parent, which has orphan: it goes up two times."""

    def orphan(ready, parent_gone, inner_gone):
        parent = os.getppid()
        os.write(ready, b"!")
        os.read(parent_gone, 1)
        while os.getppid() == parent:
            pass
        book.note("adopted", role="orphan", old_ppid=PARENTS["parent"](), new_ppid=ids()[1])
        inner = os.getppid()
        os.write(ready, b"!")
        os.read(inner_gone, 1)
        while os.getppid() == inner:
            pass
        book.note("adopted-again", role="orphan", old_ppid=inner, new_ppid=ids()[1])
        return 8

    PARENTS = {}

    def parent(ready, is_ready, inner_held, inner_gone):
        parent_gone, held = os.pipe()
        own = os.getpid()
        PARENTS["parent"] = lambda: own

        def child():
            os.close(held)
            os.close(inner_held)
            return orphan(ready, parent_gone, inner_gone)

        book.child("orphan", child)
        os.read(is_ready, 1)

    def inner():
        be_subreaper()
        is_ready, ready = os.pipe()
        inner_gone, inner_held = os.pipe()
        book.run("parent", parent, ready, is_ready, inner_held, inner_gone)
        os.read(is_ready, 1)

    def outer():
        be_subreaper()
        book.run("inner", inner)
        reap_the_rest()

    book.run("outer", outer)


def clone_parent():
    """A child that its creator makes its own sibling."""

    def creator():
        sibling = clone(CLONE_PARENT)
        if sibling == 0:
            book.runs("sibling", lambda: 7)

    made = book.child("creator", creator)
    book.reap("creator", made)
    os.wait()


def kinds():
    """One child each by fork, vfork (posix_spawn) and a thread."""
    book.run("fork", lambda: 0)
    pid = os.posix_spawn("/bin/true", ["true"], {})
    book.note("spawned", role="spawned", pid=pid)
    os.waitpid(pid, 0)
    made = threading.Thread(target=int)
    made.start()
    book.note("thread", role="thread", tid=made.native_id)
    made.join()


globals()[sys.argv[2]]()
book.wait_for_all()
