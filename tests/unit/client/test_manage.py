"""What owners and operators ask; the server verifies signatures as ours does."""

import json
import os

import pytest

from inferonnx.client import manage
from inferonnx.client.connections import ServerChangedError
from inferonnx.client.manage import ServedModel
from inferonnx.client.replies import ModelRefusedError
from inferonnx.control import (
    Action,
    NonceBook,
    parse_owner_header,
    parse_version,
    verify_owner_request,
)
from inferonnx.crypto import Secret
from inferonnx.errors import ModelNameError, OwnerRefusedError
from inferonnx.oip import BadReplyError, NotFoundError, PermissionDeniedError
from inferonnx.sealed import OwnerKey
from scripted import answering

MODEL_ID = bytes(range(32))
DATA_KEY = b"a data key of exactly 32 bytes.."
LISTED = {
    "name": "resnet",
    "version": 3,
    "state": "locked",
    "reason": "its owner has not unlocked it",
    "sealed_name": None,
    "release": 3,
    "owner": "ab" * 32,
    "model_id": MODEL_ID.hex(),
    "suite": "aes-256-gcm",
    "file_bytes": 12345,
    "resident_bytes": 0,
    "is_open": False,
    "unknown_to_this_release": [1],
}


@pytest.fixture(scope="module")
def key():
    return OwnerKey.from_secrets(
        wrap_secret=Secret(b"wrap secret of thirty-two bytes."), signing_seed=Secret(bytes(32))
    )


class OwnersServer:
    """Gives nonces and verifies what is signed; keeps what it was asked for."""

    def __init__(self, key, certificate_hash, *replies):
        self.nonces = NonceBook(Secret(os.urandom(32)))
        self.key, self.hash = key, certificate_hash
        self.replies = list(replies)
        self.verified, self.bodies = [], []

    def __call__(self, link):
        while (asked := link.request()) is not None:
            if asked.path == "/inferonnx/v1/nonce":
                nonce = self.nonces.issue(100, os.urandom(12))
                link.reply(200, json.dumps({"nonce": nonce.hex()}).encode())
                continue
            self.bodies.append(asked.body)
            _, _, _, _, name, _, version, *rest = asked.path.split("/")
            action = {"uploads": Action.PUSH, "unlock": Action.UNLOCK}.get(
                rest[0] if rest else "", Action.DELETE
            )
            try:
                request = verify_owner_request(
                    parse_owner_header(asked.headers["inferonnx-owner"]),
                    action=action,
                    server_key_hash=self.hash,
                    name=name,
                    version=0 if version == "next" else parse_version(version),
                    model_id=MODEL_ID,
                    owner=self.key.public_key,
                    nonces=self.nonces,
                    now_s=100,
                )
            except OwnerRefusedError as error:
                link.reply(403, json.dumps({"error": error.message}).encode())
            else:
                self.verified.append(request)
                link.reply(*self.replies.pop(0))


def test_unlock_hands_over_the_data_key_and_signs_for_this_server(serve, connect, key, certificate):
    service = OwnersServer(key, certificate.hash, (200, json.dumps(LISTED).encode()))
    server = serve(service)
    model = connect(server, token="ifx_t").perform(
        manage.unlock("resnet", 3, model_id=MODEL_ID, data_key=Secret(DATA_KEY), key=key)
    )
    assert (model.name, model.version, model.state) == ("resnet", 3, "locked")
    (request,) = service.verified
    assert (request.action, request.name, request.version) == (Action.UNLOCK, "resnet", 3)
    assert service.bodies == [DATA_KEY]
    sent = repr(server.asked).encode()
    for secret in (key.wrap_secret, key.signing_seed):
        assert secret.reveal() not in b"".join(asked.body for asked in server.asked)
        assert secret.reveal().hex().encode() not in sent
    assert all("authorization" not in asked.headers for asked in server.asked)


def test_delete_is_signed(serve, connect, key, certificate):
    service = OwnersServer(key, certificate.hash, (204, b""))
    server = serve(service)
    steps = manage.delete("resnet", 3, model_id=MODEL_ID, key=key)
    assert connect(server).perform(steps) is None
    assert service.verified[0].action is Action.DELETE
    assert server.asked[-1][:2] == ("DELETE", "/inferonnx/v1/models/resnet/versions/3")


def test_a_refusal_holds_no_key(serve, connect, key, certificate):
    service = OwnersServer(key, certificate.hash, (422, b'{"error":"another key"}'))
    steps = manage.unlock("resnet", 3, model_id=MODEL_ID, data_key=Secret(DATA_KEY), key=key)
    with pytest.raises(ModelRefusedError, match="another key") as caught:
        connect(serve(service)).perform(steps)
    assert DATA_KEY.decode() not in repr(caught.value) + caught.value.hint


def test_a_relayed_nonce_gets_no_signature_that_another_server_takes(
    serve, connect, key, certificate
):
    """The hash that is signed is the connection's: a relay with a key of its own gains nothing."""
    victim = OwnersServer(key, bytes(32))  # has another TLS key than the server in between
    with pytest.raises(PermissionDeniedError, match="signature does not fit"):
        connect(serve(victim)).perform(manage.delete("resnet", 3, model_id=MODEL_ID, key=key))
    assert not victim.verified


def test_when_another_server_answers_it_is_asked_for_a_nonce_of_its_own(key):
    """Behind a balancer the connection after the nonce's may lead to another server."""
    from inferonnx.client.messages import Response

    def nonce(hash_byte):
        body = bytearray(json.dumps({"nonce": "00" * 32}).encode())
        return Response(status=200, headers={}, body=body, key_hash=bytes([hash_byte]) * 32)

    steps = manage.delete("resnet", 3, model_id=MODEL_ID, key=key)
    for server in (1, 2, 3):
        assert next(steps) if server == 1 else True
        signed = steps.send(nonce(server))
        assert signed.key_hash == bytes([server]) * 32
        if server < 3:
            again = steps.throw(ServerChangedError("another"))
            assert again.path == "/inferonnx/v1/nonce"
        else:
            with pytest.raises(ServerChangedError):
                steps.throw(ServerChangedError("another"))


@pytest.mark.parametrize("body", [b"{}", b'{"nonce":5}', b'{"nonce":"zz"}', b'{"nonce":"00"}'])
def test_no_nonce_no_signature(serve, connect, key, body):
    server = serve(answering((200, body)))
    with pytest.raises(BadReplyError, match="gave no nonce"):
        connect(server).perform(manage.delete("resnet", 3, model_id=MODEL_ID, key=key))
    assert len(server.asked) == 1


@pytest.mark.parametrize("name", ["..", "a/b", "", "ä", ".hidden"])
def test_a_name_that_is_none_is_refused_before_anything_is_sent(serve, connect, key, name):
    server = serve(answering((200, b"")))
    with pytest.raises(ModelNameError):
        connect(server).perform(manage.delete(name, 3, model_id=MODEL_ID, key=key))
    assert not server.asked


def test_models_are_listed(serve, connect):
    body = json.dumps({"models": [LISTED, {"name": "b", "version": 1}]}).encode()
    first, second = connect(serve(answering((200, body)))).models()
    assert first == ServedModel(
        **{k: v for k, v in LISTED.items() if k != "unknown_to_this_release"}
    )
    assert second == ServedModel(name="b", version=1)


@pytest.mark.parametrize(
    "entry",
    [
        5,
        {},
        {"name": "a"},
        {"name": 5, "version": 1},
        {"name": "a", "version": True},
        LISTED | {"release": "3"},
    ],
)
def test_a_list_of_another_form_is_refused(serve, connect, entry):
    with pytest.raises(BadReplyError):
        connect(serve(answering((200, json.dumps({"models": [entry]}).encode())))).models()


def test_the_newest_version_is_found(serve, connect):
    models = [
        {"name": name, "version": version, "model_id": f"{version % 2:064x}"}
        for name, version in [("a", 2), ("a", 10), ("a", 9), ("b", 11)]
    ]
    client = connect(serve(answering((200, json.dumps({"models": models}).encode()))))
    assert client.perform(manage.find_model("a", None)).version == 10
    assert client.perform(manage.find_model("a", 2)).version == 2
    odd = (1).to_bytes(32, "big")
    assert client.perform(manage.find_model("a", model_id=odd)).version == 9
    with pytest.raises(NotFoundError, match="version 11"):
        client.perform(manage.find_model("a", 11))
    with pytest.raises(NotFoundError, match="no 'c'"):
        client.perform(manage.find_model("c"))
    with pytest.raises(NotFoundError, match="that is the model 0101"):
        client.perform(manage.find_model("a", model_id=b"\1" * 32))
