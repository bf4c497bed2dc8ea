"""How what is sent of calls is put together."""

from __future__ import annotations

from kintro.observers.calls import Names, Seen, Story
from kintro.observers.calls_records import TOLD_BITS, Call, File, Text, Thread
from kintro.observers.syscall_signatures import signatures

NAMES = Names({0: "read", 2: "open", 59: "execve"}, {}, signatures("x86_64"))


def thread(start_time_ns: int, tid: int = 7, old_tid: int = 0) -> Thread:
    return Thread(0, start_time_ns, tid, 7, old_tid, b"comm")


def call(nr: int, *, tid: int = 7, number: int = 1, file0: int = 0) -> Call:
    return Call(2, 1, 3, 5, 16, 0, 0, 0, 0, file0, 0, tid, 7, number, nr, 0)


def path(number: int, name: bytes) -> File:
    return File(0, (0x123 << TOLD_BITS) + number, 1, 0, 0o100644, 0, 0, name + b"\0")


def seen(*records: Thread | File | Text | Call) -> list[Seen]:
    return list(Story(NAMES).calls(records))


def test_text_of_a_call_that_was_left_out_is_none_of_the_next_thread_with_that_id() -> None:
    left_out = Text(0, 7, 1, 1, 0, b"of another thread")
    [read] = seen(thread(1), left_out, thread(2), call(0))
    assert read.arguments["buf"] == "0x10"
    [read] = seen(thread(1), left_out, call(0))
    assert read.arguments["buf"] == b"of another thread"


def test_an_exec_has_what_it_began_with_under_another_id() -> None:
    begun = Text(0, 8, 1, 0, 0, b"/bin/true\0")
    [execve] = seen(thread(1), begun, thread(1, old_tid=8), call(59))
    assert execve.arguments["pathname"] == b"/bin/true"


def test_a_file_is_the_one_that_was_told_as_this() -> None:
    """Whichever was at its address later, and none if it was lost."""
    first, second = path(1, b"first"), path(2, b"second")
    for number, found in ((1, {"fd": b"/first"}), (2, {"fd": b"/second"}), (3, {})):
        [read] = seen(thread(1), first, second, call(0, file0=(0x123 << TOLD_BITS) + number))
        assert read.files == found
