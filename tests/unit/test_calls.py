"""Single system calls: putting together what the probe sends of each, and the counts at the end."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from typing import Any

import pytest

from kintro.observers import calls, calls_names, calls_read, calls_text
from kintro.observers.calls import Names, Seen, Story, path_of
from kintro.observers.calls_records import COMPAT, EARLY, UNFINISHED, Call, File, Text, Thread
from kintro.observers.syscall_guesses import all_signatures

NUMBERS = {0: "read", 3: "close", 15: "rt_sigreturn", 32: "dup", 39: "getpid", 72: "fcntl", 257: "openat"}
NAMES = Names(NUMBERS, {20: "getpid"}, all_signatures(NUMBERS.values(), None, "x86_64"))
SHELL = Thread(5, 1, 7, 6, 0, b"sh")
AT_FDCWD = (1 << 64) - 100


def call(nr: int, ret: int = 0, arguments: Iterable[int] = (), **fields: Any) -> Call:
    six = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    known = {"ended_ns": 30, "ts_ns": 10, "file0": 0, "file1": 0, "tid": 7, "pid": 6, "number": 1, "flags": 0}
    return Call(ret=ret, nr=nr, **{f"arg{n}": value for n, value in enumerate(six)}, **known | fields)  # type: ignore[arg-type]


def text(data: bytes, argument: int = 1, number: int = 1, cut: int = 0, tid: int = 7) -> Text:
    return Text(20, tid, number, argument, cut, data)


def file(address: int, *names: bytes, magic: int = 0xEF53, mode: int = stat.S_IFREG, **fields: int) -> File:
    data = b"".join(name + b"\0" for name in names)
    known = {"inode": 13, "deleted": 0, "cut": 0}
    return File(20, address, magic=magic, mode=mode, data=data, **known | fields)


def told(*records: Any) -> list[Seen]:
    return list(Story(NAMES).calls([SHELL, *records]))


def test_a_call_with_its_texts_and_files() -> None:
    opened = call(257, 3, [AT_FDCWD, 0x1000], file1=0xF1)
    [seen] = told(text(b"/etc/passwd\0"), file(0xF1, b"passwd", b"etc"), opened)
    assert (seen.name, seen.comm, seen.error) == ("openat", b"sh", None)
    assert seen.arguments["pathname"] == b"/etc/passwd"
    assert seen.files == {"return": b"/etc/passwd"}
    assert calls_text.result_text(seen) == "3</etc/passwd>"
    assert calls_text.as_json(seen)["duration_ns"] == 20


def test_texts_of_another_call_are_not_taken() -> None:
    """A filter leaves a call out when it returns: what was sent of it at its entry stays behind."""
    [seen] = told(text(b"/left/out\0", number=1), call(257, -2, [AT_FDCWD, 0x1000], number=2))
    assert seen.arguments["pathname"] == "0x1000" and seen.error == "ENOENT"
    left, of_other = text(b"/left/out\0", number=1), text(b"/other\0", tid=8)
    [seen] = told(left, text(b"/mine\0", number=2), of_other, call(257, -2, [AT_FDCWD, 1], number=2))
    assert seen.arguments["pathname"] == b"/mine"


def test_a_file_has_the_name_that_was_told_last() -> None:
    seen = told(
        file(0xF1, b"old", b"tmp"), call(3, 0, [4], file0=0xF1),
        file(0xF2, b"new", b"tmp"), call(3, 0, [4], file0=0xF2), call(3, 0, [4], file0=0xF3),
    )  # fmt: skip
    assert [one.files for one in seen] == [{"fd": b"/tmp/old"}, {"fd": b"/tmp/new"}, {}]


def test_only_some_commands_of_fcntl_return_a_descriptor() -> None:
    known = file(0xF1, b"passwd", b"etc")
    seen = told(
        known, call(72, 9, [3, 0], file0=0xF1, file1=0xF1), call(72, 1, [3, 1], file0=0xF1, file1=0xF1)
    )
    assert [one.files.get("return") for one in seen] == [b"/etc/passwd", None]
    assert [calls_text.result_text(one) for one in seen] == ["9</etc/passwd>", "FD_CLOEXEC"]


def test_calls_without_a_result_or_a_beginning() -> None:
    never, early = told(call(0, 0, [0], flags=UNFINISHED), call(0, 5, [0], flags=EARLY, ts_ns=0))
    assert calls_text.result_text(never) == "?"
    assert [calls_text.as_json(never)[name] for name in ("ret", "errno", "duration_ns")] == [None] * 3
    assert calls_text.row(never, 0)[3].text == "–"
    told_early = calls_text.as_json(early)
    assert (told_early["ts_ns"], told_early["ret"], told_early["duration_ns"]) == (None, 5, None)
    assert calls_text.row(early, 0)[0].text == "before"


def test_what_rt_sigreturn_returns_is_no_error() -> None:
    [seen] = told(call(15, -4))
    assert seen.error is None


def test_calls_of_32_bits_and_unknown_numbers() -> None:
    compat, unknown = told(call(20, 6, [1], flags=COMPAT), call(400, -38, [1, 2, 3, 4, 5, 6]))
    assert calls_text.call_text(compat).startswith("32-bit getpid(arg0=1, ")
    assert compat.name == "getpid" and list(compat.arguments) == [f"arg{n}" for n in range(6)]
    assert (unknown.name, unknown.error, unknown.arguments["arg5"]) == ("400", "ENOSYS", 6)


def test_a_thread_whose_name_was_lost() -> None:
    [seen] = Story(NAMES).calls([call(39, 6)])
    assert seen.comm is None and calls_text.as_json(seen)["comm"] is None
    [seen] = told(call(39, 9, pid=9))  # the tid is another process's now
    assert seen.comm is None


@pytest.mark.parametrize(
    ("found", "path"),
    [
        (file(1, b"b", b"a"), b"/a/b"),
        (file(1, b"/", mode=stat.S_IFDIR), b"/"),
        (file(1, b"b\n\x1b", b"a", deleted=1), b"/a/b\n\x1b (deleted)"),
        (file(1, b"b", b"a", cut=1), b".../a/b"),
        (file(1, b"", magic=0x50495045, mode=stat.S_IFIFO), b"pipe:[13]"),
        (file(1, b"fifo", b"tmp", mode=stat.S_IFIFO), b"/tmp/fifo"),
        (file(1, b"UNIX", magic=0x534F434B, mode=stat.S_IFSOCK), b"socket:[13]"),
        (file(1, b"[eventfd]", magic=0x09041934, mode=0), b"anon_inode:[eventfd]"),
    ],
)
def test_paths(found: File, path: bytes) -> None:
    assert path_of(found) == path


def test_what_the_probe_is_told() -> None:
    specs = calls_read.specs(NAMES, {"read"})
    assert len(specs) == 1024 and {len(spec) for spec in specs} == {28}
    assert [spec[0] & 1 for spec in specs[:4]] == [1, 0, 0, 0]
    everything = calls_read.specs(NAMES, None)
    assert all(spec[0] & 1 for spec in everything)


COUNTED = {
    "duration_ns": 100, "lost": 0, "under_way": 2, "waiting": 0, "call_sent": 10, "entered": 14,
    "errors": 3, "died": 1, "early": 1, "passed_over": 3, "refused": 0,
}  # fmt: skip


def test_the_summary() -> None:
    result = calls.summary(12, COUNTED)
    assert (result.calls, result.unfinished, result.complete) == (12, 3, True)
    assert "12 calls in 100 ns: 3 errors, 3 unfinished" in calls_text.summary_line(result)
    assert not calls.summary(12, COUNTED | {"entered": 15}).complete
    assert not calls.summary(12, COUNTED | {"lost": 1}).complete
    unknown = calls.summary(12, None)
    assert (unknown.calls, unknown.lost, unknown.complete) == (12, None, False)
    assert "lost unknown; INCOMPLETE" in calls_text.summary_line(unknown)


@pytest.mark.parametrize("change", [{"lost": "0"}, {"lost": None}, {"more": 1}])
def test_counts_of_a_damaged_session(change: dict[str, Any]) -> None:
    assert calls.is_tally(COUNTED)
    assert not calls.is_tally(COUNTED | change)
    assert not calls.is_tally(None)


@pytest.mark.parametrize(
    "info",
    [{}, {"machine": 7}, {"machine": "pdp11"}, {"formats": []}, {"formats": {"acct": [["x"]], "read": 3}},
     {"machine": "x86_64", "formats": {"acct": [["char *", "a b"]]}}],
)  # fmt: skip
def test_names_of_a_damaged_session(info: dict[str, Any]) -> None:
    assert isinstance(calls_names.of_session(info), Names)


def test_names_of_a_session_are_those_of_its_machine() -> None:
    formats = {"acct": [["const char *", "name"]]}
    names = calls_names.of_session({"machine": "aarch64", "formats": formats})
    assert names.calls[63] == "read"
    assert [argument.name for argument in names.signatures["acct"].arguments] == ["name"]


def test_what_a_replay_passes_over() -> None:
    failed, slow, never = told(call(0, -9, [1]), call(3, 0, ended_ns=10**9), call(39, flags=UNFINISHED))
    assert [calls.passes(seen, None, True, 0) for seen in (failed, slow, never)] == [True, False, True]
    assert [calls.passes(seen, None, False, 1000) for seen in (failed, slow, never)] == [False, True, True]
    assert [calls.passes(seen, {"read"}, False, 0) for seen in (failed, slow, never)] == [True, False, False]
