"""What is seen of single system calls: the records that probes/calls.c sends, field by field.

Times are CLOCK_MONOTONIC in ns; ids are those of the initial pid namespace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

PROBE = "calls"

# As in probes/calls.h.
SLOTS, OTHER_SLOT, COMPAT_SLOT = 1024, 511, 512
ARGUMENTS, RESULT = 6, 6
TOLD_BITS = 22
TRACED, AT_ENTRY, AT_EXIT, LISTS, RESULT_FD, NO_ERRORS, MOVES = 1, 2, 4, 8, 16, 32, 64
UNFINISHED, EARLY, COMPAT = 1, 2, 4
OPEN, COMPAT_CALL = 32, 128  # of a thread's record


class Thread(NamedTuple):
    """A thread that makes its first call, or has another name now."""

    ts_ns: int
    start_time_ns: int
    tid: int
    pid: int
    old_tid: int  # not 0: the id it had when it began the exec that it is in
    comm: bytes


class File(NamedTuple):
    """An open file that was not known yet, or whose name has changed."""

    ts_ns: int
    file: int  # above TOLD_BITS by its struct file's address, below another number each time it is told
    inode: int
    magic: int  # of its file system, as in linux/magic.h
    mode: int  # as in inode(7)
    deleted: int  # it has no name any more
    cut: int  # its path has more names than were read
    data: bytes  # the names of its path, from the last to the first, each with a NUL behind it


class Text(NamedTuple):
    """Memory that an argument refers to."""

    ts_ns: int
    tid: int
    number: int  # of the call among those of its thread
    argument: int
    cut: int  # there was more
    data: bytes


class Call(NamedTuple):
    """A system call."""

    ended_ns: int  # when it returned; if it did not, when that was certain
    ts_ns: int  # when it began; 0 if that was before the trace
    ret: int
    arg0: int
    arg1: int
    arg2: int
    arg3: int
    arg4: int
    arg5: int
    file0: int  # of the first descriptor among the arguments: `file` of a File; 0: none
    file1: int  # of the second, or of the one that it returned
    tid: int
    pid: int
    number: int  # which of its thread's calls; those that a filter leaves out are not counted
    nr: int
    flags: int  # UNFINISHED, EARLY, COMPAT

    @property
    def arguments(self) -> tuple[int, ...]:
        return self[3:9]

    @property
    def duration_ns(self) -> int | None:
        """None if it did not return, or began before the trace."""
        return None if self.flags & (UNFINISHED | EARLY) else self.ended_ns - self.ts_ns

    @property
    def returned(self) -> int | None:
        """What it returned, errors as negative numbers; None if it did not."""
        return None if self.flags & UNFINISHED else self.ret

    @property
    def error(self) -> int | None:
        """The number of its error, or None: include/linux/err.h has what counts as one."""
        failed = not self.flags & UNFINISHED and -4095 <= self.ret < 0
        return -self.ret if failed else None


# In this order where the times are the same, as the probe's rings are.
RECORDS = {"thread": Thread, "file": File, "text": Text, "call": Call}
DECODE: dict[str, Any] = {}  # all as the rings hold it


def dtypes() -> dict[str, np.dtype]:
    """Kind → dtype of what is recorded."""
    from kintro.sources.columns import recorded_dtypes

    return recorded_dtypes(PROBE, RECORDS)
