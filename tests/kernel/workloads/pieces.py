"""A process with 20 000 mappings and 50 threads that sleep. Prints READY."""

import ctypes
import mmap
import threading

PIECES = 20_000

libc = ctypes.CDLL(None)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
area = mmap.mmap(-1, PIECES * mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
start = ctypes.addressof(ctypes.c_char.from_buffer(area))
for place in range(0, PIECES, 2):
    area[place * mmap.PAGESIZE] = 1
    libc.mprotect(start + place * mmap.PAGESIZE, mmap.PAGESIZE, mmap.PROT_READ)
wait = threading.Event()
for _ in range(50):
    threading.Thread(target=wait.wait, daemon=True).start()
print("READY", flush=True)
wait.wait()
