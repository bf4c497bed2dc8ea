"""What the kernel says of a frame of memory: /proc/kpagecount and /proc/kpageflags.

Documentation/admin-guide/mm/pagemap.rst, fs/proc/page.c. Files of one u64 for each frame, for CAP_SYS_ADMIN.
A frame may change hands between two reads.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from kintro.errors import EX_NOPERM, EX_UNAVAILABLE, KintroError
from kintro.sources import host
from kintro.sources.pagemap import read_at

# include/uapi/linux/kernel-page-flags.h, bit → name without KPF_; those above are for debugging the kernel.
FLAGS = {
    0: "LOCKED", 1: "ERROR", 2: "REFERENCED", 3: "UPTODATE", 4: "DIRTY", 5: "LRU", 6: "ACTIVE", 7: "SLAB",
    8: "WRITEBACK", 9: "RECLAIM", 10: "BUDDY", 11: "MMAP", 12: "ANON", 13: "SWAPCACHE", 14: "SWAPBACKED",
    15: "COMPOUND_HEAD", 16: "COMPOUND_TAIL", 17: "HUGE", 18: "UNEVICTABLE", 19: "HWPOISON", 20: "NOPAGE",
    21: "KSM", 22: "THP", 23: "OFFLINE", 24: "ZERO_PAGE", 25: "IDLE", 26: "PGTABLE",
}  # fmt: skip
ANON = np.uint64(1 << 12)  # memory of processes that is no file's, also in swap cache and by KSM
HUGE = np.uint64(1 << 17)  # of a hugetlb page
NOPAGE = np.uint64(1 << 20)  # no RAM
KSM = np.uint64(1 << 21)  # merged by CONFIG_KSM from pages of the same content
THP = np.uint64(1 << 22)  # of a transparent huge page of any size, large folios of a file too
ZERO_PAGE = np.uint64(1 << 24)  # of nothing but zeros, small (Linux 4.0) or huge


def flag_names(flags: int) -> tuple[str, ...]:
    """The names of the flags that are set; those without a name here are left out."""
    return tuple(name for bit, name in FLAGS.items() if flags >> bit & 1)


def read_kpagecount(pfns: np.ndarray, root: Path = host.ROOT) -> np.ndarray:
    """How many times each frame is mapped by processes, u64 in the order of `pfns`; 0 for a zero page.

    Without CONFIG_PAGE_MAPCOUNT a large folio has its average in all its frames.
    KintroError: not permitted (77), a kernel without CONFIG_PROC_PAGE_MONITOR (69).
    """
    return _read("kpagecount", pfns, root)


def read_kpageflags(pfns: np.ndarray, root: Path = host.ROOT) -> np.ndarray:
    """The flags of each frame, u64 in the order of `pfns`; 0 behind the last. Errors as read_kpagecount."""
    return _read("kpageflags", pfns, root)


def _read(name: str, pfns: np.ndarray, root: Path) -> np.ndarray:
    try:
        fd = os.open(root / "proc" / name, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        raise KintroError(f"/proc/{name} may not be read", "Run kintro as root.", EX_NOPERM) from None
    except FileNotFoundError:
        raise KintroError(
            f"this kernel has no /proc/{name}", "It needs CONFIG_PROC_PAGE_MONITOR=y.", EX_UNAVAILABLE
        ) from None
    try:
        distinct, places = np.unique(pfns, return_inverse=True)
        return read_at(fd, distinct)[places]
    finally:
        os.close(fd)
