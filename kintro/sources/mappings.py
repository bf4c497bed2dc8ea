"""The mappings of a process: /proc/PID/maps, smaps and smaps_rollup (proc_pid_maps(5), proc_pid_smaps(5))."""

from __future__ import annotations

from typing import NamedTuple


class Mapping(NamedTuple):
    """One line of proc_pid_maps(5): a vma of the kernel."""

    start: int  # first address
    end: int  # first address behind it
    perms: str  # `r-xp`: read, write, execute, private or shared
    offset: int  # into the file, bytes
    dev: str  # `fd:01`, major:minor in hexadecimal
    inode: int  # 0: no file
    path: bytes  # a file, or a name such as [heap], [stack], [vdso], [anon:NAME], /memfd:NAME; empty for none
    deleted: bool  # the file has no name any more; the kernel's mark ` (deleted)` is not part of `path`

    @property
    def size_bytes(self) -> int:
        return self.end - self.start


class Usage(NamedTuple):
    """What proc_pid_smaps(5) tells of one mapping. None: this kernel does not tell."""

    rss_bytes: int  # resident
    pss_bytes: int  # resident, each page divided by the number of mappings that share it
    pss_dirty_bytes: int | None  # Linux 6.0
    shared_clean_bytes: int
    shared_dirty_bytes: int
    private_clean_bytes: int
    private_dirty_bytes: int
    referenced_bytes: int
    anonymous_bytes: int
    ksm_bytes: int | None  # Linux 6.8
    lazy_free_bytes: int | None  # Linux 4.12
    anon_huge_bytes: int  # in transparent huge pages
    shmem_huge_bytes: int | None  # ShmemPmdMapped
    file_huge_bytes: int | None  # FilePmdMapped
    shared_hugetlb_bytes: int
    private_hugetlb_bytes: int
    swap_bytes: int
    swap_pss_bytes: int
    locked_bytes: int
    kernel_page_bytes: int
    mmu_page_bytes: int
    flags: tuple[str, ...]  # VmFlags: `rd`, `wr`, `ex`, `sh`, `gd`, …
