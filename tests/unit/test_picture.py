"""An address space in a terminal: everything has its place, nothing is wider than the terminal."""

from __future__ import annotations

import re

import layouts
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kintro.renderers.clusters import clusters, halves
from kintro.renderers.kinds import KINDS, SHARES
from kintro.renderers.picture import picture
from kintro.renderers.text import cells, printable, size
from kintro.shapes import Band, Layout, Share, Table

MIB = 1 << 20


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def lines(layout: Layout, width: int = 80, **more: int) -> list[str]:
    return list(picture(layout, width, colour=False, **more))


@pytest.fixture(scope="module")
def real() -> Layout:
    return layouts.real()


@pytest.mark.parametrize("width", [20, 40, 80, 140, 300])
@pytest.mark.parametrize("make", ["few", "real", "compared", "hostile", "many"])
def test_no_line_is_wider_than_the_terminal(make: str, width: int) -> None:
    layout = getattr(layouts, make)()
    drawn = lines(layout, width)
    assert max(map(cells, drawn)) <= width
    assert all(line.isprintable() for line in drawn)
    assert [plain(line).rstrip() for line in picture(layout, width, colour=True)] == drawn


def test_each_mapping_has_its_line_from_the_top_down(real: Layout) -> None:
    drawn = lines(real, 200, lines_max=1000)
    wanted = [
        (f"{band.start:x}", band.kind, size(band.end - band.start), band.label)
        for band in reversed(real.bands)
    ]
    found = [line for line in drawn if re.match(r" *[0-9a-f]+ [ │╰] (?!────)", line)]
    assert len(found) == len(wanted)
    for line, (start, kind, length, label) in zip(found, wanted):
        assert line.split()[0] == start
        assert f" {kind} " in line and f" {length}  {label}" in line


def test_what_is_too_small_for_a_line_is_counted(real: Layout) -> None:
    drawn = lines(real, lines_max=5)
    folded = sum(int(found[1]) for line in drawn if (found := re.search(r" (\d+) smaller ", line)))
    single = [
        line for line in drawn if re.match(r" *[0-9a-f]+ [ │╰] (?!────)", line) and "smaller" not in line
    ]
    assert folded + len(single) == len(real.bands)
    assert len(drawn) < 60


def test_twenty_thousand_mappings_are_few_lines() -> None:
    assert len(lines(layouts.many())) < 100


def test_wide_gaps_borders_and_halves_are_named() -> None:
    text = "\n".join(lines(layouts.few()))
    gap = 0x7FFFF7FF9000 - 0x402000
    assert f"· · ·  {size(gap)} unused" in text
    assert "7ffffffff000   ──── TASK_SIZE  2^47 less one page" in text
    assert "──── kernel half  128 TiB, down to ffff800000000000" in text
    assert "──── user half  128 TiB, down to 0" in text
    assert "kernel text  read" in text and "modules  inferred" in text
    assert "16 EiB  canonical hole" in text
    order = ["kernel half", "kernel text", "canonical hole", "user half", "TASK_SIZE", "[stack]", "bottom"]
    assert [text.index(word) for word in order] == sorted(text.index(word) for word in order)


def test_bars_grow_by_a_cell_for_each_step_of_the_scale() -> None:
    sizes = [4096 << (2 * step) for step in range(6)]
    bands, at = [], 1 << 32
    for number, length in enumerate(sizes):
        bands.append(Band(at, at + length, "anon", f"band {number}"))
        at += 64 * MIB
    drawn = lines(Layout("", "", tuple(bands), (), (), Table((), ())), 80)
    [scale] = [line for line in drawn if line.startswith("bars")]
    assert "2 times the size" in scale
    bars = [line.count("█") for line in drawn if "band " in line]
    assert bars == [11, 9, 7, 5, 3, 1]


def test_the_user_half_is_on_one_line_to_scale() -> None:
    [strip] = [line for line in lines(layouts.few()) if line.startswith("to scale")]
    scale = strip.split(" 0 ")[1].split(" ")[0]
    assert scale[0] == scale[-1] == "█" and set(scale[1:-1]) == {"·"}
    assert strip.endswith("128 TiB")


@pytest.mark.parametrize(
    ("share", "bar"),
    [
        (Share(4, 4, 2, 2), "████▒▒▒▒<<>>"),
        (Share(1000, 1, 0, 0), "███████████▒"),
        (Share(0, 0, 0, 5), ">>>>>>>>>>>>"),
        (Share(0, 0, 0, 0), "no page     "),
    ],
)
def test_shares_are_in_proportion_and_none_is_invisible(share: Share, bar: str) -> None:
    band = Band(0x400000, 0x500000, "heap", "[heap]", (), share)
    drawn = lines(Layout("", "", (band,), (), (), Table((), ()), ("parent", "child")))
    assert any(f"heap         {bar}    1 MiB  [heap]" in line for line in drawn)
    assert any("< only in parent   > only in child" in line for line in drawn)


@given(
    st.lists(
        st.tuples(
            st.integers(0, (1 << 52) - 1),
            st.integers(1, 1 << 51),
            st.sampled_from([*KINDS, "new"]),
            st.text(),
        ),
        max_size=30,
    ),
    st.integers(1, 200),
)
def test_anything_can_be_drawn(found: list[tuple[int, int, str, str]], width: int) -> None:
    bands = [
        Band(page * 4096, min((page + pages) * 4096, 1 << 64), kind, name)
        for page, pages, kind, name in found
    ]
    layout = Layout("", "", tuple(sorted(bands, key=lambda band: band.start)), (), (), Table((), ()))
    assert all(cells(line) <= width and line.isprintable() for line in lines(layout, width))


# Clusters


def test_an_empty_address_space_can_be_drawn() -> None:
    text = "\n".join(lines(Layout("nothing", "", (), (), (), Table((), ()))))
    assert "user half" in text and "8 EiB unused" in text


def test_a_python_has_the_places_that_people_know(real: Layout) -> None:
    assert [cluster.name for cluster in clusters(real.bands)] == [
        "program",
        "heap",
        "libraries, anon",
        "stack",
    ]


def test_a_heap_close_to_its_program_is_part_of_it() -> None:
    bands = [Band(0x400000, 0x401000, "text", "x, code"), Band(0x402000, 0x403000, "heap", "[heap]")]
    assert [cluster.name for cluster in clusters(bands)] == ["program, heap"]


def test_the_halves_lie_on_either_side_of_the_hole(real: Layout) -> None:
    assert halves(real) == ((0, 1 << 47), (0xFFFF800000000000, 1 << 64))
    assert halves(real._replace(bands=(Band(0, 1 << 38, "anon", ""),))) == ((0, 1 << 38), (1 << 63, 1 << 64))


# Text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (512, "512 B"), (4096, "4 KiB"), (135168, "132 KiB"), (1 << 30, "1 GiB"),
        (1 << 64, "16 EiB"), (1_400_000, "1.34 MiB"), (1023, "1 KiB"), (1 << 47, "128 TiB"),
        (67_000_000, "63.9 MiB"),
    ],
)  # fmt: skip
def test_a_size_has_three_digits_at_most(count: int, text: str) -> None:
    assert size(count) == text


def test_shares_have_the_names_of_their_fields() -> None:
    assert tuple(SHARES) == Share._fields


def test_names_of_strangers_cannot_move_the_cursor() -> None:
    text = "\n".join(lines(layouts.hostile(), 200))
    for name in layouts.HOSTILE:
        assert printable(name) in text
