"""A headless chromium, and pages opened in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from kintro.renderers.html import address_space, timeline
from kintro.shapes import Layout, Timeline

SIZES = {"wide": (1600, 1000), "narrow": (400, 850)}


@pytest.fixture(scope="session")
def driver():
    """A chromium driven by selenium; its console is kept."""
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("chromium and chromedriver are not both installed")
    options = Options()
    options.binary_location = chromium
    for flag in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(flag)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # as root chromium starts only without it
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(chromedriver))
    yield started
    started.quit()


@pytest.fixture
def open_page(driver, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens a page as a file, in a size and a colour scheme; nothing may complain meanwhile."""
    driver.get_log("browser")

    def opened(page: str, size: tuple[int, int], scheme: str = "light", media: str = "") -> Any:
        path = tmp_path / "page.html"
        path.write_text(page, encoding="utf-8")
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        driver.get(path.as_uri())
        return driver

    yield opened
    assert [entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


@pytest.fixture
def shown(open_page) -> Callable[..., object]:
    """Opens the page of a shape."""

    def show(shape: Layout | Timeline, size: str = "wide", scheme: str = "light") -> object:
        made = address_space(shape) if isinstance(shape, Layout) else timeline(shape)
        return open_page(made, SIZES[size], scheme)

    return show
