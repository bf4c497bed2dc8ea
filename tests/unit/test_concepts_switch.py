"""What is read off the turns on CPUs."""

from __future__ import annotations

import numpy as np
import pytest

from kintro.concepts.switch import Stretch, at_once, overlaps, pauses_ns
from kintro.concepts.switch_scheduler import histogram
from kintro.observers.buckets import BUCKETS

APART = [Stretch(0, 10, 20, 7), Stretch(0, 20, 30, 8), Stretch(0, 35, 40, 7), Stretch(1, 15, 32, 9)]


def test_turns_one_after_the_other() -> None:
    assert overlaps(APART) == 0
    assert at_once(APART) == (2, 15)
    assert at_once(turn for turn in APART if turn.cpu == 0) == (1, 0)
    assert pauses_ns(APART, 7) == [15]
    assert pauses_ns(APART, 9) == []


@pytest.mark.parametrize(
    ("turn", "number"),
    [
        (Stretch(0, 29, 31, 9), 1),
        (Stretch(0, 11, 12, 9), 1),
        (Stretch(0, 5, 50, 9), 3),
        (Stretch(1, 32, 33, 9), 0),
    ],
)
def test_turns_that_overlap(turn: Stretch, number: int) -> None:
    assert overlaps([turn, *APART]) == number


def test_against_every_moment() -> None:
    rng = np.random.default_rng(23)
    for _ in range(50):
        begins = rng.integers(0, 40, 8)
        turns = [
            Stretch(0, int(begin), int(begin + length), 1)
            for begin, length in zip(begins, rng.integers(0, 9, 8), strict=True)
        ]
        running = [sum(turn.begin_ns <= moment < turn.end_ns for turn in turns) for moment in range(60)]
        assert at_once(turns) == (max(running), sum(number > 1 for number in running))


def test_a_histogram_has_a_bar_for_each_power_of_two() -> None:
    buckets = [0] * BUCKETS
    assert histogram(buckets).bars == ()
    buckets[40], buckets[43], buckets[50] = 2, 3, 1
    assert [bar.amount for bar in histogram(buckets).bars] == [5, 0, 1]
