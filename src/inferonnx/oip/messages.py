"""What server and models say about themselves, as JSON documents.

A document is what `json` reads and writes: the names are those of the protobuf messages,
so that `oip.grpc` sends the same documents.
"""

from __future__ import annotations

from inferonnx.oip.datatypes import CONFIG_TYPES
from inferonnx.oip.rest_writing import dump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from inferonnx.oip.signature import ModelSignature, TensorSpec

    Document = dict[str, Any]

EXTENSIONS = (
    "classification",
    "model_repository",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
)
"""Triton's extensions that are honoured; clients take a missing one for a server without it."""

PLATFORM = "onnxruntime_onnx"
BACKEND = "onnxruntime"


def encode_document(document: object) -> bytes:
    """Return a document as JSON in UTF-8."""
    return dump(document)


def server_metadata(name: str, version: str, extensions: Iterable[str] = EXTENSIONS) -> Document:
    """Return what the server says about itself."""
    return {"name": name, "version": version, "extensions": list(extensions)}


def model_metadata(name: str, versions: Iterable[str], signature: ModelSignature) -> Document:
    """Return what a model takes and gives; `versions` are those that are ready."""
    return {
        "name": name,
        "versions": list(versions),
        "platform": PLATFORM,
        "inputs": [_tensor_metadata(spec) for spec in signature.inputs],
        "outputs": [_tensor_metadata(spec) for spec in signature.outputs],
    }


def model_config(
    name: str,
    signature: ModelSignature,
    *,
    n_instances: int = 1,
    max_queue_delay_us: int = 0,
) -> Document:
    """Return the configuration of a model, with the members of Triton's that mean something here.

    Args:
        name: Of the model.
        signature: Of the model. With a `max_batch_size` the dimensions leave the first
            axis out, and the scheduling choice is dynamic batching.
        n_instances: Runs at the same time.
        max_queue_delay_us: Microseconds that a request may wait for others to join.
    """
    batched = signature.max_batch_size > 0
    document: Document = {
        "name": name,
        "platform": PLATFORM,
        "backend": BACKEND,
        "version_policy": {"all": {}},
        "max_batch_size": signature.max_batch_size,
        "input": [_config_input(spec, batched=batched) for spec in signature.inputs],
        "output": [_config_output(spec, batched=batched) for spec in signature.outputs],
        "instance_group": [
            {"name": f"{name}_0", "kind": "KIND_CPU", "count": n_instances, "gpus": []}
        ],
        "default_model_filename": "model.sealed",
        "parameters": {},
        "model_transaction_policy": {"decoupled": False},
    }
    if batched:
        document["dynamic_batching"] = {
            "preferred_batch_size": [],
            "max_queue_delay_microseconds": max_queue_delay_us,
            "preserve_ordering": False,
        }
    return document


def server_live(*, live: bool) -> Document:
    """Return the body of the liveness endpoint; KServe's client reads it, others the status."""
    return {"live": live}


def server_ready(*, ready: bool) -> Document:
    """Return the body of the readiness endpoint; clients differ in the name they read."""
    return {"ready": ready, "live": ready}


def model_ready(name: str, *, ready: bool) -> Document:
    """Return the body of a model's readiness endpoint."""
    return {"name": name, "ready": ready}


def _tensor_metadata(spec: TensorSpec) -> Document:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shown_shape)}


def _config_tensor(spec: TensorSpec, *, batched: bool) -> Document:
    dims = spec.shown_shape[1:] if batched else spec.shown_shape
    return {
        "name": spec.name,
        "data_type": CONFIG_TYPES[spec.datatype],
        "dims": list(dims),
        "is_shape_tensor": False,
    }


def _config_input(spec: TensorSpec, *, batched: bool) -> Document:
    return {
        **_config_tensor(spec, batched=batched),
        "format": "FORMAT_NONE",
        "allow_ragged_batch": False,
        "optional": False,
    }


def _config_output(spec: TensorSpec, *, batched: bool) -> Document:
    return {**_config_tensor(spec, batched=batched), "label_filename": ""}
