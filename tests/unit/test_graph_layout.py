"""Where the nodes of a graph are drawn: no two boxes overlap, and all lie within the whole."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from kintro.renderers.graph_layout import places


def check(sizes: dict[str, tuple[float, float]], pairs: list[tuple[str, str]]) -> None:
    found, width, height = places(sizes, pairs)
    assert set(found) == set(sizes)
    for name, place in found.items():
        assert (place.width, place.height) == sizes[name]
        assert place.x - place.width / 2 >= -0.01 and place.x + place.width / 2 <= width + 0.01
        assert place.y - place.height / 2 >= -0.01 and place.y + place.height / 2 <= height + 0.01
    for a, b in combinations(found.values(), 2):
        beside = abs(a.x - b.x) >= (a.width + b.width) / 2
        assert beside or abs(a.y - b.y) >= (a.height + b.height) / 2


@settings(max_examples=40)
@given(
    st.lists(st.floats(20, 300), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=60),
)
def test_any_graph(widths: list[float], edges: list[tuple[int, int]]) -> None:
    names = [f"n{number}" for number in range(len(widths))]
    pairs = [(names[a % len(names)], names[b % len(names)]) for a, b in edges]
    check({name: (width, 26.0) for name, width in zip(names, widths)}, pairs)


def test_two_hundred_that_hang_together() -> None:
    sizes = {f"n{number}": (80.0 + number % 90, 26.0) for number in range(200)}
    star = [("n0", f"n{number}") for number in range(1, 100)]
    chain = [(f"n{number}", f"n{number + 1}") for number in range(99, 199)]
    check(sizes, star + chain)
    assert places(sizes, star) == places(sizes, star)


def test_more_than_springs_are_for() -> None:
    sizes = {f"n{number}": (90.0, 26.0) for number in range(1600)}
    found, _, _ = places(sizes, [("n0", name) for name in sizes if name != "n0"])
    assert len({(place.x, place.y) for place in found.values()}) == 1600


def test_nothing() -> None:
    assert places({}, []) == ({}, 0.0, 0.0)
