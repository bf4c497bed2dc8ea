"""Which calls `-e` takes, against strace's own classes."""

from __future__ import annotations

import os

import pytest
from calls_told import build, told
from hypothesis import given
from hypothesis import strategies as st

from kintro.errors import EX_USAGE, KintroError
from kintro.observers.syscall_classes import CLASSES, selected
from kintro.sources.syscall_names import syscall_names

NAMES = set(syscall_names("x86_64").values())
WORDS = st.sampled_from(sorted(NAMES) + ["%" + name for name in CLASSES])
UPROBES = range(335, 424)  # uretprobe, which is a crash outside of its trampoline, and numbers of no call


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of the witness are x86-64's")
@pytest.mark.parametrize("name", CLASSES)
def test_a_class_has_the_members_that_it_has_for_strace(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    program = build(tmp_path_factory.mktemp("classes"))
    numbers = {
        n: called for n, called in syscall_names().items() if n not in UPROBES and called != "exit_group"
    }
    calls = [(number, [0] * 6) for number in numbers]
    known = {line.partition("(")[0] for line in told(program, calls)} & NAMES
    theirs = {
        line.partition("(")[0] for line in told(program, calls, b"", "-e", f"trace=prctl,%{name}")
    } & NAMES
    assert len(known) > 300
    ours = CLASSES[name] & known
    assert ours - {"prctl"} == theirs - {"prctl"}
    newer = CLASSES[name] - known - {"exit_group"}
    assert all(call in NAMES for call in newer) and len(newer) < 12


def test_names_classes_and_the_opposite() -> None:
    assert selected("read,write", NAMES) == {"read", "write"}
    assert (
        selected("%ipc", NAMES) == selected("ipc", NAMES) == selected("trace=%ipc", NAMES) == CLASSES["ipc"]
    )
    assert selected("%net", NAMES) == CLASSES["network"]
    assert selected("!%memory, read", NAMES) == NAMES - CLASSES["memory"] - {"read"}
    assert selected("all", NAMES) == NAMES and selected("none", NAMES) == set()


def test_what_another_machine_calls_so_is_passed_over() -> None:
    here = set(syscall_names("aarch64").values())
    assert "open" not in here
    assert selected("open,openat", here) == {"openat"}


@given(st.lists(WORDS, min_size=1))
def test_all_but_these_are_the_others(words: list[str]) -> None:
    these, others = selected(",".join(words), NAMES), selected("!" + ",".join(words), NAMES)
    assert these | others == NAMES and not these & others
    assert these >= {word for word in words if word in NAMES}


@pytest.mark.parametrize(
    ("expression", "hint"), [("opneat", "openat"), ("%netwrk", "%network"), ("read,", "names"), ("", "names")]
)
def test_an_unknown_name(expression: str, hint: str) -> None:
    with pytest.raises(KintroError) as raised:
        selected(expression, NAMES)
    assert raised.value.exit_code == EX_USAGE
    assert raised.value.hint is not None and hint in raised.value.hint
