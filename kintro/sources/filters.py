"""Which tasks a probe lets through, decided in the kernel (probes/kintro.h)."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import NamedTuple

from kintro.errors import EX_NOINPUT, KintroError


class Filters(NamedTuple):
    """What a probe lets through, decided in the kernel. None: no such filter; several must all hold."""

    pid: int | None = None  # this process
    command: bool = False  # or the command that kintro itself runs
    follow: bool = True  # and its descendants
    uid: int | None = None  # tasks of this real user id
    comm: bytes | None = None  # tasks of this name, as /proc/PID/comm has it (15 bytes are kept)
    cgroup: str | None = None  # path of a cgroup v2 folder; tasks in it or below
    pid_namespace: int | None = None  # inode number; tasks in it or below

    @property
    def whole_system(self) -> bool:
        return not self.targets and (self.uid, self.comm, self.cgroup, self.pid_namespace) == (None,) * 4

    @property
    def targets(self) -> bool:
        """Whether processes are picked one by one."""
        return self.pid is not None or self.command

    def defines(self) -> dict[str, int]:
        """As the #defines of kintro.h. KintroError (66) if the cgroup does not exist."""
        found: dict[str, int] = {}
        if self.targets:
            found["FILTER_TARGETS"] = 1
            if self.follow:
                found["FOLLOW"] = 1
        if self.uid is not None:
            found["FILTER_UID"] = self.uid
        if self.comm is not None:
            low, high = struct.unpack("=QQ", self.comm[:15].ljust(16, b"\0"))
            found["FILTER_COMM_LOW"], found["FILTER_COMM_HIGH"] = low, high
        if self.cgroup is not None:
            found["FILTER_CGROUP"], found["FILTER_CGROUP_LEVEL"] = _cgroup_id_and_level(self.cgroup)
        if self.pid_namespace is not None:
            found["FILTER_PIDNS"] = self.pid_namespace
        return found


def _cgroup_id_and_level(path: str) -> tuple[int, int]:
    """A v2 cgroup's id, which is its inode number, and its depth below the root of the hierarchy."""
    folder = Path(path).resolve()
    if not (folder / "cgroup.procs").exists() or not (folder / "cgroup.controllers").exists():
        raise KintroError(
            f"{path} is not a folder of the cgroup v2 hierarchy",
            "give its whole path, such as /sys/fs/cgroup/NAME (`findmnt -t cgroup2` tells where they are)",
            EX_NOINPUT,
        )
    level = 0
    while not os.path.ismount(folder) and (folder.parent / "cgroup.controllers").exists():
        folder, level = folder.parent, level + 1
    return os.stat(path).st_ino, level
