"""Seeks to 1, 2, … in files of many kinds, below argv[1]; prints what each descriptor refers to then."""

import ctypes
import json
import os
import sys

folder = sys.argv[1]
libc = ctypes.CDLL(None, use_errno=True)
known = []


def use(fd):
    known.append(os.readlink(f"/proc/self/fd/{fd}"))
    libc.lseek(fd, ctypes.c_long(len(known)), os.SEEK_SET)


def use_once(path):
    fd = os.open(path, os.O_RDONLY)
    use(fd)
    os.close(fd)


def bind(source, target):
    assert libc.mount(os.fsencode(source), os.fsencode(target), None, 4096, None) == 0, ctypes.get_errno()


def unbind(target):
    assert libc.umount2(os.fsencode(target), 2) == 0, ctypes.get_errno()


os.makedirs(f"{folder}/one/below")
os.makedirs(f"{folder}/bound")
for name in ("one/file", "one/below/file", "target"):
    os.close(os.open(f"{folder}/{name}", os.O_CREAT, 0o600))

# The kernel uses a struct file again at once: only the folders above differ.
for _ in range(3):
    use_once(f"{folder}/one/file")
    os.rename(f"{folder}/one", f"{folder}/two")
    use_once(f"{folder}/two/file")
    os.rename(f"{folder}/two", f"{folder}/one")
held = os.open(f"{folder}/one/below/file", os.O_RDONLY)
use(held)
os.rename(f"{folder}/one", f"{folder}/two")
use(held)
os.rename(f"{folder}/two", f"{folder}/one")
use(held)

# Only the mount differs; what is mounted has the name of its mount point.
bind(f"{folder}/one", f"{folder}/bound")
for _ in range(2):
    use_once(f"{folder}/one/file")
    use_once(f"{folder}/bound/file")
use_once(f"{folder}/bound")
unbind(f"{folder}/bound")
bind(f"{folder}/one/file", f"{folder}/target")
mounted = os.open(f"{folder}/target", os.O_RDONLY)
use(mounted)
unbind(f"{folder}/target")
use(mounted)
for path in ("/", "/proc", "/proc/self/ns/mnt", "/proc/self/ns/net"):
    use_once(path)

# Names of one length, without a hash.
for _ in range(2):
    for make in (
        lambda: libc.eventfd(0, 0),
        lambda: libc.timerfd_create(1, 0),
        lambda: libc.epoll_create1(0),
    ):
        made = make()
        use(made)
        os.close(made)
use(os.memfd_create("a memfd"))
use(os.pidfd_open(os.getpid()))
print(json.dumps(known))
