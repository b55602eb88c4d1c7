"""Triton's Python client, unmodified, over TLS: what it asks for is what it gets."""

import ssl

import gevent.ssl
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

import inferonnx
from serving import models


@pytest.fixture(scope="module")
def client(served):
    found = connect(served)
    yield found
    found.close()


@pytest.fixture(scope="module")
def manager(served):
    """Headers of a caller who may do everything."""
    return served.bearer()


@pytest.fixture(scope="module")
def expected(sealed, key):
    with inferonnx.open(sealed["cnn"], key=key, memory="8GiB") as session:
        yield lambda image: session.run(None, {"image": image})[0]


def connect(served, **options):
    return triton.InferenceServerClient(
        f"localhost:{served.port}",
        ssl=True,
        ssl_context_factory=lambda: gevent.ssl.create_default_context(cafile=served.ca),
        network_timeout=60,
        connection_timeout=60,
        **options,
    )


def given(name, array, datatype, *, binary=True):
    value = triton.InferInput(name, list(array.shape), datatype)
    return value.set_data_from_numpy(array, binary_data=binary)


def refused(call, *arguments, **named):
    """Return status and message of an error."""
    with pytest.raises(InferenceServerException) as caught:
        call(*arguments, **named)
    return caught.value.status(), caught.value.message()


def test_health_and_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("cnn")
    assert client.is_model_ready("cnn", "1")
    assert not client.is_model_ready("cnn", "2")
    assert not client.is_model_ready("none")
    found = client.get_server_metadata()
    assert (found["name"], found["version"]) == ("inferonnx", inferonnx.__version__)
    assert {"binary_tensor_data", "statistics", "classification"} <= set(found["extensions"])
    assert client.get_model_metadata("cnn") == {
        "name": "cnn",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 3, 16, 16]}],
        "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 10]}],
    }


def test_config(client):
    config = client.get_model_config("cnn", "1")
    assert config["name"] == "cnn"
    assert config["input"][0]["data_type"] == "TYPE_FP32"
    assert config["input"][0]["dims"] in ([3, 16, 16], [-1, 3, 16, 16])
    assert {entry["data_type"] for entry in client.get_model_config("numbers")["input"]} == {
        f"TYPE_{word}" for word in models.NUMBERS
    }


def test_statistics_grow(client, image):
    before = count(client)
    for _ in range(3):
        client.infer("cnn", [given("image", image, "FP32")])
    refused(client.infer, "cnn", [given("image", image.astype(np.float64), "FP64")])
    after = count(client)
    assert after["success"] - before["success"] == 3
    assert after["queue"] - before["queue"] == 3
    everything = client.get_inference_statistics()["model_stats"]
    assert {(entry["name"], entry["version"]) for entry in everything} == {
        (name, "1") for name in ("cnn", "numbers", "texts", "patient")
    }


def count(client):
    (found,) = client.get_inference_statistics("cnn", "1")["model_stats"]
    return {name: entry["count"] for name, entry in found["inference_stats"].items()}


def test_index(client):
    found = client.get_model_repository_index()
    ready = {"version": "1", "state": "READY"}
    assert found == [{"name": name, **ready} for name in ("cnn", "numbers", "patient", "texts")]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_images_in_both_forms(client, image, expected, binary_in, binary_out):
    answer = client.infer(
        "cnn",
        [given("image", image, "FP32", binary=binary_in)],
        outputs=[triton.InferRequestedOutput("scores", binary_data=binary_out)],
        request_id="a request",
        model_version="1",
    )
    response = answer.get_response()
    assert (response["id"], response["model_version"]) == ("a request", "1")
    assert ("data" in answer.get_output("scores")) is not binary_out
    np.testing.assert_allclose(answer.as_numpy("scores"), expected(image), rtol=1e-4, atol=1e-5)


def test_every_type_of_number_there_and_back(client):
    values = models.extremes()
    inputs = [given(f"in_{word}", array, word) for word, array in values.items()]
    answer = client.infer("numbers", inputs)
    for word, array in values.items():
        (kind,) = {e["datatype"] for e in answer.get_response()["outputs"] if e["name"][4:] == word}
        assert kind == word
        got = answer.as_numpy(f"out_{word}")
        assert got.dtype == array.dtype
        assert got.tobytes() == array.tobytes(), word


def test_json_and_binary_in_one_request(client):
    values = models.extremes(3)
    values["FP32"][0, 1] = 0.1  # the largest of a type: JSON has to give it back as it is
    binary_only = ("FP16", "BF16")
    inputs = [
        given(f"in_{word}", array, word, binary=word in binary_only or n % 2 == 0)
        for n, (word, array) in enumerate(values.items())
    ]
    outputs = [
        triton.InferRequestedOutput(f"out_{word}", binary_data=word in binary_only or n % 3 == 0)
        for n, word in enumerate(values)
    ]
    answer = client.infer("numbers", inputs, outputs=outputs)
    for word, array in values.items():
        np.testing.assert_array_equal(answer.as_numpy(f"out_{word}"), array)


def test_half_floats_are_not_in_json(client):
    values = models.extremes()
    inputs = [given(f"in_{word}", array, word) for word, array in values.items()]
    output = triton.InferRequestedOutput("out_FP16", binary_data=False)
    status, said = refused(client.infer, "numbers", inputs, outputs=[output])
    assert status == "400"
    assert "FP16 data via JSON is not supported" in said


TEXTS = [b"", "z\xe9ro".encode(), b"\x00nul\x00", b"\xff\xfe", b"x" * 300]


def test_strings_are_bytes(client):
    left = np.array(TEXTS, np.object_)
    right = np.array([b"!"] * len(TEXTS), np.object_)
    inputs = [given("left", left, "BYTES"), given("right", right, "BYTES")]
    answer = client.infer("texts", inputs)
    assert answer.as_numpy("joined").tolist() == [text + b"!" for text in TEXTS]
    assert answer.as_numpy("same").tolist() == TEXTS
    output = triton.InferRequestedOutput("same", binary_data=False)
    status, said = refused(client.infer, "texts", inputs, outputs=[output])
    assert status == "400"
    assert "UTF-8" in said
    assert "binary" in said


def test_strings_in_json(client):
    words = np.array(['quo"te', "snow \u2603", "\U0001f600", "a\\b\n\x01"], np.object_)
    inputs = [given(side, words, "BYTES", binary=False) for side in ("left", "right")]
    outputs = [triton.InferRequestedOutput(n, binary_data=False) for n in ("joined", "same")]
    answer = client.infer("texts", inputs, outputs=outputs)
    assert answer.as_numpy("same").tolist() == words.tolist()
    assert answer.as_numpy("joined").tolist() == [word * 2 for word in words]


def test_scalars(client):
    answer = client.infer("patient", [given("turns", np.array(2, np.int64), "INT64")])
    assert answer.as_numpy("sum") == 256
    assert answer.as_numpy("sum").shape == ()


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize("binary", [True, False])
def test_strings_of_any_length(client, size, binary):
    """What they take beside the body is not known before."""
    words = np.array([b"x" * size] * 16, object)
    inputs = [given(n, words, "BYTES", binary=binary) for n in ("left", "right")]
    answer = client.infer("texts", inputs)
    assert answer.as_numpy("joined").tolist() == [b"x" * 2 * size] * 16


def test_no_rows_at_all(client):
    none = np.zeros((0,), np.object_)
    answer = client.infer("texts", [given(n, none, "BYTES") for n in ("left", "right")])
    assert answer.get_output("joined")["shape"] == [0]


@pytest.mark.parametrize("asked", ["gzip", "deflate"])
@pytest.mark.parametrize("sent", [None, "gzip", "deflate"])
def test_compression(client, image, expected, asked, sent):
    zeros = np.zeros((20, 3, 16, 16), np.float32)
    answer = client.infer(
        "cnn",
        [given("image", zeros, "FP32")],
        request_compression_algorithm=sent,
        response_compression_algorithm=asked,
    )
    np.testing.assert_allclose(answer.as_numpy("scores"), expected(zeros), rtol=1e-4, atol=1e-5)


def test_classification(client, image, expected):
    output = triton.InferRequestedOutput("scores", class_count=3)
    found = client.infer("cnn", [given("image", image, "FP32")], outputs=[output])
    scores = expected(image)[0]
    best = np.argsort(-scores)[:3]
    got = [text.decode().split(":") for text in found.as_numpy("scores").reshape(-1)]
    assert [int(index) for _, index in got] == best.tolist()
    np.testing.assert_allclose([float(value) for value, _ in got], scores[best], atol=2e-5)


def test_a_batch_has_its_rows(client, expected):
    images = np.random.default_rng(3).standard_normal((5, 3, 16, 16)).astype(np.float32)
    got = client.infer("cnn", [given("image", images, "FP32")]).as_numpy("scores")
    np.testing.assert_allclose(got, expected(images), rtol=1e-3, atol=1e-4)


def test_many_at_once_get_their_own_answers(served, expected):
    images = np.random.default_rng(4).standard_normal((24, 1, 3, 16, 16)).astype(np.float32)
    client = connect(served, concurrency=8)
    try:
        asked = [client.async_infer("cnn", [given("image", x, "FP32")]) for x in images]
        for one, x in zip(asked, images, strict=True):
            got = one.get_result().as_numpy("scores")
            np.testing.assert_allclose(got, expected(x), rtol=1e-3, atol=1e-4)
    finally:
        client.close()


def test_tritons_words_for_errors(client, image):
    good = given("image", image, "FP32")
    ask = client.infer
    known = "for model 'cnn'"
    assert refused(ask, "none", [good]) == (
        "404",
        "Request for unknown model: 'none' is not found",
    )
    assert refused(ask, "cnn", [good], model_version="7") == (
        "404",
        "Request for unknown model: 'cnn' version 7 is not found",
    )
    status, said = refused(ask, "cnn", [given("image", image.astype(np.int32), "INT32")])
    assert status == "400"
    assert said == "inference input 'image' data-type is 'INT32', but model 'cnn' expects 'FP32'"
    status, said = refused(ask, "cnn", [given("image", image[:, :2], "FP32")])
    assert status == "400"
    assert said == (
        "unexpected shape for input 'image' for model 'cnn'. Expected [-1,3,16,16], "
        "got [1,2,16,16]."
    )
    status, said = refused(ask, "cnn", [given("picture", image, "FP32")])
    assert status == "400"
    assert "unexpected inference input 'picture'" in said or "missing required" in said
    output = triton.InferRequestedOutput("z")
    status, said = refused(ask, "cnn", [good], outputs=[output])
    assert (status, said) == ("400", f"unexpected inference output 'z' {known}")
    status, said = refused(ask, "cnn", [good, good])
    assert status == "400"
    assert said == "input 'image' already exists in request"
    left = given("left", np.array([b"x"], np.object_), "BYTES")
    status, said = refused(ask, "texts", [left])
    assert status == "400"
    assert said.startswith("expected 2 inputs but got 1 inputs for model 'texts'")
    assert "right" in said


def test_more_rows_than_the_model_was_planned_for(client):
    """It is no use to try again: not the status of a server that is busy."""
    images = np.zeros((500, 3, 16, 16), np.float32)
    status, said = refused(client.infer, "cnn", [given("image", images, "FP32")])
    assert status == "413"
    assert "larger than the model was planned for" in said


def test_what_is_not_served_is_501(client, manager):
    for status, said in (
        refused(client.register_system_shared_memory, "r", "/k", 64),
        refused(client.update_trace_settings, None, {"trace_level": ["TENSORS"]}, headers=manager),
        refused(client.load_model, "cnn", headers=manager, config='{"name":"cnn"}'),
    ):
        assert status == "501", said
    assert client.get_system_shared_memory_status() == []
    client.unregister_cuda_shared_memory()
    assert client.get_trace_settings("cnn", headers=manager)["trace_level"] == ["OFF"]
    assert client.get_log_settings(headers=manager)["log_verbose_level"] == 0


def test_unload_locks_and_load_says_so(start, image):
    served = start("cnn", options=("--allow-anonymous-infer",))
    client, manager = connect(served), served.bearer("manage")
    good = [given("image", image, "FP32")]
    client.load_model("cnn", headers=manager)
    client.infer("cnn", good)
    client.unload_model("cnn", headers=manager)
    assert not client.is_model_ready("cnn")
    (entry,) = client.get_model_repository_index()
    assert entry["state"] == "UNAVAILABLE"
    assert "unlocked" in entry["reason"]
    for status, said in (
        refused(client.infer, "cnn", good),
        refused(client.load_model, "cnn", headers=manager),
    ):
        assert status == "503"
        assert "owner has not unlocked it" in said
    assert refused(client.load_model, "none", headers=manager)[0] == "404"
    client.close()
    assert served.end() == 0


def test_a_name_is_checked(served):
    client = triton.InferenceServerClient(
        f"127.0.0.2:{served.port}",
        ssl=True,
        ssl_context_factory=lambda: gevent.ssl.create_default_context(cafile=served.ca),
    )
    with pytest.raises((ssl.SSLCertVerificationError, OSError)):
        client.is_server_live()
    client.close()
