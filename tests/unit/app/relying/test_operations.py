"""What an owner's operations ask, step by step, without a server."""

import json

import pytest

from inferonnx.app.relying import operations
from inferonnx.app.relying.owned import OwnedFile
from inferonnx.client.messages import Response
from inferonnx.control import Action, OwnerRequest, encode_owner_request, parse_owner_header
from inferonnx.crypto import ed25519_verify
from inferonnx.errors import OwnerRefusedError, UsageError
from inferonnx.oip import NotFoundError, PermissionDeniedError

HASH, NONCE = b"h" * 32, b"n" * 32


@pytest.fixture(scope="module")
def model_id(unnumbered_cnn, key):
    with OwnedFile(unnumbered_cnn, key) as file:
        return file.model_id


def answer(document=None, status=200):
    body = b"" if document is None else json.dumps(document).encode()
    return Response(status=status, headers={}, body=bytearray(body), key_hash=HASH)


def listed(*models):
    return answer({"models": list(models)})


def finish(steps, last):
    with pytest.raises(StopIteration) as done:
        steps.send(last)
    return done.value.value


def check_signed(request, action, version, model_id, key):
    header = dict(request.headers)["Inferonnx-Owner"]
    message = encode_owner_request(
        OwnerRequest(
            action=action,
            server_key_hash=HASH,
            nonce=NONCE,
            model_id=model_id,
            name="cnn",
            version=version,
        )
    )
    parsed = parse_owner_header(header)
    assert parsed.owner.hex() == key.public_key
    ed25519_verify(parsed.owner, parsed.signature, message)
    assert request.key_hash == HASH


def test_unlock_finds_the_newest_version_that_is_this_model(unnumbered_cnn, key, model_id):
    steps = operations.unlock("cnn", unnumbered_cnn, key=key, version=None)
    assert next(steps).path == "/inferonnx/v1/models"
    mine = {"name": "cnn", "model_id": model_id.hex()}
    models = [mine | {"version": 2}, mine | {"version": 3}, {"name": "cnn", "version": 4}]
    assert steps.send(listed(*models)).path == "/inferonnx/v1/nonce"
    request = steps.send(answer({"nonce": NONCE.hex()}))
    assert request.path == "/inferonnx/v1/models/cnn/versions/3/unlock"
    check_signed(request, Action.UNLOCK, 3, model_id, key)
    with OwnedFile(unnumbered_cnn, key) as file:
        assert list(request.pieces) == [file.data_key.reveal()]
    assert finish(steps, answer(models[1])).version == 3


def test_unlock_with_a_version_asks_for_no_list(unnumbered_cnn, key, model_id):
    steps = operations.unlock("cnn", unnumbered_cnn, key=key, version=7)
    assert next(steps).path == "/inferonnx/v1/nonce"
    request = steps.send(answer({"nonce": NONCE.hex()}))
    check_signed(request, Action.UNLOCK, 7, model_id, key)


def test_unlock_of_a_numbered_release_asks_for_no_list(sealed_cnn, key):
    steps = operations.unlock("cnn", sealed_cnn, key=key, version=None)
    assert next(steps).path == "/inferonnx/v1/nonce"
    assert "/versions/3/" in steps.send(answer({"nonce": NONCE.hex()})).path


def test_unlock_of_a_model_that_the_server_has_not_sends_nothing(unnumbered_cnn, key):
    steps = operations.unlock("cnn", unnumbered_cnn, key=key, version=None)
    next(steps)
    with pytest.raises(NotFoundError, match="that is the model"):
        steps.send(listed({"name": "cnn", "version": 1, "model_id": "ab" * 32}))


def test_unlock_without_the_right_to_list_wants_a_version(unnumbered_cnn, key):
    steps = operations.unlock("cnn", unnumbered_cnn, key=key, version=None)
    next(steps)
    with pytest.raises(PermissionDeniedError) as caught:
        steps.send(answer({"error": "no"}, status=403))
    assert "--version" in caught.value.hint


def test_unlock_by_a_name_that_is_not_sealed_in_it_sends_nothing(unnumbered_cnn, key):
    with pytest.raises(UsageError, match="was sealed as 'cnn'"):
        next(operations.unlock("resnet", unnumbered_cnn, key=key, version=None))


def test_delete_by_the_owners_copy_asks_for_no_list(unnumbered_cnn, key, model_id):
    steps = operations.delete("cnn", 2, key=key, sealed=unnumbered_cnn)
    assert next(steps).path == "/inferonnx/v1/nonce"
    request = steps.send(answer({"nonce": NONCE.hex()}))
    assert (request.method, request.path) == ("DELETE", "/inferonnx/v1/models/cnn/versions/2")
    check_signed(request, Action.DELETE, 2, model_id, key)
    assert finish(steps, answer(status=204)) is None


def test_delete_without_it_takes_the_servers_word_for_an_owners_model(key):
    steps = operations.delete("cnn", 2, key=key, sealed=None)
    next(steps)
    entry = {"name": "cnn", "version": 2, "owner": key.public_key, "model_id": "ab" * 32}
    steps.send(listed(entry))
    request = steps.send(answer({"nonce": NONCE.hex()}))
    check_signed(request, Action.DELETE, 2, b"\xab" * 32, key)


@pytest.mark.parametrize("change", [{"owner": "cd" * 32}, {"model_id": "no digits"}])
def test_delete_of_what_is_not_this_owners_is_not_signed(key, change):
    steps = operations.delete("cnn", 2, key=key, sealed=None)
    next(steps)
    entry = {"name": "cnn", "version": 2, "owner": key.public_key, "model_id": "ab" * 32}
    with pytest.raises(OwnerRefusedError):
        steps.send(listed(entry | change))


def test_push_checks_the_file_before_anything_is_asked(unnumbered_cnn, key, model_id):
    told = []
    steps = operations.push(
        unnumbered_cnn,
        key=key,
        name=None,
        version=None,
        url="https://s",
        checking=lambda *n: told.append(n),
    )
    assert next(steps).path == "/inferonnx/v1/nonce"
    assert told
    request = steps.send(answer({"nonce": NONCE.hex()}))
    assert request.path == "/inferonnx/v1/models/cnn/versions/next/uploads"
    check_signed(request, Action.PUSH, 0, model_id, key)


def test_push_of_a_numbered_release_is_that_version(sealed_cnn, key):
    steps = operations.push(sealed_cnn, key=key, name=None, version=None, url="https://s")
    next(steps)
    request = steps.send(answer({"nonce": NONCE.hex()}))
    assert request.path == "/inferonnx/v1/models/cnn/versions/3/uploads"
