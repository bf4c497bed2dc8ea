"""A loaded probe: attaches it to raw tracepoints, picks processes, reads its rings and counters.

What a probe's C text tells by convention (probes/kintro.h): functions `tp_<name>` are attached to the raw
tracepoint of that name, in the reverse of their order in the file, and detached in that order; functions
`perf_<name>` to the software event of that name (perf_event.py), on every CPU; functions `run_<name>` are run
by `run`; functions `tail_<n>` fill the map `tails`; RING and COUNTER lines name rings and counters.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import struct
from collections.abc import Callable

from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.sources import bpf_syscall, perf_event
from kintro.sources.bpf import Loading
from kintro.sources.descendants import descendants, has_ended
from kintro.sources.probe_source import c_struct
from kintro.sources.ring import Reader, Ring

COUNTERS = 32  # of kintro.h: counters for each CPU


class Probe:
    """A loaded probe; a context manager. Attached by `attach`, not before. `reader` reads its rings.

    Its programs and maps are the Loading's, which is to be closed after it.
    """

    def __init__(self, loading: Loading) -> None:
        """Waits until it is loaded. KintroError where bcc, the kernel or the verifier refuse."""
        text, cpus, filters = loading.text, loading.cpus, loading.filters
        self.text, self.cpus = text, cpus
        self._links: list[int] = []
        self._perf: dict[str, list[int]] = {}
        self._programs, self._maps = loading.result()
        counters = re.findall(r"^COUNTER\((\w+), (\d+)\);", text, re.MULTILINE)
        self._slots = {counter: int(slot) for counter, slot in counters}
        fds: dict[str, tuple[int, Ring]] = {}
        for kind, number in re.findall(r"^RING\((\w+), (\d+), \d+\);", text, re.MULTILINE):
            if f"{kind}_ring" not in self._maps:
                continue  # what was compiled does without it
            self._slots[f"{kind}_sent"], self._slots[f"{kind}_lost"] = 2 * int(number), 2 * int(number) + 1
            fd = self._maps[f"{kind}_ring"]
            fds[kind] = fd, Ring(fd, bpf_syscall.map_attributes(fd)[3], c_struct(text, f"{kind}_event"))
        self.reader = Reader(fds)
        self._counters = self._mapped("counters", cpus * COUNTERS)
        for program, fd in self._programs.items():
            if program.startswith("tail_"):
                self.update("tails", int(program[5:]), struct.pack("=I", fd))
        follows = filters.targets and filters.follow
        self._scanning = self._mapped("scanning", 1) if follows else None

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()
        self.reader.__exit__()
        self._counters.release()
        if self._scanning is not None:
            self._scanning.release()

    def attach(self, pid: int | None = None, scan: bool = False) -> None:
        """Starts tracing; with a process to pick, and with `scan` its descendants that are there already."""
        if pid is not None:
            self.add_target(pid)
            if scan and self._scanning is not None:
                self._scanning[0] = 1
        for program, fd in reversed(list(self._programs.items())):
            kind, _, name = program.partition("_")
            try:
                if kind == "tp":
                    self._links.append(bpf_syscall.attach_raw_tracepoint(fd, name))
                elif kind == "perf":
                    self._perf[name] = perf_event.attach_everywhere(fd, name)
            except OSError as error:
                what = f"tracepoint {name}" if kind == "tp" else f"perf event {name}"
                message = f"cannot attach to the {what}: {error.strerror}"
                raise KintroError(message, None, EX_UNAVAILABLE) from error
        self._tell_attached(1)
        if scan and pid is not None:
            self._add_descendants(pid)
            if self._scanning is not None:
                self._scanning[0] = 0

    def detach(self) -> None:
        """Stops tracing; what the rings hold can still be read."""
        self._tell_attached(0)
        while self._links:
            os.close(self._links.pop())
        while self._perf:
            for fd in self._perf.popitem()[1]:
                os.close(fd)

    def _tell_attached(self, value: int) -> None:
        """To a probe that asks whether all of its programs are (probes/record.h)."""
        if "attached" in self._maps:
            self.switch("attached")[0] = value

    def run(self, name: str) -> None:
        """Runs the function run_<name> on each CPU that is online. KintroError where that cannot be."""
        for cpu in range(self.cpus):
            try:
                bpf_syscall.run_on_cpu(self._programs[f"run_{name}"], cpu)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    message = f"cannot run a BPF program on CPU {cpu}: {error.strerror}"
                    raise KintroError(message, "that takes Linux 5.10 or newer", EX_UNAVAILABLE) from error

    def add_target(self, pid: int) -> None:
        self.update("targets", pid, struct.pack("=Q", 1))

    def _add_descendants(self, pid: int) -> None:
        """Adds who is there; one that ended between being listed and being added is taken out again."""
        for descendant in descendants(pid):
            self.add_target(descendant)
            if has_ended(descendant):
                bpf_syscall.delete(self._maps["targets"], struct.pack("=I", descendant))

    def has_targets(self) -> bool:
        """Whether a process that passes the pid filter is still alive."""
        return not bpf_syscall.is_empty(self._maps["targets"], 4)

    def counters(self) -> dict[str, int]:
        """All counters of the probe by name, summed over the CPUs, and `missed`.

        `missed`: runs of its programs that the kernel skipped because one was already running on that CPU
        (recursion_misses in the fdinfo of a BPF program, kernel 5.12 and newer).
        """
        values = {name: self.counter(name) for name in self._slots}
        values["missed"] = sum(map(self.missed, self._programs))
        return values

    def missed(self, program: str) -> int:
        """The part of `missed` of one of its programs, by the name of its function."""
        return int(bpf_syscall.fdinfo(self._programs[program]).get("recursion_misses", 0))

    def counter(self, name: str) -> int:
        """One counter, summed over the CPUs: costs microseconds."""
        return sum(self._counters[self._slots[name] :: COUNTERS])

    def perf_count(self, name: str) -> int:
        """How many events of that name there were by perf's own count, of all processes, while attached."""
        return perf_event.count(self._perf[name])

    def switch(self, name: str) -> memoryview:
        """A map of one u64 (BPF_F_MMAPABLE) to read and write at [0]."""
        return self._mapped(name, 1)

    def array(self, name: str) -> memoryview:
        """The bytes of a mapped array, for reading and writing."""
        _, _, value_bytes, entries, _ = bpf_syscall.map_attributes(self._maps[name])
        return self._mapped(name, value_bytes * entries // 8).cast("B")

    def is_array(self, name: str) -> bool:
        """Whether a map is one that `array` can map, and not a hash."""
        return bpf_syscall.map_attributes(self._maps[name])[0] == 2  # BPF_MAP_TYPE_ARRAY

    def take_all(self, name: str) -> tuple[bytes, bytes]:
        """Takes all out of a hash map: keys and values. Nothing may be writing to it any more."""
        return self._all(name, bpf_syscall.take_all)

    def read_all(self, name: str) -> tuple[bytes, bytes]:
        """The keys and values of a hash map, which keeps them."""
        return self._all(name, bpf_syscall.read_all)

    def _all(self, name: str, read: Callable[[int], tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
        try:
            return read(self._maps[name])
        except OSError as error:
            raise KintroError(f"cannot read a BPF map: {error.strerror}", None, EX_UNAVAILABLE) from error

    def _mapped(self, name: str, count: int) -> memoryview:
        size = -(-count * 8 // mmap.PAGESIZE) * mmap.PAGESIZE
        return memoryview(mmap.mmap(self._maps[name], size)).cast("Q")[:count]

    def update(self, name: str, key: int, value: bytes) -> None:
        """Writes an element of a map that has u32 for keys."""
        try:
            bpf_syscall.update(self._maps[name], struct.pack("=I", key), value)
        except OSError as error:
            raise KintroError(f"cannot write a BPF map: {error.strerror}", None, EX_UNAVAILABLE) from error
