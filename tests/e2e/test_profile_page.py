"""A profile's page in a real browser: plots, choices, pointer, sorting, both themes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from browsing import Screen, emulate, forget_logs, loaded_urls, start_browser
from inferonnx.report import profile_page
from machine import module_needs
from profile_samples import profile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium import webdriver

module_needs("chromium", "chromedriver")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    chrome = start_browser(tmp_path_factory.mktemp("profile"))
    yield chrome
    chrome.quit()


@pytest.fixture
def open_page(browser, tmp_path):
    """Open a profile; afterwards nothing was logged and nothing loaded."""

    def show(data=None, *, dark=False, width=1200):
        emulate(browser, dark=dark, width=width)
        file = tmp_path / "profile.html"
        file.write_text(profile_page(data or profile()), "utf-8")
        browser.get(file.as_uri())
        return Screen(browser)

    forget_logs(browser)
    yield show
    assert browser.get_log("browser") == []
    urls = [url for url in loaded_urls(browser) if not url.startswith("data:")]
    assert {url.split("/")[-1] for url in urls} <= {"profile.html"}


def shape(page, plot, kind):
    """Return the outline of a layer."""
    return page.find(f"#{plot} .layer.{kind}").get_attribute("d")


def test_layers_change_with_what_is_chosen(open_page):
    page = open_page()
    entire = shape(page, "memory", "resident")
    page.run("document.querySelector('input[name=memory][value=own]').click()")
    assert shape(page, "memory", "resident") != entire
    linear = shape(page, "time", "outside")
    page.run("document.querySelector('input[name=time][value=log]').click()")
    assert shape(page, "time", "outside") != linear
    assert page.all("#time .layer.inside")


def test_without_a_limit_there_is_no_layer_of_inside(open_page):
    page = open_page(profile(inside=False))
    assert not page.all("#time .layer.inside")
    assert not page.all("#inside-key")


def test_the_distribution_tells_how_many_fit(open_page):
    page = open_page()
    assert "EPC 85 MiB: 90.0 % fit" in page.run("return document.getElementById('cdf').textContent")


def test_pointing_at_an_operator_tells_what_it_is(open_page):
    page = open_page(profile(4))
    plot = page.find("#memory")
    page.run("document.getElementById('memory').scrollIntoView({block: 'center'})")
    # The plot begins 62 pixels from the left; a quarter of the rest is one operator.
    x = 62 + (plot.size["width"] - 68) * 0.6 - plot.size["width"] / 2
    ActionChains(page.browser, duration=20).move_to_element_with_offset(plot, round(x), 0).perform()
    tip = page.text("#memory .tip")
    assert "/layer2/op" in tip
    assert "MaxPool" in tip
    assert "5.0 MiB" in tip


def test_a_click_on_a_head_sorts_by_value_and_another_turns_it_round(open_page):
    page = open_page(profile(12))
    head = page.all(".operators th button")[7]
    page.run("arguments[0].click()", head)
    first = ".operators tbody tr:first-child th"
    assert page.find(first).text == "11 MaxPool"  # ten faults more with each operator
    page.run("arguments[0].click()", head)
    assert page.find(first).text == "0 Conv"
    assert page.find(".operators th[aria-sort]").get_attribute("aria-sort") == "ascending"
    assert len(page.browser.find_elements(By.CSS_SELECTOR, ".operators tbody tr")) == 12


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_layers_can_be_told_apart_in_both_themes(open_page, dark):
    page = open_page(dark=dark)
    fills = [page.style(f"#time .layer.{kind}", "fill") for kind in ("inside", "outside")]
    ground = page.style(".card", "background-color")
    assert len({*fills, ground}) == 3
    page.find("#theme").click()
    assert page.style(".card", "background-color") != ground


@pytest.mark.parametrize(("width", "n"), [(360, 700), (1200, 1)])
def test_nothing_is_wider_than_the_window(open_page, width, n):
    page = open_page(profile(n), width=width)
    assert page.run("return document.documentElement.scrollWidth") <= width
