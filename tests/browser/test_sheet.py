"""The page of a lab sheet, in a real browser: it is read, filled in and printed, light and dark."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from selenium.webdriver.common.by import By

from kintro.concepts.words import LANGUAGES
from kintro.labs import catalogue, sheet, words
from kintro.labs.session import Session
from kintro.labs.state import Kept
from kintro.renderers.html import sheet as page_of

from .page import LOW_CONTRAST

pytestmark = pytest.mark.browser

WIDTHS = (400, 1200)
HOSTILE = "<script>document.title = 'mine'</script> \u202e" + "x" * 300
DONE = Session(
    "zombie", "2026-01-02T03:04:05.678901+00:00", HOSTILE, {"parent_pid": 41, "zombie_pid": 42},
    {"zombies": 5, "status": 256, "code": 1, "memory_bytes": 0, "killed": False, "left": 2},
    {"killed": True, "memory_bytes": 0}, {"zombies": 5, "code": 7, "killed": False, "left": 2},
)  # fmt: skip
# Words of a heading that stand on more than one line.
BROKEN_WORDS = """
return [...document.querySelectorAll("thead th")].flatMap((head) => {
  const text = head.firstChild, words = [...text.data.matchAll(/[A-Za-z]+/g)];
  return words.filter((word) => {
    const range = document.createRange();
    range.setStart(text, word.index);
    range.setEnd(text, word.index + word[0].length);
    return range.getClientRects().length > 1;
  }).map((word) => word[0]);
})"""


@pytest.fixture
def opened(open_page) -> Callable[..., Any]:
    """Opens the sheet of all labs, of which one was done."""

    def opens(language: str = "en", width: int = 1200, scheme: str = "light") -> Any:
        made = sheet.sheet(list(catalogue.NAMES), [Kept(DONE, True)], language)
        return open_page(page_of(made), (width, 900), scheme)

    return opens


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_it_fits_and_can_be_read(opened, language: str, scheme: str, width: int) -> None:
    page = opened(language, width, scheme)
    wide, room = page.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= room
    background = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    assert page.execute_script("return document.documentElement.lang") == language
    assert page.execute_script(LOW_CONTRAST) == []
    assert page.execute_script(BROKEN_WORDS) == []
    fields = page.find_elements(By.CSS_SELECTOR, "td")
    assert fields and all(field.size["width"] >= 60 for field in fields)


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_tells_of_every_lab(opened, language: str) -> None:
    page = opened(language)
    told = page.find_element(By.TAG_NAME, "main").text
    for name in catalogue.NAMES:
        said = words.of_lab(name)
        assert getattr(said.title, language) in told and getattr(said.question, language) in told
    assert "41" in told and page.title != "mine"
    levels = page.execute_script("return [...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1 and all(b <= a + 1 for a, b in pairwise(levels))
    assert page.find_elements(By.CSS_SELECTOR, "th:not([scope])") == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_commands_are_in_letters_of_one_width(opened, language: str) -> None:
    widths = opened(language).execute_script(
        """const code = document.querySelector("pre code");
        return ["iiii", "MMMM"].map((text) => {
          code.textContent = text;
          const range = document.createRange();
          range.selectNodeContents(code);
          return range.getBoundingClientRect().width;
        })"""
    )
    assert widths[0] == widths[1] > 0


def test_each_lab_is_printed_on_pages_of_its_own(opened) -> None:
    paper = opened().execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.69})
    pages = re.findall(rb"/Type ?/Page\b", base64.b64decode(paper["data"]))
    assert len(pages) >= len(catalogue.NAMES)
