"""Tests of what server and models say about themselves."""

from __future__ import annotations

import json

from inferonnx.oip.messages import (
    encode_document,
    model_config,
    model_metadata,
    model_ready,
    server_live,
    server_metadata,
    server_ready,
)
from inferonnx.oip.signature import ModelSignature


def test_server_metadata() -> None:
    found = server_metadata("inferonnx", "1.0")
    assert (found["name"], found["version"]) == ("inferonnx", "1.0")
    # perf_analyzer asks for statistics, clients send binary tensors, only where these stand.
    assert {"statistics", "binary_tensor_data"} <= set(found["extensions"])
    assert not {"sequence", "system_shared_memory", "trace", "logging"} & set(found["extensions"])


def test_health_bodies_are_those_that_kserves_client_reads() -> None:
    assert encode_document(server_live(live=True)) == b'{"live":true}'
    assert server_ready(ready=False) == {"ready": False, "live": False}
    assert model_ready("m", ready=True) == {"name": "m", "ready": True}


def test_model_metadata(signature: ModelSignature) -> None:
    assert model_metadata("m", ["1", "3"], signature) == {
        "name": "m",
        "versions": ["1", "3"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "a", "datatype": "FP32", "shape": [-1, 4]},
            {"name": "b", "datatype": "INT32", "shape": [-1]},
        ],
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [-1, 4]},
            {"name": "h", "datatype": "FP16", "shape": [-1, 4]},
        ],
    }


def test_the_configuration_of_a_model_without_batches(signature: ModelSignature) -> None:
    found = model_config("m", signature, n_instances=2)
    assert found["max_batch_size"] == 0
    assert "dynamic_batching" not in found
    assert [(x["name"], x["data_type"], x["dims"]) for x in found["input"]] == [
        ("a", "TYPE_FP32", [-1, 4]),
        ("b", "TYPE_INT32", [-1]),
    ]
    assert found["instance_group"][0]["count"] == 2
    assert json.loads(encode_document(found)) == found


def test_the_configuration_of_a_model_with_batches(signature: ModelSignature) -> None:
    batched = ModelSignature(inputs=signature.inputs, outputs=signature.outputs, max_batch_size=8)
    found = model_config("m", batched, max_queue_delay_us=2000)
    assert found["max_batch_size"] == 8
    assert found["dynamic_batching"]["max_queue_delay_microseconds"] == 2000
    assert [x["dims"] for x in (*found["input"], *found["output"])] == [[4], [], [4], [4]]


def test_documents_are_utf_8_without_white_space() -> None:
    assert encode_document({"a": ["é", None, 1.5]}) == '{"a":["é",null,1.5]}'.encode()
    assert json.loads(encode_document(["\udc80"]).decode()) == ["\udc80"]
