"""The page of an address space, in a real browser: all of it is there, and can be read."""

from __future__ import annotations

import layouts
import pytest
from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from kintro.renderers.html import address_space
from kintro.renderers.text import printable, size

from .page import LOW_CONTRAST, focus, panel, press, view

pytestmark = pytest.mark.browser


def test_each_mapping_is_a_row_of_the_table(shown) -> None:
    layout = layouts.real()
    page = shown(layout)
    rows = page.execute_script(
        "const rows = [...document.querySelectorAll('#bands tbody tr')];"
        "return rows.map(row => [...row.cells].map(cell => cell.textContent));"
    )
    wanted = [[f"{b.start:x}", f"{b.end:x}", size(b.end - b.start), b.kind, b.label] for b in layout.bands]
    assert len(layout.bands) > 60
    assert [row[:5] for row in rows] == wanted
    head = [
        cell.get_attribute("textContent") for cell in page.find_elements(By.CSS_SELECTOR, "#bands thead th")
    ]
    for row, band in zip(rows, layout.bands):
        assert dict(zip(head, row)).items() >= dict(band.facts).items()
    assert page.find_element(By.CSS_SELECTOR, "#all summary").text.startswith(f"All {len(rows)} ")
    assert page.find_element(By.CSS_SELECTOR, "#bands caption").is_displayed()
    scopes = "#bands thead th:not([scope=col]), #bands tbody th:not([scope=row])"
    assert page.find_elements(By.CSS_SELECTOR, scopes) == []


def test_each_mapping_is_drawn_and_high_enough_once_zoomed_to(shown) -> None:
    layout = layouts.real()
    page = shown(layout)
    drawn = page.execute_script(
        """return bands.map((band) => {
          fit(band.start, band.end); draw();
          const block = blocks.find((block) => block.bands.includes(band));
          return [block?.bands.length, block ? block.bottom - block.top : 0];
        })"""
    )
    assert len(drawn) == len(layout.bands)
    assert all(count == 1 and height > 50 for count, height in drawn)


def test_at_any_scale_nothing_is_invisible_and_labels_do_not_overlap(shown) -> None:
    page = shown(layouts.real())
    found = page.execute_script(
        """return places.map((place) => {
          fit(place.start, place.end); draw();
          const seen = bands.filter((band) => band.end > view.low && band.start < high());
          const drawn = new Set(blocks.flatMap((block) => block.bands));
          const tops = [...labels.children].map((label) => label.getBoundingClientRect());
          return {
            missing: seen.filter((band) => !drawn.has(band)).length,
            least: Math.min(...blocks.map((block) => block.bottom - block.top)),
            outside: tops.filter((box) => box.bottom > stage.getBoundingClientRect().bottom).length,
            overlaps: tops.filter((box, i) => i && box.top < tops[i - 1].bottom - 0.5).length,
          };
        })"""
    )
    assert len(found) >= 5
    for place_found in found:
        assert place_found["least"] > 2.99
        assert {**place_found, "least": 3} == {"missing": 0, "least": 3, "outside": 0, "overlaps": 0}


@pytest.mark.parametrize("make", ["empty", "few", "real", "compared", "hostile"])
@pytest.mark.parametrize("width", ["wide", "narrow"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read(shown, make: str, width: str, scheme: str) -> None:
    page = shown(getattr(layouts, make)(), width, scheme)
    focus(page)
    press(page, Keys.TAB)
    view(page)
    wide, room = page.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= room
    background = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    assert page.execute_script(LOW_CONTRAST) == []


def test_names_of_strangers_are_text(shown) -> None:
    layout = layouts.hostile()
    page = shown(layout)
    assert page.execute_script("return document.querySelectorAll('img, body svg[onload]').length") == 0
    assert page.find_elements(By.TAG_NAME, "script")[1:] == []
    shown_names = page.execute_script("return bands.map(band => band.label)")
    assert [name for name in shown_names if name in map(printable, layouts.HOSTILE)] == [
        printable(name) for name in layouts.HOSTILE
    ]
    assert page.title == printable(layouts.HOSTILE[0])
    focus(page)
    for _ in layout.bands:
        press(page, Keys.TAB)
        view(page)
    press(page, Keys.ENTER)
    assert printable(layouts.HOSTILE[0]) in panel(page)
    assert "\u202e" not in page.page_source and "\u2066" not in page.page_source
    with pytest.raises(NoAlertPresentException):
        page.switch_to.alert.accept()


def test_nothing_is_loaded_and_nothing_could_be(shown) -> None:
    page = shown(layouts.real())
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
    policy = page.find_element(By.CSS_SELECTOR, "meta[http-equiv]").get_dom_attribute("content")
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy
    refused = page.execute_async_script(
        "const done = arguments[0]; document.addEventListener('securitypolicyviolation',"
        " (event) => done(event.effectiveDirective)); fetch('https://example.com/').catch(() => {});"
    )
    assert refused == "connect-src"
    page.get_log("browser")  # the refusal that was asked for


def test_the_pages_of_two_processes(shown) -> None:
    layout = layouts.compared()
    page = shown(layout)
    band = next(b for b in layout.bands if b.share is not None and all(b.share))
    widths = page.execute_script(
        "const band = bands.find(b => b.start === BigInt(arguments[0])); fit(band.start, band.end); draw();"
        "const top = blocks.find(b => b.bands.includes(band)).top;"
        "return ['same', 'copied', 'only_a', 'only_b'].map(kind => Number([...document.querySelectorAll("
        "`#blocks rect[fill='url(#fill-${kind})']`)].find(r => Math.abs(r.y.baseVal.value - top) < 1)"
        ".getAttribute('width')) / size.barWidth)",
        str(band.start),
    )
    assert widths == pytest.approx([pages / sum(band.share) for pages in band.share])
    assert "only in child 101" in page.find_element(By.ID, "legend").text
    focus(page)
    page.execute_script("choose(bands.find(b => b.start === BigInt(arguments[0])))", str(band.start))
    assert f"Copied pages\n{band.share.copied}\n" in panel(page)


def test_twenty_thousand_mappings(shown) -> None:
    layout = layouts.many()
    assert len(address_space(layout)) < 10_000_000
    page = shown(layout)
    assert page.execute_script("return bands.length") == len(layout.bands)
    last = page.find_element(By.CSS_SELECTOR, "#bands tbody tr:last-child")
    assert not last.is_displayed()  # laying so many rows out waits until somebody wants them
    page.find_element(By.CSS_SELECTOR, "#all summary").click()
    assert last.is_displayed()
    # A place with all of them: what is drawn is a matter of pixels, not of mappings.
    low, high = layout.bands[0].start, max(b.end for b in layout.bands if b.end < 1 << 47)
    drawn = page.execute_script(
        "fit(BigInt(arguments[0]), BigInt(arguments[1])); draw();"
        "return [document.querySelectorAll('#drawing *').length, blocks.flatMap(b => b.bands).length]",
        str(low),
        str(high),
    )
    assert drawn[0] < 6000
    assert drawn[1] >= 20_000
    times = page.execute_script(
        "const time = () => { const t = performance.now(); draw(); return performance.now() - t; };"
        "return [1, 2, 3, 4, 5].map(time);"
    )
    assert min(times) < 200
