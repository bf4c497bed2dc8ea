"""Compiles, loads and attaches a probe through bcc; the only module that knows bcc.

A loaded probe is programs and maps known by their file descriptors. They live as long as the process that
holds them: nothing is pinned, so that even kill -9 leaves nothing behind.

What a probe's C text tells by convention (probes/kintro.h): functions `tp_<name>` are attached to the raw
tracepoint of that name, in the reverse of their order in the file, and detached in that order; functions
`tail_<n>` fill the map `tails`; RING and COUNTER lines name rings and counters.

Cost: 0.2 to 0.4 s and about 120 MB of memory for the compiler, but only where kept.py has nothing kept.
"""

from __future__ import annotations

import ctypes
import importlib.util
import mmap
import os
import re
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from kintro.errors import EX_NOPERM, EX_UNAVAILABLE, KintroError
from kintro.sources import host, kept
from kintro.sources.descendants import descendants, has_ended
from kintro.sources.filters import Filters
from kintro.sources.probes import c_struct, probe_text
from kintro.sources.ring import Reader, Ring, map_size

LOG_LINES = 12  # of the compiler's or verifier's last words
COUNTERS = 32  # of kintro.h: counters for each CPU

# bcc before 0.37 parses its own headers for kernels from 6.19 on only with these.
_FLAGS = ("-fms-extensions", "-Wno-microsoft-anon-tag")

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
        hint = f"install it again: {host.bcc_install_command()}"
        raise KintroError(f"bcc in {folder} cannot be loaded: {error}", hint, EX_UNAVAILABLE) from error
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
        command = " ".join([Path(sys.argv[0]).name or "kintro", *sys.argv[1:]])
        raise KintroError("tracing the kernel needs root", f"run it as: sudo {command}", EX_NOPERM)
    if host.lockdown() == "confidentiality":
        raise KintroError(
            "the kernel is locked down (confidentiality): it lets no one read its memory",
            "boot with lockdown=integrity, or without lockdown=",
            EX_UNAVAILABLE,
        )


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
        self._links: list[int] = []
        self._programs, self._maps = _loaded(text, parameters)
        counters = re.findall(r"^COUNTER\((\w+), (\d+)\);", text, re.MULTILINE)
        self._slots = {counter: int(slot) for counter, slot in counters}
        fds: dict[str, tuple[int, Ring]] = {}
        for kind, number in re.findall(r"^RING\((\w+), (\d+), \d+\);", text, re.MULTILINE):
            self._slots[f"{kind}_sent"], self._slots[f"{kind}_lost"] = 2 * int(number), 2 * int(number) + 1
            fd = self._maps[f"{kind}_ring"]
            fds[kind] = fd, Ring(fd, map_size(fd), *c_struct(text, f"{kind}_event"))
        self.reader = Reader(fds)
        self.dtypes = {kind: ring.dtype for kind, (_, ring) in fds.items()}
        self._counters = self._mapped("counters", cpus * COUNTERS).reshape(cpus, COUNTERS)
        for program, fd in self._programs.items():
            if program.startswith("tail_"):
                self._update("tails", int(program[5:]), struct.pack("=I", fd))
        if filters.targets and filters.follow:
            self._scanning = self._mapped("scanning", 1)

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()
        self.reader.__exit__()
        for fds in (self._programs, self._maps):
            while fds:
                os.close(fds.popitem()[1])

    def attach(self, pid: int | None = None, scan: bool = False) -> None:
        """Starts tracing; with a process to pick, and with `scan` its descendants that are there already."""
        if pid is not None:
            self.add_target(pid)
            if scan:
                self._scanning[0] = 1
        for program, fd in reversed(list(self._programs.items())):
            if program.startswith("tp_"):
                try:
                    self._links.append(kept.attach_raw_tracepoint(fd, program[3:]))
                except OSError as error:
                    message = f"cannot attach to the tracepoint {program[3:]}: {error.strerror}"
                    raise KintroError(message, None, EX_UNAVAILABLE) from error
        if scan and pid is not None:
            self._add_descendants(pid)
            self._scanning[0] = 0

    def detach(self) -> None:
        """Stops tracing; what the rings hold can still be read."""
        while self._links:
            os.close(self._links.pop())

    def add_target(self, pid: int) -> None:
        self._update("targets", pid, struct.pack("=Q", 1))

    def _add_descendants(self, pid: int) -> None:
        """Adds who is there; one that ended between being listed and being added is taken out again."""
        for descendant in descendants(pid):
            self.add_target(descendant)
            if has_ended(descendant):
                kept.delete(self._maps["targets"], struct.pack("=I", descendant))

    def has_targets(self) -> bool:
        """Whether a process that passes the pid filter is still alive."""
        return not kept.is_empty(self._maps["targets"], 4)

    def counters(self) -> dict[str, int]:
        """All counters of the probe by name, summed over the CPUs, and `missed`.

        `missed`: runs of its programs that the kernel skipped because one was already running on that CPU
        (recursion_misses in the fdinfo of a BPF program, kernel 5.12 and newer).
        """
        sums = self._counters.sum(axis=0)
        values = {name: int(sums[slot]) for name, slot in self._slots.items()}
        about = map(kept.fdinfo, self._programs.values())
        values["missed"] = sum(int(info.get("recursion_misses", 0)) for info in about)
        return values

    def counter(self, name: str) -> int:
        """One counter, summed over the CPUs: costs microseconds."""
        return int(self._counters[:, self._slots[name]].sum())

    def _mapped(self, name: str, count: int) -> np.ndarray:
        size = -(-count * 8 // mmap.PAGESIZE) * mmap.PAGESIZE
        return np.frombuffer(mmap.mmap(self._maps[name], size), np.uint64, count)

    def _update(self, name: str, key: int, value: bytes) -> None:
        try:
            kept.update(self._maps[name], struct.pack("=I", key), value)
        except OSError as error:
            raise KintroError(f"cannot write a BPF map: {error.strerror}", None, EX_UNAVAILABLE) from error


def _loaded(text: str, parameters: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Programs and maps, name → descriptor: as kept from a run before, or else compiled, and then kept."""
    name, store = kept.name_of(text, parameters), kept.Store()
    if name is not None and (image := store.read(name)) is not None:
        try:
            return kept.loaded(image)
        except (OSError, ValueError, TypeError, KeyError, struct.error):  # whatever is wrong with it
            store.remove(name)
    bcc = load_bcc()
    module, programs = _compile(bcc, text, parameters)
    try:
        maps = _tables(bcc.lib, module.module)
        if name is not None:
            with suppress(ValueError, OSError, KeyError):  # else it is compiled again next time
                store.write(name, _image(bcc.lib, module.module, programs, maps))
        # Descriptors of our own, so that bcc and the memory of its compiler can go.
        return {p: os.dup(fd) for p, fd in programs.items()}, {m: os.dup(fd) for m, fd in maps.items()}
    finally:
        module.cleanup()


def _tables(lib: Any, module: int) -> dict[str, int]:
    # Not every bcc declares these two, and without a type a pointer is cut to 32 bits.
    number, named = lib.bpf_num_tables, lib.bpf_table_name
    number.restype, number.argtypes = ctypes.c_size_t, [ctypes.c_void_p]
    named.restype, named.argtypes = ctypes.c_char_p, [ctypes.c_void_p, ctypes.c_size_t]
    names = [named(module, i) for i in range(number(module))]
    return {name.decode(): int(lib.bpf_table_fd(module, name)) for name in names}


def _image(lib: Any, module: int, programs: Mapping[str, int], maps: Mapping[str, int]) -> kept.Image:
    """What bcc compiled. It has written the maps' descriptors into the code."""

    def code(name: bytes) -> bytes:
        return ctypes.string_at(lib.bpf_function_start(module, name), lib.bpf_function_size(module, name))

    files = {str(known.__file__) for name, known in sys.modules.items() if re.match(r"bcc(\.|$)", name)}
    mapped = Path("/proc/self/maps").read_text()
    files.update(re.findall(r"/.*/lib(?:bcc|bpf|clang|LLVM)[^/\n]*\.so.*$", mapped, re.MULTILINE))
    by_fd = {fd: name for name, fd in maps.items()}
    return kept.Image(
        {name: kept.map_attributes(fd) for name, fd in maps.items()},
        {name: kept.unlinked(code(name.encode()), by_fd) for name in programs},
        {file: kept.identity(file) for file in sorted(files)},
    )


def _compile(bcc: ModuleType, text: str, parameters: Mapping[str, int]) -> tuple[Any, dict[str, int]]:
    """bcc's object, and program name → descriptor in the order of the text."""
    from kintro.sources.headers import header_tree  # and not where a probe is kept

    flags = [f"-D{name}={value}{'ULL' if value >> 31 else ''}" for name, value in parameters.items()]
    with header_tree() as tree, _stderr_kept() as said:
        os.environ["BCC_KERNEL_SOURCE"] = str(tree)
        try:
            module = bcc.BPF(text=text, cflags=[f"-I{tree}", *_FLAGS, *flags])
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
    with open(os.memfd_create("stderr"), "rb") as file:
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
