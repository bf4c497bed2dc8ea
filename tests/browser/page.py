"""What a reader does with the page of an address space, and what is seen then."""

from __future__ import annotations

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

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
