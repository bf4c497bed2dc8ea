"""Names of system calls by number: the tables of PyPI's `system-calls`, which follow each kernel."""

from __future__ import annotations

import os


def syscall_names(machine: str | None = None) -> dict[int, str]:
    """Number → name on a machine as uname(2) tells it; empty for one without a table."""
    import system_calls

    known = system_calls.syscalls()
    machine = machine or os.uname().machine
    arch = {"aarch64": "arm64", "ppc64le": "powerpc64"}.get(machine, machine)
    try:
        return {int(number): name for name, number in known.load_arch_table(arch).items()}
    except (system_calls.NoSuchArchitecture, RuntimeError):
        return {}
