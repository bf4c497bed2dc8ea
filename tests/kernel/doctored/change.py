"""Changes to lists of named tuples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def first(records: Sequence[Any], **fields: Any) -> list[Any]:
    return [records[0]._replace(**fields), *records[1:]]


def every(records: Sequence[Any], **fields: Any) -> list[Any]:
    return [record._replace(**fields) for record in records]
