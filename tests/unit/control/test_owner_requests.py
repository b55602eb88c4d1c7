"""Requests signed by an owner: what they fix, and every way to pass one off as another."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.control import (
    NEXT_VERSION,
    Action,
    NonceBook,
    OwnerHeader,
    OwnerRequest,
    Role,
    encode_owner_header,
    encode_owner_request,
    parse_owner_header,
    sign_owner_request,
    verify_owner_request,
)
from inferonnx.control.owner_requests import LABEL_OWNER_REQUEST
from inferonnx.control.tokens import new_token
from inferonnx.crypto import Secret, ed25519_public_key, ed25519_sign, ed25519_verify
from inferonnx.errors import (
    ModelNameError,
    NonceError,
    OwnerRefusedError,
    OwnerRequestError,
    SignatureError,
)
from inferonnx.sealed import constants

SEED, OTHER_SEED = Secret(bytes([1] * 32)), Secret(bytes([2] * 32))
OWNER, OTHER_OWNER = ed25519_public_key(SEED), ed25519_public_key(OTHER_SEED)
NOW_S = 1000


@pytest.fixture
def nonces():
    return NonceBook(Secret(bytes([3] * 32)))


@pytest.fixture
def request_to(nonces):
    return OwnerRequest(
        action=Action.DELETE,
        server_key_hash=bytes([4] * 32),
        nonce=nonces.issue(NOW_S, bytes(12)),
        model_id=bytes([5] * 32),
        name="resnet",
        version=3,
    )


def sign(message, seed=SEED):
    return ed25519_sign(seed, message)


def header_of(request, seed=SEED):
    owner = ed25519_public_key(seed)
    text = sign_owner_request(request, owner=owner, sign=lambda message: sign(message, seed))
    return parse_owner_header(text)


def verify(header, request, nonces, /, **changed):
    """Verify as a server to which `request` was sent, but for what is changed."""
    asked = {
        "action": request.action,
        "server_key_hash": request.server_key_hash,
        "name": request.name,
        "version": request.version,
        "model_id": request.model_id,
        "owner": OWNER,
        "nonces": nonces,
        "now_s": NOW_S,
        **changed,
    }
    return verify_owner_request(header, **asked)


def test_a_signed_request_is_verified_once(request_to, nonces):
    header = header_of(request_to)
    assert verify(header, request_to, nonces) == request_to
    with pytest.raises(NonceError, match="used before"):
        verify(header, request_to, nonces)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"action": Action.UNLOCK}, OwnerRefusedError),
        ({"action": Action.PUSH}, OwnerRefusedError),
        ({"server_key_hash": bytes([9] * 32)}, OwnerRefusedError),
        ({"name": "resnet2"}, OwnerRefusedError),
        ({"name": "Resnet"}, OwnerRefusedError),
        ({"version": 4}, OwnerRefusedError),
        ({"model_id": bytes([9] * 32)}, OwnerRefusedError),
        ({"owner": OTHER_OWNER}, OwnerRefusedError),
        ({"now_s": NOW_S + 61}, NonceError),
        ({"nonces": NonceBook(Secret(bytes([9] * 32)))}, NonceError),
        ({"name": "../resnet"}, ModelNameError),
        ({"version": 0}, ModelNameError),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_request_is_good_for_nothing_else(request_to, nonces, changed, error):  # O-06 O-08 O-14
    with pytest.raises(error):
        verify(header_of(request_to), request_to, nonces, **changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"nonce": bytes([9] * 32)},
        {"model_id": bytes([9] * 32)},
        {"owner": OTHER_OWNER},
        {"signature": bytes(64)},
    ],
    ids=lambda value: next(iter(value)),
)
def test_no_member_of_the_header_can_be_exchanged(request_to, nonces, changed):
    header = replace(header_of(request_to), **changed)
    # The server looks for what the header now says, as for a push.
    with pytest.raises(OwnerRefusedError):
        verify(header, request_to, nonces, model_id=header.model_id)
    # And the good one is still good: nothing was used up (O-13).
    assert verify(header_of(request_to), request_to, nonces) == request_to


def test_another_owner_s_own_good_signature_is_refused(request_to, nonces):  # O-08
    with pytest.raises(OwnerRefusedError, match="another owner"):
        verify(header_of(request_to, OTHER_SEED), request_to, nonces)


def test_a_signature_under_the_owner_s_name_by_another_key_is_refused(request_to, nonces):
    header = replace(header_of(request_to, OTHER_SEED), owner=OWNER)
    with pytest.raises(OwnerRefusedError, match="does not fit"):
        verify(header, request_to, nonces)


def test_a_signature_of_a_sealed_file_is_none_of_a_request(request_to, nonces):  # O-05
    of_the_file = sign(constants.LABEL_SIGNATURE + request_to.model_id)
    header = replace(header_of(request_to), signature=of_the_file)
    with pytest.raises(OwnerRefusedError, match="does not fit"):
        verify(header, request_to, nonces)


def test_a_signature_of_a_request_is_none_of_a_sealed_file(request_to):  # O-05
    signature = header_of(request_to).signature
    with pytest.raises(SignatureError):
        ed25519_verify(OWNER, signature, constants.LABEL_SIGNATURE + request_to.model_id)


def test_labels_of_files_and_requests_never_begin_each_other():  # O-05
    labels = [value for name, value in vars(constants).items() if name.startswith("LABEL_")]
    assert len(labels) > 5
    for label in labels:
        assert not label.startswith(LABEL_OWNER_REQUEST)
        assert not LABEL_OWNER_REQUEST.startswith(label)


@pytest.mark.parametrize("action", Action)
def test_only_a_push_may_be_of_the_next_version(request_to, action):  # O-02
    if action is Action.PUSH:
        assert replace(request_to, action=action, version=NEXT_VERSION).version == 0
    else:
        with pytest.raises(ModelNameError, match="version 0"):
            replace(request_to, action=action, version=NEXT_VERSION)
    for version in (-1, 1 << 63):
        with pytest.raises(ModelNameError):
            replace(request_to, action=action, version=version)


def test_a_push_of_the_next_version_is_none_of_a_number(request_to, nonces):
    request = replace(request_to, action=Action.PUSH, version=NEXT_VERSION)
    with pytest.raises(OwnerRefusedError):
        verify(header_of(request), request, nonces, version=1)
    assert verify(header_of(request), request, nonces).version == NEXT_VERSION


@pytest.mark.parametrize("field", ["server_key_hash", "nonce", "model_id"])
def test_fields_of_other_lengths_are_refused(request_to, field):
    for value in (b"", bytes(31), bytes(33)):
        with pytest.raises(ValueError, match="32 bytes"):
            replace(request_to, **{field: value})
    with pytest.raises(ValueError, match="64 bytes"):
        encode_owner_header(replace(header_of(request_to), signature=bytes(63)))


requests = st.builds(
    OwnerRequest,
    action=st.sampled_from(Action),
    server_key_hash=st.binary(min_size=32, max_size=32),
    nonce=st.binary(min_size=32, max_size=32),
    model_id=st.binary(min_size=32, max_size=32),
    name=st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,9}", fullmatch=True),
    version=st.integers(1, (1 << 63) - 1),
)


@given(requests, requests)
def test_two_requests_never_have_one_message(one, other):  # O-04
    assert (encode_owner_request(one) == encode_owner_request(other)) == (one == other)


def test_every_action_has_its_number():  # O-01
    assert {action.name.lower(): action.value for action in Action} == {
        "push": 1,
        "unlock": 2,
        "delete": 3,
    }


headers = st.builds(
    OwnerHeader,
    owner=st.binary(min_size=32, max_size=32),
    model_id=st.binary(min_size=32, max_size=32),
    nonce=st.binary(min_size=32, max_size=32),
    signature=st.binary(min_size=64, max_size=64),
)


@given(headers)
def test_a_header_is_read_back(header):  # O-07
    assert parse_owner_header(encode_owner_header(header)) == header


@given(st.text(max_size=400) | headers.map(encode_owner_header).map(lambda text: text + "\n"))
def test_other_text_is_no_header(text):  # O-07
    with pytest.raises(OwnerRequestError) as caught:
        parse_owner_header(text)
    assert len(caught.value.message) < 200


@given(headers.map(encode_owner_header), st.integers(0, 10**6), st.characters())
def test_a_header_with_a_character_changed_is_another_or_refused(text, place, character):
    place %= len(text)
    changed = text[:place] + character + text[place + 1 :]
    try:
        parsed = parse_owner_header(changed)
    except OwnerRequestError:
        return
    assert encode_owner_header(parsed) == changed


def test_a_token_is_no_header():
    token, _ = new_token(bytes(38), roles=[Role.MANAGE], expires_s=5)
    with pytest.raises(OwnerRequestError):
        parse_owner_header(token)
