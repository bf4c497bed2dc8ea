"""The page of an address space, in a real browser: all of it is there, reachable and readable."""

from __future__ import annotations

import layouts
import pytest
from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from kintro.renderers.html import address_space
from kintro.renderers.text import printable, size

pytestmark = pytest.mark.browser

# Contrast as WCAG 2.2 computes it, of each element with text of its own against what is painted behind it.
LOW_CONTRAST = """
const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
const behind = (element) => {
  if (element.matches("text.unused")) return parse(getComputedStyle(document.querySelector(".track")).fill);
  for (let at = element; at; at = at.parentElement) {
    const colour = parse(getComputedStyle(at).backgroundColor);
    if (colour.length < 4 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
};
const low = [];
for (const element of document.querySelectorAll("body *:not(script, style)")) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!own || !element.checkVisibility?.()) continue;
  const style = getComputedStyle(element);
  const text = element instanceof SVGElement ? style.fill : style.color;
  const [a, b] = [light(parse(text)), light(behind(element))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < 4.5) low.push([element.tagName, element.textContent.slice(0, 40), contrast]);
}
return low;
"""

TURN = """stage.dispatchEvent(new WheelEvent("wheel", {
  deltaY: -100, clientX: arguments[0], clientY: arguments[1], cancelable: true,
}))"""


def view(page) -> tuple[int, int]:
    """The addresses that the drawing shows, once it is drawn."""
    page.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    stage = page.find_element(By.ID, "stage")
    return int(stage.get_dom_attribute("data-low"), 16), int(stage.get_dom_attribute("data-high"), 16)


def span(page) -> int:
    low, high = view(page)
    return high - low


def panel(page) -> str:
    return page.find_element(By.ID, "panel").text


def press(page, *keys: str) -> None:
    ActionChains(page).send_keys(*keys).perform()


def place(page, name: str) -> None:
    [button] = [b for b in page.find_elements(By.CSS_SELECTOR, ".places button") if b.text.startswith(name)]
    button.click()


def focus(page):
    page.execute_script("document.getElementById('stage').focus()")
    return page.find_element(By.ID, "stage")


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


def test_tab_reaches_each_mapping_and_at_last_leaves(shown) -> None:
    layout = layouts.real()
    page = shown(layout)
    place(page, "whole space")
    focus(page)
    seen = []
    for _ in layout.bands:
        press(page, Keys.TAB)
        seen.append(
            page.execute_script("return [chosen.index, document.getElementById('panel').textContent]")
        )
        low, high = view(page)
        band = layout.bands[seen[-1][0]]
        assert low < band.end and band.start < high
        assert band.label in seen[-1][1] and f"{band.start:x} to {band.end:x}" in seen[-1][1]
    assert [index for index, _ in seen] == [*reversed(range(len(layout.bands)))]
    assert page.switch_to.active_element.get_attribute("id") == "stage"
    press(page, Keys.TAB)
    assert page.switch_to.active_element.get_attribute("id") == "panel"


def test_escape_goes_back_and_then_frees_tab(shown) -> None:
    page = shown(layouts.real())
    stage = focus(page)
    first = view(page)
    press(page, Keys.TAB, Keys.ENTER)
    zoomed = view(page)
    band = page.execute_script("return [chosen.start.toString(), chosen.end.toString()]")
    assert zoomed[0] <= int(band[0]) < int(band[1]) <= zoomed[1]
    press(page, Keys.ESCAPE)
    assert view(page) == first
    press(page, Keys.ESCAPE, Keys.TAB)
    assert page.switch_to.active_element != stage


def test_shift_tab_goes_the_other_way(shown) -> None:
    page = shown(layouts.few())
    focus(page)
    press(page, Keys.TAB, Keys.TAB)
    down = page.execute_script("return chosen.index")
    ActionChains(page).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()
    assert page.execute_script("return chosen.index") == down + 1


def test_keys_zoom_and_move(shown) -> None:
    page = shown(layouts.real())
    focus(page)
    press(page, Keys.HOME)
    assert view(page) == (0, 1 << 64)
    press(page, "+")
    assert span(page) == 1 << 63
    low = view(page)[0]
    press(page, Keys.ARROW_UP)
    assert view(page)[0] > low
    press(page, Keys.ARROW_DOWN)
    assert view(page)[0] == low
    press(page, "-")
    assert view(page) == (0, 1 << 64)
    press(page, *("+" * 60))
    assert span(page) == 16384


def test_buttons_zoom_and_move(shown) -> None:
    page = shown(layouts.real())
    before = span(page)
    page.find_element(By.ID, "zoom-in").click()
    assert span(page) == before // 2
    low = view(page)[0]
    page.find_element(By.ID, "up").click()
    assert view(page)[0] > low
    page.find_element(By.ID, "down").click()
    assert view(page)[0] == low
    page.find_element(By.ID, "zoom-out").click()
    assert span(page) == before


def test_places_are_jumped_to_and_back(shown) -> None:
    layout = layouts.real()
    page = shown(layout)
    before = view(page)
    stack = next(band for band in layout.bands if band.kind == "stack")
    place(page, "stack")
    low, high = view(page)
    assert low < stack.start and stack.end < high and high - low < 2 * (stack.end - stack.start)
    page.find_element(By.ID, "back").click()
    assert view(page) == before
    place(page, "kernel half")
    assert view(page) == (0xFFFF800000000000, 1 << 64)


def test_the_wheel_zooms_around_the_pointer(shown) -> None:
    page = shown(layouts.real())
    stage = page.find_element(By.ID, "stage")
    before = span(page)
    box = stage.rect
    x, y = int(box["x"] + 20), int(box["y"] + box["height"] * 0.3)
    address = page.execute_script(f"return addressAt({y} - stage.getBoundingClientRect().top - 1).toString()")
    page.execute_script(TURN, x, y)
    page.execute_script(TURN, x, y)
    assert span(page) < before / 2
    after = page.execute_script(f"return addressAt({y} - stage.getBoundingClientRect().top - 1).toString()")
    assert abs(int(after) - int(address)) < span(page) / 500
    closer = span(page)
    ActionChains(page).scroll_from_origin(ScrollOrigin.from_element(stage), 0, 200).perform()
    WebDriverWait(page, 10).until(lambda page: span(page) > closer)


def test_the_wheel_holds_to_a_mapping_that_is_drawn_larger_than_it_is(shown) -> None:
    """From the whole space to a page of 4 KiB with the wheel alone."""
    layout = layouts.few()
    page = shown(layout)
    stack = next(band for band in layout.bands if band.kind == "stack")
    place(page, "user half")
    view(page)
    at = page.execute_script(  # as near as a hand comes: 3 pixels below it
        "const box = stage.getBoundingClientRect();"
        "return [box.left + size.bar + 5, box.top + stage.clientTop + yOf(BigInt(arguments[0])) + 3]",
        str(stack.start),
    )
    for _ in range(60):
        page.execute_script(TURN, *at)
        view(page)
    low, high = view(page)
    assert high - low == 16384
    # The stack and the vdso lie in one pixel to begin with: either will do.
    user = [band for band in layout.bands if band.kind not in ("hole", "kernel")]
    assert any(band.start < high and low < band.end for band in user)


def test_dragging_moves(shown) -> None:
    page = shown(layouts.real())
    place(page, "libraries")
    low, high = view(page)
    stage = page.find_element(By.ID, "stage")
    ActionChains(page).move_to_element(stage).click_and_hold().move_by_offset(0, 100).release().perform()
    moved = view(page)
    assert moved[0] > low and moved[1] - moved[0] == high - low


@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_hovering_shows_the_facts(shown, width: str) -> None:
    layout = layouts.real()
    page = shown(layout, width)
    place(page, "stack")
    view(page)
    stack = next(band for band in layout.bands if band.kind == "stack")
    x, y = page.execute_script("return [size.bar + size.barWidth / 2, size.top + size.plot / 2]")
    stage = page.find_element(By.ID, "stage")
    offset = stage.rect["width"] / 2, stage.rect["height"] / 2
    ActionChains(page).move_to_element_with_offset(stage, int(x - offset[0]), int(y - offset[1])).perform()
    WebDriverWait(page, 10).until(lambda page: "[stack]" in panel(page))
    text = panel(page)
    assert f"{stack.start:x} to {stack.end:x}" in text
    for name, value in stack.facts:
        assert name in text and value in text
    live = page.find_element(By.ID, "panel")
    assert live.get_dom_attribute("aria-live") == "polite"


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


def test_clicks_choose_and_double_clicks_zoom(shown) -> None:
    layout = layouts.real()
    page = shown(layout)
    place(page, "program")
    view(page)
    text = next(b for b in layout.bands if b.kind == "text")
    labels = page.find_elements(By.CSS_SELECTOR, "#labels div")
    label = next(label for label in labels if label.get_attribute("textContent").startswith(text.label))
    before = span(page)
    ActionChains(page).move_to_element_with_offset(label, -100, 0).click().perform()
    assert span(page) == before
    assert page.execute_script("return chosen.start.toString()") == str(text.start)
    assert f"{text.start:x} to {text.end:x}" in panel(page)
    assert page.find_element(By.CSS_SELECTOR, "#bands tr.chosen").text.startswith(f"{text.start:x} ")
    label = page.find_element(By.CSS_SELECTOR, "#labels .chosen")
    ActionChains(page).move_to_element_with_offset(label, -100, 0).double_click().perform()
    low, high = view(page)
    assert low < text.start and text.end < high and high - low < 1.3 * (text.end - text.start)
    page.find_element(By.ID, "back").click()
    assert span(page) == before
