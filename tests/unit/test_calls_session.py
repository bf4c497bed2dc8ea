"""Forged sessions of trace-syscalls: shown, or refused with a message, never a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kintro.cli import main
from kintro.errors import EX_NOINPUT
from kintro.observers import calls
from kintro.observers.calls import is_tally
from kintro.observers.calls_records import dtypes
from kintro.sources.session import SessionWriter

COUNTS = dict.fromkeys(calls._TALLY, 1)
CALL = {"ended_ns": 5, "ts_ns": 2, "ret": 3, "tid": 1, "pid": 1, "nr": 257, "number": 1}  # openat
ACCT = CALL | {"nr": 163}  # a call that kintro has no prototype of
THREAD = {"ts_ns": 1, "tid": 1, "pid": 1, "comm": b"\x1b[2J"}
HUGE = 10**400  # JSON allows it, no float does


def forge(folder: Path, rows: dict[str, dict[str, Any]], **info: Any) -> Path:
    kinds = dtypes()
    header = {"verb": "trace-syscalls", "machine": "x86_64", "kernel": "6.1", "begin_ns": 1, "counts": COUNTS}
    with SessionWriter(folder / "s", kinds, header | info) as writer:
        for kind, fields in ({"call": CALL, "thread": THREAD} | rows).items():
            batch = np.zeros(1, kinds[kind])
            for name, value in fields.items():
                batch[name] = value
            writer.write(kind, batch)
        writer.close({})
    return folder / "s"


@pytest.mark.parametrize(
    ("rows", "info", "shown"),
    [
        ({}, {}, "openat(dirfd=0"),
        ({"file": {"file": 7, "data": None}, "call": CALL | {"file0": 7}}, {}, "openat(dirfd=0</>"),
        ({"text": {"tid": 1, "number": 1, "argument": 1, "cut": 1, "data": None}}, {}, 'pathname=""...'),
        ({"call": CALL | {"pid": 1 << 31, "tid": (1 << 32) - 1, "flags": 6}}, {}, "4294967295"),
        ({"call": ACCT}, {"formats": {"acct": [["const char *", "name"]]}}, "acct(name=NULL)"),
        ({"call": ACCT}, {"formats": {"acct": [["int", None]]}}, "acct(arg0=0"),
        ({"call": ACCT}, {"formats": {"acct": [["int", True]]}}, "acct(arg0=0"),
        ({"call": ACCT}, {"formats": {"acct": [["int", "\x1b[2J"]]}}, "acct(arg0=0"),
        ({}, {"formats": 1, "options": 1, "kernel": {"\x1b": 1}}, "openat(dirfd=0"),
        ({}, {"machine": "../x86_64"}, "257(arg0=0"),
    ],
)
def test_what_a_stranger_has_put_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: Any, info: Any, shown: str
) -> None:
    session = forge(tmp_path, rows, **info)
    assert main(["replay", str(session), "--timeline", str(tmp_path / "t")]) == 0
    told = capsys.readouterr()
    assert shown in told.out and "\x1b" not in told.out and told.err == ""
    assert main(["replay", str(session), "--json"]) == 0


@pytest.mark.parametrize(
    "info",
    [
        {"begin_ns": HUGE}, {"begin_ns": -1}, {"begin_ns": None}, {"counts": COUNTS | {"duration_ns": HUGE}},
        {"counts": COUNTS | {"more": 1}}, {"counts": []},
    ],
)  # fmt: skip
def test_numbers_that_no_kernel_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], info: dict[str, Any]
) -> None:
    assert main(["replay", str(forge(tmp_path, {}, **info))]) == EX_NOINPUT
    assert capsys.readouterr().err.endswith("is damaged: session.json\n")


def test_counts_of_a_session() -> None:
    assert is_tally(COUNTS) and not is_tally(COUNTS | {"lost": None})
