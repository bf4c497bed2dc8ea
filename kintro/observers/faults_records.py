"""What is seen of page faults: the record that probes/faults.c sends, and what it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

PROBE = "faults"

# By what begins a fault. `protection`: the page was there, but not for that; mostly a write to a page that
# is shared with another process, or that of zeros which reading untouched memory gives.
KINDS = ("read", "write", "exec", "protection")
COLUMNS = (*KINDS, "major")  # in the order of the probe; `major` counts faults of the other kinds again
PAGES = 16  # of a block of probes/faults.c

# arch/x86/include/asm/trap_pf.h
_PROT, _WRITE, _INSTR = 0x01, 0x02, 0x10


class Fault(NamedTuple):
    """A page fault begins. Time in ns of CLOCK_MONOTONIC; how it ends is not known yet."""

    ts_ns: int
    address: int
    ip: int  # the instruction; one of the kernel, if the kernel touched the memory for the process
    tid: int
    error_code: int  # X86_PF_… bits
    user: int  # 0: the kernel touched the memory

    @property
    def kind(self) -> str:
        """One of KINDS."""
        return "protection" if self.present else self.access

    @property
    def access(self) -> str:
        """`read`, `write` or `exec`."""
        return "exec" if self.error_code & _INSTR else "write" if self.error_code & _WRITE else "read"

    @property
    def present(self) -> bool:
        """Whether the page was there, but not for that: a write to a page shared with others, say."""
        return bool(self.error_code & _PROT)


RECORDS = {"fault": Fault}


class FaultPages(NamedTuple):
    """Faults by page: addresses, ascending and each but once, and a row of COLUMNS for each."""

    addresses: np.ndarray  # uint64
    counts: np.ndarray  # uint32 or wider, len(addresses) × len(COLUMNS)


class Counts(NamedTuple):
    """Faults by kind. `read`, `write`, `exec`, `protection` add up to all; `major` is how many were major."""

    read: int = 0
    write: int = 0
    exec: int = 0
    protection: int = 0
    major: int = 0

    @property
    def total(self) -> int:
        return self.read + self.write + self.exec + self.protection
