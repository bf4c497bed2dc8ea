"""Paths of members against BTF written by hand, and against what C says of the kernel's own structs."""

from __future__ import annotations

import pytest
from btf_writer import SIGNED, BtfWriter

from kintro.sources.btf import Btf
from kintro.sources.members import Place, place


@pytest.fixture(scope="module")
def btf() -> Btf:
    writer = BtfWriter()
    s32 = writer.int("int", 4, SIGNED)
    u64 = writer.int("long unsigned int", 8)
    atomic = writer.typedef("atomic_t", writer.struct("", 4, ("counter", s32, 0)))
    sigset = writer.typedef("sigset_t", writer.struct("", 8, ("sig", writer.array(u64, s32, 1), 0)))
    rlimit = writer.struct("rlimit", 16, ("rlim_cur", u64, 0), ("rlim_max", u64, 64))
    counts = writer.struct("mm_rss_stat", 16, ("count", writer.array(atomic, s32, 4), 0))
    unnamed = writer.struct("", 16, ("inner", u64, 0), ("rss", counts, 0))
    signal = writer.struct(
        "signal_struct",
        128,
        ("nr", s32, 0),
        ("rlim", writer.array(writer.const(rlimit), s32, 4), 64),
        ("", unnamed, 600),
        ("pids", writer.array(writer.ptr(rlimit), s32, 2), 800),
        ("tail", writer.array(u64, s32, 0), 1024),
    )
    writer.struct(
        "task_struct",
        64,
        ("signal", writer.const(writer.ptr(writer.volatile(signal))), 64),
        ("blocked", sigset, 128),
        ("usage", atomic, 192),
        ("signals", signal, 256),
    )
    return Btf(writer.data())


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("blocked", Place((), 16, 8, False)),
        ("usage", Place((), 24, 4, True)),
        ("signal", Place((), 8, 8, False)),
        ("signal->nr", Place((8,), 0, 4, True)),
        ("signal->rlim[3].rlim_max", Place((8,), 8 + 3 * 16 + 8, 8, False)),
        ("signal->rlim[0]", Place((8,), 8, 16, False)),
        ("signal->rlim", Place((8,), 8, 64, False)),
        ("signal->inner", Place((8,), 75, 8, False)),
        ("signal->rss.count[2]", Place((8,), 75 + 8, 4, True)),
        ("signal->pids[1]->rlim_max", Place((8, 108), 8, 8, False)),
        ("signal->tail", Place((8,), 128, 0, False)),
        ("signals.rlim[1].rlim_cur", Place((), 32 + 24, 8, False)),
        ("signal->gone", None),
        ("signal.nr", None),  # a pointer is no struct
        ("signals->nr", None),  # and the other way round
        ("blocked[0]", None),
        ("usage->counter", None),
    ],
)
def test_where_a_path_leads(btf: Btf, path: str, wanted: Place | None) -> None:
    assert place(btf, "task_struct", path) == wanted


def test_a_struct_that_is_not_there(btf: Btf) -> None:
    assert place(btf, "no_struct", "pid") is None


@pytest.mark.parametrize("path", ["signal-->nr", "signal->rlim[x]", "signal nr", "signal->"])
def test_what_is_no_path(btf: Btf, path: str) -> None:
    with pytest.raises(ValueError, match="is not a path"):
        place(btf, "task_struct", path)
