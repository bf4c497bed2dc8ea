"""The page of a timeline, in a real browser: all of it is there, is reached, and can be read."""

from __future__ import annotations

import pytest
import timelines
from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from kintro.renderers.html import timeline
from kintro.renderers.text import duration, printable
from kintro.shapes import Timeline

from .page import LOW_CONTRAST, TURN, focus, panel, press

pytestmark = pytest.mark.browser

CENTRE = """const bar = bars.find((bar) => bar.first === arguments[0]);
return [size.gutter + (bar.x0 + bar.x1) / 2, laneTop(bar.lane) + size.lane / 2]"""


@pytest.fixture
def opened(shown):
    """Opens a timeline and waits until its turns are unpacked and drawn."""

    def opened(shape: Timeline, *look: str):
        page = shown(shape, *look)
        WebDriverWait(page, 30).until(
            lambda page: page.find_element(By.ID, "stage").get_dom_attribute("data-high")
        )
        return page

    return opened


def view(page) -> tuple[float, float]:
    """The time that the drawing shows, once it is drawn."""
    page.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    stage = page.find_element(By.ID, "stage")
    return float(stage.get_dom_attribute("data-low")), float(stage.get_dom_attribute("data-high"))


def span(page) -> float:
    low, high = view(page)
    return high - low


def turn_facts(shape: Timeline, index: int) -> list[str]:
    """What the page must tell of a turn."""
    turns, runner = shape.turns, shape.runners[int(shape.turns.task[index])]
    begin_ns, end_ns, since_ns = (
        int(column[index]) for column in (turns.begin_ns, turns.end_ns, turns.since_ns)
    )
    wait = "not known" if since_ns < 0 else f"{begin_ns - since_ns:,} ns"
    return [
        printable(runner.name),
        str(runner.tid),
        str(runner.pid),
        shape.lanes[int(turns.lane[index])].name,
        f"{begin_ns // 10**9}.{begin_ns % 10**9:09} s",
        f"{end_ns - begin_ns:,} ns",
        shape.endings[int(turns.left[index])],
        wait,
    ]


def move_to(page, index: int) -> None:
    x, y = page.execute_script(CENTRE, index)
    stage = page.find_element(By.ID, "stage")
    middle = stage.rect["width"] / 2, stage.rect["height"] / 2
    ActionChains(page).move_to_element_with_offset(stage, int(x - middle[0]), int(y - middle[1])).perform()


def test_every_turn_is_there(opened) -> None:
    """In the drawing, and in the table of what is in view."""
    shape = timelines.few()
    page = opened(shape)
    found = page.execute_script(
        "return [columns.lane, columns.start, columns.end, columns.task, columns.waker].map((c) => [...c])"
    )
    turns = shape.turns
    wanted = [turns.lane, turns.begin_ns, turns.end_ns, turns.task, turns.waker]
    assert found == [column.tolist() for column in wanted]
    assert len(turns.lane) == 50
    drawn = page.execute_script("return bars.map((bar) => [bar.lane, bar.first, bar.last, bar.x1 - bar.x0])")
    assert [index for _, first, last, _ in drawn for index in range(first, last + 1)] == [*range(50)]
    page.find_element(By.CSS_SELECTOR, "#in-view summary").click()
    WebDriverWait(page, 10).until(lambda page: page.find_elements(By.CSS_SELECTOR, "#turns tbody tr"))
    rows = page.execute_script(
        "return [...byId('turns').tBodies[0].rows].map((row) => [...row.cells].map((c) => c.textContent))"
    )
    assert len(rows) == 50
    for index, (cpu, begin, length, comm, tid, pid, left, wait, _) in enumerate(rows):
        facts = turn_facts(shape, index)
        assert [comm, tid, pid, cpu, begin, length, left] == facts[:7]
        assert facts[7] in wait
    assert (
        page.find_elements(By.CSS_SELECTOR, "table :is(thead th:not([scope=col]), tbody th:not([scope=row]))")
        == []
    )


def test_each_turn_is_drawn_alone_once_zoomed_to(opened) -> None:
    shape = timelines.few()
    page = opened(shape)
    drawn = page.execute_script(
        """return [...columns.start].map((start, i) => {
          fit(start, columns.end[i]); draw();
          const bar = bars.find((bar) => bar.first <= i && i <= bar.last);
          return [bar.last - bar.first, bar.x1 - bar.x0];
        })"""
    )
    assert len(drawn) == 50 and all(several == 0 and width > 50 for several, width in drawn)


def test_bars_are_where_their_turns_are(opened) -> None:
    shape = timelines.few()
    page = opened(shape)
    scale, rects = page.execute_script(
        """draw(); return [size.plot / view.span, [...document.querySelectorAll("#plot rect.turn")].map((r) =>
        [r.x.baseVal.value, r.width.baseVal.value, r.y.baseVal.value])]"""
    )
    turns = shape.turns
    wanted = {
        (round(int(begin) * scale, 1), round(int(end - begin) * scale, 1), int(lane))
        for begin, end, lane in zip(turns.begin_ns, turns.end_ns, turns.lane)
    }
    tops = sorted({y for *_, y in rects})
    assert (
        len(rects) > 40 and {(round(x, 1), round(width, 1), tops.index(y)) for x, width, y in rects} <= wanted
    )


def test_wake_ups_are_arrows(opened) -> None:
    shape = timelines.few()
    page = opened(shape)
    view(page)
    arrows = page.find_elements(By.CSS_SELECTOR, "#plot .arrow")
    known = (shape.turns.waker != -1) & (shape.turns.waker_lane >= 0)
    assert 5 < len(arrows) == int(known.sum())
    assert f"{len(arrows)} wake-ups" in page.find_element(By.ID, "scale").text


@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_hovering_tells_of_a_turn(opened, width: str) -> None:
    shape = timelines.few()
    page = opened(shape, width)
    for index in (7, 30, 49):
        turns = shape.turns
        page.execute_script(
            "fit(arguments[0], arguments[1])", *(int(c[index]) for c in (turns.begin_ns, turns.end_ns))
        )
        view(page)
        move_to(page, index)
        WebDriverWait(page, 10).until(lambda page: turn_facts(shape, index)[4] in panel(page))  # noqa: B023
        text = panel(page)
        assert [fact for fact in turn_facts(shape, index) if fact not in text] == []
        # And they are seen, without scrolling.
        beyond = "const panel = byId('panel'); return panel.scrollHeight - panel.clientHeight"
        assert page.execute_script(beyond) == 0
    assert page.find_element(By.ID, "panel").get_dom_attribute("aria-live") == "polite"


def test_tab_reaches_each_turn_and_at_last_leaves(opened) -> None:
    shape = timelines.few()
    page = opened(shape)
    focus(page)
    for index in range(50):
        press(page, Keys.TAB)
        text = page.execute_script("return document.getElementById('panel').textContent")
        assert page.execute_script("return chosen") == index
        assert [fact for fact in turn_facts(shape, index) if fact not in text] == []
    assert page.switch_to.active_element.get_attribute("id") == "stage"
    press(page, Keys.TAB)
    assert page.switch_to.active_element.get_attribute("id") == "panel"


def test_keys_zoom_and_move(opened) -> None:
    shape = timelines.few()
    page = opened(shape)
    stage = focus(page)
    whole = view(page)
    assert whole == (0, shape.duration_ns)
    press(page, "+")
    assert span(page) == shape.duration_ns / 2
    low = view(page)[0]
    press(page, Keys.ARROW_RIGHT)
    assert view(page)[0] > low
    press(page, Keys.ARROW_LEFT)
    assert view(page)[0] == pytest.approx(low)
    press(page, Keys.HOME)
    assert view(page) == whole
    press(page, Keys.TAB, Keys.TAB, Keys.TAB, Keys.ENTER)
    begin_ns, end_ns = (int(column[2]) for column in (shape.turns.begin_ns, shape.turns.end_ns))
    low, high = view(page)
    assert low <= begin_ns and end_ns <= high and high - low <= max(500, 1.3 * (end_ns - begin_ns))
    press(page, Keys.ARROW_DOWN)
    other = page.execute_script("return chosen")
    assert shape.turns.lane[other] == 1
    press(page, Keys.ARROW_UP)
    assert page.execute_script("return columns.lane[chosen]") == 0
    for _ in range(6):
        press(page, Keys.ESCAPE)
    assert page.execute_script("return chosen") is None
    press(page, Keys.TAB)
    assert page.switch_to.active_element != stage


def test_wheel_drag_buttons_and_clicks(opened) -> None:
    shape = timelines.few()
    page = opened(shape)
    stage = page.find_element(By.ID, "stage")
    x, y = int(stage.rect["x"] + 400), int(stage.rect["y"] - page.execute_script("return scrollY") + 60)
    at = f"return momentAt({x} - stage.getBoundingClientRect().left - stage.clientLeft - size.gutter)"
    before, moment = span(page), page.execute_script(at)
    page.execute_script(TURN, x, y)
    page.execute_script(TURN, x, y)
    assert span(page) < before / 2
    assert page.execute_script(at) == pytest.approx(moment, abs=span(page) / 500)
    low, high = view(page)
    ActionChains(page).move_to_element(stage).click_and_hold().move_by_offset(-100, 0).release().perform()
    moved = view(page)
    assert moved[0] > low and moved[1] - moved[0] == pytest.approx(high - low)
    for button in ("earlier", "later", "zoom-out", "zoom-in", "whole"):
        shown_before = view(page)
        page.find_element(By.ID, button).click()
        assert view(page) != shown_before
    page.find_element(By.ID, "back").click()
    page.execute_script("showAll()")
    view(page)
    move_to(page, 30)
    ActionChains(page).click().perform()
    chosen = page.execute_script("return chosen")
    assert turn_facts(shape, chosen)[4] in panel(page)
    closer = span(page)
    ActionChains(page).double_click().perform()
    assert span(page) < closer


def test_a_task_is_highlighted(opened) -> None:
    page = opened(timelines.few())
    [button] = [
        b for b in page.find_elements(By.CSS_SELECTOR, "#legend button") if b.text.startswith("task-3")
    ]
    assert button.get_dom_attribute("aria-pressed") == "false"
    button.click()
    view(page)
    assert button.get_dom_attribute("aria-pressed") == "true"
    lit, others = page.execute_script(
        """const turns = [...document.querySelectorAll("#plot rect.turn")];
        return [true, false].map((own) => turns.filter((t) =>
          (t.getAttribute("fill") === `url(#fill-${lit})`) === own).map((t) => t.matches(".faded")))"""
    )
    assert lit and others and not any(lit) and all(others)
    button.click()
    view(page)
    assert page.find_elements(By.CSS_SELECTOR, "#plot .faded") == []


def test_tables_of_tasks_and_cpus(opened) -> None:
    shape = timelines.few()
    page = opened(shape)
    rows = page.execute_script(
        """return ["tasks", "lanes"].map((id) => [...byId(id).tBodies[0].rows].map((row) =>
        [...row.cells].map((cell) => cell.textContent)))"""
    )
    assert rows[0] == [
        [printable(r.name), str(r.tid), str(r.pid), str(r.turns), duration(r.busy_ns), duration(r.waited_ns)]
        for r in shape.runners
    ]
    assert [row[:3] for row in rows[1]] == [[lane.name, "25", duration(lane.busy_ns)] for lane in shape.lanes]


@pytest.mark.parametrize("make", ["empty", "few", "hostile", "wide", "too_many"])
@pytest.mark.parametrize("width", ["wide", "narrow"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read(opened, make: str, width: str, scheme: str) -> None:
    page = opened(getattr(timelines, make)(), width, scheme)
    page.find_element(By.CSS_SELECTOR, "#in-view summary").click()
    focus(page)
    press(page, Keys.TAB)
    view(page)
    wide, room = page.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= room
    background = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    assert page.execute_script(LOW_CONTRAST) == []


def test_it_can_be_printed(opened) -> None:
    page = opened(timelines.few(), "wide", "dark")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert (
        page.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    )
    assert not page.find_element(By.ID, "zoom-in").is_displayed()
    assert page.find_element(By.ID, "drawing").is_displayed()
    assert page.find_element(By.ID, "legend").is_displayed()
    assert len(page.execute_cdp_cmd("Page.printToPDF", {})["data"]) > 10_000


def test_names_of_strangers_are_text(opened) -> None:
    shape = timelines.hostile()
    page = opened(shape)
    assert page.execute_script("return document.querySelectorAll('img, body svg[onload]').length") == 0
    assert len(page.find_elements(By.TAG_NAME, "script")) == 2
    shown_names = page.execute_script("return tasks.map((task) => task.comm)")
    assert shown_names == [printable(runner.name) for runner in shape.runners]
    page.find_element(By.CSS_SELECTOR, "#in-view summary").click()
    focus(page)
    for index in range(20):
        press(page, Keys.TAB)
        assert turn_facts(shape, index)[0] in page.execute_script("return panel.textContent")
    assert "\u202e" not in page.page_source and "\u2066" not in page.page_source
    with pytest.raises(NoAlertPresentException):
        page.switch_to.alert.accept()


def test_nothing_is_loaded_and_nothing_could_be(opened) -> None:
    page = opened(timelines.few())
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
    policy = page.find_element(By.CSS_SELECTOR, "meta[http-equiv]").get_dom_attribute("content")
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy


@pytest.mark.parametrize("make", ["many", "wide"])
def test_what_is_drawn_is_a_matter_of_pixels(opened, make: str) -> None:
    shape = getattr(timelines, make)()
    assert len(timeline(shape)) < 4_000_000
    page = opened(shape)
    elements, drawn, turns = page.execute_script(
        """draw(); return [document.querySelectorAll("#drawing *").length,
        bars.reduce((sum, bar) => sum + bar.last - bar.first + 1, 0), TURNS]"""
    )
    assert elements < 10_000 and drawn == turns == len(shape.turns.lane) > 100_000
    focus(page)
    press(page, *("+" * 30))
    assert span(page) == 500
    assert "Each turn has its bar" in page.find_element(By.ID, "scale").text


def test_what_was_put_together_says_so(opened) -> None:
    shape = timelines.too_many()
    page = opened(shape)
    assert "40,000 turns are too many for one page" in page.find_element(By.ID, "note").text
    at = int(shape.turns.turns.argmax())
    page.execute_script("show(arguments[0])", at)
    text = panel(page)
    assert (
        f"{int(shape.turns.turns[at])} turns close together" in text and "Put together in this file" in text
    )
    assert page.execute_script("return columns.count.reduce((a, b) => a + b)") == 40_000
