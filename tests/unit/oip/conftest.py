"""What the tests of the protocol share."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inferonnx.oip import InferRequest, ModelSignature, TensorSpec, parse_infer_request
from inferonnx.tensors import DType


class Rest:
    """Makes bodies by hand, without any of the code under test."""

    @staticmethod
    def tensor(name: str = "x", **members: Any) -> dict[str, Any]:
        return {"name": name, "shape": [2], "datatype": "FP32", "data": [1, 2]} | members

    @staticmethod
    def binary(size: Any, name: str = "x", **members: Any) -> dict[str, Any]:
        made = Rest.tensor(name, parameters={"binary_data_size": size}, **members)
        del made["data"]
        return made

    @staticmethod
    def parse(body: Any, blobs: bytes | None = None, **options: Any) -> InferRequest:
        """Parse inputs (a list), a whole document (a dict) or a text (bytes)."""
        if isinstance(body, list):
            body = {"inputs": body}
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        if blobs is not None:
            options["header_length"] = len(text)
        found = parse_infer_request(text + (blobs or b""), model_name="m", **options)
        assert isinstance(found, InferRequest)
        return found


@pytest.fixture
def rest() -> Rest:
    return Rest()


def make_spec(name: str, dtype: DType = DType.FLOAT, *shape: int) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape)


@pytest.fixture
def signature() -> ModelSignature:
    """Two inputs and two outputs, the first axis free."""
    return ModelSignature(
        inputs=(make_spec("a", DType.FLOAT, -1, 4), make_spec("b", DType.INT32, -1)),
        outputs=(make_spec("y", DType.FLOAT, -1, 4), make_spec("h", DType.FLOAT16, -1, 4)),
    )
