"""The plan's page in a real browser: what a person sees, points at, types and drags."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import browsing
from browsing import emulate, forget_logs, loaded_urls, start_browser
from inferonnx.report import PLAN_SCHEMA, plan_page
from machine import module_needs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from selenium import webdriver

module_needs("chromium", "chromedriver")

MIB = 2**20
EVIL = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=2'>\"&"


def sample(n: int, **changes: object) -> dict:
    """Return a plan of n partitions; partition i (from 0) has (i * 7) % 10 MiB of weights."""
    partitions = []
    for i in range(n):
        weight = (i * 7) % 10 * MIB
        operators = [
            {"name": f"/layer{i}/conv", "op_type": "Conv", "weight_bytes": weight, "time_s": 1e-3},
            {"name": f"/layer{i}/relu", "op_type": "Relu", "weight_bytes": 0, "time_s": 1e-4},
        ]
        partitions.append(
            {
                "start": 2 * i,
                "stop": 2 * i + 2,
                "weight_bytes": weight,
                "activation_bytes": (1 + i % 5) * MIB,
                "time_s": 1e-3 * (1 + i % 3),
                "stream_s": 5e-4,
                "resident": i % 10 == 1,
                "operators": operators,
            }
        )
    base = {
        "schema": PLAN_SCHEMA,
        "model": "sample",
        "strategy": "optimal",
        "suite": "aes-256-gcm",
        "budget_bytes": 64 * MIB,
        "peak_bytes": 60 * MIB,
        "floor_bytes": 30 * MIB,
        "session_bytes": 2 * MIB,
        "buffer_bytes": 9 * MIB,
        "resident_bytes": 14 * MIB,
        "streamed_bytes": 100 * MIB,
        "least_bytes": 40 * MIB,
        "latency_s": 0.08,
        "notes": ["A note."],
        "partitions": partitions,
    }
    return base | changes


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A Chromium with a profile of its own, shared by this file's tests."""
    chrome = start_browser(tmp_path_factory.mktemp("profile"))
    yield chrome
    chrome.quit()


@pytest.fixture
def open_page(browser: webdriver.Chrome, tmp_path: Path) -> Iterator[Callable[..., Screen]]:
    """Open a plan; afterwards, whatever the test did, nothing was logged and nothing loaded."""

    def show(plan: dict, *, dark: bool = False, width: int = 1200, motion: bool = False) -> Screen:
        emulate(browser, dark=dark, width=width, motion=motion)
        file = tmp_path / "plan.html"
        file.write_text(plan_page(plan), "utf-8")
        browser.get(file.as_uri())
        return Screen(browser)

    forget_logs(browser)
    yield show
    assert browser.get_log("browser") == []
    urls = loaded_urls(browser)
    assert {url.split("/")[-1] for url in urls if not url.startswith("data:")} <= {"plan.html"}
    assert all(url.startswith(("file:", "data:")) for url in urls)


class Screen(browsing.Screen):
    """The plan's page as the tests look at it."""

    def numbers(self) -> list[int]:
        """Return the partitions' numbers in the table, from top to bottom."""
        found = self.browser.find_elements(By.CSS_SELECTOR, "#partitions .open")
        return [int(button.text) for button in found]

    def point(self, part: float) -> ActionChains:
        """Return actions that have moved the pointer to a part of the timeline's width."""
        host = self.find("#timeline")
        self.run("document.getElementById('timeline').scrollIntoView({block: 'center'})")
        inner = host.size["width"] - 62 - 12
        x = round(62 + part * inner - host.size["width"] / 2)
        return ActionChains(self.browser, duration=20).move_to_element_with_offset(host, x, 0)


def test_the_page_shows_figures_and_all_layers(open_page: Callable[..., Screen]) -> None:
    page = open_page(sample(20))
    assert page.text(".peak") == "60.0 MiB of 64.0 MiB, 4.0 MiB to spare"
    assert page.text("#range") == "All 20 partitions"
    assert page.numbers() == list(range(1, 21))
    for layer in ("floor", "sessions", "resident", "flight", "spare", "activations"):
        box = page.run(f"return document.querySelector('#plot .{layer}').getBBox().height")
        assert box > 5, layer
    assert "budget 64.0 MiB" in page.text("#plot .limit-text")
    # The stack's heights are the bytes: from the ground to the budget is the axis up to 64 MiB.
    floor = page.run("return document.querySelector('#plot .floor').getBBox().height")
    limit = page.run(
        "const y = (css) => +document.querySelector(css).getAttribute('y1');"
        "return y('#plot .axis') - y('#plot .limit')"
    )
    assert floor / limit == pytest.approx(30 / 64, rel=0.01)


def test_the_legend_names_the_colours_that_are_there(open_page: Callable[..., Screen]) -> None:
    assert "\nBuffer, unused\n" in open_page(sample(20)).text("#legend")
    full = sample(3)
    for part in full["partitions"]:
        part.update(weight_bytes=full["buffer_bytes"], resident=False)
    page = open_page(full)
    assert "unused" not in page.text("#legend")
    assert not page.run("return document.querySelector('#plot .spare').getBBox().height")


def test_peak_and_budget_are_no_two_lines_on_one_another(open_page: Callable[..., Screen]) -> None:
    for peak, n_lines in ((60 * MIB, 1), (64 * MIB - 1000, 0)):
        page = open_page(sample(20, peak_bytes=peak))
        assert len(page.browser.find_elements(By.CSS_SELECTOR, "#plot .peak-line")) == n_lines
        assert f"peak {peak / MIB:.1f} MiB" in page.text("#plot .peak-text")


def test_the_words_in_the_filter_fit(open_page: Callable[..., Screen]) -> None:
    page = open_page(sample(2))
    spare = page.run(
        "const field = document.getElementById('filter'), style = getComputedStyle(field);"
        "const pen = document.createElement('canvas').getContext('2d');"
        "pen.font = `${style.fontSize} ${style.fontFamily}`;"
        "return field.clientWidth - parseFloat(style.paddingLeft) * 2"
        " - pen.measureText(field.placeholder).width"
    )
    assert spare > 30  # beside them is the button that clears the field


def test_hovering_shows_a_partitions_details(open_page: Callable[..., Screen]) -> None:
    page = open_page(sample(20))
    assert not page.find("#tip").is_displayed()
    page.point(4.5 / 20).perform()
    tip = page.text("#tip")
    # Partition 5 (4 from zero): 28 % 10 = 8 MiB of weights, 5 MiB of activations.
    for words in ("Partition 5", "2 operators", "Conv, Relu", "Live activations 5.0 MiB"):
        assert words in tip.replace("\n", " ")
    assert "Weights in flight 8.0 MiB" in tip.replace("\n", " ")
    assert "Together 60.0 MiB" in tip.replace("\n", " ")
    assert "Below the budget 4.0 MiB" in tip.replace("\n", " ")
    assert "8.0 MiB, streamed" in tip
    page.point(1.5 / 20).perform()
    assert "7.0 MiB, resident" in page.text("#tip")
    ActionChains(page.browser).move_to_element(page.find("h1")).perform()
    assert not page.find("#tip").is_displayed()


def test_the_details_stay_on_the_page_at_both_ends(open_page: Callable[..., Screen]) -> None:
    page = open_page(sample(20), width=760)
    for part in (0.01, 0.5, 0.99):
        page.point(part).perform()
        box = page.run("return document.getElementById('tip').getBoundingClientRect().toJSON()")
        assert box["left"] >= 0
        assert box["right"] <= 760


def test_the_wheel_zooms_around_the_pointer(open_page: Callable[..., Screen]) -> None:
    page = open_page(sample(100))
    page.point(0.255).perform()
    origin = ScrollOrigin.from_element(page.find("#timeline"), round(-0.245 * 1050), 0)
    ActionChains(page.browser).scroll_from_origin(origin, 0, -240).perform()
    page.wait(lambda: page.text("#range") != "All 100 partitions")
    first, last = map(int, page.text("#range").split()[1:4:2])
    assert first < 26 < last
    assert last - first < 50
    ActionChains(page.browser).scroll_from_origin(origin, 0, 900).perform()
    page.wait(lambda: page.text("#range") == "All 100 partitions")


def test_the_wheel_scrolls_the_page_when_nothing_is_zoomed(
    open_page: Callable[..., Screen],
) -> None:
    page = open_page(sample(100))
    page.point(0.5).perform()
    before = page.run("return scrollY")
    origin = ScrollOrigin.from_element(page.find("#timeline"))
    ActionChains(page.browser).scroll_from_origin(origin, 0, 200).perform()
    page.wait(lambda: page.run("return scrollY") > before)
    assert page.text("#range") == "All 100 partitions"


def test_dragging_zooms_to_what_was_marked_and_reset_goes_back(
    open_page: Callable[..., Screen],
) -> None:
    page = open_page(sample(100))
    page.point(0.302).click_and_hold().perform()
    page.point(0.398).perform()
    assert page.find("#plot .brush").is_displayed()
    ActionChains(page.browser).release().perform()
    assert page.text("#range") == "Partitions 31 to 40 of 100"
    assert page.find("#overview .window").size["width"] < 130
    page.find("#zoom-reset").click()
    assert page.text("#range") == "All 100 partitions"
    assert not page.find("#zoom-reset").is_enabled()


def test_where_motion_is_welcome_the_view_glides_and_arrives(
    open_page: Callable[..., Screen],
) -> None:
    page = open_page(sample(100), motion=True)
    page.find("#zoom-in").click()
    page.wait(lambda: page.text("#range") == "Partitions 26 to 75 of 100")
    page.find("#zoom-reset").click()
    page.wait(lambda: page.text("#range") == "All 100 partitions")


def test_buttons_zoom_down_to_one_partition(open_page: Callable[..., Screen]) -> None:
    page = open_page(sample(100))
    page.find("#zoom-in").click()
    assert page.text("#range") == "Partitions 26 to 75 of 100"
    while page.find("#zoom-in").is_enabled():
        page.find("#zoom-in").click()
    first, last = map(int, page.text("#range").split()[1:4:2])
    assert last - first <= 2
    page.find("#zoom-out").click()
    assert page.find("#zoom-in").is_enabled()


def test_the_overview_moves_the_view(open_page: Callable[..., Screen]) -> None:
    page = open_page(sample(100))
    page.find("#zoom-in").click()
    page.run("document.getElementById('overview').scrollIntoView({block: 'center'})")
    overview = page.find("#overview")
    far = overview.size["width"] // 2 - 30
    ActionChains(page.browser).move_to_element_with_offset(overview, far, 0).click().perform()
    assert page.text("#range") == "Partitions 51 to 100 of 100"


def test_the_keyboard_does_all_of_it(open_page: Callable[..., Screen]) -> None:
    page = open_page(sample(100))
    host = page.find("#timeline")
    assert host.get_attribute("role") == "slider"
    host.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert host.get_attribute("aria-valuenow") == "3"
    assert "streamed weights 4.0 MiB" in host.get_attribute("aria-valuetext")
    assert "Partition 3" in page.text("#tip")
    host.send_keys(Keys.END)
    assert "Partition 100" in page.text("#tip")
    host.send_keys("+")
    first, last = map(int, page.text("#range").split()[1:4:2])
    assert (last, last - first) == (100, 50)  # the cursor's partition stays where it was
    host.send_keys(Keys.HOME)
    assert "Partition 1\n" in page.text("#tip")
    assert page.text("#range") == "Partitions 1 to 50 of 100"
    host.send_keys("-")
    assert page.text("#range") == "All 100 partitions"
    host.send_keys("++", "0")
    assert page.text("#range") == "All 100 partitions"
    host.send_keys(Keys.PAGE_DOWN, Keys.ENTER)
    assert page.find("#partition-11 .open").get_attribute("aria-expanded") == "true"
    assert page.browser.switch_to.active_element.text == "11"


def test_widths_by_time_are_the_times(open_page: Callable[..., Screen]) -> None:
    page = open_page(sample(3))
    seams = "return document.querySelector('#plot .seam').getAttribute('d')"
    equal = page.run(seams)
    page.find("input[value=time]").click()
    assert page.run(seams) != equal
    # 1.5, 2.5 and 3.5 ms: the second begins at a fifth of the axis.
    xs = [float(part.split()[0]) for part in str(page.run(seams)).split("M")[1:]]
    inner = page.find("#plot").size["width"] - 62 - 12
    assert [round((x - 62) / inner, 3) for x in xs] == [0.2, 0.533]
    assert "ms" in page.text("#plot")
    page.find("#zoom-in").click()
    before = page.text("#range")
    page.find("input[value=equal]").click()
    assert page.text("#range") == before


def test_a_click_opens_the_partition_in_the_table(open_page: Callable[..., Screen]) -> None:
    page = open_page(sample(20))
    page.find("#filter").send_keys("layer3")
    page.point(12.5 / 20).click().perform()
    row = page.find("#partition-13")
    assert "marked" in row.get_attribute("class")
    assert "/layer12/conv" in page.text("tr.detail")
    assert page.find("#filter").get_attribute("value") == ""


def test_columns_sort_both_ways(open_page: Callable[..., Screen]) -> None:
    page = open_page(sample(10))
    heads = {
        head.text.split("\n")[0]: head
        for head in page.browser.find_elements(By.CSS_SELECTOR, "#partitions > thead th")
    }
    weights = {i + 1: (i * 7) % 10 for i in range(10)}
    heads["Weights"].find_element(By.TAG_NAME, "button").click()
    assert page.numbers() == sorted(weights, key=lambda n: -weights[n])
    assert heads["Weights"].get_attribute("aria-sort") == "descending"
    heads["Weights"].find_element(By.TAG_NAME, "button").click()
    assert page.numbers() == sorted(weights, key=lambda n: weights[n])
    heads["Where"].find_element(By.TAG_NAME, "button").click()
    assert page.numbers()[0] == 2  # the resident one
    heads["Partition"].find_element(By.TAG_NAME, "button").click()
    assert page.numbers() == list(range(1, 11))
    assert heads["Weights"].get_attribute("aria-sort") is None


def test_filters_work_together(open_page: Callable[..., Screen]) -> None:
    page = open_page(sample(20))
    box = page.find("#filter")
    box.send_keys("LAYER1 relu")
    assert page.numbers() == [2, *range(11, 21)]
    assert page.text("#count") == "11 of 20 partitions"
    page.find("#kind option[value=resident]").click()
    assert page.numbers() == [2, 12]
    page.find("#kind option[value=none]").click()
    assert page.numbers() == [11]
    page.find("#kind option[value='']").click()
    box.clear()
    box.send_keys("7")
    assert 7 in page.numbers()
    box.clear()
    box.send_keys("nothing has this name")
    assert page.numbers() == []
    assert "No partition fits" in page.text("#partitions")


def test_rows_open_to_their_operators(open_page: Callable[..., Screen]) -> None:
    page = open_page(sample(5))
    page.find("#partition-4 .open").click()
    inner = page.text("tr.detail")
    assert "/layer3/conv" in inner
    assert "1.00 ms" in inner
    assert page.find("tr.detail .inner tbody tr td").text == "6"
    page.find("#partition-4 .open").click()
    assert not page.browser.find_elements(By.CSS_SELECTOR, "tr.detail")
    page.find("#expand").click()
    assert len(page.browser.find_elements(By.CSS_SELECTOR, "tr.detail")) == 5
    assert page.text("#expand") == "Collapse all"
    page.find("#expand").click()
    assert not page.browser.find_elements(By.CSS_SELECTOR, "tr.detail")


def test_strings_of_a_model_do_nothing(open_page: Callable[..., Screen]) -> None:
    plan = sample(3, model=EVIL, strategy=EVIL, suite=EVIL, notes=[EVIL])
    plan["partitions"][0]["operators"][0] |= {"name": EVIL, "op_type": EVIL}
    page = open_page(plan)
    assert page.text("h1") == EVIL
    page.find("#expand").click()
    assert EVIL in page.text("tr.detail")
    assert EVIL in page.text("#partition-1")
    page.point(0.1).perform()
    assert EVIL in page.text("#tip")
    assert page.run("return window.hacked") is None
    assert page.run("return document.querySelectorAll('img').length") == 0


def test_the_policy_holds_what_escaping_would_let_through(
    browser: webdriver.Chrome, tmp_path: Path
) -> None:
    """Markup put into the finished page by hand does not run: the second wall stands."""
    file = tmp_path / "broken.html"
    file.write_text(plan_page(sample(2)).replace("<main>", f"<main>{EVIL}"), "utf-8")
    browser.get(file.as_uri())
    assert browser.execute_script("return window.hacked") is None
    assert "Content Security Policy" in str(browser.get_log("browser"))


def contrast(one: str, other: str) -> float:
    """Return WCAG's contrast of two computed colours, "rgb(1, 2, 3)"."""

    def light(colour: str) -> float:
        parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_can_be_read_in_light_and_dark(open_page: Callable[..., Screen], dark: bool) -> None:
    page = open_page(sample(12), dark=dark)
    card = page.style(".card", "background-color")
    assert (contrast(card, "rgb(0, 0, 0)") < 5) is dark
    for css in ("h1", ".summary", ".kicker", ".peak", ".tile span", ".what", ".badge", "#range"):
        assert contrast(page.style(css, "color"), card) >= 4.5, css
    for css in ("#plot text", "#plot .limit-text"):
        assert contrast(page.style(css, "fill"), card) >= 4.5, css
    # WCAG 1.4.11: what carries meaning differs from the ground; lines part the layers.
    for css in (".floor", ".sessions", ".resident", ".flight", ".activations"):
        assert contrast(page.style(f"#plot {css}", "fill"), card) >= 3, css


def test_the_button_changes_between_light_and_dark(open_page: Callable[..., Screen]) -> None:
    page = open_page(sample(3))
    light = page.style("body", "background-color")
    assert page.text("#theme") == "Dark"
    page.find("#theme").click()
    assert page.style("body", "background-color") != light
    assert page.text("#theme") == "Light"
    page.find("#theme").click()
    assert page.style("body", "background-color") == light


@pytest.mark.parametrize("width", [320, 390, 600, 800])
def test_small_screens_need_no_sideways_scrolling(
    open_page: Callable[..., Screen], width: int
) -> None:
    plan = sample(12, model="a_very_long_model_name_without_any_place_to_break_it_" * 2)
    long = {"name": "/a/very/long/name" * 9, "op_type": "BatchNormalizationAndMore"}
    plan["partitions"][0]["operators"][0] |= long
    page = open_page(plan, width=width)
    page.find("#expand").click()
    assert page.run("return document.documentElement.scrollWidth") <= width
    page.find("#partitions > thead th:nth-child(4) button").click()
    assert page.numbers()[0] == 8  # the heaviest, sorted by a finger too


def test_a_finger_shows_first_and_opens_then(
    browser: webdriver.Chrome, open_page: Callable[..., Screen]
) -> None:
    page = open_page(sample(20), width=390)
    page.run("document.getElementById('plot').scrollIntoView({block: 'center'})")
    box = page.run("return document.getElementById('plot').getBoundingClientRect().toJSON()")
    spot = {"x": box["left"] + 200, "y": box["top"] + 100}
    for _ in range(2):
        for kind, points in (("touchStart", [spot]), ("touchEnd", [])):
            event = {"type": kind, "touchPoints": points}
            browser.execute_cdp_cmd("Input.dispatchTouchEvent", event)
        assert page.find("#tip").is_displayed() or page.find("tr.detail").is_displayed()
    assert page.find("tr.detail").is_displayed()


@pytest.mark.parametrize("n", [1, 2, 1000])
def test_any_number_of_partitions(open_page: Callable[..., Screen], n: int) -> None:
    page = open_page(sample(n))
    assert page.text("#count") == ("1 partition" if n == 1 else f"{n} partitions")
    page.find("input[value=time]").click()
    page.point(1).perform()
    assert f"Partition {n}\n" in page.text("#tip")
    page.find("#timeline").send_keys("+", "0")
    assert page.find("#overview").is_displayed() is (n > 1)


def test_a_plan_without_times_and_operators(open_page: Callable[..., Screen]) -> None:
    plan = sample(4, budget_bytes=2**40)
    for part in plan["partitions"]:
        part.update(time_s=0, stream_s=0, operators=[])
    page = open_page(plan)
    page.find("input[value=time]").click()
    assert "↑" in page.text("#plot .limit-text")
    page.find("#partition-2 .open").click()
    assert "Nodes 2 to 3" in page.text("tr.detail")
    page.point(0.9).perform()
    assert "nodes 6 to 7" in page.text("#tip")


def test_a_plan_beyond_its_budget_is_marked(open_page: Callable[..., Screen]) -> None:
    page = open_page(sample(4, budget_bytes=40 * MIB))
    assert "20.0 MiB above the budget" in page.text(".peak .over")
    assert page.find("#gauge .mark").is_displayed()
    page.point(0.1).perform()
    assert "Above the budget" in page.text("#tip")
