"""A crude reader of /proc/PID/maps for tests, which is not the one that is tested."""

from __future__ import annotations

from pathlib import Path

from kintro.sources.mappings import Mapping


def maps_of(pid: int) -> list[Mapping]:
    found = []
    for line in Path(f"/proc/{pid}/maps").read_bytes().splitlines():
        addresses, perms, offset, dev, inode, *name = line.split(maxsplit=5)
        start, _, end = addresses.partition(b"-")
        path = name[0] if name else b""
        found.append(
            Mapping(
                int(start, 16),
                int(end, 16),
                perms.decode(),
                int(offset, 16),
                dev.decode(),
                int(inode),
                path.removesuffix(b" (deleted)"),
                path.endswith(b" (deleted)"),
            )
        )
    return found
