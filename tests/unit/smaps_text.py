"""Writes maps and smaps as the kernel does: fs/proc/task_mmu.c, show_map_vma and show_smap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kintro.sources.mappings import Mapping, Usage

# As __show_smap prints them, the page sizes first as show_smap does.
LINES = {
    "KernelPageSize": "kernel_page_bytes",
    "MMUPageSize": "mmu_page_bytes",
    "Rss": "rss_bytes",
    "Pss": "pss_bytes",
    "Pss_Dirty": "pss_dirty_bytes",
    "Shared_Clean": "shared_clean_bytes",
    "Shared_Dirty": "shared_dirty_bytes",
    "Private_Clean": "private_clean_bytes",
    "Private_Dirty": "private_dirty_bytes",
    "Referenced": "referenced_bytes",
    "Anonymous": "anonymous_bytes",
    "KSM": "ksm_bytes",
    "LazyFree": "lazy_free_bytes",
    "AnonHugePages": "anon_huge_bytes",
    "ShmemPmdMapped": "shmem_huge_bytes",
    "FilePmdMapped": "file_huge_bytes",
    "Shared_Hugetlb": "shared_hugetlb_bytes",
    "Private_Hugetlb": "private_hugetlb_bytes",
    "Swap": "swap_bytes",
    "SwapPss": "swap_pss_bytes",
    "Locked": "locked_bytes",
}


def maps_line(mapping: Mapping) -> bytes:
    """seq_setwidth(25 + 6 * sizeof(void *) - 1), then seq_pad adds one space before the name."""
    m = mapping
    text = b"%08x-%08x %s %08x " % (m.start, m.end, m.perms.encode(), m.offset)
    text += b"%s %d " % (m.dev.encode(), m.inode)
    if mapping.path:
        mark = b" (deleted)" if mapping.deleted else b""
        text = text.ljust(72) + b" " + mapping.path.replace(b"\n", b"\\012") + mark
    return text + b"\n"


def size_line(key: str, size_bytes: int) -> bytes:
    """The column of a number is 8 wide and begins behind 16 characters: `Rss:                2176 kB`."""
    return f"{key + ':':16}{size_bytes // 1024:8} kB\n".encode()


def usage_lines(mapping: Mapping, usage: Usage) -> list[bytes]:
    known = ((key, getattr(usage, field)) for key, field in LINES.items())
    return [
        size_line("Size", mapping.size_bytes),
        *(size_line(key, size) for key, size in known if size is not None),
        f"THPeligible:    {0:8}\n".encode(),
        *([f"VmFlags: {' '.join(usage.flags)} \n".encode()] if usage.flags else []),
    ]


def maps_text(mappings: Iterable[Mapping]) -> bytes:
    return b"".join(map(maps_line, mappings))


def smaps_text(entries: Sequence[tuple[Mapping, Usage]]) -> bytes:
    return b"".join(maps_line(mapping) + b"".join(usage_lines(mapping, usage)) for mapping, usage in entries)
