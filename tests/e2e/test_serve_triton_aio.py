"""Triton's client for asyncio: its HTTP stack is another, which asks for compression always."""

import asyncio
import ssl

import numpy as np
import pytest
import tritonclient.http.aio as triton
from tritonclient.utils import InferenceServerException

import inferonnx
from served import PATIENCE_S
from serving import models


@pytest.fixture
def run(served):
    """Run a coroutine function on a client, in a loop of its own."""

    def start(work):
        async def main():
            context = ssl.create_default_context(cafile=served.ca)
            url = f"localhost:{served.port}"
            async with triton.InferenceServerClient(url, ssl=True, ssl_context=context) as client:
                done = await work(client)
            # Its connections end after it says that it is closed.
            polled = asyncio.get_running_loop()._selector.get_map()
            async with asyncio.timeout(PATIENCE_S):
                while len(polled) > 1:
                    await asyncio.sleep(0.01)
            return done

        return asyncio.run(main())

    return start


def given(name, array, datatype, *, binary=True):
    value = triton.InferInput(name, list(array.shape), datatype)
    return value.set_data_from_numpy(array, binary_data=binary)


def test_everything_that_is_asked_for_before(run):
    async def work(client):
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("cnn")
        assert not await client.is_model_ready("none")
        assert (await client.get_server_metadata())["name"] == "inferonnx"
        assert (await client.get_model_metadata("cnn"))["inputs"][0]["name"] == "image"
        assert (await client.get_model_config("cnn"))["input"][0]["data_type"] == "TYPE_FP32"
        assert len(await client.get_model_repository_index()) == 4
        statistics = await client.get_inference_statistics("cnn")
        assert statistics["model_stats"][0]["name"] == "cnn"

    run(work)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(
    ("sent", "asked"),
    [(None, None), ("gzip", None), (None, "gzip"), ("deflate", "deflate")],
)
def test_answers_at_once(run, sealed, key, binary, sent, asked):
    images = np.random.default_rng(5).standard_normal((12, 2, 3, 16, 16)).astype(np.float32)
    with inferonnx.open(sealed["cnn"], key=key, memory="8GiB") as session:
        expected = [session.run(None, {"image": image})[0] for image in images]

    async def one(client, image):
        answer = await client.infer(
            "cnn",
            [given("image", image, "FP32", binary=binary)],
            outputs=[triton.InferRequestedOutput("scores", binary_data=binary)],
            request_compression_algorithm=sent,
            response_compression_algorithm=asked,
        )
        return answer.as_numpy("scores")

    async def work(client):
        return await asyncio.gather(*(one(client, image) for image in images))

    for got, wanted in zip(run(work), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4)


def test_every_type_of_number(run):
    values = models.extremes()

    async def work(client):
        inputs = [given(f"in_{word}", array, word) for word, array in values.items()]
        answer = await client.infer("numbers", inputs)
        return {word: answer.as_numpy(f"out_{word}") for word in values}

    for word, got in run(work).items():
        assert got.tobytes() == values[word].tobytes(), word


def test_errors(run, image):
    async def work(client):
        wrong = given("image", image.astype(np.int32), "INT32")
        with pytest.raises(InferenceServerException) as caught:
            await client.infer("cnn", [wrong])
        assert caught.value.status() == "400"
        assert "data-type is 'INT32'" in caught.value.message()
        with pytest.raises(InferenceServerException) as caught:
            await client.load_model("cnn")
        assert caught.value.status() == "401"

    run(work)


def test_a_caller_that_loses_patience_disturbs_nobody(run, image):
    async def work(client):
        slow = given("turns", np.array(1000, np.int64), "INT64")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.infer("patient", [slow])
        answer = await client.infer("cnn", [given("image", image, "FP32")])
        assert answer.as_numpy("scores").shape == (1, 10)

    run(work)
