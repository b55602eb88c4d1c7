from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.errors import PinError, UsageError
from inferonnx.sealed import (
    ModelPin,
    ReleasePin,
    check_model_name,
    check_pin,
    check_pinned_name,
    parse_header,
    parse_pin,
    verify_header,
)

OWNER = bytes(range(32))

names = st.text(min_size=1, max_size=40).filter(
    lambda name: not any(c < " " or "\x7f" <= c <= "\x9f" or c in "\u2028\u2029" for c in name)
)
pins = st.builds(ModelPin, model_id=st.binary(min_size=32, max_size=32)) | st.builds(
    ReleasePin,
    owner=st.binary(min_size=32, max_size=32),
    name=names,
    least_release=st.integers(0, 2**53 - 1),
)


@pytest.fixture
def verified(good_file):
    return verify_header(parse_header(good_file))


@given(pins)
def test_pin_survives_its_text(pin):
    assert parse_pin(str(pin)) == pin


@given(st.text(max_size=200))
def test_any_text_is_a_pin_or_refused(text):
    with pytest.raises(UsageError):
        parse_pin(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00" * 31,
        "00" * 33,
        "0g" * 32,
        " " + "00" * 32,
        f"owner={'00' * 32}",
        f"owner={'00' * 32},release=1",
        f"owner={'00' * 32},name=n,release=1",
        f"release=1,owner={'00' * 32},name=n",
        f"owner={'00' * 31},release=1,name=n",
        f"owner={'00' * 32},release=,name=n",
        f"owner={'00' * 32},release=-1,name=n",
        f"owner={'00' * 32},release=1.0,name=n",
        f"owner={'00' * 32},release=²,name=n",
        f"owner={'00' * 32},release=9007199254740992,name=n",
        f"owner={'00' * 32},release=1,name=",
        f"owner={'00' * 32},release=1,name=a\nb",
        "model_id=" + "00" * 32,
    ],
)
def test_text_that_is_no_pin_is_refused(text):
    # S-13: nothing that is left out means "any"
    with pytest.raises(UsageError):
        parse_pin(text)


def test_name_of_a_pin_may_hold_commas_and_equals():
    pin = parse_pin(f"owner={OWNER.hex()},release=7,name=a,b=c")
    assert pin == ReleasePin(owner=OWNER, name="a,b=c", least_release=7)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ModelPin(model_id=b""),
        lambda: ReleasePin(owner=b"", name="n", least_release=0),
        lambda: ReleasePin(owner=OWNER, name="", least_release=0),
        lambda: ReleasePin(owner=OWNER, name="n", least_release=-1),
    ],
)
def test_pin_that_pins_nothing_is_refused(make):
    with pytest.raises(UsageError):
        make()


def test_pins_are_checked_in_full(verified, forge):
    manifest = forge.tiny_manifest()
    release = ReleasePin(owner=forge.OWNER.public_key, name="tïny", least_release=forge.RELEASE)
    for pin in (ModelPin(model_id=verified.model_id), release, replace(release, least_release=0)):
        check_pin(pin, verified)
        check_pinned_name(pin, manifest)
    for pin in (
        ModelPin(model_id=bytes(32)),
        replace(release, owner=OWNER),
        replace(release, least_release=forge.RELEASE + 1),
    ):
        with pytest.raises(PinError):
            check_pin(pin, verified)
    with pytest.raises(PinError):
        check_pinned_name(replace(release, name="tiny"), manifest)


@given(names)
def test_name_of_a_pin_can_name_a_model(name):
    check_model_name(name)
