"""Numbers and strangers' names as text that is safe to print and easy to read."""

from __future__ import annotations

import shlex
from collections.abc import Sequence


def printable(name: bytes | str) -> str:
    """A name with whatever could move a cursor, hide or reorder text written as an escape.

    Bytes that are no UTF-8 become \\xNN; so do control characters; other unprintable ones \\uNNNN.
    """
    text = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def command_line(argv: Sequence[bytes]) -> str:
    """Arguments as one could type them to a shell, made printable."""
    return " ".join(shlex.quote(printable(argument)) for argument in argv)


def duration(ns: int) -> str:
    """A time span in three digits and the unit that suits it: `412 ns`, `1.25 ms`, `3.40 s`, `2h05m`."""
    if ns < 1000:
        return f"{ns} ns"
    for unit, unit_ns in (("µs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)):
        value = ns / unit_ns
        if value < (999.5 if unit != "s" else 99.95):
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"
    minutes, seconds = divmod(ns // 1_000_000_000, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02}h"
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{seconds:02}s"


def short_size(amount_bytes: int) -> str:
    """Bytes in three digits and a binary unit: `0`, `512B`, `132K`, `1.29M`, `31.9M`, `128T`."""
    if amount_bytes < 1024:
        return f"{amount_bytes}B" if amount_bytes else "0"
    value = float(amount_bytes)
    for unit in "KMGTPE":
        value /= 1024
        if value < 999.5 or unit == "E":
            digits = 0 if unit == "K" and amount_bytes % 1024 == 0 else 2 if value < 9.995 else 1
            return f"{value:.{0 if value >= 99.95 else digits}f}{unit}"
    raise AssertionError


def size(size_bytes: int) -> str:
    """A size in three digits and the binary unit that suits it: `512 B`, `4 KiB`, `1.25 MiB`, `16 EiB`."""
    unit, value = "B", float(size_bytes)
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB"):
        if value < 999.5:
            break
        unit, value = larger, value / 1024
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    number = f"{value:.{digits}f}"
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {unit}"


def cells(text: str) -> int:
    """How many terminal cells a printable text takes; wide characters take two."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth  # 26 ms, only where a name asks for it

    return wcswidth(text)


def fit(text: str, width: int) -> str:
    """The text, or as much of it as fits in that many cells with an ellipsis behind it."""
    if cells(text) <= width:
        return text
    kept = text[: max(width - 1, 0)]
    while cells(kept) > width - 1 > 0:
        kept = kept[:-1]
    return kept + "…" if width > 0 else ""


def pad(text: str, width: int, right: bool = False) -> str:
    """The text filled with spaces to that many cells; longer text stays as it is."""
    fill = " " * max(0, width - cells(text))
    return fill + text if right else text + fill


_CLOSING = "，。；：、！？）】》”’…"  # what no line begins with


def wrap(text: str, width: int) -> list[str]:
    """The text in lines of at most that many cells, broken at spaces and between wide characters."""
    lines: list[str] = []
    line = ""
    for piece in _pieces(text):
        if cells(line) + cells(piece.rstrip()) <= width:
            line += piece
            continue
        if line.strip():
            lines.append(line.rstrip())
        line = piece
        while cells(line.rstrip()) > width:  # a word longer than a line
            head = max(1, len(fit(line, width)) - 1)
            lines.append(line[:head])
            line = line[head:]
    return [*lines, line.rstrip()] if line.strip() else lines or [""]


def _pieces(text: str) -> list[str]:
    """Words with the space behind them; a wide character is a word, with the sign that closes behind it."""
    pieces: list[str] = []
    for character in " ".join(text.split()):
        before = pieces[-1][-1] if pieces else " "
        if character in _CLOSING or character == " ":
            joined = bool(pieces)
        else:
            joined = before != " " and not _is_wide(character) and not _is_wide(before)
        if joined:
            pieces[-1] += character
        else:
            pieces.append(character)
    return pieces


def _is_wide(character: str) -> bool:
    return not character.isascii() and cells(character) == 2
