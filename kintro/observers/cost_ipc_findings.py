"""What the medians of a measurement of inter-process communication come to, in sentences."""

from __future__ import annotations

from kintro.observers.cost_ipc_records import COPIED, ONE_CPU, TWO_CPUS, Report, Throughput, fastest
from kintro.observers.cost_switch_text import span
from kintro.renderers.text import size


def findings(report: Report) -> list[str]:
    return [*_order(report), *_wake_ups(report), *_spinning(report), *_large(report)]


def _order(report: Report) -> list[str]:
    """Which has the lowest latency, at each place."""
    told = []
    for place in (ONE_CPU, TWO_CPUS):
        found = fastest(report, place)
        if len(found) > 1:
            first_ns, next_ns = (one.spread.median_ns for one in found[:2])
            told.append(
                f"on {place} {found[0].kind} has the lowest latency, {span(first_ns)}; the next is "
                f"{found[1].kind} with {span(next_ns)}, {times(next_ns / first_ns)} times that"
            )
    return told


def _wake_ups(report: Report) -> list[str]:
    """Shared memory with a futex beside the best of those that the kernel copies."""
    place = TWO_CPUS if len(report.cpus) > 1 else ONE_CPU
    ours = report.median_ns("shm-futex", place)
    copied = fastest(report, place, COPIED)
    if ours is None or not copied:
        return []
    best, best_ns = copied[0].kind, copied[0].spread.median_ns
    return [
        f"shared memory has to be synchronised: with a futex a message takes {span(ours)} on {place}, by "
        f"{best} {span(best_ns)}, {best_ns / ours:.2f} times that: both have to wake the other one, and for "
        "small messages that is most of it, whatever carries the bytes"
    ]


def _spinning(report: Report) -> list[str]:
    two, futex = (report.median_ns(kind, TWO_CPUS) for kind in ("shm-spin", "shm-futex"))
    one = report.median_ns("shm-spin", ONE_CPU)
    told = []
    if two is not None and futex is not None:
        told.append(f"spinning needs no wake-up, {span(two)} instead of {span(futex)}, but keeps a CPU busy")
    if one is not None:
        told.append(f"on one CPU who spins waits until its time slice is over: {span(one)}")
    return ["; ".join(told)] if told else []


def _large(report: Report) -> list[str]:
    """Who moves most, with the largest and the smallest messages that were measured."""
    told = []
    for size_bytes in dict.fromkeys((max(report.sizes, default=0), min(report.sizes, default=0))):
        found = sorted(
            (one for one in report.throughput if one.bytes == size_bytes),
            key=lambda one: one.spread.median_ns,
        )
        if len(found) > 1:
            best = found[0]
            other: Throughput | None = next(
                (one for one in found if not one.kind.startswith("shm-")), found[-1]
            )
            assert other is not None
            rest = "" if other is best else (
                f", {times(other.spread.median_ns / best.spread.median_ns)} times as much as {other.kind}"
            )  # fmt: skip
            told.append(f"in messages of {size(size_bytes)} {best.kind} moves most{rest}")
    return told


def times(ratio: float) -> str:
    """In three digits, or as many as it takes."""
    return f"{ratio:.3g}" if ratio < 999.5 else f"{ratio:,.0f}"
