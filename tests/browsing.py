"""A real browser for the tests of pages: what a person sees, points at and types."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from machine import tool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from selenium.webdriver.remote.webelement import WebElement

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--disable-dev-shm-usage --window-size=1200,1000"
)


def start_browser(profile: Path) -> webdriver.Chrome:
    """Start a Chromium with a profile of its own; certificates that nobody signed are taken."""
    chromium, driver = tool("chromium"), tool("chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in FLAGS.split():
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={profile}")
    options.accept_insecure_certs = True
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(driver))


def emulate(
    browser: webdriver.Chrome, *, dark: bool = False, width: int = 1200, motion: bool = False
) -> None:
    """Make the window so wide, and the reader prefer light or dark, calm or motion."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    calm = {"name": "prefers-reduced-motion", "value": "no-preference" if motion else "reduce"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme, calm]})
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def forget_logs(browser: webdriver.Chrome) -> None:
    """Leave the page, and forget what was logged and loaded until now."""
    browser.get("about:blank")
    browser.get_log("performance")
    browser.get_log("browser")


def loaded_urls(browser: webdriver.Chrome) -> list[str]:
    """Return the addresses of all requests since this was last asked."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


class Screen:
    """A page as the tests look at it."""

    def __init__(self, browser: webdriver.Chrome) -> None:
        self.browser = browser

    def find(self, css: str) -> WebElement:
        """Return the first element that fits."""
        return self.browser.find_element(By.CSS_SELECTOR, css)

    def all(self, css: str) -> list[WebElement]:
        """Return all elements that fit."""
        return self.browser.find_elements(By.CSS_SELECTOR, css)

    def text(self, css: str) -> str:
        """Return the text that can be seen in an element."""
        return self.find(css).text

    def style(self, css: str, name: str) -> str:
        """Return a computed style."""
        return self.find(css).value_of_css_property(name)

    def run(self, script: str, *arguments: object) -> object:
        """Return what a program in the page returns."""
        return self.browser.execute_script(script, *arguments)

    def wait(self, condition: Callable[[], bool], seconds: float = 5) -> None:
        """Wait until something holds."""
        WebDriverWait(self.browser, seconds, 0.02).until(lambda _: condition())
