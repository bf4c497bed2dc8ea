"""A process with something unusual in each part of its record. Tells its pid as JSON, then waits for input.

Usage: descriptor.py UID GID GROUP CPU
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import threading
import time

PR_SET_NAME, PR_SET_NO_NEW_PRIVS = 15, 38
NAME = b"a) b\n\\c\xff"
LIMITS = {"nofile": (100, 200), "core": (4096, 8192), "fsize": (1 << 40, 1 << 41), "nproc": (333, 444)}
FDS = 23


def main() -> None:
    uid, gid, group, cpu = map(int, sys.argv[1:])
    libc = ctypes.CDLL(None)
    os.setsid()
    os.umask(0o035)
    os.nice(7)
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    os.sched_setaffinity(0, {cpu})
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("321")
    for name, (soft, hard) in LIMITS.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), (soft, hard))
    signal.signal(signal.SIGHUP, lambda *_: None)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGRTMIN + 3, signal.SIGTERM})
    for _ in range(2):
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    libc.tgkill(os.getpid(), os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGRTMIN + 3)
    os.setgroups([group, group + 1, group + 2])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(PR_SET_NAME, ctypes.c_char_p(NAME), 0, 0, 0)
    while len(os.listdir("/proc/self/fd")) - 1 < FDS:
        os.dup(0)
    print(json.dumps({"pid": os.getpid(), "ppid": os.getppid()}), flush=True)
    sys.stdin.readline()


main()
