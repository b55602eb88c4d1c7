"""The report of the paper's results in a real browser: bars, scale, pointer, both themes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from selenium.webdriver.common.action_chains import ActionChains

from browsing import Screen, emulate, forget_logs, loaded_urls, start_browser
from inferonnx.report.paper_page import paper_page
from inferonnx.report.results import checked_peers, checked_results
from machine import module_needs
from paper_samples import paper_peers, paper_results

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
    """Open a report; afterwards nothing was logged and nothing loaded."""

    def show(data=None, *, dark=False, width=1200):
        emulate(browser, dark=dark, width=width)
        results = checked_results(data or paper_results())
        file = tmp_path / "report.html"
        file.write_text(paper_page(results, checked_peers(paper_peers())), "utf-8")
        browser.get(file.as_uri())
        return Screen(browser)

    forget_logs(browser)
    yield show
    assert browser.get_log("browser") == []
    urls = [url for url in loaded_urls(browser) if not url.startswith("data:")]
    assert {url.split("/")[-1] for url in urls} <= {"report.html"}


def heights(page, panel):
    """Return the heights of a panel's bars by kind, in the order of the models."""
    script = """
    return [...document.querySelectorAll('#' + arguments[0] + ' .face')].map(
      (bar) => [bar.getAttribute('class').split(' bar-')[1], bar.getBBox().height]);
    """
    found = {}
    for kind, height in page.run(script, panel):
        found.setdefault(kind, []).append(height)
    return found


def test_bars_are_as_high_as_their_values(open_page):
    page = open_page()
    bars = heights(page, "figure4_small_models")
    assert {kind: len(found) for kind, found in bars.items()} == {
        "entire-disk-tee": 4,
        "entire-memory-tee": 4,
        "entire-disk-plain": 4,
        "entire-disk-plain-tls": 4,
        "stream-tee": 4,
    }
    # Multiples 6, 4 and 1.5 of the third model's 60 ms.
    assert bars["entire-memory-tee"][2] / bars["entire-disk-tee"][2] == pytest.approx(
        4 / 6, rel=0.02
    )
    assert bars["stream-tee"][2] / bars["entire-disk-tee"][2] == pytest.approx(1.5 / 6, rel=0.02)


def test_the_scale_of_a_figure_changes_and_the_other_stays(open_page):
    page = open_page()
    before = heights(page, "figure4_large_models")
    other = heights(page, "figure5_large_models")
    page.run("document.querySelector('input[name=scale4][value=log]').click()")
    after = heights(page, "figure4_large_models")
    assert after["stream-tee"][0] > 2 * before["stream-tee"][0]
    assert heights(page, "figure5_large_models") == other


def test_pointing_at_a_bar_tells_its_runs(open_page):
    page = open_page()
    bar = page.find("#figure4_small_models .bar-entire-disk-tee")
    ActionChains(page.browser, duration=20).move_to_element(bar).perform()
    tip = page.text("#figure4_small_models .tip")
    assert "SqueezeNet 1.0" in tip
    assert "60.0 · 57.0 · 66.0" in tip
    assert "EPC limit enforced by cgroup, 85 MiB" in tip
    ActionChains(page.browser, duration=20).move_to_element(page.find("h1")).perform()
    assert not page.find("#figure4_small_models .tip").is_displayed()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_bars_can_be_told_from_their_ground_in_both_themes(open_page, dark):
    page = open_page(dark=dark)
    ground = page.style(".card.figure", "background-color")
    fills = [
        page.style(f"#figure4_small_models .bar-{kind}", "fill")
        for kind in heights(page, "figure4_small_models")
    ]
    assert len(set(fills)) == 5
    assert ground not in fills
    page.find("#theme").click()
    assert page.style(".card.figure", "background-color") != ground


@pytest.mark.parametrize("width", [360, 800, 1200])
def test_nothing_is_wider_than_the_window(open_page, width):
    page = open_page(width=width)
    assert page.run("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [360, 1200])
def test_no_value_covers_another(open_page, width):
    page = open_page(width=width)
    script = """
    const boxes = [...document.querySelectorAll('#' + arguments[0] + ' .value')].map(
      (text) => text.getBoundingClientRect());
    const over = (a, b) => a.left + 1 < b.right && b.left + 1 < a.right
      && a.top + 1 < b.bottom && b.top + 1 < a.bottom;
    return boxes.filter((a, i) => boxes.some((b, k) => k > i && over(a, b))).length;
    """
    for panel in ("figure4_small_models", "figure4_large_models", "figure5_large_models"):
        assert page.run(script, panel) == 0, panel


def test_what_was_not_measured_has_no_bar(open_page):
    data = paper_results()
    data["rows"] = [row for row in data["rows"] if row["configuration"] != "stream-tee"]
    page = open_page(data)
    assert "stream-tee" not in heights(page, "figure4_small_models")
    assert (
        page.run("return document.querySelector('#figure4_small_models').textContent").count(
            "not measured"
        )
        == 4
    )
