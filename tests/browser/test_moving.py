"""The page of an address space, in a real browser: keys, wheel, pointer and buttons reach all of it."""

from __future__ import annotations

import layouts
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from .page import TURN, focus, panel, place, press, span, view

pytestmark = pytest.mark.browser


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
