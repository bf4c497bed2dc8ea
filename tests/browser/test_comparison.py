"""The page of things beside each other, in a real browser: bars, lines, keys, figures."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from kintro.renderers.html import comparison
from kintro.shapes import Comparison, Length, Point, Series, Table

from .conftest import SIZES
from .page import LOW_CONTRAST, press

pytestmark = pytest.mark.browser

NAMES = ("pipe", "</script><img src=x onerror=alert(1)>", "two\nlines")


def sample() -> Comparison:
    groups, tens = ("one", "two"), tuple((10.0**n, f"{10**n}") for n in range(4))
    bars = tuple(
        Length(name, group, 10.0 * (n + 1), 9.0, 12.0 * (n + 1), f"{n}, or so")
        for n, name in enumerate(NAMES)
        for group in groups
    )
    series = tuple(
        Series(name, tuple(Point(10.0**x, 10.0 * (n + 1), f"{x} B", f"{n} at {x}") for x in range(3 - n)))
        for n, name in enumerate(NAMES)
    )
    table = Table(("Kind", "A"), tuple((name, "1") for name in NAMES))
    return Comparison(
        "Title", "below", (("Runs", "3"),), ("found",), "Bars", groups, bars, tens, "Lines", series, tens,
        tens, (("Figures", table),), ("a note",),
    )  # fmt: skip


@pytest.fixture
def opened(open_page):
    """Opens the page of the sample."""

    def opens(size: str = "wide", scheme: str = "light"):
        return open_page(comparison(sample()), SIZES[size], scheme)

    return opens


def test_bars_are_as_long_as_their_values_on_a_logarithmic_axis(opened) -> None:
    page = opened()
    shares = page.execute_script(
        "return lengths.map((l) => l.querySelector('.bar').getBoundingClientRect().width"
        " / l.querySelector('.track').getBoundingClientRect().width)"
    )
    assert shares[0] == pytest.approx(1 / 3, abs=0.01)  # 10 between 1 and 1000
    assert shares[2] == pytest.approx(0.4337, abs=0.01)  # 20


def test_points_by_the_keys_and_one_line_alone(opened) -> None:
    page = opened()
    panel = page.find_element(By.ID, "panel")
    assert len(page.find_elements(By.CSS_SELECTOR, ".dot[tabindex='0']")) == 1
    page.execute_script("series[0][0].focus()")
    assert panel.text == "pipe, 0 B: 0 at 0"
    press(page, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert panel.text == "pipe, 2 B: 0 at 2"
    press(page, Keys.ARROW_DOWN)  # that line ends before
    assert panel.text.endswith("1 at 1")
    button = page.find_element(By.CSS_SELECTOR, ".choose button")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert len(page.find_elements(By.CSS_SELECTOR, ".choosing .series.chosen")) == 1
    page.execute_script("series[0][0].focus()")
    press(page, Keys.ESCAPE)
    assert page.find_elements(By.CSS_SELECTOR, ".choosing") == []
    page.execute_script("lengths[0].focus()")
    press(page, Keys.ARROW_DOWN)
    assert page.execute_script("return document.activeElement === lengths[1]")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_all_text_has_contrast_and_nothing_is_wider_than_the_page(opened, size: str, scheme: str) -> None:
    page = opened(size, scheme)
    assert page.execute_script(LOW_CONTRAST) == []
    assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert page.find_elements(By.CSS_SELECTOR, "img") == []
