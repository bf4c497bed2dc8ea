"""Saves records of process life as a session, as `trace-fork --save` does."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from kintro.observers.lifecycle_records import RECORDS, dtypes
from kintro.sources.session import SessionWriter

COUNTS = dict(duration_ns=5, forks=100, threads=0, execs=0, exits=1, lost=0, kernel_forks=100, late=0)


def save_lifecycle(path: Path, records: Iterable[Any], **header: Any) -> Path:
    records = list(records)
    kinds = dtypes()
    with SessionWriter(path, kinds, {"verb": "trace-fork", "begin_ns": 1000} | header) as writer:
        for kind, record in RECORDS.items():
            batch = np.array([found for found in records if isinstance(found, record)], kinds[kind])
            if len(batch):
                writer.write(kind, batch)
        writer.close({"counts": COUNTS})
    return path
