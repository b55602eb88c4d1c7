"""Both public clients, as an owner and a caller use them, against a real server."""

import asyncio

import numpy as np
import pytest

import inferonnx
from served import Served


@pytest.fixture(scope="module")
def key(key_path):
    return inferonnx.Key.load(key_path)


@pytest.fixture(scope="module")
def served(key, tmp_path_factory):
    server = Served(tmp_path_factory.mktemp("served"), key.public_key)
    yield server
    assert server.end() == 0, server.log.read_text()


@pytest.fixture(scope="module")
def expected(sealed_cnn, key):
    with inferonnx.open(sealed_cnn, key=key, memory="8GiB") as session:
        return session.run(None, {"image": ones()})[0]


def ones():
    return np.ones((1, 3, 16, 16), np.float32)


def options(served, role="all"):
    return {
        "ca": served.ca,
        "token": served.token(role),
        "insecure_no_attestation": True,
    }


def test_a_models_life(served, key, sealed_cnn, unnumbered_cnn, expected):
    with inferonnx.Client(served.url, **options(served)) as client:
        assert client.live()
        assert client.models() == []
        assert client.push(sealed_cnn, key=key) == ("cnn", 3)
        with pytest.raises(inferonnx.InferonnxError, match="not ready"):
            client.infer("cnn", {"image": ones()})
        assert client.unlock("cnn", sealed_cnn, key=key).state == "ready"
        answer = client.infer("cnn", {"image": ones()}, timeout=30)
        np.testing.assert_allclose(answer["scores"], expected, rtol=1e-4, atol=1e-5)
        assert client.ready("cnn")
        assert client.push(unnumbered_cnn, key=key) == ("cnn", 4)
        client.unlock("cnn", unnumbered_cnn, key=key)
        assert [model.state for model in client.models()] == ["ready", "ready"]
        client.delete("cnn", 4, key=key)
        client.unload("cnn")
        assert [(model.version, model.state) for model in client.models()] == [(3, "locked")]
        client.delete("cnn", 3, key=key, sealed=sealed_cnn)
        assert client.models() == []


def test_the_same_in_asyncio(served, key, unnumbered_cnn, expected):
    async def life():
        async with inferonnx.AsyncClient(served.url, **options(served)) as client:
            name, version = await client.push(unnumbered_cnn, key=key)
            assert (await client.unlock(name, unnumbered_cnn, key=key)).version == version
            answers = await asyncio.gather(
                *(client.infer(name, {"image": ones()}) for _ in range(8))
            )
            await client.delete(name, version, key=key)
            return answers

    for answer in asyncio.run(life()):
        np.testing.assert_allclose(answer["scores"], expected, rtol=1e-4, atol=1e-5)


def test_the_server_knows_who_may_what(served):
    with inferonnx.Client(served.url, **options(served, "metrics")) as client:
        with pytest.raises(inferonnx.InferonnxError, match="role infer"):
            client.infer("cnn", {"image": ones()})
        with pytest.raises(inferonnx.InferonnxError, match="role manage"):
            client.unload("cnn")


def test_no_secret_reached_the_servers_log(served, key):
    log = served.log.read_text()
    assert log.count("request ") > 10
    for role in ("all", "metrics"):
        assert served.token(role).split("_", 2)[2] not in log
    assert key.owner.wrap_secret.reveal().hex() not in log
