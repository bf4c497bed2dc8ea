"""Makes calls whose arguments are known, in the folder argv[1]; prints what it knows of each as JSON."""

import ctypes
import json
import mmap
import os
import socket
import sys

folder = os.fsencode(sys.argv[1])
known = {}


def link(fd):
    return os.readlink(b"/proc/self/fd/%d" % fd).decode("utf-8", "backslashreplace")


# A name with a line's end, an escape and what is no UTF-8.
name = folder + b"/one\n\x1b[31m\xff"
fd = os.open(name, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o640)
known["file"] = [fd, link(fd)]
os.write(fd, b"hello\n" * 20)
os.lseek(fd, 0, os.SEEK_SET)
os.read(fd, 7)
os.rename(name, folder + b"/two")
os.fsync(fd)
known["renamed"] = [fd, link(fd)]
os.unlink(folder + b"/two")
os.fdatasync(fd)
known["deleted"] = [fd, link(fd)]

below = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
known["folder"] = [below, link(below)]
os.mkdir("three", 0o700, dir_fd=below)
os.rmdir("three", dir_fd=below)

reader, writer = os.pipe()
known["pipe"] = [writer, link(writer)]
os.write(writer, b"x")
left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
known["socket"] = [left.fileno(), link(left.fileno())]
os.write(left.fileno(), b"y")
memory = os.memfd_create("a memfd")
known["memfd"] = [memory, link(memory)]
os.write(memory, b"z")
event = ctypes.CDLL(None).eventfd(3, 0)
known["eventfd"] = [event, link(event)]
os.write(event, (5).to_bytes(8, sys.byteorder))
copy = os.dup(fd)
known["dup"] = [copy, link(copy)]

# It returns how long the message was, and has room for 4 bytes.
room = ctypes.create_string_buffer(b"what was there before")
right.send(b"0123456789" * 5)
ctypes.CDLL(None).recv(left.fileno(), room, ctypes.c_size_t(4), socket.MSG_TRUNC)

# A path in memory that nobody has touched: it is read from the file when the kernel looks at it.
libc = ctypes.CDLL(None, use_errno=True)
cold = os.open(folder + b"/cold", os.O_CREAT | os.O_RDWR)
os.write(cold, b"/nonexistent/cold\0")
libc.mmap.restype = ctypes.c_void_p
address = libc.mmap(None, ctypes.c_size_t(4096), mmap.PROT_READ, mmap.MAP_PRIVATE, cold, ctypes.c_size_t(0))
libc.open(ctypes.c_void_p(address), os.O_RDONLY)
libc.open(ctypes.c_void_p(8), os.O_RDONLY)
os.unlink(folder + b"/cold")

pid = os.fork()
if pid == 0:
    os.execv("/bin/true", ["true", "an argument", "", "\x1b[2J"])
os.waitpid(pid, 0)
# Two texts that fill all the room there is for one argument: 4095 and 4096 bytes.
pid = os.fork()
if pid == 0:
    os.execv("/bin/false", ["a" * 4094, "b" * 5000])
os.waitpid(pid, 0)
json.dump(known, sys.stdout)
