"""A file system of the kernel's own, mounted where no path leads to it (fsmount(2), Linux 5.2).

It goes with its descriptor, and nobody else sees it. It takes root. What is in it may depend on the
namespaces of the thread that asks: an mqueue has the queues of its ipc namespace.
"""

from __future__ import annotations

import ctypes
import os

_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432  # include/uapi/asm-generic/unistd.h; the same on all machines
_CLOEXEC = 1  # include/uapi/linux/mount.h: FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC
_FSCONFIG_CMD_CREATE = 6  # enum fsconfig_command there
_libc = ctypes.CDLL(None, use_errno=True)


def mounted_apart(kind: bytes) -> int | None:
    """A descriptor of the root directory of a file system of that kind; None if the kernel does not let us.

    It was opened with O_PATH: paths may begin at it, and opening `.` from there gives one to list.
    """
    context = _libc.syscall(_FSOPEN, kind, _CLOEXEC)
    if context < 0:
        return None
    try:
        if _libc.syscall(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0) < 0:
            return None
        root: int = _libc.syscall(_FSMOUNT, context, _CLOEXEC, 0)
        return root if root >= 0 else None
    finally:
        os.close(context)
