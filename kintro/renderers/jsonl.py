"""JSON, one object to a line (jsonlines.org)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def line(record: Mapping[str, Any]) -> str:
    """One object as one line of ASCII JSON.

    Names come from strangers: bytes that are no UTF-8 become \\xNN, so that every JSON parser reads them.
    """
    return json.dumps(record, default=_text, separators=(",", ":"))


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    raise TypeError(f"{type(value).__name__} has no JSON form")
