"""What the simulated engine is asked over gRPC, and what it answers."""

from __future__ import annotations

from inferonnx.oip import InferRequest, NamedTensor
from inferonnx.oip import grpc as codec
from inferonnx.tensors import DType, Tensor


def question(n_floats=4, model="float", **fields):
    """Return a ModelInferRequest, and what its answer's elements are."""
    data = bytes(range(256)) * (n_floats * 4 // 256 + 1)
    tensor = Tensor(dtype=DType.FLOAT, shape=(1, n_floats), data=data[: n_floats * 4])
    request = InferRequest(
        model_name=model, inputs=(NamedTensor(name="x", tensor=tensor),), **fields
    )
    return b"".join(codec.encode_infer_request(request)), bytes(tensor.data)


def answered(reply):
    assert reply.status == 0, reply.fields
    (message,) = reply.messages
    return bytes(codec.parse_infer_response(message).outputs[0].tensor.data)
