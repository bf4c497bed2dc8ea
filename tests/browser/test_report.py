"""The page of a report, in a real browser: it is read, by whoever, at any width, in light and dark."""

from __future__ import annotations

from itertools import pairwise

import layouts
import pytest
import reports
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from kintro.renderers.html import report
from kintro.renderers.text import printable
from kintro.shapes import Report, Table

from .page import LOW_CONTRAST, press

pytestmark = pytest.mark.browser

WIDTHS = (400, 1400)


@pytest.fixture
def opened(open_page):
    """Opens the page of a report."""

    def opens(shape: Report, width: int = 1400, scheme: str = "light", media: str = ""):
        return open_page(report(shape), (width, 900), scheme, media)

    return opens


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("make", [reports.sample, reports.hostile])
def test_it_fits_and_can_be_read(opened, make, language: str, scheme: str, width: int) -> None:
    page = opened(make(language), width, scheme)
    wide, room = page.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= room
    background = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    assert page.execute_script("return document.documentElement.lang") == language
    page.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.execute_script(LOW_CONTRAST) == []
    assert page.execute_script("return document.documentElement.scrollWidth") <= room


def test_every_claim_has_its_picture_and_every_picture_its_words(opened) -> None:
    shape = reports.sample()
    page = opened(shape)
    for account in (account for chapter in shape.chapters for account in chapter.accounts):
        claim = page.find_element(By.ID, account.id)
        [figure] = claim.find_elements(By.TAG_NAME, "figure")
        assert account.figures[0].caption in figure.text
        rows = figure.find_elements(By.CSS_SELECTOR, "tbody tr")
        assert rows
        if isinstance(account.figures[0].shape, Table):
            continue
        [drawn] = figure.find_elements(By.CSS_SELECTOR, "svg[role=img]")
        size = drawn.size
        assert size["width"] > 100 and size["height"] > 40
        named = page.execute_script(
            "return arguments[0].getAttribute('aria-labelledby').split(' ')"
            ".map(id => document.getElementById(id).textContent)",
            drawn,
        )
        assert named[0] == account.figures[0].caption and len(named[1]) > 10
        assert page.execute_script("return arguments[0].querySelectorAll('rect').length", drawn) > 1


def test_what_is_drawn_lies_within_its_picture(opened) -> None:
    for width in WIDTHS:
        page = opened(reports.sample(), width)
        outside = page.execute_script(
            """return [...document.querySelectorAll('svg[role=img]')].flatMap((svg) => {
              const whole = svg.getBoundingClientRect();
              return [...svg.querySelectorAll('rect, text, line')].filter((part) => {
                const box = part.getBoundingClientRect();
                return box.left < whole.left - 4 || box.right > whole.right + 4
                  || box.top < whole.top - 4 || box.bottom > whole.bottom + 4;
              }).map((part) => [width, part.outerHTML]);
            })""".replace("[width,", f"[{width},")
        )
        assert outside == []


def test_headings_landmarks_and_tables(opened) -> None:
    page = opened(reports.sample())
    levels = page.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    for landmark in ("header", "nav", "main", "footer"):
        assert len(page.find_elements(By.CSS_SELECTOR, f"body > {landmark}, .columns > {landmark}")) == 1
    assert page.find_elements(By.CSS_SELECTOR, "th:not([scope])") == []
    assert page.find_elements(By.CSS_SELECTOR, "table:not(:has(caption))") == []
    unnamed = "svg:not([aria-hidden=true]):not([role=img][aria-labelledby])"
    assert page.find_elements(By.CSS_SELECTOR, unnamed) == []


def test_by_keyboard(opened) -> None:
    page = opened(reports.sample())
    press(page, Keys.TAB)
    skip = page.switch_to.active_element
    assert skip.get_dom_attribute("class") == "skip" and skip.rect["x"] >= 0
    press(page, Keys.ENTER)
    assert page.switch_to.active_element.get_dom_attribute("id") == "claims"
    link = page.find_element(By.CSS_SELECTOR, "nav a[href='#X3']")
    page.execute_script("arguments[0].focus()", link)
    press(page, Keys.ENTER)
    top = page.execute_script("return document.getElementById('X3').getBoundingClientRect().top")
    assert abs(top) < 5
    closed = page.find_element(By.CSS_SELECTOR, "#X3 details")
    page.execute_script("arguments[0].querySelector('summary').focus()", closed)
    press(page, Keys.ENTER)
    assert closed.find_element(By.TAG_NAME, "table").is_displayed()
    hidden = page.execute_script(
        "return [...document.querySelectorAll('*')].filter(e => e.scrollWidth > e.clientWidth + 1"
        " && ['auto', 'scroll'].includes(getComputedStyle(e).overflowX) && e.tabIndex < 0).length"
    )
    assert hidden == 0  # what can be scrolled can be reached


@pytest.mark.parametrize("language", ["en", "zh"])
def test_names_of_strangers_are_text(opened, language: str) -> None:
    page = opened(reports.hostile(language))
    assert page.find_elements(By.CSS_SELECTOR, "img, script, svg[onload]") == []
    assert page.title == printable(layouts.HOSTILE[0])
    text = page.find_element(By.TAG_NAME, "main").get_attribute("textContent")
    assert all(printable(name) in text for name in layouts.HOSTILE)
    assert "\u202e" not in page.page_source and "\u2066" not in page.page_source


def test_nothing_is_loaded_and_nothing_could_be(opened) -> None:
    page = opened(reports.sample())
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
    policy = page.find_element(By.CSS_SELECTOR, "meta[http-equiv]").get_dom_attribute("content")
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy


def test_printed_it_has_all_but_what_only_a_screen_can_do(opened) -> None:
    page = opened(reports.sample(), 700, "dark", "print")
    background = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(255, 255, 255)"
    assert page.execute_script(LOW_CONTRAST) == []
    drawn = page.find_elements(By.CSS_SELECTOR, "svg[role=img]")
    assert drawn and all(picture.is_displayed() for picture in drawn)
    assert not any(part.is_displayed() for part in page.find_elements(By.CSS_SELECTOR, "details, .skip, .up"))
    wide, room = page.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= room
