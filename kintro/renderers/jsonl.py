"""JSON, one object to a line (jsonlines.org)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def line(record: Mapping[str, Any]) -> str:
    """One object as one line of ASCII JSON.

    Names come from strangers: bytes that are no UTF-8 become \\xNN, so that every JSON parser reads them.
    """
    return json.dumps(record, default=_text, separators=(",", ":"))


def plain(value: Any) -> Any:
    """What JSON can tell of a value: a record becomes an object, an array a list, what is no number null."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: plain(part) for name, part in zip(value._fields, value)}
    if isinstance(value, (tuple, list)):
        return [plain(part) for part in value]
    if isinstance(value, Mapping):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.tolist() if hasattr(value, "tolist") else value


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    raise TypeError(f"{type(value).__name__} has no JSON form")
