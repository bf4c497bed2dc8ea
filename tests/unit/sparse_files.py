"""Files of u64 as /proc has them, below a root of our own."""

from __future__ import annotations

import os
from pathlib import Path


def lay_out(root: Path, name: str, entries: dict[int, int], size: int = 0) -> None:
    """A file of u64, sparse."""
    path = root / "proc" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        for index, entry in entries.items():
            file.seek(index * 8)
            file.write(entry.to_bytes(8, "little"))
        file.truncate(max(size * 8, file.seek(0, os.SEEK_END)))
