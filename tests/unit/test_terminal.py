"""Shapes as lines of a terminal: aligned by cells, never wider than the terminal."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kintro.renderers import jsonl, terminal
from kintro.renderers.text import cells, printable
from kintro.shapes import Cell, Column, Table, Tree, TreeRow

COLUMNS = (Column("N", 4, right=True), Column("NAME", 6), Column("WHAT", None))


def line(*texts: str, width: int | None = None) -> str:
    return terminal.line(COLUMNS, [Cell(text) for text in texts], width, colour=False)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_columns_line_up() -> None:
    assert terminal.heading(COLUMNS, None, colour=False) == "   N NAME   WHAT"
    assert line("7", "ab", "all of it") == "   7 ab     all of it"
    assert line("7", "日本", "wide") == "   7 日本   wide"
    assert line("7", "", "") == "   7"
    assert line("7", "日本", "x" * 500).endswith("x" * 500)


def test_the_last_column_is_cut_to_the_terminal() -> None:
    assert line("7", "ab", "all of it", width=16) == "   7 ab     all…"
    assert line("7", "ab", "all", width=15) == "   7 ab     all"
    assert line("7", "ab", "日本語", width=16) == "   7 ab     日…"


def test_a_cell_longer_than_its_column_leaves_less_for_the_last() -> None:
    assert line("12345", "ab", "all of it", width=17) == "12345 ab     all…"


@given(st.lists(st.text(max_size=12).map(printable), min_size=3, max_size=3), st.integers(1, 40))
def test_no_line_is_wider_than_the_terminal(texts: list[str], width: int) -> None:
    assert cells(line(*texts, width=width)) <= width


@pytest.mark.parametrize(
    ("meaning", "code"), [("good", "32"), ("bad", "31"), ("new", "36"), ("changed", "33"), ("faint", "2")]
)
def test_colours_are_around_the_text_and_change_no_width(meaning: str, code: str) -> None:
    row = [Cell("7", meaning), Cell("ab"), Cell("it", meaning)]
    coloured = terminal.line(COLUMNS, row, 20, colour=True)
    assert coloured == f"\x1b[{code}m   7\x1b[0m ab     \x1b[{code}mit\x1b[0m"
    assert plain(coloured) == terminal.line(COLUMNS, row, 20, colour=False)


def test_no_escape_without_colour_or_meaning() -> None:
    assert terminal.styled("x", "bad", colour=False) == "x"
    assert terminal.styled("x", "", colour=True) == "x"
    assert terminal.styled("", "bad", colour=True) == ""
    assert terminal.styled("x", "title", colour=True) == "\x1b[1mx\x1b[0m"


def tree(*rows: tuple[int, bool, str], width: int | None = None) -> list[str]:
    shape = Tree(
        (Column("N", 3, right=True),), "TREE",
        tuple(TreeRow(depth, last, (Cell(str(i)),), label) for i, (depth, last, label) in enumerate(rows)),
    )  # fmt: skip
    return list(terminal.tree(shape, width, colour=False))


def test_branches_of_a_tree() -> None:
    assert tree(
        (0, False, "first"), (1, False, "a"), (2, True, "a1"), (3, True, "a2"), (1, True, "b"),
        (2, False, "b1"), (2, True, "b2"), (0, True, "second"), (1, True, "c"),
    ) == [
        "  N TREE",
        "  0 first",
        "  1 ├─ a",
        "  2 │  └─ a1",
        "  3 │     └─ a2",
        "  4 └─ b",
        "  5    ├─ b1",
        "  6    └─ b2",
        "  7 second",
        "  8 └─ c",
    ]  # fmt: skip


def test_a_tree_is_cut_to_the_terminal() -> None:
    assert tree((0, True, "label"), (1, True, "label"), width=10) == ["  N TREE", "  0 label", "  1 └─ la…"]


def test_an_empty_tree() -> None:
    assert tree() == ["  N TREE"]


def test_a_table() -> None:
    shape = Table(("NAME", "VALUE"), (("a", "1"), ("longer", "0x10")))
    assert [row.split() for row in terminal.table(shape).splitlines()] == [
        ["NAME", "VALUE"],
        ["a", "1"],
        ["longer", "0x10"],
    ]
    assert len({row.index(mark) for row, mark in zip(terminal.table(shape).splitlines(), "V10")}) == 1


def test_numbers_in_a_table_stay_as_they_are_written() -> None:
    shape = Table(("N",), (("007",), ("1e5",), ("1.50",), ("",)))
    assert terminal.table(shape).split() == ["N", "007", "1e5", "1.50"]


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"a": 1, "b": None, "c": [True, b"x"]}, '{"a":1,"b":null,"c":[true,"x"]}'),
        ({"a": b"\xff\xc3\xa4"}, '{"a":"\\\\xff\\u00e4"}'),
        ({"a": b"\n\x1b\x00"}, '{"a":"\\n\\u001b\\u0000"}'),
        ({"a": "\u202e"}, '{"a":"\\u202e"}'),
    ],
)
def test_json_lines(record: dict, text: str) -> None:
    assert jsonl.line(record) == text


def test_json_of_what_has_no_json() -> None:
    with pytest.raises(TypeError, match="set has no JSON form"):
        jsonl.line({"a": {1}})
