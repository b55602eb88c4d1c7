"""The status page in a real browser, from a real server and from one that says what tests want."""

from __future__ import annotations

import json
import re
import socket
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

import inferonnx
from browsing import Screen, emulate, forget_logs, loaded_urls, start_browser
from inferonnx.report import status_page
from inferonnx.server.messages import Reply
from machine import module_needs
from served import Served
from serving import models
from serving.running import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from selenium import webdriver

module_needs("chromium", "chromedriver")

MIB = 2**20
EVIL = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=2'>\"&"
STATUS = "/inferonnx/v1/status"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A Chromium with a profile of its own, shared by this file's tests."""
    chrome = start_browser(tmp_path_factory.mktemp("profile"))
    yield chrome
    chrome.quit()


@pytest.fixture
def screen(browser: webdriver.Chrome) -> Iterator[Screen]:
    """A window; afterwards, whatever the test did, the page has asked nobody but its server."""
    forget_logs(browser)
    emulate(browser)
    page = Screen(browser)
    yield page
    origin = page.run("return location.origin")
    assert re.match("https://(localhost|127.0.0.1):", origin)
    urls = {url for url in loaded_urls(browser) if not url.startswith(("data:", "about:"))}
    assert urls <= {f"{origin}/", f"{origin}{STATUS}"}
    # A refusal and an absence are logged by the browser itself; anything else is a fault.
    complaints = [entry["message"] for entry in browser.get_log("browser")]
    assert all(f"{STATUS} - Failed to load resource" in text for text in complaints), complaints
    page.run("sessionStorage.clear()")


# From `inferonnx serve`.


@pytest.fixture(scope="module")
def server(
    sealed: dict[str, Path],
    key: inferonnx.Key,
    key_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    """A server with one model that answers and one that is damaged."""
    folder = tmp_path_factory.mktemp("served")
    models.stock(folder / "repo", sealed["cnn"])
    (folder / "repo/damaged/1").mkdir(parents=True)
    (folder / "repo/damaged/1/model.sealed").write_bytes(b"not sealed at all" * 100)
    running = Served(folder, key.public_key, "--key", key_path, "--allow-anonymous-infer")
    yield running
    assert running.end() == 0, running.log.read_text()


def give(page: Screen, token: str) -> None:
    page.find("#token").send_keys(token + Keys.ENTER)


def said(page: Screen) -> str:
    return page.text("#ask-why") if page.find("#ask").is_displayed() else ""


def shown(page: Screen) -> bool:
    return page.find("#figures").is_displayed()


def test_without_a_token_that_may_see_them_there_are_no_figures(
    screen: Screen, server: Served
) -> None:
    screen.browser.get(server.url)
    screen.wait(lambda: said(screen) == "The figures need a token with the role metrics.")
    assert screen.run("return document.activeElement.id") == "token"
    assert screen.find("#token").get_attribute("type") == "password"
    give(screen, "two words")
    assert said(screen).startswith("A token is one word")
    screen.find("#token").clear()
    give(screen, "ifx_000000000000_nobody")
    screen.wait(lambda: said(screen).startswith("The server does not know this token"))
    give(screen, server.token("infer"))
    screen.wait(lambda: said(screen) == "This token does not have the role metrics.")
    assert not shown(screen)
    assert "cnn" not in screen.run("return document.body.textContent")
    give(screen, server.token("metrics"))
    screen.wait(lambda: shown(screen))
    assert not said(screen)


def test_a_token_is_kept_in_the_tab_and_nowhere_else(screen: Screen, server: Served) -> None:
    screen.browser.get(server.url)
    screen.wait(lambda: bool(said(screen)))
    give(screen, server.token("metrics"))
    screen.wait(lambda: shown(screen))
    assert screen.browser.current_url == f"{server.url}/"
    assert server.token("metrics") not in screen.run(
        "return document.documentElement.outerHTML + document.getElementById('token').value"
        " + document.cookie + JSON.stringify(localStorage)"
    )
    screen.browser.refresh()
    screen.wait(lambda: shown(screen))
    first = screen.browser.current_window_handle
    screen.browser.switch_to.new_window("tab")
    screen.browser.get(server.url)
    screen.wait(lambda: bool(said(screen)))
    screen.browser.close()
    screen.browser.switch_to.window(first)
    screen.find("#forget").click()
    screen.wait(lambda: bool(said(screen)))
    assert not shown(screen)
    assert "cnn" not in screen.run("return document.body.textContent")
    screen.browser.refresh()
    screen.wait(lambda: bool(said(screen)))


@pytest.fixture
def watched(screen: Screen, server: Served) -> Screen:
    """The page of the server, with its figures."""
    screen.browser.get(server.url)
    screen.wait(lambda: bool(said(screen)) or shown(screen))
    if said(screen):
        give(screen, server.token("metrics"))
    screen.wait(lambda: shown(screen))
    return screen


def row(page: Screen, name: str) -> list[str]:
    """Return the texts of a model's row."""
    return page.run(
        "for (const line of document.querySelectorAll('#models tbody tr'))"
        " if (line.querySelector('bdi')?.textContent === arguments[0])"
        "  return [...line.cells].map((cell) => cell.innerText);",
        name,
    )


def test_the_page_shows_what_the_server_does(
    watched: Screen, server: Served, image: np.ndarray
) -> None:
    with inferonnx.Client(server.url, ca=server.ca, insecure_no_attestation=True) as asking:
        for _ in range(20):
            asking.infer("cnn", {"image": image})
        watched.run("statusPage.run()")
        watched.wait(lambda: row(watched, "cnn")[8] == "20")
    name, state, memory, rate, p50, _, p99, under_way, _, failed = row(watched, "cnn")
    assert (name, state, under_way, failed) == ("cnn version 1", "ready, open", "0", "0")
    assert memory.endswith(" MiB")
    assert float(rate) > 0
    assert p50.endswith("s")
    assert p99.endswith("s")
    damaged = row(watched, "damaged")
    assert damaged[1].startswith("unavailable\n")
    assert len(damaged[1]) > 20
    assert "1 ready, open · 1 unavailable" in watched.text("#count")
    assert "of 400.0 MiB; at most " in watched.text("#verdict")
    assert server.facts["public_key"][:16] in watched.text("#summary")
    # The bar is the budget, without a gap and without an overlap.
    shares = watched.run(
        "return [...document.querySelectorAll('#gauge i')].map((part) =>"
        " parseFloat(part.style.width))"
    )
    assert sum(shares) == pytest.approx(100, abs=0.01)
    legend = watched.text("#legend").splitlines()
    assert "cnn v1" in legend
    assert legend[legend.index("cnn v1") + 1] == memory


def test_nothing_but_the_pages_program_runs(watched: Screen) -> None:
    refused = watched.run(
        "const refused = []; addEventListener('securitypolicyviolation',"
        "  (event) => refused.push(event.effectiveDirective));"
        "const tried = (action) => {"
        "  try { action(); } catch (error) { refused.push(error.name); } };"
        "const script = document.createElement('script');"
        "tried(() => { script.textContent = 'window.hacked = 1'; });"
        "tried(() => { document.body.innerHTML += '<b>'; });"
        "document.body.append(script);"
        "const style = document.createElement('style'); style.textContent = 'body { color: red }';"
        "document.body.append(style);"
        "return fetch('https://127.0.0.1:1/').catch(() => new Promise((resolve) =>"
        "  setTimeout(() => resolve(refused), 100)));"
    )
    assert refused.count("TypeError") == 2
    assert {"style-src-elem", "connect-src", "require-trusted-types-for"} <= set(refused)
    assert not watched.run("return window.hacked")
    watched.browser.get_log("browser")  # of these refusals


def test_the_reply_forbids_what_the_page_does_not_need(server: Served) -> None:
    status, headers, body = server.asked("/")
    assert (status, body) == (200, status_page().content)
    policy = headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_a_server_that_is_away_is_said_and_asked_again(screen: Screen, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = Served(tmp_path, None, "--listen", f"127.0.0.1:{port}", "--memory", "128MiB")
    try:
        screen.browser.get(server.url)
        screen.wait(lambda: bool(said(screen)))
        give(screen, server.token("metrics"))
        screen.wait(lambda: shown(screen))
        assert "No models yet" in screen.text("#models")
        assert server.end() == 0
        screen.wait(lambda: "does not answer since" in screen.text("#notice"))
        assert screen.find("#figures").get_attribute("class") == "figures stale"
        server.start()
        screen.wait(lambda: not screen.find("#notice").is_displayed(), 20)
        assert screen.find("#figures").get_attribute("class") == "figures"
        assert shown(screen)
    finally:
        server.kill()


# From a server whose figures are known.


def model(name: str, **changes: object) -> dict:
    """Return a model as the status has it."""
    base = {
        "name": name,
        "version": 1,
        "state": "ready",
        "reason": "",
        "model_id": "00" * 32,
        "is_open": True,
        "share_bytes": 16 * MIB,
        "resident_bytes": 4 * MIB,
        "streamed_bytes": 30 * MIB,
        "pending": 0,
        "requests": 0,
        "failures": {"REJECTED": 0, "CANCELED": 0, "BACKEND": 0, "OTHER": 0},
        "opened_bytes": 0,
        "latency_steps": [],
    }
    return base | changes


def status(uptime_s: float, models: list[dict], **memory: int) -> dict:
    """Return what a server with a budget of 128 MiB says."""
    shares = sum(each["share_bytes"] for each in models)
    return {
        "schema": "inferonnx.status/1",
        "version": "1.2.3",
        "uptime_s": uptime_s,
        "public_key": "ab" * 32,
        "memory": {
            "budget_bytes": 128 * MIB,
            "resident_bytes": 90 * MIB,
            "peak_bytes": 100 * MIB,
            "server_bytes": 32 * MIB,
            "models_bytes": shares,
            "models_limit_bytes": 80 * MIB,
            "requests_bytes": 4 * MIB,
            "requests_limit_bytes": 16 * MIB,
        }
        | memory,
        "connections": 7,
        "requests_waiting": 3,
        "cpu_s": uptime_s / 2,
        "models": models,
    }


class Scripted:
    """A real server that answers with what a test gave it last."""

    def __init__(self, folder: Path) -> None:
        self.page = status_page()
        self.body = b""
        self.status = 200
        self.asked = threading.Event()
        self.server = Server(folder, self.handle)

    async def handle(self, _server: Server, exchange: object) -> Reply:
        if exchange.head.path == b"/":
            policy = (("Content-Security-Policy", self.page.policy), ("Content-Type", "text/html"))
            return Reply(status=200, headers=policy, pieces=(self.page.content,))
        self.asked.set()
        return Reply(status=self.status, pieces=(self.body,))

    def says(self, page: Screen, content: dict) -> None:
        """Have the page ask for this now, and wait until it shows it."""
        self.body = json.dumps(content).encode()
        page.run("document.getElementById('summary').title = ''; statusPage.run()")
        page.wait(lambda: page.run("return document.getElementById('summary').title") != "")


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    """The server, whose status every test says anew."""
    made = Scripted(tmp_path_factory.mktemp("scripted"))
    yield made
    made.server.stop()


@pytest.fixture
def look(screen: Screen, scripted: Scripted) -> Callable[..., Screen]:
    """Open the page on a server that says this, one after the other."""

    def show(*contents: dict, dark: bool = False, width: int = 1200) -> Screen:
        emulate(screen.browser, dark=dark, width=width)
        scripted.status, scripted.body = 200, json.dumps(contents[0]).encode()
        screen.browser.get(f"{scripted.server.url}/")
        screen.wait(lambda: shown(screen))
        for content in contents[1:]:
            scripted.says(screen, content)
        return screen

    return show


BEFORE = status(100, [model("a", requests=50, latency_steps=[[10, 50]]), model("b")])
AFTER = status(
    110,
    [
        model(
            "a",
            requests=150,
            pending=2,
            opened_bytes=300 * MIB,
            latency_steps=[[10, 100], [20, 45], [5000, 5]],
            failures={"REJECTED": 4, "CANCELED": 0, "BACKEND": 1, "OTHER": 0},
        ),
        model("b", requests=20, latency_steps=[[40, 20]]),
    ],
)


def test_rates_and_percentiles_are_differences(look: Callable[..., Screen]) -> None:
    page = look(BEFORE, AFTER)
    # Of the hundred in between 50 took 10 ms, 45 took 20 ms, 5 took 5 s.
    assert row(page, "a")[2:] == [
        *("16.0 MiB", "10.0", "10.0 ms", "20.0 ms", "5.00 s", "2", "150", "5"),
    ]
    assert row(page, "b")[3:7] == ["2.00", "40.0 ms", "40.0 ms", "40.0 ms"]
    tiles = page.text("#tiles")
    for words in (
        *("Requests a second\n12.0\nand 0.50 failed", "Latency, p50\n20.0 ms"),
        *("p90 40.0 ms, p99 5.00 s", "Under way\n2\n3 wait for memory", "Connections\n7"),
        *("Weights streamed\n30.0 MiB/s", "Processor\n0.50"),
    ):
        assert words in tiles.replace("\N{NO-BREAK SPACE}", " "), tiles


def test_percentiles_agree_with_the_servers(look: Callable[..., Screen]) -> None:
    from inferonnx.server.statistics import ModelStatistics, Timing

    page = look(BEFORE)
    random = np.random.default_rng(3)
    for n in (1, 2, 10, 99, 1000):
        statistics = ModelStatistics()
        for ns in random.lognormal(17, 2, n):
            statistics.succeeded(Timing(int(ns), 0, 0, 0, 1), rows=1, now_ms=0)
        steps = [[ns / 1e6, count] for ns, count in statistics.histogram_ns()]
        found = page.run("return percentilesOf(arguments[0])", steps)
        for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
            assert found[name] == pytest.approx(statistics.percentile_ns(share) / 1e9), (n, name)


def test_history_forgets_what_is_old_and_what_another_server_said(
    look: Callable[..., Screen],
) -> None:
    page = look(BEFORE)
    kept = page.run(
        "const history = new History();"
        "const at = (uptime, requests) => ({ ...arguments[0], uptime_s: uptime,"
        "  models: [{ ...arguments[0].models[0], requests }] });"
        "const seen = [];"
        "for (let i = 0; i < 400; i += 1) {"
        "  const { all } = history.add(at(100 + i, 3 * i), i);"
        "  if (i % 100 === 50) seen.push(all.requests);"
        "}"
        "const held = history.samples.filter((sample) => sample.counts).length;"
        "history.interrupt(); history.add(at(600, 1200), 500);"
        "const pieces = history.pieces().length;"
        "history.add(at(1, 5), 502);"
        "return [seen, history.samples.length, held, pieces, history.pieces().length];",
        BEFORE,
    )
    assert kept == [[3, 3, 3, 3], 1, pytest.approx(11, abs=1), 2, 0]


def test_a_model_that_was_replaced_counts_from_zero(look: Callable[..., Screen]) -> None:
    again = status(110, [model("a", requests=30, latency_steps=[[7, 30]]), model("b")])
    assert row(look(BEFORE, again), "a")[3:5] == ["3.00", "7.00 ms"]


def test_the_bar_is_the_budget_piece_by_piece(look: Callable[..., Screen]) -> None:
    page = look(BEFORE)
    width = page.run("return document.getElementById('gauge').clientWidth")
    wide = page.run(
        "return [...document.querySelectorAll('#gauge i')].map((part) => [part.title,"
        " part.getBoundingClientRect().width])"
    )
    names = [name for name, _ in wide]
    assert names == [
        *("Server: 32.0 MiB", "a v1: 16.0 MiB", "b v1: 16.0 MiB", "Free for models: 48.0 MiB"),
        *("Requests: 4.0 MiB", "Free for requests: 12.0 MiB"),
    ]
    assert [px / width for _, px in wide] == pytest.approx(
        [n / 128 for n in (32, 16, 16, 48, 4, 12)], abs=0.002
    )
    now, peak = page.run(
        "const [now, peak] = document.getElementById('measured').children;"
        "const box = document.getElementById('measured').getBoundingClientRect();"
        "return [now.getBoundingClientRect().right, peak.getBoundingClientRect().right]"
        ".map((x) => (x - box.left) / box.width)"
    )
    assert (now, peak) == pytest.approx((90 / 128, 100 / 128), abs=0.003)


def test_a_peak_above_the_budget_is_no_small_print(look: Callable[..., Screen]) -> None:
    page = look(status(5, [], peak_bytes=130 * MIB))
    assert page.text("#verdict") == "of 128.0 MiB; the peak was 2.0 MiB above it"
    red = page.style(".limit-text", "fill")
    assert light_of(page.style("#verdict", "color")) == light_of(red) != 0
    mark = page.find("#gauge .mark").value_of_css_property("left")
    gauge = page.run("return document.getElementById('gauge').clientWidth")
    assert float(mark.removesuffix("px")) / gauge == pytest.approx(128 / 130, abs=0.003)


def test_the_charts_stack_models_and_point_to_figures(look: Callable[..., Screen]) -> None:
    page = look(BEFORE, AFTER)
    first = ".charts figure:nth-child(1)"
    assert page.text(f"{first} figcaption") == "Requests a second 12.5/s"
    assert page.text(f"{first} .legend").splitlines() == [
        *("a v1", "10.0/s", "b v1", "2.00/s", "failed", "0.50/s"),
    ]
    boxes = (
        "return [...document.querySelectorAll(arguments[0])].map((path) => path.getBBox())"
        ".map((box) => [box.y, box.height])"
    )
    (y_a, tall_a), (y_b, tall_b), _ = page.run(boxes, f"{first} .area")
    assert tall_a / tall_b == pytest.approx(10 / 2, rel=0.05)
    assert y_b + tall_b == pytest.approx(y_a, abs=0.5)
    chart = page.find(f"{first} .chart")
    ActionChains(page.browser).move_to_element_with_offset(
        chart, chart.size["width"] // 2 - 12, 0
    ).perform()
    assert page.text(f"{first} .tip").splitlines() == [
        *("now", "a v1 10.0/s", "b v1 2.00/s", "failed 0.50/s"),
    ]
    assert len(page.all(".charts .cursor-line")) == 4
    assert not page.find(".charts figure:nth-child(2) .tip").is_displayed()
    ActionChains(page.browser).move_to_element(page.find("h1")).perform()
    assert not page.all(".charts .cursor-line")


def test_the_keyboard_reads_a_chart(look: Callable[..., Screen]) -> None:
    page = look(BEFORE, AFTER)
    second = ".charts figure:nth-child(2)"
    chart = page.find(f"{second} .chart")
    assert chart.get_attribute("aria-label") == "Latency: p50 20.0 ms, p90 40.0 ms, p99 5.00 s"
    page.run("arguments[0].focus()", chart)
    ActionChains(page.browser).send_keys(Keys.ARROW_LEFT).perform()
    assert page.text(f"{second} .tip").splitlines() == [
        *("now", "p50 20.0 ms", "p90 40.0 ms", "p99 5.00 s"),
    ]
    ActionChains(page.browser).send_keys(Keys.ESCAPE).perform()
    assert not page.find(f"{second} .tip").is_displayed()


def test_one_model_can_be_looked_at_alone(look: Callable[..., Screen], scripted: Scripted) -> None:
    page = look(BEFORE, AFTER)
    page.find("#models tbody tr:nth-child(2) .pick").click()
    assert page.text(".charts figure:nth-child(1) figcaption") == "Requests a second 2.00/s"
    assert page.run("return document.querySelector('#model').selectedOptions[0].text") == "b v1"
    assert "p99 40.0 ms" in page.find(".charts figure:nth-child(2) .chart").get_attribute(
        "aria-label"
    )
    assert page.find("#models .marked .pick").text == "b version 1"
    # It is gone: all are shown again.
    scripted.says(page, AFTER | {"uptime_s": 112, "models": AFTER["models"][:1]})
    assert page.run("return document.querySelector('#model').value") == ""
    assert len(page.all("#models tbody tr")) == 1


def test_latencies_have_room_from_microseconds_to_minutes(look: Callable[..., Screen]) -> None:
    steps = [[0.5, 60], [900, 35], [90000, 5]]
    page = look(BEFORE, status(110, [model("a", requests=150, latency_steps=[[10, 50], *steps])]))
    chart = ".charts figure:nth-child(2)"
    marks = [each.text for each in page.all(f"{chart} .chart text") if "min" not in each.text]
    assert marks == ["1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s", "now"]
    dots = page.run(
        "return [...document.querySelectorAll(arguments[0])].map((dot) => +dot.getAttribute('cy'))",
        f"{chart} .dot",
    )
    assert dots == sorted(dots, reverse=True)
    assert 20 <= dots[-1] < dots[0] <= 166


def test_strings_of_a_server_do_nothing(look: Callable[..., Screen]) -> None:
    evil = model(EVIL, version=EVIL, state=EVIL, reason=EVIL, model_id=EVIL, requests=1)
    content = status(5, [evil, model("b")]) | {"version": EVIL, "public_key": EVIL}
    page = look(content, content | {"uptime_s": 6})
    assert EVIL in page.text("#models")
    assert EVIL in page.text("#legend")
    assert EVIL in page.text("#summary")
    assert EVIL in page.find("#model").text
    assert not page.run("return window.hacked || document.images.length")
    assert page.run("return document.scripts.length") == 1


def test_an_answer_of_another_kind_is_said(look: Callable[..., Screen], scripted: Scripted) -> None:
    page = look(BEFORE)
    for body, number, words in (
        (b"<html>", 200, "answers what this page does not understand since"),
        (b'{"schema":"inferonnx.status/2"}', 200, "answers what this page does not understand"),
        (json.dumps(BEFORE | {"models": [{}]}).encode(), 200, "does not understand"),
        (b'{"error":"busy"}', 503, "answers with status 503 since"),
    ):
        scripted.body, scripted.status = body, number
        page.run("statusPage.run()")
        page.wait(lambda words=words: words in page.text("#notice"))
        assert shown(page)
    scripted.status = 200
    scripted.says(page, AFTER)
    assert not page.find("#notice").is_displayed()


def test_many_models_sort_and_filter(look: Callable[..., Screen]) -> None:
    models = [
        model(
            f"m{i:03}",
            requests=i,
            share_bytes=0,
            is_open=False,
            state="locked" if i % 3 else "ready",
        )
        for i in range(300)
    ]
    page = look(status(5, models), status(6, models))
    assert len(page.all("#models tbody tr")) == 200
    assert page.text("#count") == ("100 ready, closed · 200 locked; the first 200 of 300 are shown")
    heads = {each.text.split()[0]: each for each in page.all("#models th button")}
    heads["Answered"].click()
    assert page.text("#models tbody .pick") == "m299 version 1"
    heads["Answered"].click()
    assert page.text("#models tbody .pick") == "m000 version 1"
    page.find("#filter").send_keys("m01 locked")
    assert [each.text.split()[0] for each in page.all("#models tbody .pick")] == [
        f"m{i:03}" for i in range(10, 20) if i % 3
    ]
    assert page.text("#count").startswith("7 of 300 shown; ")
    page.find("#filter").send_keys(" nothing")
    assert page.text("#models tbody") == "No model fits the filter."


def test_six_models_have_colours_and_the_rest_one(look: Callable[..., Screen]) -> None:
    before = [model(f"m{i}", share_bytes=MIB) for i in range(9)]
    after = [each | {"requests": 10, "latency_steps": [[5, 10]]} for each in before]
    page = look(status(10, before), status(20, after))
    names = page.text(".charts figure:nth-child(1) .legend").splitlines()[::2]
    assert names == [*(f"m{i} v1" for i in range(6)), "Other models"]
    assert "Other models\n3.0 MiB" in page.text("#legend")
    shades = page.run(
        "return [...document.querySelectorAll('#gauge i')].map((part) =>"
        " getComputedStyle(part).backgroundColor).slice(1, 8)"
    )
    assert len(set(shades)) == 7


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_light_and_dark_can_be_read(look: Callable[..., Screen], dark: bool) -> None:
    page = look(BEFORE, AFTER, dark=dark)
    for css in (".tile strong", ".summary", ".chart text", ".reason", "#verdict", "th button"):
        name = "fill" if css == ".chart text" else "color"
        back = ".summary" if css == ".summary" else ".card"
        ink = light_of(page.style(css, name))
        paper = light_of(page.style("body" if back == ".summary" else back, "background-color"))
        bright, dim = max(ink, paper), min(ink, paper)
        assert (bright + 0.05) / (dim + 0.05) >= 4.5, css  # WCAG 2, AA
        assert (ink > paper) is dark
    page.find("#theme").click()
    assert (light_of(page.style("body", "background-color")) < 0.2) is not dark


def light_of(colour: str) -> float:
    """Return the relative luminance of a computed colour (WCAG 2)."""
    parts = [int(n) / 255 for n in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("width", [360, 420, 760, 1000, 1200])
def test_nothing_stands_beyond_the_edge(look: Callable[..., Screen], width: int) -> None:
    long = model("a-model.with_a-name.that-goes-on-and-on." * 3, state="locked", reason="why " * 60)
    models = [*AFTER["models"], long, model("c", state="unavailable", reason="x" * 300)]
    page = look(BEFORE, AFTER | {"models": models}, width=width)
    assert page.run("return document.documentElement.scrollWidth") <= width
    beyond = page.run(
        "return [...document.querySelectorAll('main *')].filter((node) =>"
        " !node.closest('svg, .hidden, .scroll') && node.getBoundingClientRect().right > innerWidth"
        ").map((node) => node.outerHTML.slice(0, 80))"
    )
    assert beyond == []
