"""Compiles, loads and attaches a probe through bcc; the only module that knows bcc.

A loaded probe is programs and maps known by their file descriptors. They live as long as the process that
holds them: nothing is pinned, so that even kill -9 leaves nothing behind.

What a probe's C text tells by convention (probes/kintro.h): functions `tp_<name>` are attached to the raw
tracepoint of that name, in the reverse of their order in the file, and detached in that order; functions
`tail_<n>` fill the map `tails`; RING and COUNTER lines name rings and counters.

Cost: 0.2 to 0.4 s and about 120 MB of memory for the compiler.
"""

from __future__ import annotations

import ctypes
import importlib.util
import mmap
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from kintro.errors import EX_NOPERM, EX_UNAVAILABLE, KintroError
from kintro.sources import host
from kintro.sources.filters import Filters
from kintro.sources.headers import header_tree
from kintro.sources.probes import c_struct, probe_text
from kintro.sources.ring import Reader, Ring, map_size

LOG_LINES = 12  # of the compiler's or verifier's last words
COUNTERS = 32  # of kintro.h: counters for each CPU

# Where distributions put bcc's Python half; `pip install bcc` is an unrelated lattice library.
_BCC_PLACES = ("/usr/lib/python3/dist-packages/bcc", "/usr/lib/python3*/site-packages/bcc")


def load_bcc() -> ModuleType:
    """bcc's Python module, from the distribution's own place, whatever Python this is."""
    known = sys.modules.get("bcc")
    if known is not None and hasattr(known, "BPF"):
        return known
    for place in _BCC_PLACES:
        for found in sorted(Path("/").glob(place.lstrip("/"))):
            return _import_from(found)
    raise KintroError("bcc is not installed", f"install it: {host.bcc_install_command()}", EX_UNAVAILABLE)


def _import_from(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "bcc", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise KintroError(f"{folder} is not a Python package", None, EX_UNAVAILABLE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["bcc"] = module
    try:
        spec.loader.exec_module(module)
    except (ImportError, OSError, AttributeError, SyntaxError) as error:
        del sys.modules["bcc"]
        raise KintroError(
            f"bcc in {folder} cannot be loaded: {error}",
            f"install it again: {host.bcc_install_command()}",
            EX_UNAVAILABLE,
        ) from error
    return module


def require_tracing() -> None:
    """KintroError where tracing cannot work at all: kernel too old, not permitted, locked down."""
    release = host.kernel_release()
    if host.kernel_version(release)[:2] < host.OLDEST_KERNEL:
        raise KintroError(
            f"kernel {release} is too old: kintro traces on 5.8 or newer, which have BPF ring buffers",
            "boot a newer kernel",
            EX_UNAVAILABLE,
        )
    if not host.can_trace():
        raise KintroError("tracing the kernel needs root", f"run it as: sudo {_command_line()}", EX_NOPERM)
    if host.lockdown() == "confidentiality":
        raise KintroError(
            "the kernel is locked down (confidentiality): it lets no one read its memory",
            "boot with lockdown=integrity, or without lockdown=",
            EX_UNAVAILABLE,
        )


def _command_line() -> str:
    return " ".join([Path(sys.argv[0]).name or "kintro", *sys.argv[1:]])


class Probe:
    """A compiled and loaded probe; a context manager. Attached by `attach`, not before.

    `reader` reads its rings. Raises KintroError where bcc, the kernel or the verifier refuse.
    """

    def __init__(
        self, name: str, filters: Filters | None = None, defines: Mapping[str, int] | None = None
    ) -> None:
        require_tracing()
        filters = filters or Filters()
        text = probe_text(name)
        cpus = len(_possible_cpus())
        parameters = {"CPUS": cpus, **filters.defines(), **(defines or {})}
        self._filters = filters
        self._links: list[tuple[str, int]] = []
        self._bcc = load_bcc()
        self._module, self._programs = _compile(self._bcc, text, parameters)
        self._lib = self._bcc.lib

        self._slots = {
            counter: int(slot)
            for counter, slot in re.findall(r"^COUNTER\((\w+), (\d+)\);", text, re.MULTILINE)
        }
        fds: dict[str, tuple[int, Ring]] = {}
        for kind, number in re.findall(r"^RING\((\w+), (\d+), \d+\);", text, re.MULTILINE):
            self._slots[f"{kind}_sent"], self._slots[f"{kind}_lost"] = 2 * int(number), 2 * int(number) + 1
            fd = self._map(f"{kind}_ring")
            fds[kind] = fd, Ring(fd, map_size(fd), *c_struct(text, f"{kind}_event"))
        self.reader = Reader(fds)
        self.dtypes = {kind: ring.dtype for kind, (_, ring) in fds.items()}
        self._counters = self._mapped("counters", cpus * COUNTERS).reshape(cpus, COUNTERS)
        for program, fd in self._programs.items():
            if program.startswith("tail_"):
                self._update(self._map("tails"), ctypes.c_uint32(int(program[5:])), ctypes.c_int(fd))
        if filters.targets and filters.follow:
            self._scanning = self._mapped("scanning", 1)

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()
        self.reader.__exit__()
        self._module.cleanup()

    def attach(self, pid: int | None = None, scan: bool = False) -> None:
        """Starts tracing; with a process to pick, and with `scan` its descendants that are there already."""
        if pid is not None:
            self.add_target(pid)
            if scan:
                self._scanning[0] = 1
        for program, fd in reversed(list(self._programs.items())):
            if program.startswith("tp_"):
                self._links.append((program, self._attach(program[3:], fd)))
        if scan and pid is not None:
            for descendant in _descendants(pid):
                self.add_target(descendant)
            self._scanning[0] = 0

    def detach(self) -> None:
        """Stops tracing; what the rings hold can still be read."""
        while self._links:
            os.close(self._links.pop()[1])

    def add_target(self, pid: int) -> None:
        self._update(self._map("targets"), ctypes.c_uint32(pid), ctypes.c_uint64(1))

    def has_targets(self) -> bool:
        """Whether a process that passes the pid filter is still alive."""
        key = ctypes.c_uint32()
        first = self._lib.bpf_get_first_key(self._map("targets"), ctypes.byref(key), ctypes.sizeof(key))
        return bool(first == 0)

    def counters(self) -> dict[str, int]:
        """All counters of the probe by name, summed over the CPUs, and `missed`.

        `missed`: runs of its programs that the kernel skipped because one was already running on that CPU
        (recursion_misses in the fdinfo of a BPF program, kernel 5.12 and newer).
        """
        sums = self._counters.sum(axis=0)
        values = {name: int(sums[slot]) for name, slot in self._slots.items()}
        values["missed"] = sum(_recursion_misses(fd) for fd in self._programs.values())
        return values

    def _map(self, name: str) -> int:
        return int(self._lib.bpf_table_fd(self._module.module, name.encode()))

    def _mapped(self, name: str, count: int) -> np.ndarray:
        size = -(-count * 8 // mmap.PAGESIZE) * mmap.PAGESIZE
        return np.frombuffer(mmap.mmap(self._map(name), size), np.uint64, count)

    def _update(self, fd: int, key: Any, value: Any) -> None:
        if self._lib.bpf_update_elem(fd, ctypes.byref(key), ctypes.byref(value), 0) < 0:
            raise KintroError(
                f"cannot write a BPF map: {os.strerror(ctypes.get_errno())}", None, EX_UNAVAILABLE
            )

    def _attach(self, tracepoint: str, program_fd: int) -> int:
        with _stderr_kept():
            fd = int(self._lib.bpf_attach_raw_tracepoint(program_fd, tracepoint.encode()))
        if fd < 0:
            raise KintroError(
                f"cannot attach to the tracepoint {tracepoint}: {os.strerror(ctypes.get_errno())}",
                None,
                EX_UNAVAILABLE,
            )
        return fd


def _compile(bcc: ModuleType, text: str, parameters: Mapping[str, int]) -> tuple[Any, dict[str, int]]:
    """bcc's object, and program name → descriptor in the order of the text."""
    flags = [f"-D{name}={value}{'ULL' if value >> 31 else ''}" for name, value in parameters.items()]
    with header_tree() as tree, _stderr_kept() as said:
        os.environ["BCC_KERNEL_SOURCE"] = str(tree)
        try:
            module = bcc.BPF(
                text=text,
                cflags=[
                    f"-I{tree}",
                    # bcc before 0.37 parses its own headers for kernels from 6.19 on only with these.
                    "-fms-extensions",
                    "-Wno-microsoft-anon-tag",
                    *flags,
                ],
            )
            programs = {
                name: module.load_func(name.encode(), bcc.BPF.RAW_TRACEPOINT).fd
                for name in re.findall(r"^int ((?:tp|tail)_\w+)\(", text, re.MULTILINE)
            }
        except Exception as error:  # bcc raises nothing finer
            raise KintroError(_refusal(error, said()), None, EX_UNAVAILABLE) from error
        finally:
            del os.environ["BCC_KERNEL_SOURCE"]
    return module, programs


def _refusal(error: Exception, said: str) -> str:
    """One message out of bcc's exception and the last lines of what compiler and verifier printed."""
    lines = [line for line in said.splitlines() if line.strip()]
    return "\n    ".join([f"bcc cannot load the probe: {error}", *lines[-LOG_LINES:]])


@contextmanager
def _stderr_kept() -> Iterator[Any]:
    """Keeps what C libraries print to descriptor 2 away from the terminal; yields a reader of it."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)

        def said() -> str:
            file.seek(0)
            return file.read().decode(errors="backslashreplace")

        try:
            yield said
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _possible_cpus() -> Sequence[int]:
    """CPU numbers that may ever be used (sysfs-devices-system-cpu, possible)."""
    cpus: list[int] = []
    for part in (host.read_text("sys/devices/system/cpu/possible") or "0").split(","):
        first, _, last = part.partition("-")
        cpus += range(int(first), int(last or first) + 1)
    return range(max(cpus) + 1)


def _descendants(pid: int) -> list[int]:
    """All processes below one, from /proc/*/stat; what ends meanwhile is left out."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            stat = host.read_text(f"proc/{entry}/stat")
            if stat is not None:  # the comm may hold spaces and brackets: look behind the last one
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
    found = list(children.get(pid, ()))
    for descendant in found:  # grows while it is walked
        found += children.get(descendant, ())
    return found


def _recursion_misses(program_fd: int) -> int:
    with open(f"/proc/self/fdinfo/{program_fd}") as info:
        for line in info:
            if line.startswith("recursion_misses:"):
                return int(line.split()[1])
    return 0
