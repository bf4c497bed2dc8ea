"""Filters as the numbers that a probe is compiled with."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from kintro.errors import EX_NOINPUT, KintroError
from kintro.sources.filters import Filters


def test_no_filter() -> None:
    assert Filters().defines() == {}
    assert Filters().whole_system


@pytest.mark.parametrize(
    ("filters", "defines"),
    [
        (Filters(pid=7), {"FILTER_TARGETS": 1, "FOLLOW": 1}),
        (Filters(pid=7, follow=False), {"FILTER_TARGETS": 1}),
        (Filters(command=True), {"FILTER_TARGETS": 1, "FOLLOW": 1}),
        (Filters(uid=0), {"FILTER_UID": 0}),
        (Filters(pid_namespace=0xEFFFFFFC), {"FILTER_PIDNS": 0xEFFFFFFC}),
        (Filters(uid=5, pid=7, follow=False), {"FILTER_TARGETS": 1, "FILTER_UID": 5}),
    ],
)
def test_each_filter(filters: Filters, defines: dict[str, int]) -> None:
    assert filters.defines() == defines
    assert not filters.whole_system


@pytest.mark.parametrize(
    ("comm", "kept"),
    [
        (b"sh", b"sh"),
        (b"", b""),
        (b"exactly-15-byte", b"exactly-15-byte"),
        (b"longer than fifteen", b"longer than fif"),
    ],
)
def test_a_comm_as_two_words(comm: bytes, kept: bytes) -> None:
    defines = Filters(comm=comm).defines()
    assert set(defines) == {"FILTER_COMM_LOW", "FILTER_COMM_HIGH"}
    words = struct.pack("<QQ", defines["FILTER_COMM_LOW"], defines["FILTER_COMM_HIGH"])
    assert words == kept + b"\0" * (16 - len(kept))


def cgroup_mount() -> Path | None:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        if line.split()[2] == "cgroup2":
            return Path(line.split()[1])
    return None


def test_a_cgroup_by_its_inode_and_depth() -> None:
    mount = cgroup_mount()
    if mount is None:
        pytest.skip("no cgroup v2 hierarchy is mounted here")
    assert Filters(cgroup=str(mount)).defines() == {
        "FILTER_CGROUP": os.stat(mount).st_ino,
        "FILTER_CGROUP_LEVEL": 0,
    }
    for folder in [path.parent for path in mount.glob("*/cgroup.procs")][:1]:
        defines = Filters(cgroup=f"{folder}/../{folder.name}/").defines()
        assert defines == {"FILTER_CGROUP": os.stat(folder).st_ino, "FILTER_CGROUP_LEVEL": 1}


@pytest.mark.parametrize("path", ["/", "/proc", "/no/such/folder", "/etc/passwd"])
def test_what_is_no_cgroup(path: str) -> None:
    with pytest.raises(KintroError, match=f"{path} is not a folder of the cgroup v2") as raised:
        Filters(cgroup=path).defines()
    assert raised.value.exit_code == EX_NOINPUT
