"""Compiles and loads a probe through bcc; the only module that knows bcc.

A loaded probe is programs and maps known by their file descriptors. They live as long as the process that
holds them: nothing is pinned, so that even kill -9 leaves nothing behind.

The compiler runs in a child, which hands the descriptors over: LLVM ends the process (exit(3)) where it
cannot make BPF of a text, as when a program needs more stack than BPF has.

Cost: 0.2 to 0.4 s and about 120 MB of memory for the compiler, but only where kept.py has nothing kept; else
the verifier's 30 to 60 ms, in a thread of their own. So nothing here imports numpy: that takes as long, and
whoever needs both has them side by side.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import shlex
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from kintro.errors import EX_NOPERM, EX_UNAVAILABLE, KintroError
from kintro.sources import cpu, host, kept
from kintro.sources.bpf_syscall import map_attributes, program_type
from kintro.sources.filters import Filters
from kintro.sources.handed_over import Loaded, handed_over
from kintro.sources.probe_source import probe_text

_REFUSED = "bcc cannot load the probe"

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
        called = Path(sys.argv[0]).name
        command = shlex.join(["kintro" if called in ("", "__main__.py") else called, *sys.argv[1:]])
        raise KintroError("tracing the kernel needs root", f"run it as: sudo {command}", EX_NOPERM)
    if host.lockdown() == "confidentiality":
        raise KintroError(
            "the kernel is locked down (confidentiality): it lets no one read its memory",
            "boot with lockdown=integrity, or without lockdown=",
            EX_UNAVAILABLE,
        )


class Loading:
    """A probe on its way into the kernel: as kept from a run before, in a thread, or else compiled.

    Raises KintroError where tracing cannot work at all.
    """

    def __init__(
        self,
        name: str,
        filters: Filters | None = None,
        defines: Mapping[str, int] | None = None,
        fresh: bool = False,
    ) -> None:
        """`fresh`: compiled even if it is kept."""
        require_tracing()
        self.filters = filters or Filters()
        self.text = probe_text(name)
        self.cpus = cpu.possible_cpus()
        self._parameters = {"CPUS": self.cpus, **self.filters.defines(), **(defines or {})}
        self._key, self._store = kept.key_of(self.text, self._parameters), kept.Store()
        self._loaded: Loaded | None = None
        self._fresh = fresh
        self._thread = threading.Thread(target=self._load_kept)
        try:
            self._thread.start()
        except RuntimeError as error:  # too many threads, too little memory: pthread_create(3) tells no more
            raise KintroError("cannot start a thread", None, EX_UNAVAILABLE) from error

    def result(self) -> Loaded:
        """Waits for it. KintroError where bcc, the kernel or the verifier refuse."""
        self._thread.join()
        self._loaded = self._loaded or self._compiled()
        return self._loaded

    def close(self) -> None:
        """Closes what has been loaded: where nothing else holds it, it is gone."""
        self._thread.join()
        for fds in self._loaded or ():
            while fds:
                os.close(fds.popitem()[1])

    def _load_kept(self) -> None:
        if self._key is None or self._fresh:
            return
        image = self._store.read(self._key)
        if image is not None:
            try:
                self._loaded = kept.loaded(image)
            except Exception:  # whatever is wrong with it
                self._store.remove(self._key)

    def _compiled(self) -> Loaded:
        """And kept for the next time."""
        from kintro.sources.headers import header_tree  # and not where a probe is kept

        with header_tree() as tree:
            return handed_over(lambda: self._compile(tree), _REFUSED)

    def _compile(self, tree: Path) -> Loaded:
        """In the child, so nothing is taken down: bcc's descriptors and its memory go with it."""
        bcc = load_bcc()
        module, programs = _compile(bcc, tree, self.text, self._parameters)
        maps = _tables(bcc.lib, module.module)
        if self._key is not None:
            with suppress(ValueError, OSError, KeyError):  # else it is compiled again next time
                self._store.write(self._key, _image(bcc.lib, module.module, programs, maps))
        return programs, maps


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
        {name: map_attributes(fd) for name, fd in maps.items()},
        {name: kept.unlinked(code(name.encode()), by_fd) for name in programs},
        {file: kept.identity(file) for file in sorted(files)},
    )


def _compile(
    bcc: ModuleType, tree: Path, text: str, parameters: Mapping[str, int]
) -> tuple[Any, dict[str, int]]:
    """bcc's object, and program name → descriptor in the order of the text."""
    flags = [f"-D{name}={value}{'ULL' if value >> 31 else ''}" for name, value in parameters.items()]
    os.environ["BCC_KERNEL_SOURCE"] = str(tree)
    try:
        module = bcc.BPF(text=text.encode(), cflags=[f"-I{tree}", *_FLAGS, *flags])
        programs = {
            name: module.load_func(name.encode(), program_type(name)).fd
            for name in re.findall(r"^int ((?:tp|tail|perf|run)_\w+)\(", text, re.MULTILINE)
        }
    except Exception as error:  # bcc raises nothing finer
        raise KintroError(f"{_REFUSED}: {error}", None, EX_UNAVAILABLE) from error
    return module, programs
