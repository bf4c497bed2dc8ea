"""kintro: what the Linux kernel does with processes, seen on the running kernel and proved by its counters.

What the command line does, a program or a notebook can: `from kintro import lifecycle, memory, switches`.
"""

from __future__ import annotations

import importlib
from types import ModuleType

__version__ = "0.1.0"
__all__ = ["calls", "lifecycle", "memory", "pids", "switches", "syscalls", "task", "tree"]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:  # on first use: what a verb needs takes a moment to import
        return importlib.import_module(f"kintro.observers.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
