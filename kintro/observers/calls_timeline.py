"""System calls as a timeline: a track for each thread, with what it was in: user mode, or which call."""

from __future__ import annotations

from collections.abc import Callable

from kintro.observers.calls import Seen
from kintro.observers.calls_records import EARLY, Thread
from kintro.observers.syscall_values import text
from kintro.renderers.perfetto import Timeline, Track

USER_MODE = "user mode"
_IDS = range(1, 1 << 31)  # what a trace can hold: pids of a session that somebody has forged may be any u32


class CallsTimeline:
    """Takes calls in the order in which they end, and hands on pieces of a Perfetto trace.

    Between two calls a thread is in user mode, or waits for a CPU there, which is told if all calls are.
    Before its first call and after its last one nothing is said of it.
    """

    def __init__(
        self, write: Callable[[bytes], object], release: str, begin_ns: int, whole: bool = True
    ) -> None:
        """`release`: uname(2)'s of the kernel. `whole`: no call is left out.

        KintroError if the package perfetto is missing.
        """
        self._out = Timeline(write, release)
        self._begin_ns, self._whole = begin_ns, whole
        self._processes: dict[int, Track] = {}
        self._threads: dict[int, tuple[Thread, Track, int]] = {}  # by tid; and when its last call ended

    def add(self, seen: Seen) -> None:
        call, out = seen.call, self._out
        if seen.thread is None or call.pid not in _IDS or call.tid not in _IDS:
            return
        begin_ns = self._begin_ns if call.flags & EARLY else call.ts_ns
        track, last_ns = self._track(seen.thread, begin_ns)
        if self._whole and last_ns is not None and last_ns < begin_ns:
            out.slice(track, last_ns, begin_ns, USER_MODE)
        end_ns = None if call.returned is None else call.ended_ns
        result = seen.error if seen.error is not None else text(seen.result)
        told = {name: text(value) for name, value in seen.arguments.items()}
        out.slice(track, begin_ns, end_ns, seen.name, told | ({} if end_ns is None else {"return": result}))
        self._threads[call.tid] = seen.thread, track, call.ended_ns

    def _track(self, thread: Thread, begin_ns: int) -> tuple[Track, int | None]:
        """A thread's track, and when its last call ended."""
        known, track, last_ns = self._threads.get(thread.tid, (None, None, None))
        if known is None or track is None or known.start_time_ns != thread.start_time_ns:
            if thread.pid not in self._processes or (known is not None and thread.tid == thread.pid):
                self._processes[thread.pid] = self._out.process(begin_ns, thread.pid, thread.comm)
            process = self._processes[thread.pid]
            return self._out.thread(begin_ns, process, thread.tid, thread.comm), None
        if known.comm != thread.comm:
            self._out.rename(begin_ns, track, thread.comm)
            if thread.tid == thread.pid:
                self._out.rename(begin_ns, self._processes[thread.pid], thread.comm)
        return track, last_ns

    def flush(self) -> None:
        self._out.flush()
