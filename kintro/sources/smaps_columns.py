"""Where the numbers stand in an entry of /proc/PID/smaps, so that it can be cut instead of searched.

fs/proc/task_mmu.c prints every entry in the same columns, unless a number is wider than 8 digits.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import NamedTuple

_NUMBER = re.compile(rb"((?<=:)[ \t]*\d+)")


class Columns(NamedTuple):
    """The shape of an entry."""

    unpack: Callable[[bytes], tuple[bytes, ...]]  # text and number in turns, text last
    texts: tuple[bytes, ...]  # every entry of this shape has the same
    pick: Callable[[tuple[object, ...]], tuple[object, ...]]  # see columns_of


def columns_of(entry: bytes, keys: Sequence[bytes]) -> Columns:
    """The shape of an entry, given without its first line and its flags.

    From (number, ..., number, x, flags), `pick` takes what belongs to each of the keys, x for a key that the
    entry lacks, and the flags.
    """
    parts = _NUMBER.split(entry)
    texts = tuple(parts[::2])
    found = [text.rpartition(b"\n")[2].removesuffix(b":") for text in texts[:-1]]
    places = {key: place for place, key in enumerate(found)}
    pick = itemgetter(*(places.get(key, len(found)) for key in keys), len(found) + 1)
    return Columns(struct.Struct("".join(f"{len(part)}s" for part in parts)).unpack, texts, pick)
