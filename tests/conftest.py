"""What all tests share: where the marker `kernel` applies, and how hypothesis runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A shared machine stalls now and then: how long an example takes is no finding.
settings.register_profile("kintro", deadline=None)
settings.load_profile("kintro")


def why_no_kernel_tests() -> str | None:
    """What this machine lacks for tests that trace its kernel; None if it can run them."""
    if os.geteuid() != 0:
        return "tracing the kernel needs root"
    if not Path("/sys/kernel/btf/vmlinux").exists():
        return "this kernel has no BTF: /sys/kernel/btf/vmlinux"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = why_no_kernel_tests()
    if reason is not None:
        for item in items:
            if item.get_closest_marker("kernel"):
                item.add_marker(pytest.mark.skip(reason=reason))
