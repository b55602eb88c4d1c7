"""Tests of the plan's page as text; tests/e2e/test_plan_page.py opens it in a browser."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from html.parser import HTMLParser

import pytest

from inferonnx.errors import UsageError
from inferonnx.report import PLAN_SCHEMA, plan_page

EVIL = "</script><script>alert(1)</script><!--<script>{{style}} \"'& \ud800 \x00 \u2028"


def plan(**changes: object) -> dict:
    """Return a plan of one streamed and one resident partition."""
    partitions = [
        {
            "start": i,
            "stop": i + 1,
            "weight_bytes": 2**20 * (i + 1),
            "activation_bytes": 2**20,
            "time_s": 0.001,
            "resident": i == 1,
            "operators": [{"name": f"n{i}", "op_type": "Conv", "weight_bytes": 9, "time_s": 0.1}],
        }
        for i in range(2)
    ]
    base = {
        "schema": PLAN_SCHEMA,
        "model": "model",
        "strategy": "optimal",
        "suite": "aes-256-gcm",
        "budget_bytes": 64 * 2**20,
        "peak_bytes": 40 * 2**20,
        "floor_bytes": 32 * 2**20,
        "session_bytes": 2**20,
        "buffer_bytes": 2**20,
        "resident_bytes": 2 * 2**20,
        "streamed_bytes": 2**20,
        "least_bytes": 37 * 2**20,
        "latency_s": 0.0125,
        "notes": ["A note."],
        "partitions": partitions,
    }
    return base | changes


class Page(HTMLParser):
    """What stands in a page: elements with their attributes, and the text inside each kind."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag
        self.texts.setdefault(tag, []).append("")

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def tags(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of every element of one kind."""
        return [attrs for name, attrs in self.elements if name == tag]


def test_the_same_plan_gives_the_same_page() -> None:
    backwards = dict(reversed(plan().items()))
    assert plan_page(plan()) == plan_page(backwards)


def test_the_page_says_the_figures_without_its_program() -> None:
    text = re.sub(r"<script.*?</script>|<style.*?</style>", "", plan_page(plan()), flags=re.DOTALL)
    for words in ("40.0 MiB", "of 64.0 MiB, 24.0 MiB to spare", "12.5 ms", "37.0 MiB", "A note."):
        assert words in text
    assert "optimal plan · 2 partitions · 1 streamed · aes-256-gcm" in text
    assert "67% of the weights" in text


def test_a_plan_beyond_its_budget_says_so() -> None:
    assert "24.0 MiB above the budget of 16.0 MiB" in plan_page(plan(budget_bytes=16 * 2**20))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"partitions": plan()["partitions"][1:], "suite": ""}, "1 partition · all resident<"),
        ({"resident_bytes": 0, "streamed_bytes": 0}, "no weights"),
    ],
)
def test_small_plans_read_well(changes: dict, words: str) -> None:
    assert words in plan_page(plan(**changes))


def test_what_is_not_known_is_not_shown() -> None:
    page = plan_page(plan(least_bytes=0, notes=[]))
    assert "Least budget" not in page
    assert "<h2>Notes" not in page


def test_the_page_loads_nothing() -> None:
    page = Page(plan_page(plan()))
    assert not {"img", "iframe", "object", "embed", "base", "form", "video"} & set(page.texts)
    for attrs in page.tags("link"):
        assert attrs["href"].startswith("data:image/svg+xml,")
    assert all("src" not in attrs and "href" not in attrs for attrs in page.tags("script"))
    assert "@import" not in page.texts["style"][0]
    assert "url(" not in page.texts["style"][0]
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)
    assert not any("style" in attrs for _, attrs in page.elements)


def test_the_policy_allows_the_two_blocks_and_nothing_else() -> None:
    page = Page(plan_page(plan()))
    policy = next(a["content"] for a in page.tags("meta") if "http-equiv" in a)
    _, program = page.texts["script"]

    def source(text: str) -> str:
        return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert policy.split("; ") == [
        "default-src 'none'",
        f"style-src {source(page.texts['style'][0])}",
        f"script-src {source(program)}",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def test_the_data_comes_back_as_it_was() -> None:
    evil = plan(model=EVIL, notes=[EVIL])
    evil["partitions"][0]["operators"][0]["name"] = EVIL
    data, _ = Page(plan_page(evil)).texts["script"]
    got = json.loads(data)
    assert got["model"] == EVIL
    assert got["notes"] == [EVIL]
    assert got["partitions"][0]["operators"][0]["name"] == EVIL
    assert got["partitions"][1]["weight_bytes"] == 2 * 2**20
    assert not set("<>&") & set(data)


def test_strings_of_the_model_stay_text() -> None:
    kind = [tag for tag, _ in Page(plan_page(plan())).elements]
    evil = plan_page(plan(model=EVIL, strategy=EVIL, suite=EVIL, notes=[EVIL]))
    assert [tag for tag, _ in Page(evil).elements] == kind
    assert "{{style}}" in evil
    evil.encode()  # what UTF-8 can't hold is replaced
    assert "\x00" not in evil


def test_a_malformed_plan_is_refused() -> None:
    with pytest.raises(UsageError, match="has no model"):
        plan_page({"schema": PLAN_SCHEMA})
