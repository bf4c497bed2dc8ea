"""Numbers and strangers' names as text."""

from __future__ import annotations

import re
import shlex
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kintro.renderers.text import cells, command_line, duration, fit, pad, printable

US, MS, S = 1_000, 1_000_000, 1_000_000_000
UNITS = {"ns": 1, "µs": US, "ms": MS, "s": S, "m": 60 * S, "h": 3600 * S, "d": 86400 * S}


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"), (1, "1 ns"), (412, "412 ns"), (999, "999 ns"),
        (1000, "1.00 µs"), (1004, "1.00 µs"), (1_250, "1.25 µs"), (9_994, "9.99 µs"), (9_995, "10.0 µs"),
        (99_949, "99.9 µs"), (99_950, "100 µs"), (999_499, "999 µs"), (999_500, "1.00 ms"),
        (1_250_000, "1.25 ms"), (99_950_000, "100 ms"), (999_499_999, "999 ms"), (999_500_000, "1.00 s"),
        (3_400_000_000, "3.40 s"), (99_949_000_000, "99.9 s"), (99_950_000_000, "1m39s"),
        (119 * S, "1m59s"), (3600 * S - 1, "59m59s"), (3600 * S, "1h00m"),
        (7500 * S, "2h05m"), (25 * 3600 * S, "1d01h"), (86400 * S - 1, "23h59m"), (86400 * S, "1d00h"),
    ],
)  # fmt: skip
def test_durations(ns: int, text: str) -> None:
    assert duration(ns) == text


@given(st.integers(0, 999 * 86400 * S) | st.integers(0, 2 * S))
@example(999 * US + 500)
@example(999 * MS + 500 * US)
@example(99_950 * MS)
@example(99_949_999_999)
def test_any_duration_is_short_and_near(ns: int) -> None:
    """Three digits and an error of half a percent at most; from 100 s on two units, the smaller one whole."""
    text = duration(ns)
    single = re.fullmatch(r"([\d.]+) (ns|µs|ms|s)", text)
    double = re.fullmatch(r"(\d+)([dhm])(\d\d)([hms])", text)
    if single:
        assert len(single[1].replace(".", "")) <= 3
        assert abs(float(single[1]) * UNITS[single[2]] - ns) <= 0.005 * ns + 1e-6
    else:
        assert double is not None
        assert len(text) <= 7
        shown = int(double[1]) * UNITS[double[2]] + int(double[3]) * UNITS[double[4]]
        assert shown <= ns < shown + UNITS[double[4]]


@given(st.integers(0, 99 * S), st.integers(0, 99 * S))
def test_a_longer_duration_never_shows_as_shorter(a: int, b: int) -> None:
    def shown(ns: int) -> float:
        number, unit = duration(ns).split()
        return float(number) * UNITS[unit]

    assert shown(min(a, b)) <= shown(max(a, b)) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"bash", "bash"),
        (b"", ""),
        ("größe".encode(), "größe"),
        ("日本".encode(), "日本"),
        (b"a b", "a b"),
        (b"\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        (b"two\nlines\ttab\r", "two\\nlines\\ttab\\r"),
        (b"\x00\x07\x7f", "\\x00\\x07\\x7f"),
        (b"\xff\xfeok", "\\xff\\xfeok"),
        (b"\xe6\x97", "\\xe6\\x97"),  # a wide character cut off by TASK_COMM_LEN
        ("\u202egnp.exe".encode(), "\\u202egnp.exe"),
        ("\u2066\u2069\u200f\u061c".encode(), "\\u2066\\u2069\\u200f\\u061c"),
        ("\u200b\u200d\u2028\ufeff".encode(), "\\u200b\\u200d\\u2028\\ufeff"),
        ("\x9b31m".encode(), "\\x9b31m"),  # CSI as one character
        ("\U000e0041".encode(), "\\U000e0041"),
        ("\udcff", "\\udcff"),
    ],
)
def test_names(name: bytes | str, text: str) -> None:
    assert printable(name) == text


@given(st.binary(max_size=16) | st.text(max_size=8))
def test_any_name_is_safe_and_encodable(name: bytes | str) -> None:
    text = printable(name)
    assert not {unicodedata.category(c) for c in text} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    text.encode()
    assert printable(text) == text


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        ([], ""),
        ([b"ls", b"-l"], "ls -l"),
        ([b"sh", b"-c", b"echo $HOME; ls"], "sh -c 'echo $HOME; ls'"),
        ([b"printf", b"", b"it's"], "printf '' 'it'\"'\"'s'"),
        ([b"x", b"a\nb", b"\x1b[2J"], "x 'a\\nb' '\\x1b[2J'"),
    ],
)
def test_command_lines(argv: list[bytes], text: str) -> None:
    assert command_line(argv) == text


@given(st.lists(st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126)), min_size=1))
def test_a_printable_command_line_can_be_typed(argv: list[str]) -> None:
    assert shlex.split(command_line([argument.encode() for argument in argv])) == argv


PRINTABLE = st.text(max_size=20).map(printable)
FLAG, HEART, FAMILY = "🇩🇪", "❤️", "👩👩👧"


@pytest.mark.parametrize(
    ("text", "width"),
    [("", 0), ("abc", 3), ("日本", 4), ("e\u0301", 1), ("ｆｕ", 4), ("…", 1), ("└─ ", 3)],
)
def test_cells(text: str, width: int) -> None:
    assert cells(text) == width


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("abc", 3, "abc"), ("abcd", 3, "ab…"), ("abc", 1, "…"), ("abc", 0, ""), ("", 0, ""),
        ("日本語", 6, "日本語"), ("日本語", 5, "日本…"), ("日本語", 4, "日…"), ("日本語", 2, "…"),
        ("a日b", 3, "a…"),
    ],
)  # fmt: skip
def test_fit(text: str, width: int, expected: str) -> None:
    assert fit(text, width) == expected


@given(PRINTABLE, st.integers(0, 24))
@example(HEART * 3, 3)
@example(FLAG * 3, 4)
@example(FAMILY * 3, 5)
def test_what_fits_stays_and_what_does_not_is_cut_to_fit(text: str, width: int) -> None:
    fitted = fit(text, width)
    assert 0 <= cells(fitted) <= width
    if cells(text) <= width:
        assert fitted == text
    elif width:
        assert fitted[-1] == "…"
        assert text.startswith(fitted[:-1])
        assert cells(fitted) >= width - 2 or max(map(cells, text)) > 1


@given(PRINTABLE, st.integers(0, 24), st.booleans())
def test_padded_to_the_cell(text: str, width: int, right: bool) -> None:
    padded = pad(text, width, right)
    assert cells(padded) == max(width, cells(text))
    assert padded == (
        " " * (len(padded) - len(text)) + text if right else text + " " * (len(padded) - len(text))
    )
