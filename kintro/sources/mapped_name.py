r"""The name of a mapped file, where the text of /proc/PID/maps leaves it open.

The kernel writes ` (deleted)` behind the path of a file that has no name any more (fs/d_path.c), and a
newline in a path as `\012`, but a backslash as it is (seq_path in fs/seq_file.c). So `x (deleted)` may be a
deleted file `x` or a file of that very name, and `\012` a newline or these four characters.

The link in /proc/PID/map_files has the name as it is, but for the mark; whoever may read maps may read it.
A file is taken for one named `x (deleted)` if a file of that name is the mapped one: it has the device and
inode that maps tells, or those of the link's target (which only CAP_CHECKPOINT_RESTORE may follow).

What stays open:
- A deleted `x` whose other hard link is called `x (deleted)`, in the same folder, is taken for the latter.
- Without that capability a file named `x (deleted)` is taken for deleted if it lies where this user cannot
  look, or on a file system where stat(2) tells another device or inode than maps (btrfs, overlayfs).
- Without the link `\012` is settled by what is found under the names possible; if that is nothing, it stays a
  newline.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from kintro.sources.host import ROOT
from kintro.sources.procfs import DELETED, is_file

NEWLINE = b"\\012"

_CHOICES_MAX = 6  # times `\012`, so at most 64 names to look for


def likely_name(printed: bytes) -> tuple[bytes, bool]:
    """Path, and whether the file is deleted: as if only the kernel wrote ` (deleted)` and `\\012`."""
    return printed.removesuffix(DELETED).replace(NEWLINE, b"\n"), printed.endswith(DELETED)


def settled_name(
    printed: bytes, dev: str, inode: int, link: str, pid: int, root: Path = ROOT
) -> tuple[bytes, bool]:
    """Path, and whether the file is deleted, as far as that can be known.

    `link` is the path of the mapping's link in map_files, below the root.
    """
    marked = printed.endswith(DELETED)
    path = os.fsencode(root / link)
    try:
        name = os.readlink(path)
    except OSError:
        name = b""
    if name.replace(b"\n", NEWLINE) == printed:
        names = [name]
        if not marked:
            return name, False
    else:  # not to be read, or another mapping lies there by now
        names = _choices(printed)
    identities = _identities(dev, inode, path)
    for name in names:
        if is_file(name, identities, pid, root):
            return name, False
    return names[0].removesuffix(DELETED), marked


def _identities(dev: str, inode: int, link: bytes) -> set[tuple[int, int]]:
    """(st_dev, st_ino) that the mapped file may have."""
    major, _, minor = dev.partition(":")
    found = {(os.makedev(int(major, 16), int(minor, 16)), inode)}
    try:
        target = os.stat(link)
    except OSError:
        return found
    return found | {(target.st_dev, target.st_ino)}


def _choices(printed: bytes) -> list[bytes]:
    """The names that the kernel prints so; first the one with newlines only."""
    parts = printed.split(NEWLINE)
    if len(parts) - 1 > _CHOICES_MAX:
        return [b"\n".join(parts), printed]
    choices = itertools.product((b"\n", NEWLINE), repeat=len(parts) - 1)
    return [b"".join(itertools.chain(*zip(parts, (*choice, b"")))) for choice in choices]
