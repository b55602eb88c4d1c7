"""A model that the protocol can't carry is refused for good, wherever it is asked for."""

import json

import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from served import command
from serving import models

SENTENCE = "the model has an input that is a sequence, which the protocol can't carry"
HINT = "Run it with `inferonnx run`, or export it with tensors that it can carry."


@pytest.fixture(scope="module")
def unservable(key, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unservable")
    return models.seal(models.listed(folder / "listed.onnx"), folder, key)


@pytest.fixture(params=["by its owner", "by --key"])
def server(request, start, unservable, key_path):
    """A server that has the model, after somebody has tried to unlock it."""
    options = ("--allow-anonymous-infer", "--grpc", "127.0.0.1:0")
    if request.param == "by --key":
        options += ("--key", key_path)
    server = start(options=options)
    server.end()
    models.stock(server.repository, unservable)
    server.start()
    if request.param == "by its owner":
        done = unlocked(server, unservable, key_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"inferonnx: error: {SENTENCE}. {HINT}")
    yield server
    assert server.end() == 0, server.log.read_text()


def unlocked(server, sealed, key_path):
    return command(
        *("unlock", server.url, "listed", "--model", sealed, "--key", key_path, "--version", 1),
        *server.trust,
    )


def test_a_model_that_takes_a_sequence_is_refused_for_good(server, unservable, key_path):
    token = ("--token-file", server.tokens["all"])
    listed = command("list", server.url, *server.trust, *token, "--json")
    (model,) = json.loads(listed.stdout)["models"]
    assert (model["state"], model["reason"]) == ("unavailable", SENTENCE)
    _, _, index = server.asked("/v2/repository/index", "-X", "POST", role="all")
    assert [(m["state"], m["reason"]) for m in json.loads(index)] == [("UNAVAILABLE", SENTENCE)]

    for path in ("models/listed/infer", "repository/models/listed/load"):
        status, headers, body = server.asked(f"/v2/{path}", "-d", "{}", role="all")
        assert (status, json.loads(body)) == (501, {"error": f"{SENTENCE}. {HINT}"})
        assert "retry-after" not in headers
    status, _, _ = server.asked("/v2/health/ready")
    assert status == 200  # it is not waited for

    address = "localhost:" + server.facts["grpc_addresses"][0].rpartition(":")[2]
    with triton.InferenceServerClient(
        address, ssl=True, root_certificates=str(server.ca)
    ) as client:
        with pytest.raises(InferenceServerException) as caught:
            client.get_model_metadata("listed")
        assert caught.value.status() == "StatusCode.UNIMPLEMENTED"
        assert SENTENCE in caught.value.message()

    done = unlocked(server, unservable, key_path)  # again, and again for good
    assert done.returncode == 2
    assert "Try again" not in done.stderr
    assert "secret" not in listed.stdout + done.stderr + server.log.read_text()
