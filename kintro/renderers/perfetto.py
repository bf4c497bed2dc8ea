"""Timelines as Perfetto traces, for ui.perfetto.dev and trace_processor; the only module that knows perfetto.

How: packets of Perfetto's protobuf schema (protos/perfetto/trace in its sources) are filled in one after the
other and handed on by the thousand, so a trace of any length takes little memory, and what was written before
a kill can be read. Names and texts that recur are written once.

Times are CLOCK_MONOTONIC in ns and come out of trace_processor as they went in.

Cost: 3 µs and 40 bytes for a slice, 1 µs and 8 bytes more for each argument, 3 µs and 50 bytes for a switch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.renderers.text import printable

PACKETS = 1000  # that are handed on together
INTERNED_MAX = 10_000  # texts of each kind that are kept in memory to be written once
INTERNED_LENGTH = 200  # of those; longer ones are written out each time
_SEQUENCE = 1  # all packets are of one writer
_CLEARED, _NEEDED = 1, 2  # TracePacket.SequenceFlags: interned data begins here; is needed here
_MONOTONIC, _BOOTTIME = 3, 6  # BuiltinClock
_BEGIN, _END = 1, 2  # TrackEvent.Type
# Fields of InternedData: names of slices, names of arguments, texts that are arguments.
_NAMES, _KEYS, _TEXTS = "event_names", "debug_annotation_names", "debug_annotation_string_values"

Argument = int | float | bool | str | bytes


class Track(NamedTuple):
    """A process, or a thread of one. Another one that gets its pid or tid later has a track of its own."""

    uuid: int
    pid: int
    tid: int | None = None  # None: a process
    process: int | None = None  # the uuid of the thread's process


class Switch(NamedTuple):
    """A CPU goes from one thread to the next; what the tracepoint sched_switch prints."""

    ts_ns: int
    prev_pid: int  # the kernel's word here for a tid; 0 is the idle task
    prev_comm: bytes | str
    prev_prio: int
    prev_state: int  # 0 runnable, 0x100 runnable but preempted, 1 S, 2 D, 4 T, 8 t, 0x10 X, 0x20 Z, 0x80 I
    next_pid: int
    next_comm: bytes | str
    next_prio: int


class Waking(NamedTuple):
    """A thread is about to be woken; what the tracepoint sched_waking prints, and who wakes it."""

    ts_ns: int
    waker_pid: int  # of the thread that ran when it happened
    pid: int
    comm: bytes | str
    prio: int
    target_cpu: int


class End(NamedTuple):
    """A thread is gone, and its tid may be given to another."""

    ts_ns: int
    pid: int
    comm: bytes | str
    prio: int


class Timeline:
    """Writes a trace through `write`; flush() writes the rest.

    `release` is uname(2)'s of the kernel that was traced: it says what the bits of a prev_state mean.
    KintroError if the Python package perfetto is missing.
    """

    def __init__(self, write: Callable[[bytes], object], release: str) -> None:
        self._write = write
        self._new_trace = schema().Trace
        self._trace = self._new_trace()
        self._held = 0  # packets and scheduler events in it
        self._uuids = 0
        self._known: dict[str, dict[str, int]] = {_NAMES: {}, _KEYS: {}, _TEXTS: {}}
        self._begin(release)

    def process(self, ts_ns: int, pid: int, name: bytes | str) -> Track:
        """The track of a process that was not there before; since its first slice, or earlier."""
        track = Track(self._new_uuid(), pid)
        descriptor = self._described(ts_ns, track)
        descriptor.process.pid, descriptor.process.process_name = pid, _printable(name)
        return track

    def thread(self, ts_ns: int, process: Track, tid: int, name: bytes | str) -> Track:
        """The track of a thread that was not there before; since its first slice, or earlier."""
        track = Track(self._new_uuid(), process.pid, tid, process.uuid)
        self._name_thread(ts_ns, track, name)
        return track

    def rename(self, ts_ns: int, track: Track, name: bytes | str) -> None:
        """A new name for all of a track, as a trace keeps the last; not before its first slice begins."""
        if track.tid is None:
            self._name_process(ts_ns, track.pid, name)
        else:
            self._name_thread(ts_ns, track, name)

    def slice(
        self,
        thread: Track,
        begin_ns: int,
        end_ns: int | None,
        name: bytes | str,
        arguments: Mapping[str, Argument | None] | None = None,
    ) -> None:
        """What a thread did from begin to end; an end of None is one that was not seen.

        Slices of a thread nest and do not overlap otherwise. They may come in any order, except that of two
        which begin together the outer comes first, and of two that touch the earlier. Arguments that are
        None, unknown, are left out.
        """
        packet = self._packet(begin_ns)
        packet.sequence_flags = _NEEDED
        event = packet.track_event
        event.type, event.track_uuid = _BEGIN, thread.uuid
        text = _printable(name)
        if iid := self._interned(_NAMES, text, packet):
            event.name_iid = iid
        else:
            event.name = text
        for key, value in (arguments or {}).items():
            if value is not None:
                self._annotate(packet, key, value)
        if end_ns is not None:
            event = self._packet(end_ns).track_event
            event.type, event.track_uuid = _END, thread.uuid

    def task(self, ts_ns: int, pid: int, tid: int, name: bytes | str, process_name: bytes | str) -> None:
        """From that time on a tid in switches and wakings means this thread of this process.

        A later name of the same thread replaces the earlier one everywhere. If the tid was another thread's,
        its end has been given, with an earlier time.
        """
        tree = self._name_process(ts_ns, pid, process_name)
        tree.threads.add(tgid=pid, tid=tid, name=_printable(name))

    def switches(self, cpu: int, switches: Iterable[Switch]) -> None:
        """What ran on a CPU. The thread before a gap (a prev that is not the last next) ends there unseen."""
        self._ftrace(cpu, switches, _fill_switch)

    def wakings(self, cpu: int, wakings: Iterable[Waking]) -> None:
        """Who was woken from that CPU: the next state of such a thread is runnable."""
        self._ftrace(cpu, wakings, _fill_waking)

    def ends(self, cpu: int, ends: Iterable[End]) -> None:
        """After its end a tid in switches and wakings means another thread, of which nothing is known yet.

        At the end of the thread whose tid is the pid, all of the process has ended.
        """
        self._ftrace(cpu, ends, _fill_end)

    def flush(self) -> None:
        """Hands on what is held back. It belongs at the end of the trace, and wherever a reader waits."""
        trace, self._trace, self._held = self._trace, self._new_trace(), 0
        if trace.packet:
            self._write(trace.SerializeToString())

    def _begin(self, release: str) -> None:
        packet = self._packet()
        packet.sequence_flags = _CLEARED
        packet.trace_packet_defaults.timestamp_clock_id = _MONOTONIC
        clocks = packet.clock_snapshot
        clocks.primary_trace_clock = _MONOTONIC
        # The schema has no scheduler events on CLOCK_MONOTONIC. They are taken for CLOCK_BOOTTIME, which this
        # sets equal.
        clocks.clocks.add(clock_id=_MONOTONIC, timestamp=0)
        clocks.clocks.add(clock_id=_BOOTTIME, timestamp=0)
        utsname = self._packet().system_info.utsname
        utsname.sysname, utsname.release = "Linux", _printable(release)

    def _packet(self, ts_ns: int | None = None) -> Any:
        """A new packet to be filled in before the next one is asked for."""
        if self._held >= PACKETS:
            self.flush()
        self._held += 1
        packet = self._trace.packet.add()
        packet.trusted_packet_sequence_id = _SEQUENCE
        if ts_ns is not None:
            packet.timestamp = ts_ns
        return packet

    def _new_uuid(self) -> int:
        self._uuids += 1
        return self._uuids

    def _described(self, ts_ns: int, track: Track) -> Any:
        descriptor = self._packet(ts_ns).track_descriptor
        descriptor.uuid = track.uuid
        return descriptor

    def _name_thread(self, ts_ns: int, track: Track, name: bytes | str) -> None:
        descriptor = self._described(ts_ns, track)
        descriptor.parent_uuid = track.process
        thread = descriptor.thread
        thread.pid, thread.tid, thread.thread_name = track.pid, track.tid, _printable(name)

    def _name_process(self, ts_ns: int, pid: int, name: bytes | str) -> Any:
        """The process that has this pid at that time; of a track descriptor only the first name counts."""
        tree = self._packet(ts_ns).process_tree
        # Of a command line without a second argument only what precedes a space would become the name.
        tree.processes.add(pid=pid, cmdline=[_printable(name), ""])
        return tree

    def _annotate(self, packet: Any, key: str, value: Argument) -> None:
        annotation = packet.track_event.debug_annotations.add()
        text = _printable(key)
        if iid := self._interned(_KEYS, text, packet):
            annotation.name_iid = iid
        else:
            annotation.name = text
        if isinstance(value, (bytes, str)):
            text = printable(value)
            if iid := self._interned(_TEXTS, text, packet):
                annotation.string_value_iid = iid
            else:
                annotation.string_value = text
        elif isinstance(value, bool):
            annotation.bool_value = value
        elif isinstance(value, float):
            annotation.double_value = value
        elif -(1 << 63) <= value < 1 << 63:
            annotation.int_value = value
        else:
            annotation.pointer_value = value  # shown in hex; a uint_value of that size is shown as negative

    def _interned(self, kind: str, text: str, packet: Any) -> int:
        """The number that stands for a text in this and all later packets; 0 if it is to be written out."""
        known = self._known[kind]
        iid = known.get(text, 0)
        if not iid and len(known) < INTERNED_MAX and len(text) <= INTERNED_LENGTH:
            iid = known[text] = len(known) + 1
            entry = getattr(packet.interned_data, kind).add(iid=iid)
            if kind == _TEXTS:
                entry.str = text.encode()
            else:
                entry.name = text
        return iid

    def _ftrace(self, cpu: int, events: Iterable[Any], fill: Callable[[Any, Any], None]) -> None:
        for number, event in enumerate(events):
            if number % PACKETS == 0:
                bundle = self._packet().ftrace_events
                bundle.cpu = cpu
            fill(bundle.event.add(), event)
            self._held += 1


def _fill_switch(event: Any, switch: Switch) -> None:
    fields = event.sched_switch
    event.timestamp, event.pid, prev_comm, fields.prev_prio, fields.prev_state = switch[:5]
    fields.next_pid, next_comm, fields.next_prio = switch[5:]
    fields.prev_pid = event.pid
    fields.prev_comm, fields.next_comm = _printable(prev_comm), _printable(next_comm)


def _fill_waking(event: Any, waking: Waking) -> None:
    fields = event.sched_waking
    event.timestamp, event.pid, fields.pid, comm, fields.prio, fields.target_cpu = waking
    fields.comm, fields.success = _printable(comm), 1


def _fill_end(event: Any, end: End) -> None:
    fields = event.sched_process_free
    event.timestamp, fields.pid, comm, fields.prio = end
    event.pid = 0  # whoever frees it; an event without a pid is not taken
    fields.comm = _printable(comm)


# Some names come a million times.
_printable = lru_cache(4096)(printable)


def schema() -> Any:
    """Perfetto's protobuf classes; slow the first time. KintroError if the package perfetto is missing."""
    try:
        from perfetto.protos.perfetto.trace import perfetto_trace_pb2  # 60 ms
    except ImportError as error:
        raise KintroError(
            "a timeline for Perfetto needs the Python package perfetto, which is not there",
            "script/install installs it; so does pip install 'kintro[perfetto]'",
            EX_UNAVAILABLE,
        ) from error
    return perfetto_trace_pb2
