"""The page of a graph of channels, in a real browser: all of it is there, can be read and moved through."""

from __future__ import annotations

import pytest
from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from kintro.renderers.html import graph
from kintro.shapes import Graph, Line, Node, Table

from .conftest import SIZES
from .page import press
from .test_address_space import LOW_CONTRAST

pytestmark = pytest.mark.browser

GROUPS = tuple((name, name) for name in ("stream", "socket", "queue", "memory", "sync", "control"))
COLUMNS = ("Kind", "Id", "Name", "Bytes", "Messages", "Who")
HOSTILE = (
    "</script><img src=x onerror=alert(1)>", "\"><svg onload=alert(2)> ' &", "two\nlines",
    "\u202e tfel \u2066",
    "{{ 7 * 7 }}", "\udc80 half of a pair", "日本語の名前",
)  # fmt: skip


def chain(labels: list[str]) -> Graph:
    """Processes in a row: each shares one channel of some group with the next."""
    nodes = tuple(Node(f"p{number}", label, "process") for number, label in enumerate(labels))
    lines = tuple(
        Line(f"p{n}", f"p{n + 1}", GROUPS[n % len(GROUPS)][0], True, n % 2 == 0, (n,))
        for n in range(len(labels) - 1)
    )
    rows = tuple(
        ("pipe", str(n), labels[n], "5", "", f"{labels[n]} → {labels[n + 1]}") for n in range(len(lines))
    )
    return Graph("Who", "a sample", nodes, lines, GROUPS, Table(COLUMNS, rows), (("Found", "all"),))


@pytest.fixture
def opened(open_page):
    """Opens the page of a graph."""

    def opens(shape: Graph, size: str = "wide", scheme: str = "light"):
        return open_page(graph(shape), SIZES[size], scheme)

    return opens


def labels(count: int) -> list[str]:
    return [f"process-{number} ({number})" for number in range(count)]


def test_each_process_and_each_channel_is_there(opened) -> None:
    page = opened(chain(labels(200)))
    drawn = page.execute_script("return nodes.map((node) => node.querySelector('text').textContent)")
    assert sorted(drawn) == sorted(labels(200))
    assert page.execute_script("return [lines.length, rows.length]") == [199, 199]
    boxes = page.execute_script(
        "return nodes.map((n) => { const b = n.querySelector('rect').getBoundingClientRect();"
        "return [b.left, b.top, b.right, b.bottom] })"
    )
    for number, (left, top, right, bottom) in enumerate(boxes):
        for other in boxes[number + 1 :]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
    for wide, text in page.execute_script(
        "return nodes.map((n) => [n.querySelector('rect').getBBox().width,"
        "n.querySelector('text').getBBox().width])"
    ):
        assert text < wide


def test_one_process_with_what_it_shares_and_the_keys(opened) -> None:
    page = opened(chain(labels(5)))
    page.execute_script("document.getElementById('p2').focus()")
    panel = page.find_element(By.ID, "panel")
    assert panel.text.splitlines()[0] == "process-2 (2)"
    assert "process-1 (1) → process-2 (2)" in panel.text and "process-2 (2) → process-3 (3)" in panel.text
    near = page.execute_script("return nodes.filter((n) => n.classList.contains('near')).map((n) => n.id)")
    assert sorted(near) == ["p1", "p3"]
    seen = set()
    for key in (Keys.ARROW_UP, Keys.ARROW_LEFT, Keys.ARROW_DOWN, Keys.ARROW_RIGHT) * 4:
        press(page, key)
        seen.add(page.execute_script("return document.activeElement.id"))
    assert len(seen) >= 3 and seen <= {f"p{number}" for number in range(5)}
    assert len(page.find_elements(By.CSS_SELECTOR, ".node[tabindex='0']")) == 1
    press(page, Keys.ESCAPE)
    assert page.find_elements(By.CSS_SELECTOR, ".choosing") == []
    assert panel.text.startswith("Point at a process")


def test_size_and_search(opened) -> None:
    page = opened(chain(labels(60)))
    width = "return drawing.getBoundingClientRect().width"
    first = page.execute_script(width)
    page.find_element(By.ID, "larger").click()
    assert page.execute_script(width) == pytest.approx(first * 1.25, rel=0.01)
    page.find_element(By.ID, "whole").click()
    fits = "return [stage.scrollWidth <= stage.clientWidth, stage.scrollHeight <= stage.clientHeight]"
    assert page.execute_script(fits) == [True, True]
    page.find_element(By.ID, "find").send_keys("process-41")
    assert page.find_element(By.ID, "hits").text == "1 found"
    assert [node.get_attribute("id") for node in page.find_elements(By.CSS_SELECTOR, ".found")] == ["p41"]


def test_hostile_names_stay_text(opened) -> None:
    page = opened(chain(list(HOSTILE)))
    with pytest.raises(NoAlertPresentException):
        _ = page.switch_to.alert
    assert page.find_elements(By.CSS_SELECTOR, "img, #table svg, #panel svg") == []
    for number in range(len(HOSTILE)):
        page.execute_script(f"document.getElementById('p{number}').focus()")
        assert page.find_elements(By.CSS_SELECTOR, "#panel img, #panel script") == []
    assert "{{ 7 * 7 }}" in page.find_element(By.ID, "channels").text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_all_text_has_contrast_and_nothing_is_wider_than_the_page(opened, size: str, scheme: str) -> None:
    page = opened(chain(labels(12)), size, scheme)
    background = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    assert page.execute_script(LOW_CONTRAST) == []
    assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_a_graph_of_nothing(opened) -> None:
    page = opened(Graph("Nobody", "", (), (), GROUPS, Table(COLUMNS, ()), ()))
    assert page.find_element(By.TAG_NAME, "h1").text == "Nobody"
