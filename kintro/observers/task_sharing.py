"""Which structs of the kernel a task has: two tasks that share a resource point to the same one.

The threads of a process share all of these (clone(2)); a child of fork(2) has copies. kcmp(2) compares most
of them, without telling where they are.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from kintro.observers.task_kernel import STRUCT
from kintro.sources.btf import kernel_btf
from kintro.sources.kernel_memory import TaskMemory
from kintro.sources.members import place

# Members of task_struct: the address space, open files, working directory and umask, what else is of the
# process as a whole (limits among it), signal handlers.
SHARED = ("mm", "files", "fs", "signal", "sighand")


def structs(memory: TaskMemory, tid: int) -> Mapping[str, int] | None:
    """Name → address in the kernel, 0 for a null pointer. None: there is no such task."""
    btf = kernel_btf()
    places = {name: there for name in SHARED if (there := place(btf, STRUCT, name)) is not None}
    found = memory.read(tid, list(places.values()))
    if found is None:
        return None
    return {name: int.from_bytes(data or b"", sys.byteorder) for name, data in zip(places, found)}
