"""The child that loads programs: its end is told, whatever its parent does with SIGCHLD."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from kintro.errors import KintroError
from kintro.sources.handed_over import handed_over


@pytest.fixture
def children_unheeded() -> Iterator[None]:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


def end_of_a_child(status: int) -> str:
    with pytest.raises(KintroError) as refused:
        handed_over(lambda: os._exit(status), "refused")
    return refused.value.message


def test_its_status_is_told() -> None:
    assert end_of_a_child(3) == "refused: the compiler ended with status 3"


@pytest.mark.usefixtures("children_unheeded")
def test_where_the_kernel_takes_it_away() -> None:
    """As for who is started with SIGCHLD ignored: it is gone before or after it can be killed."""
    for _ in range(200):
        assert end_of_a_child(3) == "refused: the compiler ended"


def test_descriptors_arrive_and_are_not_inherited() -> None:
    """More than a program of kintro has."""
    read, write = os.pipe()
    names = {str(number): read for number in range(200)}
    programs, maps = handed_over(lambda: (names, {"it": write}), "refused")
    os.close(read)
    os.close(write)
    fds = [*programs.values(), *maps.values()]
    try:
        assert programs.keys() == names.keys() and maps.keys() == {"it"}
        assert not any(map(os.get_inheritable, fds))
        os.write(maps["it"], b"x")
        assert os.read(programs["0"], 1) == b"x"
    finally:
        for fd in fds:
            os.close(fd)
