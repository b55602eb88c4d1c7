"""A profile's page as text; tests/e2e/test_profile_page.py opens it in a browser."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode

import pytest

from inferonnx.errors import UsageError
from inferonnx.report import profile_page
from profile_samples import MIB, profile

EVIL = "</script><script>alert(1)</script><!--{{style}} \"'& \ud800 \x00"


def test_the_same_profile_gives_the_same_page():
    assert profile_page(profile()) == profile_page(profile())


def test_figures_stand_in_the_page_without_its_program():
    text = profile_page(profile(40))
    # 4 of 40 operators have 90 MiB, the others 0, 1 and 2 in turn.
    weights = profile(40)["weights_bytes"] // MIB
    assert f"{weights + 8}.0 MiB</strong>" in text
    assert "times the EPC of 85 MiB" in text
    assert "3.0 times that outside; 7,800 major faults a pass" in text
    assert "of 40 operators, by themselves" in text
    assert "<bdi>39 Conv</bdi>" in text


def test_without_a_limit_nothing_is_said_of_inside():
    text = profile_page(profile(inside=False))
    assert "Not measured inside a limit" in text
    assert "cgroup" not in text
    assert "<dt>Inside</dt>" not in text


def test_a_model_within_the_epc_is_told_so():
    assert "within the EPC of 85 MiB" in profile_page(profile(entire_peak_bytes=MIB))


def test_strings_of_a_model_never_become_markup():
    data = profile(model=EVIL, label=EVIL, notes=[EVIL], machine={EVIL: EVIL})
    data["operators"][0] |= {"name": EVIL, "type": EVIL}
    text = profile_page(data)
    assert "<script>alert" not in text
    assert text.count("<script") == 2
    assert "\x00" not in text
    text.encode()


def test_the_page_loads_nothing_and_its_policy_allows_its_own_blocks_alone():
    text = profile_page(profile())
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", text)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    for kind, tag in (("style-src", "style"), ("script-src", "script")):
        block = text.split(f"<{tag}>", 1)[1].split(f"</{tag}>", 1)[0]
        digest = b64encode(hashlib.sha256(block.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    assert " style=" not in text


def test_the_data_of_the_plots_is_that_of_the_profile():
    data = profile(5)
    text = profile_page(data)
    found = json.loads(re.search(r'id="profile">(.*?)</script>', text)[1])
    assert found["operators"] == data["operators"]
    assert found["epc_bytes"] == data["epc_bytes"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema": "x"}, "schema 'inferonnx.profile/1'"),
        ({"operators": []}, "has no operators"),
        ({"operators": [{"index": 0}]}, r"has no operators\[0\].name"),
        ({"epc_bytes": None}, "epc_bytes is 'None'"),
        ({"notes": [1]}, r"notes\[0\] is '1'"),
    ],
)
def test_a_wrong_profile_is_refused_with_the_place(change, sentence):
    with pytest.raises(UsageError, match=sentence):
        profile_page(profile(**change))
