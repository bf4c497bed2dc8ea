"""Reaches for an address of the kernel: first through a system call, then by itself.

python3 kernel_wall.py ADDRESS REFUSED CHILDREN WALL_CHILDREN
"""

import ctypes
import os
import resource
import signal
import sys

SIZE = 8


def tell(**facts: int) -> None:
    """Says something and waits to be told to go on."""
    print(*(f"{name} {value}" for name, value in facts.items()), flush=True)
    if not sys.stdin.readline():
        sys.exit()


signal.alarm(3600)  # so that nothing stays for ever
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
address, refused, children, wall_children = (int(word, 0) for word in sys.argv[1:])
libc = ctypes.CDLL(None)
_, pipe = os.pipe()

tell(pid=os.getpid())
for _ in range(refused):
    libc.write(pipe, ctypes.c_void_p(address), ctypes.c_size_t(SIZE))  # the kernel is to read there for us
tell(pid=os.getpid())

own = ctypes.create_string_buffer(SIZE)
for number in range(children):
    child = os.fork()
    if child == 0:
        ctypes.string_at(address if number < wall_children else ctypes.addressof(own), SIZE)
        os._exit(0)
    os.waitpid(child, 0)
tell(pid=os.getpid())
