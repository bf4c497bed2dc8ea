"""The record that a probe keeps for each thread (probes/record.h): its place, holding it, reading all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kintro.sources import host
from kintro.sources.probe_source import c_struct

if TYPE_CHECKING:
    import numpy as np

    from kintro.sources.probe import Probe

TID_INDEX_MAX = 1 << 16  # up to that many tids each has its own place: 4 to 8 MiB
THREADS = 1 << 16  # else that many threads can be told apart
HELD = 4  # as in probes/record.h


def defines() -> dict[str, int]:
    """Parameters of record.h on this machine."""
    limit = host.tid_limit()
    if limit is not None and limit <= TID_INDEX_MAX:
        return {"THREADS": limit, "TID_INDEX": 1}
    return {"THREADS": THREADS}


def hold(probe: Probe, tid: int) -> None:
    """Nothing of a command's thread counts before its first exec: until then it is kintro."""
    import numpy as np  # not before the probe is on its way into the kernel: it takes as long

    record = np.zeros(1, c_struct(probe.text, "thread_record").dtype)
    record["flags"] = HELD
    probe.update("threads", tid, record.tobytes())


def comm_of(row: Any) -> bytes:
    """The name in a record. Behind its NUL there may be the rest of an older one."""
    return bytes(row["comm"]).partition(b"\0")[0]


def read_threads(probe: Probe) -> tuple[np.ndarray, np.ndarray]:
    """All records that are in use, and their tids."""
    import numpy as np

    layout = c_struct(probe.text, "thread_record").dtype
    if probe.is_array("threads"):
        table = np.frombuffer(probe.array("threads"), layout)
        tids = np.flatnonzero(table["flags"])
        return table[tids], tids
    keys, values = probe.read_all("threads")
    return np.frombuffer(values, layout), np.frombuffer(keys, np.uint32)
