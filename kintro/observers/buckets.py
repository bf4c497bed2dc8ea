"""Histograms of durations as the probes keep them (probes/buckets.h): four buckets for each power of two."""

from __future__ import annotations

import math
from collections.abc import Sequence

# As in probes/buckets.h.
BUCKETS, FIRST_EXPONENT = 128, 5


def bounds_ns(bucket: int) -> tuple[int, int | None]:
    """The durations that a bucket counts: from, and below; None: no limit."""
    if bucket == BUCKETS - 1:
        return _low_ns(bucket), None
    return _low_ns(bucket) if bucket else 0, _low_ns(bucket + 1)


def _low_ns(bucket: int) -> int:
    return (4 + bucket % 4) << (bucket // 4 + FIRST_EXPONENT - 2)


def percentile_ns(buckets: Sequence[int], part: float, min_ns: int, max_ns: int) -> int | None:
    """The duration that so large a part (0 to 1) did not exceed; None if the histogram is empty.

    Known as exactly as the buckets are narrow: a quarter at most. Within one, evenly spread.
    """
    rank, before = math.ceil(part * sum(buckets)), 0
    for bucket, number in enumerate(buckets):
        if number and before + number >= rank:
            low, high = bounds_ns(bucket)
            low, high = max(low, min_ns), min(high or max_ns, max_ns)
            return min(max_ns, round(low + (high - low) * (rank - before) / number))
        before += number
    return None


def highest_ns(buckets: Sequence[int], max_ns: int) -> int | None:
    """The longest duration as exactly as the buckets tell, and not above `max_ns`; None if they are empty."""
    used = [bucket for bucket, number in enumerate(buckets) if number]
    return min(bounds_ns(used[-1])[1] or max_ns, max_ns) if used else None
