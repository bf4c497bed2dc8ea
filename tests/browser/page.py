"""What a reader does with a page that has a drawing, and what is seen then."""

from __future__ import annotations

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

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
