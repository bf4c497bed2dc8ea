"""How many page faults the kernel has counted for a process: /proc/PID/stat (proc_pid_stat(5))."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class FaultTotals(NamedTuple):
    """Of all threads of a process since its start, those that have ended among them."""

    minor: int
    major: int

    @property
    def total(self) -> int:
        return self.minor + self.major


def parse_stat(text: bytes) -> FaultTotals:
    """Fields 10 and 12; the second, the name, may hold blanks and parentheses."""
    fields = text.rpartition(b")")[2].split()
    return FaultTotals(int(fields[10 - 3]), int(fields[12 - 3]))


def read_fault_totals(pid: int, root: Path = Path("/proc")) -> FaultTotals | None:
    """None if there is no such process any more. A zombie still has its own."""
    try:
        return parse_stat((root / str(pid) / "stat").read_bytes())
    except OSError:
        return None
