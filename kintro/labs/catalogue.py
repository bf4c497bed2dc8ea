"""The labs in the order in which they build on each other."""

from __future__ import annotations

import importlib
import os

from kintro.errors import EX_NOPERM, EX_UNAVAILABLE, KintroError
from kintro.labs.lab import Lab
from kintro.sources import host

NAMES = (
    "zombie", "orphans", "pid-wrap", "fork-and-frames", "address-space", "kernel-wall", "syscall-cost",
    "time-slices", "ping-pong", "threads-vs-processes", "signals", "channels",
    "pipe-vs-shared-memory",
)  # fmt: skip


def lab(name: str) -> Lab:
    """One of NAMES."""
    found: Lab = importlib.import_module(f"kintro.labs.{name.replace('-', '_')}").LAB
    return found


def beginning(name: str) -> str:
    """The command that begins a lab."""
    return f"{'sudo ' if lab(name).root else ''}kintro lab start {name}"


def require(wanted: Lab) -> None:
    """KintroError if it cannot be done by this user (77) or in this place (69)."""
    if wanted.root and os.geteuid() != 0:
        raise KintroError(f"the lab {wanted.name} needs root", "run it with sudo", EX_NOPERM)
    if wanted.traces and not host.in_initial_pid_namespace():
        raise KintroError(
            "this is a container with pids of its own, and the kernel's events carry the host's",
            "do this lab on the host or in a virtual machine",
            EX_UNAVAILABLE,
        )
