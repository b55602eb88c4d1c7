from __future__ import annotations

import copy
import pickle

import pytest

from inferonnx.crypto import Secret, equal_bytes


def test_secret_is_not_shown():
    secret = Secret(b"password")
    shown = [repr(secret), str(secret), f"{secret}", repr([secret]), repr({"k": secret})]
    assert all("password" not in text for text in shown)
    assert repr(secret) == "Secret(<8 bytes>)"


def test_secret_is_not_shown_in_a_comparison_that_fails():
    assert repr(Secret(b"a")) == repr(Secret(b"b"))


@pytest.mark.parametrize("act", [pickle.dumps, copy.copy, copy.deepcopy])
def test_secret_is_not_pickled_or_copied(act):
    with pytest.raises(TypeError, match="never pickled"):
        act(Secret(b"x"))


def test_secrets_are_equal_by_value():
    assert Secret(b"x") == Secret(bytearray(b"x"))
    assert Secret(b"x") != Secret(b"y")
    assert Secret(b"x") != Secret(b"xx")
    assert Secret(b"x") != b"x"


def test_secret_has_no_hash():
    with pytest.raises(TypeError, match="unhashable"):
        hash(Secret(b"x"))


def test_secret_holds_a_copy():
    source = bytearray(b"x")
    secret = Secret(source)
    source[0] = 0
    assert secret.reveal() == b"x"
    assert len(secret) == 1


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [(b"", b"", True), (b"a", b"a", True), (b"a", b"b", False), (b"a", b"ab", False)],
)
def test_bytes_are_compared_by_value(left, right, equal):
    assert equal_bytes(left, right) is equal
