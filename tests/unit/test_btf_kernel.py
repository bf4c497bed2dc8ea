"""The BTF reader on the running kernel's BTF, which bpftool reads a second time."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from kintro.sources import btf as btf_module
from kintro.sources.btf import STRUCT, UNION, Btf, kernel_btf
from kintro.sources.headers import MEMBERS, TRACEPOINTS


@pytest.fixture(scope="module")
def types() -> dict[int, dict[str, Any]]:
    """Type id → what bpftool says of it."""
    bpftool = shutil.which("bpftool", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if not btf_module.PATH.exists():
        pytest.skip(f"this kernel has no BTF: {btf_module.PATH}")
    if bpftool is None:
        pytest.skip("bpftool is the second reader, and is not installed: apt-get install bpftool")
    dump = subprocess.run([bpftool, "-j", "btf", "dump", "file", btf_module.PATH], capture_output=True)
    if dump.returncode != 0:
        pytest.skip(f"this bpftool cannot read this kernel's BTF: {dump.stdout[:200]!r}")
    return {entry["id"]: entry for entry in json.loads(dump.stdout)["types"]}


@pytest.fixture(scope="module")
def kernel() -> Btf:
    return kernel_btf()


def behind(types: dict[int, dict[str, Any]], number: int) -> dict[str, Any]:
    while types[number]["kind"] in ("TYPEDEF", "CONST", "VOLATILE", "RESTRICT", "TYPE_TAG"):
        number = types[number]["type_id"]
    return types[number]


def addressable(
    types: dict[int, dict[str, Any]], of: dict[str, Any], base: int = 0
) -> Iterator[tuple[str, int, int]]:
    for member in of["members"]:
        offset = base + member["bits_offset"] // 8
        if member.get("bitfield_size"):
            continue
        if member["name"] != "(anon)":
            yield member["name"], offset, member["type_id"]
        elif behind(types, member["type_id"])["kind"] in ("STRUCT", "UNION"):
            yield from addressable(types, behind(types, member["type_id"]), offset)


def test_all_structs_of_this_kernel(types: dict[int, dict[str, Any]], kernel: Btf) -> None:
    """Ids, names, kinds, sizes and every member at its offset: more than 10 000 structs and unions."""
    composite = {number: entry for number, entry in types.items() if entry["kind"] in ("STRUCT", "UNION")}
    assert len(composite) > 3000
    for number, entry in composite.items():
        expected_name = "" if entry["name"] == "(anon)" else entry["name"]
        assert kernel.kind(number) == (STRUCT if entry["kind"] == "STRUCT" else UNION)
        assert (kernel.name(number), kernel.size(number)) == (expected_name, entry["size"])
        assert list(kernel.members(number)) == list(addressable(types, entry)), expected_name


@pytest.mark.parametrize("name", MEMBERS)
def test_members_that_probes_read(types: dict[int, dict[str, Any]], kernel: Btf, name: str) -> None:
    [entry] = [e for e in types.values() if e["kind"] == "STRUCT" and e["name"] == name]
    number = kernel.struct_id(name)
    assert number == entry["id"]
    known = {member: (offset, type_) for member, offset, type_ in addressable(types, entry)}
    ours = {member: (offset, type_) for member, offset, type_ in kernel.members(number)}
    for member in MEMBERS[name]:
        if not member.endswith("?") or member[:-1] in known:
            assert ours[member.rstrip("?")] == known[member.rstrip("?")]


@pytest.mark.parametrize("name", [*TRACEPOINTS, "task_newtask", "sched_process_exec", "sched_switch"])
def test_tracepoint_arguments_of_this_kernel(
    types: dict[int, dict[str, Any]], kernel: Btf, name: str
) -> None:
    [alias] = [e for e in types.values() if e["kind"] == "TYPEDEF" and e["name"] == f"btf_trace_{name}"]
    prototype = types[types[alias["type_id"]]["type_id"]]
    assert prototype["kind"] == "FUNC_PROTO"
    assert kernel.tracepoint_args(name) == len(prototype["params"]) - 1
